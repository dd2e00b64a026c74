"""Each engine's exposition in the words of the vocabulary; the same state and the same deltas from all of them."""

from pathlib import Path

import pytest

from genbench.telemetry import names
from genbench.telemetry.figures import figures
from genbench.telemetry.prometheus import NotMetrics, Reader, dialects, read
from genbench.telemetry.vocabulary import BY_KEY
from tests.telemetry.exporter import DATA, data
from tests.telemetry.told import client, expositions

# What every fixture says in `after`, where its engine tells it at all; one engine may lack some, none says another.
STATE = {"running": 8.0, "waiting": 2.0, "kv_cache_pct": 37.5}
# `after` less `before`: ten requests
DELTAS = {"prompt_tokens": 1000.0, "generation_tokens": 2000.0, "requests_done": 10.0}
ENGINES = {
    "vllm": ("vllm", {"running", "waiting", "kv_cache_pct"}, {"ttft", "itl", "queue", "e2e"}),
    "vllm-old": ("vllm", {"running", "waiting", "kv_cache_pct"}, {"ttft", "itl", "queue", "e2e"}),
    "sglang": ("sglang", {"running", "waiting"}, {"ttft", "itl", "queue", "e2e"}),
    "tgi": ("tgi", {"running", "waiting"}, {"tpot", "queue", "e2e"}),
    "tensorrt-llm": ("tensorrt-llm", {"running", "waiting", "kv_cache_pct"}, {"ttft", "tpot", "queue", "e2e"}),
    "triton": ("triton", {"running", "waiting", "kv_cache_pct"}, {"ttft", "queue", "e2e"}),
    "nim": ("nim", {"running", "waiting", "kv_cache_pct"}, {"ttft", "itl", "e2e"}),
    "jetstream": ("jetstream", {"waiting", "kv_cache_pct"}, {"ttft", "tpot", "queue", "e2e"}),
    "llamacpp": ("llama.cpp", {"running", "waiting", "kv_cache_pct"}, set()),
}


@pytest.mark.parametrize("folder", ENGINES)
def test_the_state(folder: str) -> None:
    dialect, told, _ = ENGINES[folder]
    spoken, reading = read(data(folder))
    assert spoken == dialect
    state = {key: value for key, value in reading.values.items() if key in STATE}
    if folder == "sglang":
        assert state.pop("kv_cache_pct") == 40.0  # of two ranks that say the same, one counts
    assert state == {key: STATE[key] for key in told}


@pytest.mark.parametrize("folder", ENGINES)
def test_the_deltas(folder: str) -> None:
    server = figures((expositions(folder, {-1: "before", 11: "after"}),), client())
    counted = {key: server.metrics[key]["delta"] for key in DELTAS if key in server.metrics}
    lacking = {"requests_done"} if folder == "llamacpp" else {"prompt_tokens", "generation_tokens"}
    assert counted == {key: value for key, value in DELTAS.items() if key in counted}
    assert counted.keys() >= (DELTAS.keys() - lacking if folder in ("llamacpp", "triton") else DELTAS.keys())
    assert {key for key, one in server.metrics.items() if one["kind"] == "histogram"} == ENGINES[folder][2]


@pytest.mark.parametrize("folder", [name for name, (_, _, told) in ENGINES.items() if "ttft" in told])
def test_the_latencies(folder: str) -> None:
    server = figures((expositions(folder, {-1: "before", 11: "after"}),), client())
    ttft = server.metrics["ttft"]
    assert ttft["count"] == 10
    assert ttft["mean"] == pytest.approx(120)  # 1.2 s / 10
    assert ttft["p50"] == pytest.approx(100 + 100 * (5 - 4) / 6)  # 4 up to 0.1 s, 10 up to 0.2 s
    assert ttft["p95"] == pytest.approx(100 + 100 * (9.5 - 4) / 6)
    if "queue" in server.metrics:
        assert server.metrics["queue"]["mean"] == pytest.approx(30)  # 0.3 s / 10, Triton's in microseconds
    assert server.metrics["e2e"]["mean"] == pytest.approx(1200)


def test_prefix_cache_and_preemptions() -> None:
    for folder in ("vllm", "vllm-old"):
        server = figures((expositions(folder, {-1: "before", 11: "after"}),), client())
        assert server.derived["prefix_hit_pct"]["value"] == 25.0  # 250 of 1000, over two engines
        assert server.metrics["preemptions"]["delta"] == 2
    server = figures((expositions("sglang", {-1: "before", 11: "after"}),), client())
    assert server.derived["prefix_hit_pct"]["value"] == 25.0  # 250 of 1000 prompt tokens


def test_iterations_of_trtllm_serve() -> None:
    spoken, reading = read(data("tensorrt-llm-json"))
    assert spoken == "tensorrt-llm"
    assert {key: reading.values[key] for key in STATE} == STATE  # of the last iteration: 8, 2, 300 of 800 blocks
    assert reading.gpus == {"0": {"gpu_memory_used": 2.0**34}}
    assert read(data("tensorrt-llm-json", "before")) == ("tensorrt-llm", type(reading)())  # none since it was asked


def test_gpus_are_kept_apart() -> None:
    spoken, reading = read(data("dcgm"))
    assert spoken == "dcgm"
    assert reading.gpus["GPU-0"] == {
        "gpu_util_pct": 90, "gpu_sm_active_pct": 60, "gpu_memory_used": 2**34, "gpu_memory_free": 3 * 2**34,
        "gpu_memory_total": 2**36, "gpu_power": 300, "gpu_sm_clock": 1410, "gpu_memory_clock": 1593,
        "gpu_temperature": 60, "gpu_energy": 4000,
    }  # fmt: skip
    assert reading.gpus["GPU-1"]["gpu_power"] == 200
    assert read(data("triton"))[1].gpus["GPU-1"]["gpu_util_pct"] == 90  # told as 0.9


def test_names_with_underscores_for_colons() -> None:
    """Some exporters rewrite them, and it is the same engine."""
    for folder in ("vllm", "sglang", "llamacpp"):
        text = data(folder)
        renamed = text.replace(b"vllm:", b"vllm_").replace(b"sglang:", b"sglang_").replace(b"llamacpp:", b"llamacpp_")
        assert read(renamed) == read(text)


def test_a_real_vllm() -> None:
    """Captured from vLLM 0.32 before and after 64 requests of 212 tokens with 40 each, and a preflight of 4."""
    server = figures((expositions("vllm-0.32", {-1: "before", 11: "after"}),), client())
    assert server.metrics["requests_done"]["delta"] == 68
    assert server.metrics["generation_tokens"]["delta"] == 64 * 40 + 7
    assert server.metrics["prompt_tokens"]["delta"] == 14704
    assert server.metrics["ttft"]["count"] == 68
    assert server.metrics["ttft"]["mean"] == pytest.approx(1102.0410 / 68, abs=1e-3)
    assert server.metrics["itl"]["count"] == 2567 - 68
    assert server.metrics["queue"]["mean"] < 0.1
    assert {"running", "waiting", "kv_cache_pct", "prefix_queries", "prefix_hits", "preemptions"} <= read(
        data("vllm-0.32")
    )[1].values.keys()


def test_histograms_without_buckets() -> None:
    """A capture whose buckets were left out: there is a mean, and no quantile."""
    server = figures((expositions("vllm-wire", {-1: "metrics", 11: "metrics"}),), client())
    assert server.metrics["generation_tokens"]["delta"] == 0
    assert "ttft" not in server.metrics  # nothing was added
    _, reading = read(data("vllm-wire", "metrics"))
    assert reading.histograms["ttft"].bounds == ()


def test_an_unknown_engine_is_an_exporter_all_the_same() -> None:
    spoken, reading = read(data("infinity", "metrics"))
    assert spoken == ""
    assert set(reading.values) == {"process_memory"}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"<!DOCTYPE html><html><body>Not here</body></html>", "an HTML page"),
        (b'{"detail":"Not Found"}', "JSON that is not trtllm-serve's"),
        (b"", "no metric at all"),
        (b"   \n\n", "no metric at all"),
        (b"hello world\n", "something that is no metrics"),
        (b"vllm:num_requests_running{model=1\n", "something that is no metrics"),
        (b"{not json", "something that is no metrics"),
        (b"\x00\xff\x13", "something that is no metrics"),
    ],
)
def test_what_is_no_metrics(body: bytes, said: str) -> None:
    with pytest.raises(NotMetrics, match=said):
        read(body)


def test_nan_is_not_there() -> None:
    assert read(b"vllm:num_requests_running NaN\nvllm:num_requests_waiting 2\n")[1].values == {"waiting": 2.0}


def test_the_rows_are_words() -> None:
    for dialect in (*names.ENGINES, *names.MACHINES):
        assert {row.key for row in dialect.rows} <= BY_KEY.keys()
    for dialect in names.ENGINES:
        assert dialects([f"{dialect.prefixes[0]}x"] if dialect.prefixes else dialect.names)[0] is dialect
    told = {key for folder in DATA.iterdir() for path in folder.glob("after.*") for key in _words(path)}
    assert BY_KEY.keys() - told == {"host_memory_free"}


def _words(path: Path) -> set[str]:
    _, reading = read(path.read_bytes())
    return {*reading.values, *reading.histograms, *(key for one in reading.gpus.values() for key in one)}


def test_a_line_is_parsed_once_and_read_each_time() -> None:
    reader = Reader()
    before, after = (reader.read(data("vllm", name)) for name in ("before", "after"))
    assert before == read(data("vllm", "before"))
    assert after == read(data("vllm", "after"))
    reader = Reader()
    for value, stamp in ((1, 1700000000000), (2, 1700000000500), (3, 1700000000500)):
        text = f'vllm:num_requests_running{{a="b c"}} {value} {stamp}\nvllm:num_requests_waiting {value}\n'
        assert reader.read(text.encode())[1].values == {"running": value, "waiting": value}


def test_other_lines_may_be_odd() -> None:
    assert read(b"?? what\nvllm:num_requests_running 2\n")[1].values == {"running": 2}
