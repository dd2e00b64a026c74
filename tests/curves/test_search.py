"""A capacity search drawn as a curve: its probes are the points, its answer a band, its sentences the page's."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from genbench import curves
from genbench.curves import _draw, _search
from genbench.plots._look import LIGHT
from genbench.report import curves_page
from tests.curves.made_sweeps import entry
from tests.report.dom import parse
from tests.runs import Runner

RULE = {"rule": "ttft.p95<150ms", "metric": "ttft", "stat": "p95", "op": "<", "bound": 150.0, "unit": "ms"}


def probe(value: float, kept_pct: float, verdict: str, *, confirmation: bool = False) -> dict[str, Any]:
    point = entry(value, requests=value, latency=0.3, ttft=0.1, by="request_rate")
    held = RULE | {"value": 100.0, "passed": kept_pct >= 95, "attainment_pct": kept_pct}
    told = {"verdict": verdict, "run_verdict": "VALID", "confirmation": confirmation, "why": "", "client": []}
    return point | told | {"slo": [held]}


def searched() -> dict[str, Any]:
    probes = [
        probe(2, 100, "kept"),
        probe(8, 10, "missed"),
        probe(4, 96, "close"),
        probe(4, 95, "close", confirmation=True),
    ]
    return {
        "schema": 1, "kind": "capacity", "genbench": "0.1.0", "command": "genbench capacity", "by": "request_rate",
        "model": "tiny", "endpoint_type": "chat", "simulated": False, "interrupted": False, "ended": True, "notes": [],
        "config": {}, "slo": [RULE["rule"]], "hopeless": "", "precision": 0.05, "alone": probes[0], "probes": probes,
        "sentences": ["holds 4.1 req/s with TTFT p95 < 150 ms"],
        "answer": {
            "value": 4.1, "ci95": [3.9, 4.4], "at_least": False, "highest_allowed": False, "confirmed": True,
            "wide": True,
        },
    }  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "capacity.json").write_bytes(orjson.dumps(searched()))
    return tmp_path


def test_probes_are_points_and_those_at_one_load_repeats() -> None:
    found = _search.as_sweep(searched())
    assert [(one["value"], one["repeat"], one["verdict"]) for one in found["points"]] == [
        (2, 0, "VALID"), (8, 0, "VALID"), (4, 0, "VALID"), (4, 1, "VALID"),
    ]  # fmt: skip
    (group,) = found["analysis"]["groups"]
    assert [(level["value"], level["repeats"]) for level in group["levels"]] == [(2, 1), (4, 2), (8, 1)]
    assert group["knee"] is None
    assert group["answer"] == {"value": 4.1, "low": 3.9, "high": 4.4}


def test_the_answer_is_a_mark(folder: Path) -> None:
    assert curves.draw(folder, ()) == ""
    table = _draw.tables([("", _search.as_sweep(searched()))], ["promises_by_load"])["promises_by_load"]
    marks = [mark for mark in table.marks if mark.kind == "answer"]  # type: ignore[union-attr]
    assert [(mark.low, mark.high, mark.share_pct, mark.text) for mark in marks] == [(3.9, 4.4, 4.1, "4.1 req/s")]
    drawn = str(_draw.spec("promises_by_load", table, LIGHT))  # type: ignore[arg-type]
    assert "4.1 req/s" in drawn
    assert "'type': 'rect'" in drawn


def test_no_answer_and_no_upper_end() -> None:
    document = searched()
    document["answer"] |= {"ci95": [4.1, None], "at_least": True}
    (group,) = _search.as_sweep(document)["analysis"]["groups"]
    assert group["answer"]["high"] is None
    document["answer"]["value"] = None
    assert "answer" not in _search.as_sweep(document)["analysis"]["groups"][0]
    assert _search.as_sweep(document | {"probes": []})["analysis"]["groups"] == []


def test_the_page(folder: Path) -> None:
    page = parse(curves_page.write(folder).read_text())
    assert page.one("h1").text == "tiny"
    text = page.one("body").text
    assert "The answer" in text
    assert "holds 4.1 req/s with TTFT p95 < 150 ms" in text
    assert "95 % interval 3.9" in text
    assert not page.all("section", id="best")
    assert "genbench 0.1.0 capacity" in text


def test_report_of_a_search(run: Runner, folder: Path) -> None:
    ran = run("report", str(folder), "--no-plots")
    assert ran.code == 0, ran.err
    assert ran.out.splitlines()[0] == "holds 4.1 req/s with TTFT p95 < 150 ms"
    assert "undecided" in ran.err
    again = run("report", str(folder), str(folder))
    assert again.code == 2
    assert "is a capacity search; report it alone" in again.err
