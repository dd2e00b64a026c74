"""Files with requests: a run is made of them whose figures are those of the arithmetic in `peers`."""

import json
from pathlib import Path
from typing import Any

import pytest

from genbench.metrics.dialects import translate
from genbench.metrics.summary import Run
from genbench.studies.importing import bring_in
from genbench.types import EventKind
from tests.importers.peers import FOLDER, brought, changed, lines

FILES = {
    "aiperf/profile_export.jsonl": None,
    "genai-perf/profile_export.json": None,
    "guidellm.json": None,
    "llm-load-test.json": None,
    "sglang.jsonl": 2,
    "vllm.json": None,
}
GAPS = ("aiperf/profile_export.jsonl", "genai-perf/profile_export.json", "sglang.jsonl", "vllm.json")
FAILED = tuple(name for name in FILES if not name.startswith("genai"))


def made(name: str, to: Path) -> Run:
    run = brought(FOLDER / name, to, FILES[name]).run
    assert run is not None
    return run


def mean(run: Run, key: str) -> float:
    return run.summary.metrics[key].stats["mean"]


@pytest.mark.parametrize("name", FILES)
def test_figures_of_requests(name: str, tmp_path: Path) -> None:
    run = made(name, tmp_path)
    assert mean(run, "ttft") == pytest.approx(65, abs=1e-3)
    late = name == "llm-load-test.json"  # the last token is taken at the end of the answer, 1 ms later
    assert mean(run, "request_latency") == pytest.approx(106 if late else 105, abs=1e-3)
    assert mean(run, "tpot") == pytest.approx((61 / 3 + 21 / 2) / 2 if late else 15, abs=1e-3)
    assert mean(run, "osl") == 3.5
    assert mean(run, "isl") == 12.5
    assert run.summary.outcomes["ok"] == 2
    assert run.header["model"] == "tiny-model"
    assert run.header["config"]["load"]["concurrency"] == 2


@pytest.mark.parametrize("name", FILES)
def test_gaps_only_where_the_file_has_them(name: str, tmp_path: Path) -> None:
    run = made(name, tmp_path)
    if name in GAPS:
        assert mean(run, "icl") == pytest.approx(16)
        assert run.summary.metrics["icl"].count == 5
    else:
        assert not {"icl", "itl", "ttst"} & run.summary.metrics.keys()
        assert any("absent" in note for note in run.summary.notes)
        assert (
            not {"icl", "itl", "ttst"}
            & json.loads((Path(str(run.folder)) / "summary.json").read_text())["metrics"].keys()
        )


@pytest.mark.parametrize("name", FAILED)
def test_a_failure_keeps_its_status(name: str, tmp_path: Path) -> None:
    run = made(name, tmp_path)
    assert run.summary.outcomes == {"ok": 2, "http_error": 1}
    assert run.table.status[run.table.outcome.index("http_error")] == 500


@pytest.mark.parametrize(
    ("name", "seconds"),
    [
        # first start to last end: the failed request's start + 0; its last chunk; its end
        ("aiperf/profile_export.jsonl", 0.150),
        ("vllm.json", 0.120),
        ("guidellm.json", 0.160),
        ("llm-load-test.json", 0.160),
    ],
)
def test_duration(name: str, seconds: float, tmp_path: Path) -> None:
    assert made(name, tmp_path).summary.run["duration"].value == pytest.approx(seconds, abs=1e-6)


def test_without_start_times_there_is_no_duration(tmp_path: Path) -> None:
    run = made("sglang.jsonl", tmp_path)
    assert set(run.summary.run) == {"error_rate"}
    assert any("no start times" in note for note in run.summary.notes)
    assert any("request_throughput 12.5" in note for note in run.summary.notes)
    assert run.table.cached_tokens.tolist() == [8, 0, -1]
    assert all(finding.check != "cached_tokens" for finding in run.summary.findings)  # nobody salted these prompts


def test_the_header_says_which_file_it_was(tmp_path: Path) -> None:
    one = brought(FOLDER / "guidellm.json", tmp_path)
    assert one.run is not None
    header = one.run.header
    assert one.folder.name == "guidellm-tiny-model-imported-20260921T141319Z"  # 1 ms before 1,790,000,000 s
    assert {key: header["imported"][key] for key in ("tool", "version", "file")} == {
        "tool": "guidellm",
        "version": "0.8.1",
        "file": "guidellm.json",
    }
    assert len(header["imported"]["sha256"]) == 64
    assert header["clock"]["zero_unix_ns"] == pytest.approx(1_790_000_000 * 10**9 - 10**6, abs=300)
    assert header["config"]["target"]["url"] == ["http://127.0.0.1:8000"]
    assert header["seed"] == 42
    assert "command" not in header


def test_reasoning_where_the_file_tells(tmp_path: Path) -> None:
    """GuideLLM's request 1 has its first visible token with its second, at 80 ms; AIPerf's is made to."""
    run = made("guidellm.json", tmp_path)
    assert mean(run, "ttfo") == pytest.approx((60 + 80) / 2, abs=1e-3)
    rows = lines("aiperf/profile_export.jsonl")
    rows[2]["metrics"]["time_to_first_output_token"]["value"] = 80.0
    (tmp_path / "own").mkdir()
    path = tmp_path / "own" / "profile_export.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    own = brought(path, tmp_path).run
    assert own is not None
    kinds = own.table.event_kind[own.table.event_start[1] : own.table.event_start[2]].tolist()
    assert kinds == [EventKind.REASONING, EventKind.CONTENT, EventKind.CONTENT]
    assert mean(own, "ttfo") == pytest.approx(70)
    assert mean(own, "ttft") == pytest.approx(65)


def test_aiperf_without_its_figures_has_no_model(tmp_path: Path) -> None:
    path = tmp_path / "profile_export.jsonl"
    path.write_text((FOLDER / "aiperf" / "profile_export.jsonl").read_text())
    one = brought(path, tmp_path)
    assert one.run is not None
    assert "model" not in one.run.header
    assert one.run.header["config"] == {"workload": {"salt": "none"}}
    assert one.folder.name == "aiperf-imported-20260921T141319Z"
    (tmp_path / "profile_export_aiperf.json").write_text('{"aiperf_version": "0.13.0", "request_count": {"avg": 7}}')
    again = brought(path, tmp_path)
    assert any("is of another run" in note for note in again.result.notes)


def test_aiperf_conversations_and_warm_up(tmp_path: Path) -> None:
    rows = lines("aiperf/profile_export.jsonl")
    for row in rows:
        row["metadata"]["x_correlation_id"] = "one"
    rows[0]["metadata"]["benchmark_phase"] = "warmup"
    rows[2]["metadata"]["turn_index"] = 1
    path = tmp_path / "profile_export.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = brought(path, tmp_path).run
    assert run is not None
    assert run.table.session.tolist() == [0, 0, 0]
    assert run.table.turn.tolist() == [0, 1, 0]
    assert run.summary.warmup_requests == 1
    assert mean(run, "ttft_later_turns") == pytest.approx(70)


def test_a_rate_gives_vllm_its_arrivals(tmp_path: Path) -> None:
    path = changed("vllm.json", tmp_path, lambda d: d.update(request_rate=20.0, max_concurrency=None))
    run = brought(path, tmp_path).run
    assert run is not None
    # start - queue time: 1000.000 - 0.001, 1000.010 - 0.011, 1000.150 - 0.151: all came at 999.999
    assert run.table.intended_ns.tolist() == [0, 0, 0]
    assert run.table.sent_ns.tolist() == [1_000_000, 11_000_000, 151_000_000]
    closed = made("vllm.json", tmp_path)
    assert (closed.table.intended_ns == -1).all()


def test_a_sample_of_guidellm_has_no_throughput(tmp_path: Path) -> None:
    def more(document: Any) -> None:
        document["benchmarks"][0]["scheduler_metrics"]["requests_made"]["total"] = 30

    run = brought(changed("guidellm.json", tmp_path, more), tmp_path).run
    assert run is not None
    assert "request_throughput" not in run.summary.run
    assert any("a sample, 3 of 30" in note for note in run.summary.notes)
    assert mean(run, "ttft") == pytest.approx(65, abs=1e-3)


def test_two_tokens_have_all_their_moments(tmp_path: Path) -> None:
    """With two tokens the first and the last are all there are: nothing is missing."""

    def short(document: Any) -> None:
        for row in document["benchmarks"][0]["requests"]["successful"]:
            row["info"]["timings"]["token_iterations"] = 2

    run = brought(changed("guidellm.json", tmp_path, short), tmp_path).run
    assert run is not None
    assert "ttst" in run.summary.metrics


def test_splintered_and_merged_responses(tmp_path: Path) -> None:
    """What perf_analyzer's reads cut or put together is read as one stream."""

    def cut(document: Any) -> None:
        outputs = document["experiments"][0]["requests"][0]["response_outputs"]
        whole = outputs[2]["response"]
        outputs[1]["response"] += whole[:20]
        outputs[2]["response"] = whole[20:]

    run = brought(changed("genai-perf/profile_export.json", tmp_path, cut), tmp_path).run
    assert run is not None
    assert mean(run, "icl") == pytest.approx(16)


@pytest.mark.parametrize(
    ("name", "row", "stat", "value"),
    [
        ("vllm.json", "TTFT", "Mean", 65),
        ("vllm.json", "ITL", "Mean", 16),
        ("aiperf/profile_export.jsonl", "Inter Token Latency", "avg", 15),
        ("aiperf/profile_export.jsonl", "Benchmark Duration", "", 0.120),
        ("genai-perf/profile_export.json", "Time To First Token", "avg", 65),
        ("guidellm.json", "ITL", "Mean", (20 * 3 + 10 * 2) / 5),  # weighted by OSL - 1
        ("llm-load-test.json", "itl", "mean", (61 / 3 + 21 / 2) / 2),
        ("llm-load-test.json", "tpot", "mean", (121 / 4 + 91 / 3) / 2),
    ],
)
def test_its_dialect_gives_its_own_figures(name: str, row: str, stat: str, value: float, tmp_path: Path) -> None:
    run = made(name, tmp_path)
    found = translate(run.header["imported"]["tool"], run)
    figures = {(one.name, figure.stat): figure.theirs for one in found.rows for figure in one.figures}
    assert figures[row, stat] == pytest.approx(value, abs=1e-3)


def test_one_folder_for_each_line(tmp_path: Path) -> None:
    both = bring_in(FOLDER / "vllm-appended.json", artifact_dir=tmp_path)
    assert [one.folder.name for one in both] == [
        "vllm-tiny-model-imported-20260921T141320Z",
        "vllm-tiny-model-imported-20260921T141420Z",
    ]
    again = brought(FOLDER / "vllm-appended.json", tmp_path, 1)
    assert again.folder.name == "vllm-tiny-model-imported-20260921T141320Z-2"
