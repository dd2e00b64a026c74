"""`genbench cost` on runs, sweeps and capacity searches: rows, prices and where they come from, doubts, the figure."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from genbench import hardware
from genbench.errors import ConfigError, GenbenchError
from genbench.studies import cost, cost_figure, cost_words, importing
from genbench.studies.cost_read import Row, Subject, Terms, paid, read, renamed
from tests.studies.paid_for import EXAMPLE, RULE, capacity_in, points, probed, run_in, sweep_in

CATALOGUE = hardware.read()


def costed(*subjects: Subject, ratio: float = 4.0, **terms: Any) -> dict[str, Any]:
    found = cost.cost(renamed(subjects), Terms(**terms), CATALOGUE, ratio=ratio, command="genbench cost")
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def test_a_run_is_priced_by_its_own_throughput() -> None:
    run = importing.read(EXAMPLE)
    (row,) = costed(read(f"demo={EXAMPLE}"), price={"": 3.6}, gpus={"": 2})["rows"]
    tps = run.summary.run["output_token_throughput"]
    assert row["output_tps"] == tps.value
    assert row["usd_per_1m_output"] == pytest.approx(3.6 / 3600 / tps.value * 1e6)  # $3.6 an hour is $0.001 a second
    assert row["usd_per_1m_output_ci95"] is None  # the run is too short for an interval
    assert row["usd_per_gpu_hour"] == 1.8
    assert row["usd_per_1k_requests"] == pytest.approx(1 / run.summary.run["request_throughput"].value)
    split, into = row["split"], run.summary.run["input_token_throughput"].value
    assert (split["usd_per_1m_input"] * into + split["usd_per_1m_output"] * tps.value) / 1e6 == pytest.approx(0.001)
    assert row["latency_ms"]["ttft.p95"] == run.summary.metrics["ttft"].stats["p95"]
    assert (row["name"], row["kind"], row["load"]) == ("demo", "run", "4 at a time")


@pytest.mark.parametrize(
    ("known", "terms", "price", "source"),
    [
        ({"price_per_hour": 2.5}, {}, 2.5, "the run's price-per-hour"),
        ({"price_per_hour": 2.5, "instance": "g5.2xlarge"}, {}, 2.5, "the run's price-per-hour"),
        ({"instance": "g5.2xlarge"}, {}, 1.212, "list price of g5.2xlarge, AWS us-east-1, by instances.vantage.sh,"
         " 2026-01"),
        ({"price_per_hour": 2.5}, {"price": {"": 7.0}}, 7.0, "--price"),
        ({"price_per_hour": 2.5}, {"price": {"": 7.0, "r": 8.0}}, 8.0, "--price"),
        ({"price_per_hour": 2.5}, {"instance": {"": "g6.xlarge"}}, 0.8048, "list price of g6.xlarge, AWS us-east-1, by"
         " instances.vantage.sh, 2026-01"),
        ({"instance": "my own box"}, {"price": {"": 7.0}}, 7.0, "--price"),
    ],
)  # fmt: skip
def test_where_a_price_comes_from(known: dict[str, Any], terms: dict[str, Any], price: float, source: str) -> None:
    found = paid("r", known, Terms(**terms), CATALOGUE)
    assert (found.priced.price_per_hour, found.source) == (price, source)


def test_hardware_of_a_run_in_its_row(tmp_path: Path) -> None:
    folder = run_in(tmp_path / "r", {"instance": "G5.12xlarge", "tensor_parallel": 4})
    document = costed(read(str(folder)))
    row = document["rows"][0]
    assert (row["instance"], row["gpu"], row["gpus"], row["usd_per_gpu_hour"]) == ("g5.12xlarge", "A10G", 4, 1.418)
    assert document["doubts"] == []
    odd = costed(read(str(run_in(tmp_path / "odd", {"instance": "g5.12xlarge", "gpu_count": 8}))))
    assert [one["text"] for one in odd["doubts"]] == ["g5.12xlarge has 4 x A10G, not 8"]


@pytest.mark.parametrize(
    ("known", "terms", "says"),
    [
        ({}, {}, "r has no price; give --price"),
        ({"instance": "my own box"}, {}, "r: instance my own box: no instance of that name is known"),
        ({"instance": "g5.3xlarge"}, {}, "the nearest are g5.xlarge"),
        ({}, {"price": {"": 1.0}, "instance": {"": "g5.3xlarge"}}, "--instance g5.3xlarge: no instance of that name"),
        ({}, {"instance": {"": "a3-highgpu-8g"}}, "a3-highgpu-8g has no list price in profiles/hardware.yaml"),
        ({}, {"price": {"": 1.0}, "gpu": {"": "H100"}}, "--gpu H100: it comes with several memory sizes; use H100-80"),
    ],
)  # fmt: skip
def test_no_price(known: dict[str, Any], terms: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        paid("r", known, Terms(**terms), CATALOGUE)


def test_a_sweep_load_by_load(tmp_path: Path) -> None:
    """At c <= 16 in flight a step takes 10 + 0.1 c ms, so c / (10 + 0.1 c) x 1000 token/s: 99.0 at 1, 740.7 at 8."""
    folder = sweep_in(tmp_path / "s", points(RULE, error=0.02), {"price_per_hour": 3.6}, gpus=2)
    document = costed(read(str(folder)))
    rows = document["rows"]
    assert [row["load"] for row in rows] == [f"concurrency {c}" for c in (1, 2, 4, 8, 16, 32, 64)]
    assert rows[0]["usd_per_1m_output"] == pytest.approx(1000 / (1000 / 10.1))
    assert rows[3]["usd_per_1m_output"] == pytest.approx(1000 / (8000 / 10.8))
    assert rows[3]["usd_per_1m_output_ci95"] == pytest.approx([1.35 / 1.02, 1.35 / 0.98])
    assert [row["kept"] for row in rows] == [True, True, True, True, True, False, False]
    assert rows[0]["gpus"] == 2
    assert document["cheapest"] == {"of_all": 4, "keeping": 4}  # from 16 on it is the same throughput, later
    said = cost_words.screen(document)
    assert said.startswith("cheapest that keeps every promise: s at concurrency 16, $0.7250 per million output tokens")
    assert max(map(len, said.splitlines())) <= 100


def test_a_saturated_load_is_not_the_cheapest(tmp_path: Path) -> None:
    found = points()
    found[4]["saturated"] = "the number in flight grew"
    found[5]["verdict"] = "INVALID"
    document = costed(read(str(sweep_in(tmp_path / "s", found[:6]))), price={"": 1.0})
    assert document["cheapest"] == {"of_all": 3, "keeping": None}
    said = cost_words.screen(document)
    assert "INVALID, so its figures do not count: s" in said
    assert "concurrency 16" in said
    assert "  sat" in said


def test_the_figure_of_a_sweep(tmp_path: Path) -> None:
    first = sweep_in(tmp_path / "first", points(RULE, error=0.02))
    said = cost_figure.draw([("first", first, 3.6)], tmp_path)
    assert said == ""
    assert (tmp_path / "plots" / "cost_by_latency.png").stat().st_size > 10_000
    with (tmp_path / "plots" / "cost_by_latency.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["concurrency"]) for row in rows] == [1, 2, 4, 8, 16, 32, 64]
    assert float(rows[3]["usd_per_1m_output"]) == pytest.approx(1.35)
    assert float(rows[3]["low_usd_per_1m_output"]) == pytest.approx(1.35 / 1.02, abs=1e-5)
    assert float(rows[3]["ttft_p95_ms"]) == pytest.approx(10.8 * 1.2)


def test_the_figure_of_two_sweeps_at_two_prices(tmp_path: Path) -> None:
    folders = [sweep_in(tmp_path / name, points()) for name in ("one", "two")]
    assert cost_figure.draw([("one", folders[0], 1.0), ("two", folders[1], 2.0)], tmp_path) == ""
    with (tmp_path / "plots" / "cost_by_latency.csv").open() as file:
        rows = list(csv.DictReader(file))
    by_name = {
        name: [float(row["usd_per_1m_output"]) for row in rows if row["series"] == name] for name in ("one", "two")
    }
    assert by_name["two"] == pytest.approx([2 * one for one in by_name["one"]])


def test_a_sweep_without_tokens_has_no_figure(tmp_path: Path) -> None:
    found = points()
    for one in found:
        del one["run"]["output_token_throughput"]
    folder = sweep_in(tmp_path / "s", found)
    assert cost_figure.draw([("s", folder, 1.0)], tmp_path).startswith("no figure: no load has a")


def test_a_capacity_search_is_priced_at_its_confirmation(tmp_path: Path) -> None:
    document = costed(read(str(capacity_in(tmp_path / "c"))), price={"": 3.6})
    (row,) = document["rows"]
    assert row["load"] == "12 req/s"
    assert row["usd_per_1m_output"] == pytest.approx(1.35)


UNSURE = {"value": 46.6, "ci95": [23.3, 93.2], "confirmed": None, "wide": True, "fitted": False}


def test_the_answer_of_a_search_is_priced_and_not_a_lower_load_that_was_kept(tmp_path: Path) -> None:
    """8000 / 10.8 token/s at $3.6 an hour are $1.35 a million; the probe at 23.3 had half of that."""
    slow = probed(23.3)
    slow["run"] = {**slow["run"], "output_token_throughput": {"value": 4000 / 10.8, "unit": "token/s"}}
    probes = [slow, probed(93.2, verdict="close", saturated="grew"), probed(46.6, verdict="close")]
    folder = capacity_in(tmp_path / "c", answer=46.6, probes=probes) / "capacity.json"
    folder.write_text(json.dumps(json.loads(folder.read_text()) | {"answer": UNSURE}))
    document = costed(read(str(folder.parent)), price={"": 3.6})
    (row,) = document["rows"]
    assert (row["load"], row["probe"], row["scaled"]) == ("46.6 req/s", "", 1)
    assert row["usd_per_1m_output"] == pytest.approx(1.35)
    assert row["below"] == {"load": "23.3 req/s", "usd_per_1m_output": pytest.approx(2.70)}
    assert document["sentences"][0].startswith("$1.3500 per million output tokens at 46.6 req/s")
    assert document["sentences"][1] == (
        "c: the search was not confirmed; at the lower end of its interval, 23.3 req/s: $2.7000"
    )
    both = cost_words.screen(costed(read(f"c={folder.parent}"), read(f"run={EXAMPLE}"), price={"": 3.6}))
    assert any(line.split()[:3] == ["c", "46.6", "req/s"] for line in both.splitlines())


def test_the_throughput_of_another_rate_is_in_proportion_and_that_is_said(tmp_path: Path) -> None:
    """Probed at 10, held 12 req/s: 1.2 x 8000 / 10.8 token/s, so $1.35 / 1.2 a million."""
    document = costed(read(str(capacity_in(tmp_path / "c", probes=[probed(10.0)]))), price={"": 3.6})
    (row,) = document["rows"]
    assert (row["load"], row["probe"], row["scaled"]) == ("12 req/s", "10 req/s", 1.2)
    assert row["usd_per_1m_output"] == pytest.approx(1.125)
    said = cost_words.screen(document)
    assert "c: the throughput at 12 req/s is that of the nearest probe, at 10 req/s, times 1.2\n" in said
    assert "740.741 at 10 req/s x 1.2" in said
    assert "not confirmed" not in said
    by = capacity_in(tmp_path / "n", "concurrency", probes=[probed(10.0, "concurrency")])
    (row,) = costed(read(str(by)), price={"": 3.6})["rows"]
    assert (row["load"], row["probe"], row["scaled"]) == ("concurrency 12", "concurrency 10", 1)
    assert row["usd_per_1m_output"] == pytest.approx(1.35)  # in flight and throughput are not in proportion


def test_input_and_output_of_a_load_are_of_the_same_window(tmp_path: Path) -> None:
    found = points()[:1]
    for key, value in (("output_token_throughput", 100.0), ("steady_output_token_throughput", 125.0),
                       ("input_token_throughput", 400.0)):  # fmt: skip
        found[0]["run"][key] = {"value": value, "unit": "token/s"}
    (row,) = costed(read(str(sweep_in(tmp_path / "s", found))), price={"": 3.6})["rows"]
    assert (row["output_tps"], row["input_tps"]) == (pytest.approx(125), pytest.approx(500))


def test_figures_of_another_tool_are_priced_by_its_own_throughput(tmp_path: Path) -> None:
    peers = EXAMPLE.parent.parent.parent / "tests" / "data" / "peers"
    brought = importing.bring_in(peers / "sglang.jsonl", artifact_dir=tmp_path, nth=1)[0]
    assert brought.run is None
    figures = json.loads((brought.folder / "imported.json").read_text())["run"]
    (row,) = costed(read(str(brought.folder)), price={"": 3.6})["rows"]
    assert row["output_tps"] == figures["sglang.output_throughput"]["value"]
    assert row["usd_per_1m_output"] == pytest.approx(1000 / row["output_tps"])


def test_rows_of_figures_are_held_against_the_first() -> None:
    """Google: 13.8 times the throughput at 5.5 times the price is 2.509 times as much for a dollar."""
    rows = [Subject(name, "options", "", (Row(name, output_tps=tps),)) for name, tps in (("G2", 100.0), ("A3", 1380.0))]
    document = costed(*rows, price={"G2": 1.0, "A3": 5.5})
    ratios = [tuple(round(row[key], 3) for key in ("ratio_throughput", "ratio_cost", "ratio_per_usd"))
              for row in document["rows"]]  # fmt: skip
    assert ratios == [(1.0, 1.0, 1.0), (13.8, 5.5, 2.509)]


def test_embeddings_have_a_cost_of_input_only() -> None:
    row = Row("e", input_tps=1000.0, requests_ps=10.0)
    document = costed(Subject("e", "options", "", (row,)), price={"": 3.6})
    assert document["rows"][0]["split"] == {"usd_per_1m_input": pytest.approx(1.0), "usd_per_1m_output": None}
    assert document["sentences"] == ["$1.0000 per million input tokens; there is no output"]
    assert "all of it is input: 3.6 / (1,000 x 3600) x 1,000,000 = 1.0000" in cost_words.screen(document)


def test_two_of_a_name_are_told_apart(tmp_path: Path) -> None:
    for parent in ("a", "b"):
        run_in(tmp_path / parent / "run")
    document = costed(*(read(str(tmp_path / parent / "run")) for parent in ("a", "b")), price={"": 1.0})
    assert [row["name"] for row in document["rows"]] == ["run", "run (2)"]


def test_the_arithmetic_can_be_followed() -> None:
    row = Row("x", output_tps=161.3, input_tps=400.0)
    document = costed(Subject("x", "options", "", (row,)), price={"": 1.212}, gpus={"": 1})
    said = cost_words.screen(document)
    for line in (
        "$2.0872 per million output tokens, 103.3 minutes for them, 479,109 tokens for a dollar",
        "161.3 token/s x 3600 s      = 580,680",
        "1.212 / 580,680 x 1,000,000 = 2.0872",
        "1,000,000 / (161.3 x 60)    = 103.33",
        "580,680 / 1.212             = 479,109",
        "1.212 / 3600 / (400 / 4 + 161.3) x 1,000,000 = 1.2884",
    ):
        assert line in said


@pytest.mark.parametrize(
    ("row", "says"),
    [(Row("x"), "x has no tokens per second"), (Row("x", output_tps=0.0, requests_ps=0.0), "no request was ok")],
)
def test_no_throughput(row: Row, says: str) -> None:
    with pytest.raises(GenbenchError, match=says):
        costed(Subject("x", "run", "", (row,)), price={"": 1.0})


def test_what_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "file.json").write_text("{}")
    for path, says in (
        (tmp_path / "nothing", "is no folder of a run"),
        (tmp_path, "is no folder of a run"),
        (tmp_path / "file.json", "genbench import makes one"),
        (capacity_in(tmp_path / "hopeless", answer=None), "found no load that keeps its promises"),
        (sweep_in(tmp_path / "empty", []), "has no load at which a request was ok"),
    ):
        with pytest.raises(GenbenchError, match=says):
            read(str(path))


def test_an_option_for_somebody_who_is_not_there() -> None:
    row = Subject("small", "options", "", (Row("small", output_tps=1.0),))
    with pytest.raises(ConfigError, match=r"--price smal=\.\.\.: nothing here has that name; use small"):
        costed(row, price={"smal": 1.0})
