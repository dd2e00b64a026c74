"""The page of a sweep as a tree: sentences first, levels with their links, figures, promises, and hostile texts."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest

from genbench.errors import RecordError
from genbench.plots import _draw as plots_draw
from genbench.report import curves_page, page
from tests.curves.made_sweeps import batching, dead, entry, serial, sweep
from tests.report.dom import Node, parse
from tests.report.made import HOSTILE
from tests.report.test_page import sound

SECTIONS = ["says", "best", "levels", "promises", "figures", "configuration", "terms", "again"]
RULE = {"rule": "ttft.p95<150ms", "metric": "ttft", "stat": "p95", "op": "<", "bound": 150.0, "unit": "ms"}


def promised(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The points with a promise on TTFT p95, held against their own value."""
    return [
        point
        | {
            "slo": [
                RULE | {"value": value, "passed": value < 150, "attainment_pct": 99.0 if value < 150 else 12.0}
                for value in [point["metrics"]["ttft"]["p95"]]
            ]
        }
        for point in points
    ]


def usual() -> dict[str, Any]:
    """Five levels, a promise that the last two miss, the config of a run."""
    config = {
        "target": {"url": ["http://127.0.0.1:8000"], "model": "tiny-llama"},
        "workload": {"dataset": "synthetic", "isl": 400, "osl": 100},
        "slo": ["ttft.p95<150ms"],
    }
    points = promised(batching((1, 4, 16, 32, 64), error=0.02))
    return sweep(points, config=config, gpus=2, simulated=False, endpoint_type="chat")


@pytest.fixture(scope="module")
def text() -> str:
    return curves_page.text(usual())


@pytest.fixture(scope="module")
def tree(text: str) -> Node:
    return parse(text)


def rows(tree: Node, class_: str) -> list[list[str]]:
    """The cells of a table's body, by row."""
    (body,) = tree.one("table", class_=class_).all("tbody")
    return [[cell.text for cell in row.walk() if cell.name in ("th", "td")] for row in body.all("tr")]


def test_the_page_is_sound(tree: Node) -> None:
    sound(tree)


def test_sections_stand_in_order_with_links_to_each(tree: Node) -> None:
    found = [node.attributes["id"] for node in tree.one("main").all("section") if "id" in node.attributes]
    assert found == SECTIONS
    assert [node.attributes["href"][1:] for node in tree.one("nav").all("a")] == SECTIONS


def test_the_sentences_come_first(tree: Node) -> None:
    said = usual()["analysis"]["sentences"]
    assert [node.text for node in tree.one("section", id="says").all("li")] == said
    assert said[0].startswith("Throughput saturates at 1,379 token/s (13.8 req/s) from concurrency 16 on")


def test_the_first_screen_says_what_was_swept_on_what(tree: Node) -> None:
    facts = {node.one("dt").text: node.one("dd").text for node in tree.one("dl", class_="facts").all("div")}
    assert tree.one("h1").text == "tiny-llama"
    assert facts == {
        "Loads": "1, 4, 16, 32, 64 at a time",
        "Points": "5 in 150 s",
        "Endpoint": "chat at http://127.0.0.1:8000",
        "Work": "synthetic, 400 tokens in, 100 out",
        "GPUs": "2",
        "Started": "2026-01-15 09:30:00 UTC",
    }


def test_the_numbers_that_matter(tree: Node) -> None:
    cards = {card.one("h3").text: card.one("p", class_="big").text for card in tree.all("div", class_="card")}
    assert cards == {
        "Highest throughput": "1,379 token/s",
        "Knee": "16 at a time",
        "Promises kept up to": "16 at a time",
        "Best load": "16 at a time",
    }


def test_every_level_is_a_row(tree: Node) -> None:
    found = rows(tree, "levels")
    assert [row[:2] for row in found] == [[load, "VALID"] for load in ("1", "4", "16", "32", "64")]
    assert [row[-1] for row in found] == ["PASS", "PASS", "PASS", "FAIL", "FAIL"]
    # concurrency 16: a step is 11.6 ms, an answer 100 of them; 2 GPUs
    assert found[2][2:5] == ["1,379 1,352 – 1,407", "689.7 675.9 – 703.4", "13.79 13.52 – 14.07"]
    (chosen,) = tree.all("tr", class_="chosen")
    assert chosen.one("th").text == "16"


def test_the_row_of_the_best_load(tree: Node) -> None:
    (found,) = rows(tree, "best")
    assert found[:2] == ["all", "16"]
    assert found[2:6] == ["13.79", "1,379", "1,392", "1,160"]  # req/s, token/s, p95 = 1.2 x, mean
    assert found[6] == "-"
    assert found[-1] == "the highest throughput that keeps every promise"


def test_the_published_row_is_shown_with_its_queue() -> None:
    point = entry(4, requests=14.5, latency=275.34, osl=None)
    point["metrics"]["server_queue"] = {"unit": "ms", "count": 100, "mean": 206.29}
    (found,) = rows(parse(curves_page.text(sweep([point]))), "best")
    assert found[1:8] == ["4", "14.50", "-", "330.4", "275.3", "206.3", "74.9"]
    assert found[8] == "no batching: more load is only more queue"


def test_promises_have_their_ends(tree: Node) -> None:
    assert rows(tree, "promises") == [
        ["ttft.p95<150ms", "concurrency 16", "13.92 ms", "concurrency 32", "1,406 ms"]  # 1.2 x (11.6 + 1,160) ms
    ]


def test_figures_are_drawn_or_say_why_not(tree: Node, text: str) -> None:
    assert len(tree.all("figure")) == 7
    data = json.loads(text.split('id="drawn">')[1].split("</script>")[0])
    assert [one["name"] for one in data["figures"]] == [
        node.attributes["id"].removeprefix("figure-") for node in tree.all("figure") if "id" in node.attributes
    ]
    assert all(one["dark"] for one in data["figures"])
    bare = parse(curves_page.text(sweep(serial((1, 2)))))
    (absent,) = bare.all("figure", class_="absent")
    assert absent.text == "Promises kept by load Not drawn: the sweep has no promise (--slo)."


def test_the_policy_is_that_of_every_page(tree: Node) -> None:
    (policy,) = [node for node in tree.all("meta") if node.attributes.get("http-equiv")]
    assert policy.attributes["content"].startswith("default-src 'none'; script-src 'sha256-")


def test_the_command_and_the_settings_are_there(tree: Node) -> None:
    assert tree.one("code", id="command").text == usual()["command"]
    assert "ttft.p95<150ms" in tree.one("section", id="configuration").text
    assert "Kleinrock 1979" in tree.one("section", id="terms").text


# -- files --


def written(folder: Path, made: dict[str, Any]) -> Node:
    """The page of a sweep in a folder."""
    (folder / "sweep.json").write_bytes(orjson.dumps(made))
    path = curves_page.write(folder)
    assert path == folder / page.NAME
    return parse(path.read_text(encoding="utf-8"))


def links(tree: Node) -> dict[str, str]:
    return {node.text: node.attributes["href"] for node in tree.one("table", class_="levels").all("a")}


def test_a_level_leads_to_its_runs_page_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "points" / "c4").mkdir(parents=True)
    (tmp_path / "points" / "c4" / page.NAME).write_text("a page")
    assert links(written(tmp_path, usual())) == {"4": "./points/c4/report.html"}


def test_repeats_have_a_link_each(tmp_path: Path) -> None:
    points = []
    for i in range(3):
        folder = f"points/c4 100%-{i}"
        points += [entry(4, requests=3 + i, latency=900, repeat=i, folder=folder)]
        if i != 1:
            (tmp_path / folder).mkdir(parents=True)
            (tmp_path / folder / page.NAME).write_text("a page")
    found = links(written(tmp_path, sweep(points)))
    assert found == {"1": "./points/c4%20100%25-0/report.html", "3": "./points/c4%20100%25-2/report.html"}


@pytest.mark.parametrize("name", ["../outside", "/tmp", "javascript:alert(1)", ""])
def test_no_link_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / page.NAME).write_text("a page")
    (tmp_path / "sweep").mkdir()
    tree = written(tmp_path / "sweep", sweep([entry(4, requests=3, latency=900, folder=name)]))
    assert links(tree) == {}


def test_a_folder_without_a_sweep_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"sweep\.json"):
        curves_page.write(tmp_path)


# -- texts and poor sweeps --


def test_hostile_texts_stay_texts() -> None:
    points = [point | {"group": HOSTILE, "saturated": HOSTILE} for point in promised(batching((1, 4), error=0.1))]
    for point in points:
        point["slo"] = [point["slo"][0] | {"rule": HOSTILE}]
        point["verdict"] = HOSTILE
    made = sweep([*points, *[point | {"group": "b"} for point in points]], config={"target": {"model": HOSTILE}})
    text = curves_page.text(made | {"command": HOSTILE, "started": HOSTILE})
    sound(parse(text))
    assert "<img src=x" not in text
    assert text.count("</script>") == 3  # the data, the library and the page's own


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ([], "The sweep has no point."),
        ([dead(1), dead(2)], "Nothing can be said of the curve"),
        ([entry(8, requests=3, latency=900)], "Only concurrency 8 was measured"),
        ([entry(2, requests=3, latency=900, by="request_rate", saturated="it grew", osl=None)], "The queue grew"),
        ([{"by": "concurrency", "value": 1}], "Nothing can be said"),
    ],
    ids=["none", "failed", "one", "saturated", "bare"],
)
def test_a_poor_sweep_has_a_page(points: list[dict[str, Any]], said: str) -> None:
    tree = parse(curves_page.text(sweep(points)))
    sound(tree)
    assert said in tree.one("section", id="says").text


def test_groups_have_their_own_sentences_and_tables() -> None:
    points = [point | {"group": name} for name in ("128:32", "2048:8") for point in promised(batching((1, 2)))]
    tree = parse(curves_page.text(sweep(points)))
    sound(tree)
    assert [node.text for node in tree.one("section", id="says").all("h3")] == ["128:32", "2048:8"]
    tables = tree.all("table", class_="levels")
    assert [node.one("caption").text for node in tables] == ["Levels of 128:32", "Levels of 2048:8"]
    assert not tree.all("div", class_="cards")


def test_a_saturated_level_is_marked() -> None:
    points = [
        entry(r, requests=2, latency=900, by="request_rate", saturated=why) for r, why in ((1, ""), (4, "it grew"))
    ]
    tree = parse(curves_page.text(sweep(points)))
    (mark,) = tree.one("table", class_="levels").all("span", class_="mark")
    assert (mark.text, mark.attributes["title"]) == ("saturated", "it grew")


def test_without_the_drawing_library_the_page_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves_page, "missing", lambda: "no pictures: altair is not installed")
    tree = parse(curves_page.text(usual()))
    assert "No pictures: altair is not installed." in tree.one("section", id="figures").text
    assert plots_draw.missing() == ""
