"""The files of other tools: their figures are the dialect's, and reading them back gives them again.

Tolerance: AIPerf, GenAI-Perf and vLLM keep what a nanosecond needs, so figures agree to 1e-9; GuideLLM keeps seconds of
the wall clock in a double, a quarter of a microsecond at each end of a span. Not compared: the run's duration and rates
with vLLM when a request failed (its file has no end of those), and the median of GuideLLM's concurrency (a step that a
quarter of a microsecond moves).
"""

import csv
import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genbench import registry
from genbench.errors import ConfigError
from genbench.metrics.dialects import translate
from genbench.metrics.summary import Run
from genbench.studies import importing
from genbench.types import EventKind, Outcome, Record
from tests.exporters import golden
from tests.metrics.made import ns, stream
from tests.metrics.translated import run_of
from tests.runs import Runner

ZERO = 1_790_000_000_000_000_000
HEADER: dict[str, Any] = {
    "endpoint_type": "chat",
    "model": "tiny-model",
    "clock": {"zero_unix_ns": ZERO},
    "config": {"load": {"concurrency": 4}},
}
FILES = {"vllm": "vllm.json", "aiperf": "profile_export.jsonl", "genai-perf": "profile_export.json"}
FILES["guidellm"] = "benchmarks.json"
BY_END = ("Benchmark duration", "Request throughput", "Output token throughput", "Total token throughput")
Theirs = dict[tuple[str, str], float]


def theirs(name: str, run: Run) -> Theirs:
    found = translate(name, run)
    figures = {(row.name, one.stat): one.theirs for row in found.rows for one in row.figures}
    return {key: float(value) for key, value in figures.items() if isinstance(value, int | float)}


def there_and_back(name: str, run: Run) -> Theirs:
    with TemporaryDirectory() as folder:
        registry.load("exporters", name).write(run, Path(folder))
        (one,) = importing.bring_in(Path(folder) / FILES[name], artifact_dir=Path(folder))
        assert one.run is not None
        return theirs(name, one.run)


def refused(index: int, sent: float) -> Record:
    record = Record(index=index, start_ns=ns(sent - 0.125), sent_ns=ns(sent), end_ns=ns(sent + 3), status=503)
    record.outcome, record.error = Outcome.HTTP_ERROR, "HTTP 503: busy"
    return record


@st.composite
def records(draw: st.DrawFn) -> list[Record]:
    """Streams of 1 to 6 tokens with gaps to the ns, the first ones reasoning in some, and some refusals."""
    made: list[Record] = []
    sent = 10.0
    for index in range(draw(st.integers(2, 6))):
        sent += draw(st.integers(1, 10**8)) / 1e6
        if made and draw(st.integers(0, 4)) == 0:
            made.append(refused(index, sent))
            continue
        gaps = draw(st.lists(st.integers(1, 10**8), min_size=1, max_size=6))
        times, at = [], sent + 1
        for gap in gaps:
            at += gap / 1e6
            times.append(at)
        reasoning = draw(st.integers(0, len(times) - 1))
        kinds = [EventKind.REASONING] * reasoning + [EventKind.CONTENT] * (len(times) - reasoning)
        more = draw(st.integers(0, 9))
        made.append(stream(index, sent, times, kinds=kinds, osl=len(times) + more, isl=draw(st.integers(1, 5000))))
    return made


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=12, deadline=None)
@given(made=records())
def test_round_trip(name: str, made: list[Record]) -> None:
    run = run_of(*made, **HEADER)
    before = theirs(name, run)
    after = there_and_back(name, run)
    failed = any(record.outcome != Outcome.OK for record in made)
    for key, value in before.items():
        if key == ("Requests Concurrency", "Mdn") or (name == "vllm" and failed and key[0] in BY_END):
            continue
        near, share = (5e-4, 1e-4) if name == "guidellm" else (1e-9, 1e-9)
        assert after[key] == pytest.approx(value, abs=near, rel=share), key


def wide() -> Run:
    """Many requests, broken ones and given up ones too: 48 ok of 6 tokens, as the golden run has them."""
    return run_of(*golden.records(), **HEADER)


def written(name: str, run: Run, to: Path) -> list[Path]:
    paths: list[Path] = registry.load("exporters", name).write(run, to)
    assert all(path.is_file() and path.parent == to for path in paths)
    return paths


def test_vllm_statistics(tmp_path: Path) -> None:
    run = wide()
    (path,) = written("vllm", run, tmp_path)
    found, figures = json.loads(path.read_text()), theirs("vllm", run)
    for row, key in (("TTFT", "ttft"), ("TPOT", "tpot"), ("ITL", "itl"), ("E2EL", "e2el")):
        assert found[f"mean_{key}_ms"] == pytest.approx(figures[row, "Mean"])
        assert found[f"std_{key}_ms"] == pytest.approx(figures[row, "std (result file)"])
        assert found[f"p99_{key}_ms"] == pytest.approx(figures[row, "P99"])
    assert found["completed"] == 48
    assert found["failed"] == 3
    assert found["num_prompts"] == 51  # what we gave up is not there
    assert found["ttfts"][0] == pytest.approx((0.5 + 0.125) / 1000)  # the role event, from the start
    assert len(found["itls"][0]) == 6
    assert sum(error != "" for error in found["errors"]) == 3
    assert (found["max_concurrency"], found["request_rate"]) == (4, "inf")


def test_aiperf_statistics(tmp_path: Path) -> None:
    run = wide()
    summary, lines = written("aiperf", run, tmp_path)
    found, figures = json.loads(summary.read_text()), theirs("aiperf", run)
    for row, tag in (
        ("Time to First Token", "time_to_first_token"),
        ("Time to Second Token", "time_to_second_token"),
        ("Request Latency", "request_latency"),
        ("Decode Duration", "decode_duration"),
        ("Inter Token Latency", "inter_token_latency"),
        ("Inter Chunk Latency", "inter_chunk_latency"),
        ("Output Token Throughput Per User", "output_token_throughput_per_user"),
        ("E2E Output Token Throughput", "e2e_output_token_throughput"),
        ("Output Sequence Length", "output_sequence_length"),
        ("Input Sequence Length", "input_sequence_length"),
    ):
        for stat in ("avg", "min", "max", "p99", "p90", "p50", "std"):
            assert found[tag][stat] == pytest.approx(figures[row, stat]), (tag, stat)
    assert found["benchmark_duration"]["avg"] == pytest.approx(figures["Benchmark Duration", ""])
    assert found["error_request_count"]["avg"] == 3
    assert found["schema_version"] == "1.4"
    rows = [json.loads(line) for line in lines.read_text().splitlines()]
    assert len(rows) == 51
    assert [row["error"]["code"] for row in rows if "error" in row] == [None, 429, None]
    # the figures are read back by the names of the tool
    (one,) = importing.bring_in(summary, artifact_dir=tmp_path)
    key = "aiperf.time_to_first_token"
    assert one.result.metrics[key]["mean"] == pytest.approx(figures["Time to First Token", "avg"])
    assert one.result.metrics[key]["count"] == 48


def test_genai_perf_statistics(tmp_path: Path) -> None:
    run = wide()
    raw, summary, table = written("genai-perf", run, tmp_path)
    found, figures = json.loads(summary.read_text()), theirs("genai-perf", run)
    for row, tag in (
        ("Time To First Token", "time_to_first_token"),
        ("Time To Second Token", "time_to_second_token"),
        ("Request Latency", "request_latency"),
        ("Inter Token Latency", "inter_token_latency"),
        ("Output Token Throughput Per User", "output_token_throughput_per_user"),
        ("Output Sequence Length", "output_sequence_length"),
    ):
        for stat in ("avg", "min", "max", "p99", "p90", "p75"):
            assert found[tag][stat] == pytest.approx(figures[row, stat]), (tag, stat)
        assert found[tag]["std"] == pytest.approx(figures[row, "std (result file)"])
    assert found["request_throughput"]["avg"] == pytest.approx(figures["Request Throughput", ""])
    rows = list(csv.reader(table.read_text().splitlines()))
    assert rows[0][:5] == ["Metric", "avg", "min", "max", "p99"]
    assert rows[1] == [
        "Time To First Token (ms)",
        *(f"{found['time_to_first_token'][stat]:,.2f}" for stat in rows[0][1:]),
    ]
    assert len(json.loads(raw.read_text())["experiments"][0]["requests"]) == 51
    (one,) = importing.bring_in(table, artifact_dir=tmp_path)  # to the CSV's two places
    assert one.result.metrics["genai-perf.time_to_first_token"]["mean"] == pytest.approx(
        figures["Time To First Token", "avg"], abs=0.005
    )


def test_guidellm_statistics(tmp_path: Path) -> None:
    run = wide()
    (path,) = written("guidellm", run, tmp_path)
    benchmark, figures = json.loads(path.read_text())["benchmarks"][0], theirs("guidellm", run)
    for row, key in (
        ("Request Latency", "request_latency"),
        ("TTFT", "time_to_first_token_ms"),
        ("TTFOT", "time_to_first_output_token_ms"),
        ("ITL", "inter_token_latency_ms"),
        ("TPOT", "time_per_output_token_ms"),
    ):
        own = benchmark["metrics"][key]["successful"]
        assert own["mean"] == pytest.approx(figures[row, "Mean"])
        assert own["median"] == pytest.approx(figures[row, "Mdn"])
        assert own["percentiles"]["p95"] == pytest.approx(figures[row, "p95"])
        assert own["std_dev"] == pytest.approx(figures[row, "std_dev (report)"])
    assert benchmark["metrics"]["request_totals"] == {"successful": 48, "incomplete": 1, "errored": 3, "total": 52}
    assert benchmark["duration"] == pytest.approx(figures["Timings Dur", ""], abs=1e-6)


def test_what_cannot_be_written(tmp_path: Path) -> None:
    record = stream(0, 100, [150])
    record.streamed = False
    with pytest.raises(ConfigError, match="always streams"):
        registry.load("exporters", "vllm").write(run_of(record, **HEADER), tmp_path)
    for name in FILES:
        with pytest.raises(ConfigError, match="has no request"):
            registry.load("exporters", name).write(run_of(**HEADER), tmp_path)
    assert not list(tmp_path.iterdir())


def test_embeddings(tmp_path: Path) -> None:
    record = Record(index=0, start_ns=0, sent_ns=0, end_ns=ns(20), isl_usage=9, inputs=3, embeddings=3, status=200)
    record.outcome = Outcome.OK
    record.event_ns, record.event_kind, record.event_choice = [ns(20)], [int(EventKind.CONTENT)], [0]
    record.event_tokens, record.event_shared = [-1], [0]
    run = run_of(record, **{**HEADER, "endpoint_type": "embeddings"})
    (path,) = written("vllm", run, tmp_path)
    found = json.loads(path.read_text())
    assert found["total_input_sequences"] == 3
    assert found["mean_e2el_ms"] == pytest.approx(20)
    for name in ("aiperf", "guidellm", "genai-perf"):
        written(name, run, tmp_path)
    (one,) = importing.bring_in(tmp_path / "profile_export.jsonl", artifact_dir=tmp_path)
    assert one.run is not None
    assert one.run.summary.metrics["request_latency"].stats["mean"] == pytest.approx(20)
    assert "ttft" not in one.run.summary.metrics


def test_the_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = Runner(tmp_path, capsys)
    demo = Path(__file__).parent.parent.parent / "examples" / "runs" / "SIMULATED-demo"
    out = tmp_path / "out"
    ran = run("report", str(demo), "--export", "vllm", "--export", "guidellm", "--out", str(out))
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.split() == [str(out / "vllm" / "vllm.json"), str(out / "guidellm" / "benchmarks.json")]
    ran = run("report", str(demo), "--export", "vllm", "--json", "--out", str(out))
    assert ran.code == 2
    ran = run("report", str(demo), "--export", "other", "--out", str(out))
    assert ran.code == 2
    assert "unknown name 'other' in exporters" in ran.err
