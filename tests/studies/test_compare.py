"""Comparisons of made runs: what is read, what is refused, what the document holds, how it is worded."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genbench.errors import ConfigError, GenbenchError, RecordError
from genbench.studies import compare, compare_files, compare_markdown, compare_read, compare_words
from genbench.studies.compare import Wanted
from tests.studies.compared import header, write_run

GOLDEN = Path(__file__).parent.parent / "data" / "golden"
PEERS = Path(__file__).parent.parent / "data" / "peers"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run's own intervals, most of the time to read it, take no part in a comparison."""
    monkeypatch.setattr("genbench.stats.block_bootstrap", lambda *_, **__: {})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """old; same, another run of it; slow, whose gaps are 10 % longer; three repeats of both in A and B."""
    folder = tmp_path_factory.mktemp("made")
    write_run(folder / "old", seed=1)
    write_run(folder / "same", seed=2)
    write_run(folder / "slow", seed=3, gap=22)
    for k in range(3):
        write_run(folder / "A" / f"r{k}", seed=10 + k, requests=120)
        write_run(folder / "B" / f"r{k}", seed=20 + k, requests=120, gap=22)
    return folder


def compared(*given: Path | str, **wanted: Any) -> dict[str, Any]:
    sides = compare_read.sides([str(one) for one in given], force=bool(wanted.get("force")))
    return compare.compare(sides, Wanted(**wanted), "genbench compare A B")


def verdicts(document: dict[str, Any]) -> dict[str, str]:
    return {compare_words.key_of(row): row["verdict"] for row in document["comparisons"][0]["rows"]}


def test_a_slower_run_is_called_slower(made: Path) -> None:
    document = compared(made / "old", made / "slow")
    found = verdicts(document)
    assert found["itl.mean"] == found["tpot.p50"] == found["request_latency.p50"] == "slower"
    assert found["output_token_throughput"] == "slower"
    assert found["ttft.p50"] == found["error_rate"] == "no difference seen"
    assert document["says"] == "runs"
    assert document["sentences"][0].startswith("these runs differ: slow against old: ")
    first, *rest = compare_words.screen(document).split("\n\n")
    assert " ".join(first.split()).startswith("these runs differ: B is slower in request latency p50 (+")
    assert rest[-1].startswith("- ")
    assert "these runs differ" not in "".join(rest)
    assert any("this is about these runs" in said for said in document["sentences"])


def test_the_same_again_is_called_the_same(made: Path) -> None:
    document = compared(made / "old", made / "same")
    assert set(verdicts(document).values()) == {"no difference seen", "not tested", "not comparable"}  # p95, p99
    first, unseen, about = document["sentences"]
    assert first.startswith("no difference seen between old and same in ")
    assert re.match(
        r"not seen is not the same as not there: below about (2|2\.\d|3) % \(Time to first token p50", unseen
    )
    assert about == compare_words.ONLY_RUNS
    assert document["comparisons"][0]["unfair"] == []


def test_only_tested_rows_are_counted(made: Path) -> None:
    """Of 240 requests no tail is tested; those rows have an interval, which would be named first."""
    document = compared(made / "old", made / "same")
    (one,) = document["comparisons"]
    tested = [row for row in one["rows"] if row["verdict"] == "no difference seen"]
    untested = [row for row in one["rows"] if row["verdict"] == "not tested"]
    assert {"ttft.p95"} <= {compare_words.key_of(row) for row in untested}
    assert all(row["p"] is not None and row["why"] for row in untested)
    assert document["sentences"][0] == f"no difference seen between old and same in {len(tested)} tested rows"
    one["rows"] = [row for row in one["rows"] if row not in tested or row["metric"] == "itl"]
    unseen = next(said for said in compare_words.sentences(document) if said.startswith("not seen is not"))
    assert "Inter-token latency mean" in unseen
    assert "Time to first token" not in unseen
    one["rows"] = untested
    assert compare_words.sentences(document)[0] == f"nothing can be said of same against old: {untested[0]['why']}"


def test_repeats_speak_of_engines(made: Path) -> None:
    document = compared(made / "A", made / "B")
    assert document["says"] == "engines"
    assert document["sentences"][0].startswith("these engines differ: B against A: ")
    assert not any("these runs" in said for said in document["sentences"])
    assert [one["runs"] for one in document["subjects"]] == [3, 3]
    assert document["comparisons"][0]["rows"][0]["method"].startswith("Welch")


def test_one_run_against_repeats_is_one_against_the_median_of_them(made: Path) -> None:
    document = compared(made / "old", made / "B")
    assert document["says"] == "runs"
    (line,) = [one["text"] for one in document["comparisons"][0]["unfair"] if one["key"] == "one_of_repeats"]
    assert line.startswith("B has 3 runs and the other side one: B/r")


def test_a_small_difference_is_named_but_not_called(made: Path) -> None:
    document = compared(made / "old", made / "slow", min_effect=0.5)
    assert set(verdicts(document).values()) == {"no difference seen", "not tested", "not comparable"}  # p95, p99
    assert any(said.startswith("found, but smaller than --min-effect 50 %: ") for said in document["sentences"])


def test_the_base_can_be_another(made: Path) -> None:
    for name in ("slow", "B"):
        document = compared(made / "old", made / "slow", made / "same", base=name)
        assert document["base"] == "slow"
        assert [one["name"] for one in document["subjects"]] == ["slow", "old", "same"]
        assert [(one["a"], one["b"]) for one in document["comparisons"]] == [("slow", "old"), ("slow", "same")]
        assert verdicts(document)["itl.mean"] == "faster"


def test_throughput_per_dollar(made: Path) -> None:
    document = compared(made / "old", made / "slow", prices={"A": 2.0, "slow": 1.0})
    old, slow = document["value"]
    tokens = [one["a"] for one in document["comparisons"][0]["rows"] if one["metric"] == "output_token_throughput"]
    assert old["output_tokens_per_dollar"] == pytest.approx(tokens[0] * 3600 / 2)
    assert old["dollars_per_million_output_tokens"] == pytest.approx(2e6 / (tokens[0] * 3600))
    assert old["relative"] == 1
    assert slow["relative"] == pytest.approx(slow["output_tokens_per_dollar"] / old["output_tokens_per_dollar"])
    assert 1.7 < slow["relative"] < 2  # half the price, 7 % slower
    assert document["subjects"][1]["price"] == 1.0
    assert any(said.startswith("for a dollar slow gives 1.") for said in document["sentences"])


def test_a_barred_row_is_not_compared(made: Path, tmp_path: Path) -> None:
    sides = compare_read.sides([str(made / "old"), str(made / "slow")])
    (one,) = sides[1].subjects
    one.facts["stream"] = False  # type: ignore[index]
    document = compare.compare(sides, Wanted(), "")
    row = next(row for row in document["comparisons"][0]["rows"] if row["metric"] == "itl")
    assert (row["verdict"], row["why"]) == ("not comparable", "only one was streamed")


# -- what is read ------------------------------------------------------------------------------------------------------


def test_a_file_of_a_run_means_its_folder(made: Path) -> None:
    (side,) = compare_read.sides([str(made / "old" / "run.json")])
    assert (side.name, side.kind) == ("old", "run")


def test_names(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made / "old", tmp_path / "other" / "old")
    sides = compare_read.sides([str(made / "old"), str(tmp_path / "other" / "old"), f"mine={made / 'slow'}"])
    assert [side.name for side in sides] == [f"{made.name}/old", "other/old", "mine"]
    assert sides[2].subjects[0].name == "mine"


def test_runs_grouped_by_their_folder(made: Path) -> None:
    given = [str(path) for path in sorted([*made.glob("A/*"), *made.glob("B/*")])]
    sides = compare_read.sides(given, grouped=True)
    assert [(side.name, side.kind, len(side.subjects)) for side in sides] == [("A", "repeats", 3), ("B", "repeats", 3)]
    assert any("with --repeats" in said for said in compared(*given)["sentences"])


def test_runs_of_one_name_are_repeats(made: Path, tmp_path: Path) -> None:
    for k, run in enumerate(("A/r0", "A/r1", "B/r0", "B/r1"), 1):
        shutil.copytree(made / run, tmp_path / f"r{k}")
    given = [f"{name}={tmp_path}/r{k}" for k, name in enumerate(("old", "old", "new", "new"), 1)]
    for grouped in (False, True):
        sides = compare_read.sides(given, grouped=grouped)
        assert [(side.name, side.kind, len(side.subjects)) for side in sides] == [
            ("old", "repeats", 2),
            ("new", "repeats", 2),
        ]
    mixed = compare_read.sides([*given[:2], str(tmp_path / "r3" / "run.json"), str(tmp_path / "r4")], grouped=True)
    assert [(side.name, len(side.subjects)) for side in mixed] == [("old", 2), (tmp_path.name, 2)]
    with pytest.raises(ConfigError, match="all runs have the name old, which makes them one side; give those of the"):
        compare_read.sides(given[:2])
    with pytest.raises(ConfigError, match=r"are in .*; add others, or give the runs of a side one name: old=RUN old="):
        compare_read.sides([text.partition("=")[2] for text in given], grouped=True)


def test_a_foreign_folder_is_told_its_file() -> None:
    for tool, files in (
        ("aiperf", ("profile_export.jsonl", "profile_export_aiperf.json")),
        ("genai-perf", ("profile_export.json", "profile_export_genai_perf.csv")),
    ):
        said = " or ".join(str(PEERS / tool / file) for file in files)
        with pytest.raises(RecordError, match=re.escape(f"is a folder of another tool; give the file: {said}")):
            compared(PEERS / "vllm.json", PEERS / tool)


def test_a_foreign_file_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    document = compared(PEERS / "vllm.json", PEERS / "guidellm.json", force=True)
    assert list(tmp_path.iterdir()) == []
    keys = [line["key"] for line in document["comparisons"][0]["unfair"]]
    assert keys == ["imported", "verdict", "verdict"]
    assert document["sentences"][0] == "nothing can be said of guidellm.json against vllm.json: too few requests"


def test_figures_without_requests_are_shown_and_not_tested() -> None:
    document = compared(*(PEERS / "genai-perf" / f"profile_export_genai_perf.{kind}" for kind in ("json", "csv")))
    rows = document["comparisons"][0]["rows"]
    assert {row["verdict"] for row in rows} == {"not comparable"}
    assert {row["p"] for row in rows} == {None}
    ttft = next(row for row in rows if row["metric"] == "genai-perf.time_to_first_token" and row["stat"] == "mean")
    assert (ttft["a"], ttft["b"], ttft["ratio"]) == (65, 65, 1)


def test_a_baseline_is_the_run_again(made: Path, tmp_path: Path) -> None:
    file = tmp_path / "baseline.json"
    (side,) = compare_read.sides([str(made / "old")])
    assert compare_files.save_baseline(side, file) == file.stat().st_size < 100_000
    by_file, by_run = (compared(base, made / "slow") for base in (file, made / "old"))
    assert by_file["subjects"][0] | {"kind": "run", "sources": []} == by_run["subjects"][0] | {"sources": []}
    assert by_file["comparisons"][0]["unfair"] == by_run["comparisons"][0]["unfair"] == []
    for one, other in zip(by_file["comparisons"][0]["rows"], by_run["comparisons"][0]["rows"], strict=True):
        assert one["verdict"] == other["verdict"]
        if one["ratio"] is not None:
            assert one["ratio"] == pytest.approx(other["ratio"], rel=5e-3)  # three digits of a gap


def test_a_baseline_of_repeats(made: Path, tmp_path: Path) -> None:
    (side,) = compare_read.sides([str(made / "A")])
    compare_files.save_baseline(side, tmp_path / "baseline.json")
    document = compared(tmp_path / "baseline.json", made / "B")
    assert document["says"] == "engines"
    assert document["subjects"][0]["name"] == "A"


# -- what is refused ---------------------------------------------------------------------------------------------------


def invalid(folder: Path) -> Path:
    return write_run(folder, requests=40, failed=20)


def newer(folder: Path) -> Path:
    write_run(folder, requests=10)
    head = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**head, "schema": 99}))
    return folder


def embeddings(folder: Path) -> Path:
    return write_run(folder, requests=10, about=header(endpoint_type="embeddings"))


def loads(folder: Path) -> Path:
    write_run(folder / "c1", requests=10)
    write_run(folder / "c8", requests=10, about=header(config__load__concurrency=8))
    return folder


def nothing(folder: Path) -> Path:
    folder.mkdir()
    return folder


def old_result(folder: Path) -> Path:
    folder.mkdir()
    file = folder / "compare.json"
    file.write_text('{"schema": 1, "kind": "compare"}')
    return file


def compared_before(folder: Path) -> Path:
    return old_result(folder).parent


def newer_baseline(folder: Path) -> Path:
    folder.mkdir()
    file = folder / "base.json"
    file.write_text('{"schema": 99, "kind": "baseline", "runs": []}')
    return file


def unknown(folder: Path) -> Path:
    folder.mkdir()
    file = folder / "result.json"
    file.write_text('{"answer": 42}')
    return file


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (invalid, "is INVALID (50 % of the requests failed: the figures are those of the survivors); run it again, or"),
        (newer, "has schema 99, this genbench reads up to 1; upgrade genbench"),
        (embeddings, "old is a run of chat, odd of embeddings: these cannot be compared"),
        (loads, "odd holds runs of different loads (1 at a time; 8 at a time), which are no repeats; name the runs"),
        (
            nothing,
            "is nothing that can be compared; looked for run.json (a run), sweep.json, capacity.json, folders of",
        ),
        (old_result, "is what a comparison found; give the runs that it compared"),
        (compared_before, "is what a comparison found; give the runs that it compared"),
        (newer_baseline, "has schema 99, this genbench reads up to 1; upgrade genbench"),
        (unknown, "is no result known here; looked for AIPerf"),
        (lambda folder: folder / "x", "there is no such file or folder; give run.json (a run), sweep.json"),
    ],
)
def test_refused_in_one_sentence(make: Callable[[Path], Path], says: str, made: Path, tmp_path: Path) -> None:
    with pytest.raises(GenbenchError) as stop:
        compared(made / "old", make(tmp_path / "odd"))
    assert says in str(stop.value)
    assert "\n" not in str(stop.value)
    assert stop.value.exit_code == 2


def test_an_invalid_run_by_force(made: Path, tmp_path: Path) -> None:
    document = compared(made / "old", invalid(tmp_path / "odd"), force=True)
    assert verdicts(document)["error_rate"] == "worse"
    with pytest.raises(RecordError, match="odd is INVALID, which is no baseline"):
        compare_files.save_baseline(compare_read.sides([str(tmp_path / "odd")])[0], tmp_path / "x.json")


@pytest.mark.parametrize("given", [("old", "old"), ("old", "old/run.json"), ("A/r0", "A")])
def test_nothing_is_given_twice(given: tuple[str, str], made: Path) -> None:
    with pytest.raises(ConfigError, match=r"given (twice|as well)"):
        compared(*(made / name for name in given))


@pytest.mark.parametrize("wanted", [{"base": "oldd"}, {"prices": {"oldd": 2.0}}])
def test_an_unknown_name_has_its_nearest(wanted: dict[str, Any], made: Path) -> None:
    with pytest.raises(ConfigError, match=r"oldd: no side has that name; use old,? or"):
        compared(made / "old", made / "slow", **wanted)


# -- words -------------------------------------------------------------------------------------------------------------


def document() -> dict[str, Any]:
    """A document by hand with one row of each kind, so that no resampling is in the golden file."""

    def row(key: str, label: str, unit: str, a: float, b: float, verdict: str, **other: Any) -> dict[str, Any]:
        metric, _, stat = key.partition(".")
        tested = {"ratio": b / a if a else None, "ci95": (b / a - 0.01, b / a + 0.01) if a else None, "p": 0.0001}
        found = {"metric": metric, "stat": stat or "value", "label": label, "unit": unit, "a": a, "b": b}
        return {**found, **tested, "p_holm": 0.0004, "verdict": verdict, "why": "", "method": "", **other}

    untested = {"ci95": None, "p": None, "p_holm": None}
    rows = [
        row("ttft.p50", "Time to first token p50", "ms", 40.0, 36.0, "faster"),
        row("itl.mean", "Inter-token latency mean", "ms", 20.0, 22.0, "slower"),
        row(
            "ttft.p99", "Time to first token p99", "ms", 50.0, 51.0, "not comparable", why="too few samples", **untested
        ),
        row("tpot.p50", "Time per output token p50", "ms", 20.0, 20.1, "no difference seen", p=0.4, p_holm=1.0),
        row(
            "request_latency.p99",
            "Request latency p99",
            "ms",
            90.0,
            99.0,
            "not tested",
            p_holm=None,
            why="too few samples to test it: 50 beyond the p99 are needed",
        ),
        row("error_rate", "Error rate", "%", 0.0, 1.5, "worse", ratio=None, ci95=None),
    ]
    unfair = [{"key": "model", "text": "model: a|b against <c>", "bars": []}]
    side = {"kind": "run", "sources": [], "runs": 1, "requests": 400, "verdicts": ["VALID"], "model": "tiny",
            "load": "8 at a time", "simulated": False, "price": 2.0}  # fmt: skip
    prices = {"output_tokens_per_dollar": 90_000.0, "requests_per_dollar": 1500.0, "relative": 1.0, "price": 2.0}
    prices["dollars_per_million_output_tokens"] = 11.1
    found: dict[str, Any] = {
        "schema": 1, "kind": "compare", "genbench": "0.0.0", "command": "genbench compare old new", "min_effect": 0.02,
        "base": "old", "subjects": [{**side, "name": "old"}, {**side, "name": "new_1"}], "says": "runs",
        "comparisons": [{"a": "old", "b": "new_1", "load": None, "runs": [1, 1], "requests": [400, 400],
                         "says": "runs", "unfair": unfair, "rows": rows}],
        "capacities": [{"a": "old", "b": "new_1", "what": "capacity, req/s", "a_value": 40.0, "a_ci95": [39, 41],
                        "b_value": 44.0, "b_ci95": [43, 45], "ratio": 1.1, "ci95": [1.06, 1.14], "p": 0.0001,
                        "verdict": "higher", "why": ""}],
        "value": [{**prices, "name": "old"}, {**prices, "name": "new_1", "relative": 0.9}],
        "gates": [
            {"rule": "itl.mean worse 5%", "passed": False, "text": "worse by 10 % (95 %: +9 .. +11 %), p <0.001"},
            {"rule": "ttft.p50 worse 5%", "passed": True, "text": "better by 10 %, p <0.001"},
        ],
    }  # fmt: skip
    return {**found, "sentences": compare_words.sentences(found)}


@pytest.mark.parametrize("name", ["compare.md", "compare.txt"])
def test_words_are_as_they_were(name: str) -> None:
    """`python -m tests.studies.test_compare` writes them anew."""
    assert worded(name) == (GOLDEN / name).read_text()


def worded(name: str) -> str:
    return (compare_markdown.markdown if name.endswith("md") else compare_words.screen)(document())


def test_the_screen_has_100_columns(made: Path) -> None:
    long = "a-rather-long-name-of-a-run-" * 5
    document = compared(f"{long}={made / 'old'}", made / "slow", made / "A", prices={long: 2.0})
    text = compare_words.screen(document)
    assert text.isascii()
    assert max(map(len, text.replace(long, "x").splitlines())) <= 100
    assert "Inter-token latency mean (ms)" in text
    assert "nothing unfair was found" in text
    first = text.split("\n\n")[0].splitlines()
    assert first[0].startswith("B: these runs differ: B is slower in ")
    assert first[-1].startswith("C: no difference seen in ")
    assert any(said.startswith("A: not seen is not") for said in document["sentences"])  # of which pair


def test_the_document_is_json(made: Path) -> None:
    document = compared(made / "old", made / "slow")
    assert json.loads(compare_files.as_json(document)) == json.loads(json.dumps(document))
    assert set(document) == {
        "schema", "kind", "genbench", "command", "min_effect", "base", "subjects", "says", "comparisons", "capacities",
        "value", "gates", "sentences",
    }  # fmt: skip


if __name__ == "__main__":
    for name in ("compare.md", "compare.txt"):
        (GOLDEN / name).write_text(worded(name))
