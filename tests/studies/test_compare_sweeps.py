"""Sweeps against sweeps, load by load; capacities against capacities."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

import orjson
import pytest

from genbench.errors import ConfigError
from genbench.studies import compare, compare_files, compare_markdown, compare_read, compare_words, sweep_files
from genbench.studies.compare import Wanted
from genbench.studies.importing import read
from tests.studies.compared import header, write_run

Marks: TypeAlias = Mapping[float, Mapping[str, Any]]
NONE: Marks = {}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run's own intervals, most of the time to read it, take no part in the rows."""
    monkeypatch.setattr("genbench.stats.block_bootstrap", lambda *_, **__: {})


def sweep(folder: Path, loads: list[float], *, gap: float = 20.0, repeats: int = 1, marks: Marks = NONE) -> Path:
    """A sweep over the concurrency by hand; `marks` change the entry of a load, as {4: {"saturated": "..."}}."""
    points = []
    for load in loads:
        for repeat in range(repeats):
            name = f"points/c{load:g}-{repeat}"
            about = header(config__load__concurrency=int(load))
            run = read(write_run(folder / name, requests=40, gap=gap * load**0.5, seed=repeat, about=about))
            entry = {"by": "concurrency", "value": load, "group": "", "repeat": repeat, "folder": name, "seconds": 1.0}
            points.append({**entry, **sweep_files._figures(run), **marks.get(load, {})})
    document: dict[str, Any] = {
        "schema": 1, "genbench": "0.1.0", "kind": "sweep", "command": "", "model": "tiny", "endpoint_type": "chat",
        "by": "concurrency", "simulated": False, "interrupted": False, "gpus": None, "config": {}, "points": points,
        "left_out": [], "analysis": {},
    }  # fmt: skip
    sweep_files.write(folder, document)
    return folder


def compared(*given: Path, **wanted: Any) -> dict[str, Any]:
    return compare.compare(compare_read.sides([str(one) for one in given]), Wanted(**wanted), "genbench compare A B")


def test_each_load_that_both_have(tmp_path: Path) -> None:
    document = compared(sweep(tmp_path / "a", [1, 2, 4]), sweep(tmp_path / "b", [2, 4, 8], gap=24))
    assert [one["load"]["text"] for one in document["comparisons"]] == ["concurrency 2", "concurrency 4"]
    for one in document["comparisons"]:
        itl = next(row for row in one["rows"] if (row["metric"], row["stat"]) == ("itl", "mean"))
        assert itl["ratio"] == pytest.approx(1.2, rel=0.03)
    assert "measured on one side only, not compared: concurrency 1, concurrency 8" in document["sentences"]
    text = compare_words.screen(document)
    assert text.count("B against A at concurrency") == 2
    assert "concurrency 1/2/4, 3 runs" in text
    assert max(map(len, text.splitlines())) <= 100


def test_what_is_the_same_everywhere_is_said_once(tmp_path: Path) -> None:
    sides = compare_read.sides([str(sweep(tmp_path / name, [1, 2])) for name in "ab"])
    for one in sides[1].subjects:
        one.facts["model"] = "big"  # type: ignore[index]
    text = compare_words.screen(compare.compare(sides, Wanted(), ""))
    assert text.count("! model: tiny against big") == 1
    assert text.index("B against A at every load") < text.index("! model") < text.index("B against A at concurrency 1")


def test_a_load_without_a_usable_point_is_a_sentence(tmp_path: Path) -> None:
    a = sweep(tmp_path / "a", [1, 2, 4])
    b = sweep(tmp_path / "b", [1, 2, 4], marks={2: {"verdict": "INVALID"}, 4: {"saturated": "in flight grew"}})
    document = compared(a, b)
    assert [one["load"]["value"] for one in document["comparisons"]] == [1]
    assert "at concurrency 2 b was INVALID, a was not: no rows for it" in document["sentences"]
    assert "at concurrency 4 b was saturated, a was not: no rows for it" in document["sentences"]


def test_a_run_against_the_same_load_of_a_sweep(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", requests=40, about=header(config__load__concurrency=2))
    document = compared(sweep(tmp_path / "a", [1, 2]), run)
    assert [one["load"]["value"] for one in document["comparisons"]] == [2]


def test_no_load_in_common(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", requests=40, about=header(config__load__concurrency=16))
    with pytest.raises(ConfigError, match=r"a \(concurrency 1/2\) and run \(concurrency 16\) share no load"):
        compared(sweep(tmp_path / "a", [1, 2]), run)


def test_a_sweep_of_one_load_is_repeats(tmp_path: Path) -> None:
    a, b = (sweep(tmp_path / name, [2], repeats=3, gap=gap) for name, gap in (("a", 20), ("b", 26)))
    document = compared(a, b)
    assert document["says"] == "engines"
    assert [one["kind"] for one in document["subjects"]] == ["repeats", "repeats"]
    assert document["comparisons"][0]["load"] is None


def test_repeats_at_each_load(tmp_path: Path) -> None:
    document = compared(*(sweep(tmp_path / name, [1, 2], repeats=2) for name in "ab"))
    assert [one["runs"] for one in document["comparisons"]] == [[2, 2], [2, 2]]
    assert document["says"] == "engines"


def test_a_sweep_is_no_baseline(tmp_path: Path) -> None:
    (side,) = compare_read.sides([str(sweep(tmp_path / "a", [1, 2]))])
    with pytest.raises(ConfigError, match="a is a sweep; a baseline is one load"):
        compare_files.save_baseline(side, tmp_path / "x.json")


def test_highest_throughput_and_promises(tmp_path: Path) -> None:
    promise = {"rule": "ttft.p95<50ms", "metric": "ttft", "stat": "p95", "bound": 50.0, "unit": "ms", "value": 40.0,
               "passed": True, "attainment_pct": 100.0}  # fmt: skip
    kept, missed = {"slo": [promise]}, {"slo": [{**promise, "passed": False}]}

    def marks(*both: dict[str, Any]) -> Marks:
        figure = [{"output_token_throughput": {"unit": "token/s", "value": top, "ci95": [0.99 * top, 1.01 * top]},
                   "request_throughput": {"unit": "req/s", "value": top / 6}} for top in (100.0, 200.0)]  # fmt: skip
        return {load: {**one, "run": run} for load, one, run in zip((1, 2), both, figure, strict=True)}

    a, b = (
        sweep(tmp_path / name, [1, 2], marks=marks(*found))
        for name, found in (("a", (kept, kept)), ("b", (kept, missed)))
    )
    found = {row["what"]: row for row in compared(a, b)["capacities"]}
    top = found["highest throughput, token/s"]
    assert (top["a_value"], top["b_value"], top["ratio"], top["verdict"]) == (200, 200, 1, "no difference seen")
    held = found["keeps ttft.p95<50ms up to concurrency"]
    assert (held["a_value"], held["b_value"], held["ratio"], held["verdict"]) == (2, 1, 0.5, "")
    assert held["why"] == "no interval, so not tested"


# -- capacity searches -------------------------------------------------------------------------------------------------


def search(folder: Path, value: float | None, ends: list[float] | None, **changes: Any) -> Path:
    folder.mkdir()
    answer = {"value": value, "ci95": ends, "at_least": False, "confirmed": True, "wide": False}
    document = {"schema": 1, "kind": "capacity", "simulated": False, "by": "request_rate", "slo": ["ttft.p95<500ms"],
                "answer": answer, "alone": None, "config": {"target": {"model": "tiny"}}, **changes}  # fmt: skip
    (folder / "capacity.json").write_bytes(orjson.dumps(document))
    return folder


def test_whole_loads_without_a_spread(tmp_path: Path) -> None:
    """8 (8 .. 8) is from 8 to below 9, an error of ln(9/8) / 3.92 = 0.030; 16 has 0.0155; ln 2 is 20 of both."""
    a = search(tmp_path / "a", 8.0, [8.0, 8.0], by="concurrency")
    b = search(tmp_path / "b", 16.0, [16.0, 16.0], by="concurrency")
    (row,) = compared(a, b)["capacities"]
    assert row["verdict"] == "higher"
    assert row["p"] < 1e-6
    assert row["ci95"] == pytest.approx([1.872, 2.137], abs=0.002)


def test_two_searches(tmp_path: Path) -> None:
    """40 (38 .. 42) against 44 (42 .. 46): errors of the logs (ln 42/38) / 3.92 = 0.02553 and 0.02321, together 0.0345;
    ln 1.1 = 0.0953 is 2.76 of them: p = 0.0057, interval 1.1 * exp(-+1.96 * 0.0345) = 1.028 .. 1.177."""
    a, b = search(tmp_path / "a", 40.0, [38.0, 42.0]), search(tmp_path / "b", 44.0, [42.0, 46.0])
    document = compared(a, b)
    (row,) = document["capacities"]
    assert row["ratio"] == pytest.approx(1.1)
    assert row["ci95"] == pytest.approx([1.028, 1.177], abs=0.001)
    assert row["p"] == pytest.approx(0.0057, abs=0.0001)
    assert row["verdict"] == "higher"
    (said,) = document["sentences"]
    assert said.startswith("capacity, req/s: 44 against 40, +10 % (95 %: +2.81 .. +17.7 %, p 0.0057): higher")
    assert "| b: capacity, req/s | 40 | 44 | +10 % | higher |" in compare_markdown.markdown(document)
    back = compared(b, a)["capacities"][0]
    assert math.log(back["ratio"]) == pytest.approx(-math.log(row["ratio"]))
    assert (back["verdict"], back["p"]) == ("lower", pytest.approx(row["p"]))


@pytest.mark.parametrize(
    ("other", "verdict", "why"),
    [
        ({"value": 41.0, "ends": [39.0, 43.0]}, "no difference seen", ""),
        ({"value": 44.0, "ends": None}, "", "no interval, so not tested"),
        ({"value": None, "ends": None}, "not comparable", "one side has none"),
        ({"value": 44.0, "ends": None, "slo": ["ttft.p95<1s"]}, "not comparable", "the promises differ: "),
        (
            {"value": 44.0, "ends": None, "by": "concurrency"},
            "not comparable",
            "one was searched over the request rate, the other over the concurrency",
        ),
    ],
)
def test_searches_that_say_less(other: dict[str, Any], verdict: str, why: str, tmp_path: Path) -> None:
    value, ends = other.pop("value"), other.pop("ends")
    document = compared(search(tmp_path / "a", 40.0, [38.0, 42.0]), search(tmp_path / "b", value, ends, **other))
    (row,) = document["capacities"]
    assert row["verdict"] == verdict
    assert row["why"].startswith(why)


def test_a_search_against_a_run(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", requests=10)
    with pytest.raises(ConfigError, match="a is a capacity search and run is none"):
        compared(search(tmp_path / "a", 40.0, None), run)


def test_what_makes_two_searches_unfair(tmp_path: Path) -> None:
    alone = {"folder": "points/alone"}
    for name, model in (("a", "tiny"), ("b", "big")):
        search(tmp_path / name, 40.0, [38.0, 42.0], alone=alone)
        write_run(tmp_path / name / "points" / "alone", requests=10, about=header(model=model))
    document = compared(tmp_path / "a", tmp_path / "b")
    (one,) = document["comparisons"]
    assert ([line["text"] for line in one["unfair"]], one["rows"]) == (["model: tiny against big"], [])
    assert document["subjects"][0]["runs"] == 0
    assert "! model: tiny against big" in compare_words.screen(document)
