"""The page of a comparison as a tree: what is unfair first, verdicts in words, set-ups side by side, hostile texts."""

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from genbench import contrasts
from genbench.contrasts import value
from genbench.curves import _draw as curves_draw
from genbench.plots._figure import Table
from genbench.report import compare_page
from tests.contrasts.made_comparisons import (
    DOCUMENTS,
    METRICS,
    barred,
    capacity,
    comparison,
    document,
    gate,
    rows,
    subject,
    unfair,
    untested,
)
from tests.curves.made_sweeps import batching, sweep
from tests.report import made
from tests.report.dom import Node, parse
from tests.report.made import HOSTILE
from tests.report.test_page import sound

UNDRAWN = "no pictures: altair is not installed"
SECTIONS = ["unfair", "gates", "says", "ratios", "comparisons", "capacities", "value", "figures", "setup"]


def runs(*names: str) -> list[tuple[str, Any]]:
    """A run for each name; salts and urls differ."""
    return [
        (name, made.run(made.streamed(60, 50.0 + 5 * i), made.header(salt=f"salt of {name}")))
        for i, name in enumerate(names)
    ]


def page(of: dict[str, Any], *names: str, drawn: bool = False) -> Node:
    """The page of a comparison of runs of these names; its figures take most of the time and are left out."""
    with patch.object(compare_page, "missing", lambda: "" if drawn else UNDRAWN):
        tree = parse(compare_page.text(of, runs(*names)))
    sound(tree)
    return tree


@pytest.fixture(scope="module")
def tree() -> Node:
    return page(DOCUMENTS["pair"], "baseline", "candidate", drawn=True)


def cells(node: Node, class_: str) -> list[list[str]]:
    (body,) = node.one("table", class_=class_).all("tbody")
    return [[cell.text for cell in row.walk() if cell.name in ("th", "td")] for row in body.all("tr")]


def specs(tree: Node) -> list[str]:
    """The names of the figures in the page's data."""
    (data,) = [node for node in tree.all("script") if node.attributes.get("id") == "drawn"]
    return [one["name"] for one in json.loads(str(data.children[0]))["figures"]]


def test_sections_stand_in_order_with_links_to_each(tree: Node) -> None:
    found = [node.attributes["id"] for node in tree.one("main").all("section") if "id" in node.attributes]
    assert found == [*SECTIONS, "terms", "again"]
    assert [node.attributes["href"][1:] for node in tree.one("nav").all("a")] == found[1:]


def test_the_first_screen_says_what_is_compared(tree: Node) -> None:
    assert tree.one("h1").text == "candidate against baseline"
    facts = {node.one("dt").text: node.one("dd").text for node in tree.one("dl", class_="facts").all("div")}
    assert facts == {
        "Base (A)": "baseline",
        "Compared with it (B)": "candidate",
        "It speaks of": "these runs",
        "Model": "llama-3.1-8b",
        "Load": "16 at a time",
        "Smallest effect": "2 %",
    }


def test_only_repeats_speak_of_engines() -> None:
    text = page(DOCUMENTS["three"]).text
    assert "these engines, measured repeatedly" in text
    assert "these runs" not in text


def test_what_is_unfair_comes_first(tree: Node) -> None:
    box = tree.one("section", id="unfair")
    assert [node.text for node in box.all("li")] == ["salt in front of prompts: new against none"]
    assert "suspect" in box.attributes["class"]


def test_what_bars_metrics_names_them() -> None:
    lines = [unfair("one was streamed", "stream", "ttft", "itl"), unfair("other work", "dataset", "*")]
    tree = page(document([comparison("a", "b", unfair=lines)]), "a", "b")
    box = tree.one("section", id="unfair")
    assert [node.text for node in box.all("li")] == [
        "one was streamed – cannot be compared: Time to first token, Inter-token latency",
        "other work – no metric can be compared",
    ]
    assert "invalid" in box.attributes["class"]


def test_of_several_comparisons_a_line_stands_once_and_says_whose_it_is() -> None:
    shared, own = unfair("another client", "client"), unfair("another model", "model")
    made = document([comparison("a", "b", unfair=[shared]), comparison("a", "c", unfair=[shared, own])])
    lines = [node.text for node in page(made).one("section", id="unfair").all("li")]
    assert lines == ["another client", "another model (c)"]


def test_a_fair_comparison_says_so() -> None:
    assert "Nothing was found that makes it unfair." in page(DOCUMENTS["three"]).one("p", id="unfair").text


def test_a_gate_says_what_failed(tree: Node) -> None:
    gates = tree.one("section", id="gates")
    assert gates.one("h2").text == "Gate: 1 of 2 failed"
    assert [cell[:2] for cell in cells(gates, "gates")] == [["ttft.p99 worse 5%", "PASS"], ["itl.p50 worse 3%", "FAIL"]]
    passed = document([comparison("a", "b")], gates=[gate(passed=True)])
    assert page(passed).one("section", id="gates").one("h2").text == "Gate: passed"


def test_every_metric_has_a_row_with_its_verdict_in_words(tree: Node) -> None:
    found = cells(tree.one("section", id="comparisons"), "compared")
    assert len(found) == len(METRICS) + 1
    assert found[0] == [
        "Time to first token p50",
        "81.20 ms",
        "73.89 ms",
        "0.910 −9.0 %",
        "0.890 – 0.930",
        "< 0.001 Holm 0.002",
        "faster",
    ]
    assert found[3][-1] == "slower"
    assert found[-1] == ["Error rate", "0 %", "0.800 %", "+0.8 points", "–", "0.12 Holm 0.60", "no difference seen"]


def test_verdicts_have_a_colour_of_their_own(tree: Node) -> None:
    table = tree.one("section", id="comparisons")
    assert {node.text for node in table.all("span", class_="valid")} == {"faster"}
    assert {node.text for node in table.all("span", class_="invalid")} == {"slower"}
    assert {node.text for node in table.all("span", class_="same")} == {"no difference seen"}


def test_what_cannot_be_compared_says_why() -> None:
    tree = page(DOCUMENTS["barred"], drawn=True)
    assert cells(tree, "compared")[0][-1] == "not comparable different work was asked"
    assert not tree.all("section", id="ratios")


def test_what_was_not_tested_has_its_numbers_a_word_and_a_reason() -> None:
    pair = comparison("a", "b") | {"rows": [untested(rows()[0]), *rows()[1:]]}
    tree = page(document([pair]))
    found = cells(tree, "compared")[0]
    assert found[3:] == [
        "0.910 −9.0 %", "0.890 – 0.930", "< 0.001", "not tested too few samples to test it",
    ]  # fmt: skip
    assert "Not tested" in tree.one("section", id="terms").text
    glance = page(document([pair, pair | {"b": "c"}])).one("section", id="glance")
    assert cells(glance, "glance")[0] == ["Time to first token p50", "−9.0 % not tested", "−9.0 % not tested"]


@pytest.mark.parametrize(
    ("ends", "said"), [([0.9, None], "above 0.900"), ([None, 1.2], "below 1.200"), ([None, None], "–"), (None, "–")]
)
def test_an_interval_without_an_end_says_which(ends: Any, said: str) -> None:
    metrics = [rows()[0] | {"ci95": ends}]
    assert cells(page(document([comparison("a", "b") | {"rows": metrics}])), "compared")[0][4] == said


def test_several_are_seen_at_a_glance_before_they_are_told() -> None:
    tree = page(DOCUMENTS["six"])
    assert tree.one("h1").text == "5 others against a"
    found = cells(tree, "glance")
    assert [len(one) for one in found] == [6] * (len(METRICS) + 1)
    assert found[0][1:3] == ["+10.8 % slower", "+1.8 %"]
    tones = [node.attributes["class"] for node in tree.one("table", class_="glance").all("td", class_="told")]
    assert set(tones) == {"n told better", "n told worse"}
    folded = tree.all("details", class_="compared-pair")
    assert [node.one("h3").text for node in folded] == [f"{name} against a" for name in "bcdef"]
    assert not any("open" in node.attributes for node in folded)


def test_sweeps_are_told_load_by_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves_draw, "names", lambda: ["throughput_by_load", "latency_by_throughput"])
    sweeps = [(name, sweep(batching((1, 4, 8), error=0.02))) for name in "ab"]
    tree = parse(compare_page.text(DOCUMENTS["loads"], (), sweeps))
    sound(tree)
    head = [node.text for node in tree.one("table", class_="glance").one("thead").all("th")]
    assert head == ["Metric", *(f"concurrency {load}" for load in (1, 4, 8, 16, 32, 64))]
    names = [node.one("h3").text for node in tree.all("details", class_="compared-pair")]
    assert names[0] == "b against a at concurrency 1"
    assert specs(tree) == ["ratios_by_load", "throughput_by_load", "latency_by_throughput"]


def test_three_sweeps_have_a_table_each_at_a_glance() -> None:
    tables = page(DOCUMENTS["three sweeps"]).all("table", class_="glance")
    assert [node.one("caption").text for node in tables] == ["b against a", "c against a"]


def test_capacities_alone_make_a_page() -> None:
    bare: dict[str, Any] = {"a": "a", "b": "b", "load": None, "unfair": [], "rows": []}
    tree = page(document([bare], capacities=[capacity("a", "b")], sentences=["b carries 11 % more"]))
    assert cells(tree, "compared") == [
        [
            "capacity (req/s) with ttft.p95<400ms b against a",
            "8.200 7.900 – 8.500",
            "9.100 8.700 – 9.400",
            "1.110",
            "1.050 – 1.170",
            "0.003",
            "higher",
        ]
    ]
    assert tree.one("section", id="capacities").one("span", class_="valid").text == "higher"
    assert not tree.all("section", id="comparisons")


def test_a_dollar_buys_what_the_document_says(tree: Node) -> None:
    assert cells(tree, "value") == [
        ["baseline", "4.500", "2,100,000", "9,000", "1.00×"],
        ["candidate", "3.900", "2,478,000", "10,620", "1.18×"],
    ]


def test_runs_are_laid_over_each_other(tree: Node) -> None:
    assert specs(tree)[:5] == ["ratios", "value", "ttft_cdf", "itl_cdf", "latency_cdf"]
    assert "throughput_over_run" in specs(tree)


def test_panels_of_many_runs_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_page, "OF_RUNS", ("ttft_box", "latency_over_run"))
    plain = document([])
    assert specs(page(plain, *"abcd", drawn=True)) == ["ttft_box", "latency_over_run"]
    assert specs(page(plain, *"abcde", drawn=True)) == ["ttft_box"]


def test_known_tables_are_not_made_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = contrasts.draw(DOCUMENTS["three"], tmp_path, ())
    only = {name: table for name, table in known.items() if isinstance(table, Table)}
    monkeypatch.setattr(value, "data", lambda document: 1 / 0)
    assert specs(parse(compare_page.text(DOCUMENTS["three"], tables=only))) == ["ratios", "value"]


def test_the_set_up_shows_what_differs_first(tree: Node) -> None:
    setup = tree.one("section", id="setup")
    assert cells(setup, "settings-of-several") == [["salt", "salt of baseline", "salt of candidate"]]
    same = dict(cells(setup, "settings"))
    assert same["seed"] == "3"
    assert same["workload.isl"] == "100"
    assert "target.model" not in same  # neither of them has one
    subjects = cells(setup, "subjects")
    assert subjects[0] == ["baseline base runs/baseline", "run", "VALID", "llama-3.1-8b", "16 at a time", "4.500"]
    assert subjects[1][2] == "SUSPECT"


def test_equal_set_ups_say_so() -> None:
    same = [(name, made.run(made.streamed(60), made.header())) for name in "ab"]
    with patch.object(compare_page, "missing", lambda: UNDRAWN):
        tree = parse(compare_page.text(document([comparison("a", "b")]), same))
    assert "The set-ups are the same in all that their headers say." in tree.one("section", id="setup").text


def test_verdicts_of_repeats_are_counted() -> None:
    several = subject("b", kind="repeats", runs=3, verdicts=["VALID", "SUSPECT", "VALID"])
    tree = page(document([comparison("a", "b")], subjects=[subject("a"), several]))
    assert cells(tree, "subjects")[1][1:3] == ["repeats of 3", "VALID 2 SUSPECT 1"]


def test_hostile_texts_stay_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare_page, "OF_RUNS", ("ttft_cdf", "latency_over_run"))
    metrics = [one | {"label": HOSTILE, "why": HOSTILE, "method": HOSTILE, "verdict": HOSTILE} for one in rows()]
    lines = [unfair(HOSTILE, HOSTILE, HOSTILE)]
    pairs = [comparison(HOSTILE, name, unfair=lines) | {"rows": metrics} for name in (f"b{HOSTILE}", "c")]
    subjects = [subject(name, sources=[HOSTILE], model=HOSTILE, load=HOSTILE) for name in (HOSTILE, "c")]
    hostile = document(
        [*pairs, pairs[0] | {"rows": [barred(one, HOSTILE) for one in metrics]}],
        subjects=subjects,
        sentences=[HOSTILE],
        command=HOSTILE,
        gates=[gate(HOSTILE, passed=False) | {"text": HOSTILE}],
        capacities=[capacity(HOSTILE, "c") | {"what": HOSTILE}],
        value=[{"name": HOSTILE, "output_tokens_per_dollar": 2e6, "requests_per_dollar": 1.0, "relative": 1.0}],
    )
    text = compare_page.text(hostile, runs(HOSTILE, "c"))
    sound(parse(text))
    assert "<img src=x" not in text
    assert text.count("</script>") == 3  # the data, the library and the page's own


@pytest.mark.parametrize("of", DOCUMENTS)
def test_every_comparison_has_a_sound_page(of: str) -> None:
    assert page(DOCUMENTS[of]).one("h1").text


def test_it_is_written_as_a_whole(tmp_path: Path) -> None:
    assert compare_page.write(tmp_path, DOCUMENTS["same"], []) == tmp_path / "report.html"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_a_document_of_a_name_only_has_a_page() -> None:
    tree = page({"kind": "compare"})
    assert tree.one("h1").text == "Nothing to compare"
    assert "Nothing was compared." in tree.one("main").text


def test_without_the_drawing_library_the_page_says_so() -> None:
    tree = page(DOCUMENTS["pair"], "baseline", "candidate")
    assert f"{UNDRAWN.capitalize()}." in tree.one("section", id="figures").text
    assert cells(tree, "value")
