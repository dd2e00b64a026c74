import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from genbench.metrics.definitions import by_key
from genbench.metrics.summary import Run, summarise
from genbench.records import open_table
from genbench.report import figures, page, top
from genbench.types import Outcome, Record
from tests.metrics.made import stream
from tests.report import made
from tests.report.dom import Node, parse

SECTIONS = [
    "verdict",
    "headlines",
    "promises",
    "figures",
    "numbers",
    "slowest",
    "outcomes",
    "client",
    "configuration",
    "definitions",
    "again",
]


@pytest.fixture(scope="module")
def run() -> Run:
    return made.full()


@pytest.fixture(scope="module")
def text(run: Run) -> str:
    return page.page([("run", run)])


@pytest.fixture(scope="module")
def tree(text: str) -> Node:
    return parse(text)


def of(records: list[Record], header: dict[str, Any] | None = None) -> Node:
    found = parse(page.page([("run", made.run(records, header))]))
    sound(found)
    return found


def sound(tree: Node) -> None:
    """What holds for every page."""
    ids = [node.attributes["id"] for node in tree.walk() if "id" in node.attributes]
    assert len(ids) == len(set(ids))
    for node in tree.walk():
        assert not [key for key in node.attributes if key.startswith("on")]
        assert "src" not in node.attributes
        href = node.attributes.get("href", "#")
        assert href.startswith(("#", "data:")), href
        for place in (href[1:] if href.startswith("#") else "", node.attributes.get("aria-controls", "")):
            assert not place or place in ids, place
        if node.name == "th":
            assert node.attributes["scope"] in ("row", "col")
        if node.name == "button":
            assert node.attributes["type"] == "button"
    assert tree.one("html").attributes["lang"] == "en"
    assert tree.one("main").attributes["id"] == "content"
    assert tree.one("a", class_="skip").attributes["href"] == "#content"
    assert len(tree.all("h1")) == 1


def test_the_page_is_sound(tree: Node) -> None:
    sound(tree)


def test_sections_stand_in_order(tree: Node) -> None:
    found = [node.attributes["id"] for node in tree.one("main").all("section") if "id" in node.attributes]
    assert found == SECTIONS


def test_links_lead_to_every_section(tree: Node) -> None:
    found = [node.attributes["href"][1:] for node in tree.one("nav").all("a")]
    assert found == [name for name in SECTIONS if name != "headlines"]


def test_the_first_screen_says_what_was_measured_on_what(tree: Node) -> None:
    facts = {node.one("dt").text: node.one("dd").text for node in tree.one("dl", class_="facts").all("div")}
    assert tree.one("h1").text == "tiny-llama"
    assert facts == {
        "Endpoint": "chat at http://127.0.0.1:8000",
        "Load": "Poisson arrivals at 20 req/s, for 6 s",
        "Work": "synthetic, 100 ± 20 tokens in, 6 out",
        "Requests": "122 in 6.200 s without warm-up",
        "Server version": "0.25.1",
        "Client": "bench, Linux, 8 CPUs",
        "Measured by": "times by kernel stamps, tokens by usage",
        "Started": "2023-11-14 22:13:20 UTC",
    }


def test_the_verdict_is_a_word_with_its_findings_and_next_steps(tree: Node, run: Run) -> None:
    verdict = tree.one("section", id="verdict")
    assert verdict.has({"class_": run.summary.verdict.lower()})
    assert run.summary.verdict in verdict.one("h2").text
    for finding in run.summary.findings:
        assert finding.text in verdict.text
        assert f"Next: {finding.advice}" in verdict.text
    assert "FAIL 1 of 2 promises kept" in verdict.text


def test_the_four_numbers_are_the_summarys_own(run: Run) -> None:
    found = {(one.key, one.stat): one for one in top.headlines(run)}
    assert list(found) == [
        ("ttft", "p95"),
        ("tpot", "p95"),
        ("request_latency", "p95"),
        ("output_token_throughput", ""),
    ]
    ttft, rate = run.summary.metrics["ttft"], run.summary.run["output_token_throughput"]
    low, high = ttft.ci95["p95"]
    one = found["ttft", "p95"]
    assert (one.value, one.unit, one.count) == (f"{ttft.stats['p95']:.2f}", "ms", "120 requests")
    assert one.interval == top.bounds((low, high), "ms")
    assert one.beside == f"p50 {ttft.stats['p50']:.2f} ms"
    assert found["output_token_throughput", ""].value == f"{rate.value:.1f}"
    assert rate.ci95 is not None
    assert found["output_token_throughput", ""].interval == f"{rate.ci95[0]:.1f} – {rate.ci95[1]:.1f}"


def test_too_few_requests_for_p95_give_the_highest_that_is_known() -> None:
    few = made.run(made.streamed(60), made.header())  # p90 wants 44, p95 90
    assert top.headlines(few)[0].stat == "p90"
    assert "too few requests for p95" in top.headlines(few)[0].beside
    fewer = made.run(made.streamed(20), made.header())
    assert top.headlines(fewer)[0].stat == "p50"
    assert top.headlines(fewer)[0].beside.startswith("mean ")


def test_promises_pass_and_fail_in_words(tree: Node) -> None:
    rows = tree.one("section", id="promises").one("tbody").all("tr")
    assert [(row.one("code").text, row.all("span", class_="pill")[0].text) for row in rows] == [
        ("ttft.p95<80ms", "PASS"),
        ("request_latency.p99<100ms", "FAIL"),
    ]


def test_every_number_is_in_the_table(tree: Node, run: Run) -> None:
    tables = tree.one("section", id="numbers").all("table")
    assert len(tables[0].one("tbody").all("tr")) == len(run.summary.metrics)
    assert len(tables[1].one("tbody").all("tr")) == len(run.summary.run)
    heads = [node.text for node in tables[0].one("thead").all("th")]
    names = [name for name in heads if name not in ("", "count")]
    assert sorted(names) == sorted(run.summary.metrics["ttft"].stats)
    first = [cell.text for cell in tables[0].one("tbody").all("tr")[0].all("td")]
    assert first[0] == "120"
    shown = dict(zip(heads[1:], first, strict=True))
    assert shown["p50"].startswith(f"{run.summary.metrics['ttft'].stats['p50']:.2f}")
    assert "–" in shown["p50"]  # its interval
    assert "*" in shown["p99"]


def test_every_metric_shown_is_defined(tree: Node, run: Run) -> None:
    for key in (*run.summary.metrics, *run.summary.run):
        definition = tree.one("tr", id=f"def-{key}")
        assert by_key()[key].formula in definition.text


def test_the_configuration_is_the_headers(tree: Node) -> None:
    section = tree.one("section", id="configuration")
    found = {row.one("th").text: row.one("td").text for row in section.all("tr")}
    assert found["request_rate"] == "20 given"
    assert found["isl_stddev"] == "20"
    assert found["api_key"] == "***"
    assert found["packages.numpy"] == "2.0.0"
    assert found["salt"] == "fear master tiny"


def test_the_command_can_be_copied(tree: Node) -> None:
    again = tree.one("section", id="again")
    button = again.one("button")
    assert again.one("code", id=button.attributes["data-copy"]).text == made.header()["command"]
    assert "--salt 'fear master tiny'" in again.text


def test_the_policy_allows_its_own_scripts_and_no_request(tree: Node) -> None:
    policy = tree.one("meta", http_equiv="Content-Security-Policy").attributes["content"]
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split("; ")}
    scripts = [node for node in tree.all("script") if "type" not in node.attributes]
    assert len(scripts) == 2
    sources = ["".join(child for child in node.children if isinstance(child, str)) for node in scripts]
    hashes = [base64.b64encode(hashlib.sha256(source.encode()).digest()).decode() for source in sources]
    assert rules["script-src"] == [f"'sha256-{one}'" for one in hashes]
    assert rules["default-src"] == ["'none'"]
    assert rules["img-src"] == ["data:", "blob:"]


def test_no_style_asks_for_anything(tree: Node) -> None:
    for style in tree.all("style"):
        assert not [word for word in ("url(", "@import", "http") if word in style.text]


def test_one_library_and_less_than_5_mb(text: str) -> None:
    assert len(text.encode()) < 5_000_000
    assert text.count("window.vegaEmbed") == 1


def test_a_big_run_stays_small() -> None:
    big = page.page([("run", made.run(made.streamed(5_000, stride=2.0), made.header()))])
    assert len(big.encode()) < 3_000_000  # figures are binned or thinned from 2,000 rows on


def test_what_a_server_or_a_user_wrote_is_text() -> None:
    evil = made.HOSTILE
    header = made.header(model=evil, command=f"genbench {evil}", notes=[evil], salt=evil)
    header["config"]["target"]["url"] = [evil]
    header["environment"]["host"] = evil
    header["preflight"]["version"] = evil
    records = [*made.streamed(20), *made.failed(5, evil)]
    for k, record in enumerate(records):
        record.index = k
    found = made.run(records, header)
    pages = [page.page([("run", found)]), page.page([(evil, found), ("other", made.run(made.streamed(5)))])]
    for text in pages:
        tree = parse(text)
        sound(tree)
        assert len(tree.all("script")) == 3
        assert tree.all("img") == []
        assert "alert(1)" in tree.one("main").text
    assert json.loads(str(parse(pages[1]).one("script", id=page.DATA).children[0]))


def test_write_puts_one_file_into_the_folder(tmp_path: Path) -> None:
    found = made.run(made.failed(2), made.header(model="lone \ud800 surrogate"))
    assert page.write([("run", found)], tmp_path) == tmp_path / "report.html"
    assert "lone ? surrogate" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_an_empty_run_says_so() -> None:
    tree = of([])
    assert tree.one("h1").text == "model not named"
    assert "the log has no request" in tree.one("section", id="headlines").text
    assert tree.one("section", id="figures").one("p", class_="nothing").text.startswith("No figures: the run has no")
    assert tree.all("figure") == []
    assert "None: the log has no request" in tree.one("section", id="outcomes").text
    assert "says nothing of the client" in tree.one("section", id="client").text
    assert "has no configuration" in tree.one("section", id="configuration").text
    assert not tree.all("p", class_="hint")


def test_only_failures_are_invalid_and_draw_what_there_is() -> None:
    tree = of(made.failed(), made.header())
    assert "INVALID" in tree.one("section", id="verdict").one("h2").text
    assert tree.one("section", id="headlines").text.endswith("No numbers: no request ended ok.")
    absent = [node.text for node in tree.all("figure", class_="absent")]
    assert any("ended ok" in text for text in absent)
    assert tree.all("figure", id="figure-outcomes_over_run")
    assert "HTTP 500: out of memory" in tree.one("section", id="outcomes").text


def test_not_streamed_has_no_figure_of_tokens() -> None:
    tree = of(made.whole(), made.header())
    absent = {node.one("h3").text: node.one("p").text for node in tree.all("figure", class_="absent")}
    title = "Time to first token: cumulative distribution"
    assert absent[title].startswith("Not drawn: no answer was streamed")
    names = [node.text for node in tree.one("section", id="headlines").all("h3")]
    assert names == ["Request latency p50", "Request latency p90", "Request throughput", "Output throughput"]


def test_embeddings_have_their_own_numbers() -> None:
    tree = of(made.whole(500, inputs=4), made.header(endpoint_type="embeddings"))
    names = [node.text for node in tree.one("section", id="headlines").all("h3")]
    assert names == ["Request latency p50", "Request latency p99", "Request throughput", "Embedding throughput"]


def test_one_request_alone() -> None:
    tree = of([stream(0, 0, [40, 60, 80])], made.header())
    assert "1 request" in tree.one("section", id="headlines").text
    assert any("a distribution needs more" in node.text for node in tree.all("figure", class_="absent"))
    assert len(tree.all("tr", class_="request")) == 1


def test_a_torn_log_of_a_stopped_run(tmp_path: Path) -> None:
    log = tmp_path / "requests.jsonl"
    whole = {"index": 0, "sent_ns": 0, "end_ns": 5, "outcome": str(Outcome.CONNECT_ERROR), "error": "refused"}
    log.write_text(json.dumps(whole) + '\n{"index": 1, "sent')
    table = open_table(log)
    header = {"interrupted": True, "model": "tiny"}
    tree = parse(page.page([("run", Run(header, table, summarise(table, header)))]))
    sound(tree)
    assert tree.one("span", class_="mark").text == "INTERRUPTED"
    assert "refused" in tree.one("section", id="outcomes").text


def test_simulated_is_marked() -> None:
    assert [node.text for node in of([], made.header(simulated=True)).all("span", class_="mark")] == ["SIMULATED"]


def test_several_runs_share_their_figures_and_keep_their_numbers(run: Run) -> None:
    slower = made.run(made.streamed(100, stride=80.0), made.header(model="tiny-two"), ("ttft.p95<80ms",))
    nothing = made.run([], made.header())
    tree = parse(page.page([("one", run), ("two", slower), ("empty", nothing)]))
    sound(tree)
    rows = tree.one("section", id="runs").one("tbody").all("tr")
    assert [row.one("th").one("a").text for row in rows] == ["one", "two", "empty"]
    assert [len(row.all("td")) for row in rows] == [5, 5, 5]
    assert len(tree.all("details", class_="run-of-several")) == 3
    data = json.loads(str(tree.one("script", id=page.DATA).children[0]))
    first = next(figure for figure in data["figures"] if figure["name"] == "ttft_cdf")
    assert set(first["spec"]["data"][figures.ROWS]["series"]) == {"one", "two"}


def test_no_run_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one run"):
        page.page([])
