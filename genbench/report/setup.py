"""What the run was: the client's own health, the configuration as in run.json, and the command that repeats it."""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from genbench.block import number
from genbench.metrics.summary import Run
from genbench.metrics.verdict import CPU_PCT, shared_reads_pct
from genbench.report.markup import Html, e, join, row, table
from genbench.report.top import part

FACTS = (
    "genbench",
    "schema",
    "endpoint_type",
    "model",
    "simulated",
    "interrupted",
    "seed",
    "salt",
    "dataset_sha256",
    "bodies_sha256",
    "tokenizer",
)


def health(run: Run, prefix: str) -> Html:
    """How the client was: what bounds the error of every number above."""
    rows = [row(name, value, e("span", why, class_="note"), numbers=False) for name, value, why in _health(run)]
    return e(
        "section",
        e("h2", "Client health"),
        table("How the client was", ("", "Measured", "What it means"), rows, class_="health")
        if rows
        else e("p", "The header of this run says nothing of the client.", class_="nothing"),
        id=f"{prefix}client",
    )


def _health(run: Run) -> Iterator[tuple[str, str, str]]:
    """Name, value, meaning of what the header has."""
    own = part(run.header, "health")
    lag = run.summary.metrics.get("client_lag")
    if lag is not None:
        said = f"p50 {number(lag.stats['p50'], 'ms')} ms, p99 {number(lag.stats['p99'], 'ms')} ms"
        yield "Client lag", said, "how late requests were sent, waiting for the cap and connecting left out"
    loop = part(own, "loop_lag_ns")
    if isinstance(loop.get("p99"), int | float):
        said = ", ".join(
            f"{name} {number(loop[name] / 1e6, 'ms')} ms" for name in ("p50", "p99", "max") if name in loop
        )
        yield "Event loop lag", said, "how late a timer was served; with kernel stamps it moves no token's time"
    yield from _cores(own)
    shared = shared_reads_pct(run.table)
    if shared is not None:
        yield "Shared reads", f"{shared:.3g} %", "tokens that came in one read with the one before: gaps not known"
    if own.get("stamp_source"):
        missing = int(own.get("reads_without_stamp") or 0) + int(own.get("reads_implausible_stamp") or 0)
        of = int(own.get("reads_kernel_stamp") or 0) + missing
        said = str(own["stamp_source"]) + (f", {missing:,} of {of:,} reads without" if of else "")
        yield "Time stamps", said, "who says when a token came"
    if "clock_steps" in own:
        yield "Clock steps", f"{own['clock_steps']}", "times the wall clock was set during the run"
    if "connections_opened" in own:
        names = (("connections_opened", "opened"), ("connections_replaced", "replaced"), ("retries", "retried"))
        said = ", ".join(f"{own[key]:,} {name}" for key, name in names if isinstance(own.get(key), int))
        yield "Connections", said, "replaced: closed by the server while idle; retried: sent once more"
    if run.header.get("not_sent"):
        yield "Never sent", f"{run.header['not_sent']:,}", "requests that were due when the run ended"
    if not own:
        return
    known = part(run.header, "calibration")
    errors = [("TTFT", known.get("ttft_error_p99_ms")), ("gaps", known.get("icl_error_p99_ms"))]
    told = [f"{name} {value:.2g} ms" for name, value in errors if isinstance(value, int | float)]
    yield (
        "Calibration",
        f"error p99: {', '.join(told)}" if told else "none for this machine",
        "this client's own error at such a load, found by genbench calibrate",
    )


def _cores(own: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    if isinstance(own.get("cpu_pct"), int | float):
        yield "CPU", f"{own['cpu_pct']:.3g} % of a core", f"above {CPU_PCT:g} % the client may be what limits"
    if isinstance(own.get("cpu_wait_pct"), int | float):
        yield "Waiting for a core", f"{own['cpu_wait_pct']:.3g} %", "time it was ready to run and had no core"
    if isinstance(own.get("peak_rss_bytes"), int):
        said = f"{own['peak_rss_bytes'] / 2**20:,.0f} MiB, {own.get('gc_collections', 0)} collections"
        yield "Memory, peak", said, "the collector runs only when memory grew"


def configuration(run: Run, prefix: str) -> Html:
    """Everything that was resolved, as the header keeps it: what was given by the user is marked."""
    header = run.header
    named = {str(name) for name in header.get("named") or ()}
    parts = [_settings(name, value, named) for name, value in _groups(part(header, "config"))]
    known = {key: header[key] for key in FACTS if header.get(key) is not None}
    parts += [_settings(name, dict(flat(part(header, name))), set()) for name in ("environment", "preflight")]
    shown = [one for one in (_settings("run", known, set()), *parts) if one is not None]
    return e(
        "section",
        e("h2", "Configuration"),
        e("p", "As in run.json. What the user gave is marked; the rest are defaults.", class_="note")
        if named
        else None,
        e("div", shown, class_="groups")
        if shown
        else e("p", "The header of this run has no configuration.", class_="nothing"),
        id=f"{prefix}configuration",
    )


def _groups(config: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    alone = {key: value for key, value in config.items() if not isinstance(value, Mapping)}
    for key, value in config.items():
        if isinstance(value, Mapping):
            yield key, dict(flat(value))
    yield "judging and repeating", alone


def flat(found: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Keys and values of what may be nested: the names of the parts it lies in are joined by dots."""
    for key, value in found.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def _settings(title: str, values: Mapping[str, Any], named: set[str]) -> Html | None:
    if not values:
        return None
    rows = [
        e(
            "tr",
            e("th", key, scope="row"),
            e("td", value_said(value), e("span", "given", class_="given") if key in named else None),
        )
        for key, value in values.items()
    ]
    return e(
        "details",
        e("summary", e("h3", title), e("span", f"{len(rows)}", class_="note")),
        e("table", e("caption", title, class_="heard"), e("tbody", rows), class_="settings"),
        open=bool(named & values.keys()),
    )


def value_said(value: Any) -> str:
    """A setting in words."""
    if value is None or value == [] or value == "":
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(value_said, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def again(run: Run, prefix: str) -> Html | None:
    """The command line, with a button that copies it, and what makes its requests the same to the byte."""
    salt = run.header.get("salt")
    given = "salt" in (run.header.get("named") or ())
    same = join(("Add ", e("code", f"--salt {shlex.quote(str(salt))}"), " to send the same bytes again."))
    return command(run.header.get("command"), prefix, same if salt and not given else None)


def command(said: Any, prefix: str = "", note: Html | None = None) -> Html | None:
    """A command line with a button that copies it; nothing where there is none."""
    if not said:
        return None
    line = f"{prefix}command"
    return e(
        "section",
        e("h2", "Run it again"),
        e(
            "div",
            e("pre", e("code", str(said), id=line), tabindex="0"),
            e("button", "Copy", type="button", data_copy=line, aria_live="polite"),
            class_="command",
        ),
        e("p", note, class_="note") if note else None,
        id=f"{prefix}again",
    )
