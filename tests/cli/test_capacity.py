"""What `genbench capacity` takes and refuses, and how it says its answer; the search itself: tests/studies."""

import json
from pathlib import Path
from typing import Any

import pytest

from genbench.studies import verdicts
from tests.runs import Runner

URL = ("--url", "http://127.0.0.1:9")
SLO = ("--slo", "ttft.p95<500ms")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "capacity needs a promise to keep; give --slo 'ttft.p95<500ms', a set's name or --goodput"),
        (("--slo", "tftf.p95<1s"), "unknown metric 'tftf' in the SLO 'tftf.p95<1s'; use one of ttft, "),
        (("--slo", "chatt"), "--slo chatt is neither a rule nor a set; write it like ttft.p95<500ms or error_rate<1%"),
        (("--slo", "request_throughput>10"), "request_throughput grows with the load, and is no limit to it"),
        (("--slo", "goodput>3"), "goodput grows with the load"),
        ((*SLO, "--by", "batch"), "--by batch: must be request-rate or concurrency"),
        ((*SLO, "--low", "0"), "--low 0: must be a number above 0"),
        ((*SLO, "--high", "many"), "--high many: must be a number above 0"),
        ((*SLO, "--high", "1.5", "--by", "concurrency"), "--high 1.5: must be a whole number from 1 on"),
        (("--slo", "ttft.p95>1s"), "--slo ttft.p95>1s asks for a slow server, and every high load keeps it"),
        (("--slo", "error_rate<0%"), "--slo error_rate<0% can never be kept"),
        ((*SLO, "--by", "concurrency", "-c", "7"), "--concurrency 7: --by concurrency sets it itself"),
        ((*SLO, "--low", "1e12"), "--low 1e12: must be a number above 0, up to 1,000,000"),
        ((*SLO, "--low", "8", "--high", "4"), "--low 8 is not below --high 4; exchange them"),
        ((*SLO, "--precision", "0"), "--precision 0: must be a share above 0 % and below 100 %, like 5%"),
        ((*SLO, "--budget", "soon"), "--budget soon: must be a time like 30, 500ms or 15m"),
        ((*SLO, "--budget", "15"), "--budget 15: one probe takes 10 s or more; give a minute at least"),
        ((*SLO, "--budget", "0"), "--budget 0: must be above 0 s"),
        ((*SLO, "--cool-down", "-1"), "--cool-down -1: must be "),
        ((*SLO, "--request-rate", "4"), "--request-rate 4.0: capacity sets load and length of its probes itself"),
        ((*SLO, "--duration", "1m"), "--duration 60.0: capacity sets load and length"),
        ((*SLO, "-n", "5"), "--request-count 5: capacity sets load and length"),
        ((*SLO, "--ramp", "1:5:10s"), "--ramp 1:5:10s: capacity sets load and length"),
        ((*SLO, "--goodput", "ttft:400"), "--goodput and --slo ttft.p95<500ms both say what a request has to keep"),
        (("--goodput", "ttft"), "--goodput ttft: 'ttft' has no bound above 0; write it like ttft:500 tpot:50"),
        (("--goodput", "tpt:5"), "--goodput tpt:5: unknown metric 'tpt'; use one of tpot, "),
        (("--goodput", " "), "--goodput is empty"),
        (("--goodput", "ttft:5", "--attainment", "100"), "--attainment 100: must be a share above 0 % and below 100 %"),
        ((*SLO, "--attainment", "90"), "--attainment 90 is the share for --goodput"),
        ((*SLO, "--resume", "/nowhere"), "/nowhere is no capacity search: cannot read capacity.json"),
    ],
)
def test_a_users_mistakes(run: Runner, words: tuple[str, ...], says: str) -> None:
    ran = run("capacity", *URL, *words)
    assert ran.code == 2
    assert says in ran.err
    assert ran.err.count("\n") == 1
    assert ran.out == ""


def test_a_server_that_is_not_there_leaves_nothing(run: Runner, tmp_path: Path) -> None:
    ran = run("capacity", *URL, *SLO, "--model", "m", "--wait-ready", "0", "--artifact-dir", str(tmp_path / "a"))
    assert ran.code == 3
    assert list((tmp_path / "a").iterdir()) == []


def test_a_folder_of_another_kind(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "capacity.json").write_text('{"kind": "sweep", "schema": 1}')
    ran = run("capacity", "--resume", str(tmp_path))
    assert ran.code == 2
    assert "is of another kind or version" in ran.err
    (tmp_path / "capacity.json").write_text("{")
    assert "is not JSON" in run("capacity", "--resume", str(tmp_path)).err
    again = run("capacity", "--resume", str(tmp_path), "--name", "x")
    assert again.code == 2


def test_help(run: Runner) -> None:
    ran = run("capacity", "--help")
    assert ran.code == 0
    for option in ("--slo", "--goodput", "--attainment", "--by", "--low", "--precision", "--budget", "--resume"):
        assert option in ran.out
    assert "genbench capacity --url http://localhost:8000 --slo" in ran.out


# -- words -------------------------------------------------------------------------------------------------------------


def entry(value: float, verdict: str, p95: float, *, confirmation: bool = False, **other: Any) -> dict[str, Any]:
    rule = {"rule": "ttft.p95<500ms", "value": p95, "passed": p95 < 500, "attainment_pct": 96.0}
    return {
        "value": value, "verdict": verdict, "confirmation": confirmation, "why": "", "saturated": "", "seconds": 20.0,
        "outcomes": {"ok": 900, "truncated": 2}, "slo": [rule], "client": [],
    } | other  # fmt: skip


def document(*probes: dict[str, Any], **other: Any) -> dict[str, Any]:
    answer = {"value": 42.31, "ci95": [40.88, 44.04], "at_least": False, "highest_allowed": False, "confirmed": True,
              "wide": False, "fitted": True}  # fmt: skip
    return {
        "by": "request_rate", "slo": ["ttft.p95<500ms"], "hopeless": "", "notes": [], "precision": 0.05,
        "answer": answer | other.pop("answer", {}), "probes": list(probes),
    } | other  # fmt: skip


USUAL = (entry(40, "kept", 420), entry(45.0, "missed", 612), entry(50, "missed", 900), entry(42.3, "close", 480))


def test_the_answer_in_one_line() -> None:
    assert verdicts.sentences(document(*USUAL)) == [
        "holds 42.3 req/s (95 % CI 40.9-44) with TTFT p95 < 500 ms; at 45 it was 612 ms"
    ]


def test_other_answers_in_one_line() -> None:
    grown = entry(45.0, "missed", 612, saturated="saturated: ...")
    assert verdicts.first(document(*USUAL, grown, by="concurrency", answer={"value": 42.0})).startswith(
        "holds concurrency 42 (95 % CI 40.9-44) with TTFT p95 < 500 ms; at 45 it was"
    )
    assert verdicts.first(document(entry(40, "kept", 420), grown)).endswith(
        "; at 45 the number in flight grew without bound"
    )
    failing = entry(45.0, "missed", 480)  # in the latencies of what succeeded nothing is to be seen
    assert verdicts.first(document(failing)).endswith("; at 45 it was kept by 96 % of the requests")
    least = document(entry(30, "kept", 420), answer={
        "value": 30.0, "ci95": [30.0, None], "at_least": True, "highest_allowed": True,
    })  # fmt: skip
    assert verdicts.first(least) == "holds at least 30 req/s with TTFT p95 < 500 ms"
    assert "no load was found that misses it, up to the highest allowed" in verdicts.sentences(least)
    least["answer"]["highest_allowed"] = False
    assert "no load was found that misses it, before the search ended" in verdicts.sentences(least)
    late = document(entry(40, "kept", 420), entry(45, "missed", 612, client=["the client used 99 % of a core"]))
    assert verdicts.sentences(late)[1] == (
        "at 45 genbench itself was late (the client used 99 % of a core): the limit may be the client's; give it a "
        "core of its own (taskset)"
    )


def test_several_promises() -> None:
    rules = [
        {"rule": "ttft.p95<500ms", "value": 300.0, "passed": True, "attainment_pct": 99.0},
        {"rule": "error_rate<=1%", "value": 3.0, "passed": False, "attainment_pct": None},
    ]
    found = document(entry(50, "missed", 1, slo=rules), slo=["ttft.p95<500ms", "error_rate<=1%"])
    assert verdicts.first(found).endswith("with TTFT p95 < 500 ms, error rate <= 1 %; at 50 error rate was 3 %")


def test_no_load_holds() -> None:
    none = document(entry(0.5, "missed", 812), entry(2, "missed", 2000), answer={"value": None, "ci95": None})
    assert verdicts.first(none) == "holds no load with TTFT p95 < 500 ms: at 0.5 it was 812 ms"
    assert verdicts.sentences(none) == [verdicts.first(none)]
    alone = document(hopeless="even one request at a time misses it: TTFT p95 was 812 ms")
    assert verdicts.first(alone).startswith("holds no load with TTFT p95 < 500 ms: even one request at a time")
    assert verdicts.first(document(answer={"value": None})) == "no answer: no probe came to its end"
    assert verdicts.first(document() | {"answer": None}) == "no answer: no probe came to its end"


def test_what_to_know_of_it() -> None:
    failed = entry(43.0, "close", 520, confirmation=True, why="undecided: ...")
    said = verdicts.sentences(document(*USUAL, failed, answer={"confirmed": False, "wide": True}, notes=["a note"]))
    assert said[1].startswith("the confirmation at 43 did not keep the promise (undecided: ...): the answer was")
    assert said[2].startswith("the interval is wider than the 5 % that were asked for")
    assert said[3] == "a note"
    assert "not confirmed by a run of its own" in verdicts.sentences(document(*USUAL, answer={"confirmed": None}))


def test_the_table_of_probes() -> None:
    lines = verdicts.table(document(*USUAL, entry(42.3, "close", 480, confirmation=True)))
    assert lines[0].split() == ["load", "verdict", "seconds", "requests", "promise"]
    assert lines[2].split()[:4] == ["45", "missed", "20", "902"]
    assert lines[2].endswith("TTFT p95 was 612 ms")
    assert "undecided *" in lines[5]
    assert lines[-1] == "* confirmation"
    assert json.dumps(lines).isascii()
