"""summary.json: every number of the run with its count, interval and method."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from genbench.metrics.definitions import by_key
from genbench.metrics.summary import Run
from genbench.telemetry.figures import Server
from genbench.types import Distribution, SloResult, Summary

SCHEMA = 1


ABOUT = ("hardware", "metadata")  # of the header: what the user said of the run


def as_dict(summary: Summary, header: Mapping[str, Any] | None = None, server: Server | None = None) -> dict[str, Any]:
    """The summary as plain data, in the layout of docs/metrics.md, with what the header says the run is of."""
    run = {}
    for key, figure in summary.run.items():
        run[key] = {"unit": figure.unit, "value": figure.value}
        if figure.ci95 is not None:
            run[key]["ci95"] = list(figure.ci95)
    return {
        "schema": SCHEMA,
        "metrics": {key: _metric(found) for key, found in summary.metrics.items()},
        "run": run,
        "outcomes": dict(summary.outcomes),
        "outcome_examples": dict(summary.examples),
        "slo": [_promise(result) for result in summary.slo],
        "sources": dict(summary.sources),
        "notes": list(summary.notes),
        "verdict": summary.verdict,
        "findings": [asdict(finding) for finding in summary.findings],
        **({"targets": [asdict(one) for one in summary.targets]} if summary.targets else {}),
        "simulated": summary.simulated,
        "interrupted": summary.interrupted,
        "warmup_requests": summary.warmup_requests,
        **{name: header[name] for name in ABOUT if header and header.get(name)},
        **({"server": server.as_dict()} if server is not None else {}),
    }


def text(summary: Summary, header: Mapping[str, Any] | None = None, server: Server | None = None) -> bytes:
    """The content of `summary.json`, indented, with a final newline."""
    return orjson.dumps(as_dict(summary, header, server), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def write(run: Run, out: Path) -> list[Path]:
    """Write `summary.json` into the folder `out`."""
    path = out / "summary.json"
    path.write_bytes(text(run.summary, run.header, run.server))
    return [path]


def _metric(found: Distribution) -> dict[str, Any]:
    return {
        "unit": found.unit,
        "count": found.count,
        **found.stats,
        "ci95": {stat: list(bounds) for stat, bounds in found.ci95.items()},
        "ci_method": dict(found.ci_method),
        "few": list(found.few),
    }


def _promise(result: SloResult) -> dict[str, Any]:
    slo = result.slo
    return {
        "rule": slo.text,
        "metric": slo.metric,
        "stat": slo.stat,
        "op": slo.op,
        "bound": slo.bound,
        "unit": by_key()[slo.metric].unit,
        "value": result.value,
        "passed": result.passed,
        "attainment_pct": result.attainment_pct,
    }
