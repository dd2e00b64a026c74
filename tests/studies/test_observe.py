"""Runs that watch their server: against the embedded engine and against exporters of a test's own."""

import csv
import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import orjson
import pytest

from genbench.plots import _draw, gpu_over_run, server_over_run, throughput_over_run
from genbench.plots._figure import Nothing
from genbench.plots._look import LIGHT
from genbench.report.server import section
from genbench.studies.report import read, rebuild
from genbench.telemetry import log
from genbench.types import EventKind
from tests.runs import Ran, Runner
from tests.simulator.process import Simulator
from tests.telemetry.exporter import Answer, data, exporting

EVERY_S = 0.1
FAST = json.dumps({"simulate": {"ttft_ms": 5, "itl_ms": 1}})
SMALL = ("--isl", "20", "--osl", "6", "-n", "6", "-c", "3", "--warmup", "2")
BATCH, STEP_NS, OSL, KV_TOKENS = 2, 20_000_000, 20, 4000


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scrapes come quicker than in life: the runs are short."""
    monkeypatch.setattr("genbench.studies.observe.EVERY_S", EVERY_S)


def profile(run: Runner, url: str, *arguments: str) -> Ran:
    """A small run."""
    return run("profile", "--url", url, *SMALL, *arguments)


def test_queue_and_kv_cache_of_the_embedded_engine(run: Runner, start_simulator: Callable[..., Simulator]) -> None:
    """Six requests at once, two at a time, 20 steps of 20 ms each: 4, then 2, then 0 wait; the rest is arithmetic.

    What the engine held at a moment follows from the records: two of those without a first token do not wait but are
    being computed, and each running sequence holds its prompt and the tokens it has sent. Each scrape has to be the
    truth of a moment at most one interval away.
    """
    engine = start_simulator(
        "--max-batch", str(BATCH), "--step-base", "20ms", "--step-per-sequence", "0", "--step-per-kv-token", "0",
        "--prefill-tps", "1000000", "--kv-tokens", str(KV_TOKENS), "--max-model-len", "1000",
    )  # fmt: skip
    ran = run(
        "profile", "--url", engine.url, "-c", "6", "-n", "6", "--isl", "100", "--osl", str(OSL), "--warmup", "0",
        "--server-metrics",
    )  # fmt: skip
    assert ran.summary["outcomes"] == {"ok": 6}
    records = [record for record in ran.records if record.get("phase", 1)]
    (told,) = log.read(ran.folder)
    start_ns, end_ns = min(r["sent_ns"] for r in records), max(r["end_ns"] for r in records)
    begun_ns = start_ns + 60_000_000  # the first step has only those that came before it began
    inside = [one for one in told.good if begun_ns <= one.t_ns <= end_ns]
    assert len(inside) >= 5
    for before, one in pairwise((told.good[0], *inside)):
        reach_ms = round(1e3 * EVERY_S + one.took_ns / 2e6)
        truth = [_held(records, one.t_ns + ms * 1_000_000) for ms in range(-reach_ms, reach_ms + 1, 2)]
        assert one.values["waiting"] in {waiting for waiting, _ in truth}
        held = one.values["kv_cache_pct"] / 100 * KV_TOKENS
        assert min(kv for _, kv in truth) - BATCH <= held <= max(kv for _, kv in truth) + BATCH
        if before in inside and one.values["waiting"] < before.values["waiting"]:  # it became shorter in between
            began, ended = before.t_ns - before.took_ns // 2 - STEP_NS, one.t_ns + one.took_ns // 2 + STEP_NS
            assert _held(records, began)[0] > _held(records, ended)[0]
    server = ran.summary["server"]["metrics"]
    assert server["running"]["max"] == BATCH
    assert server["waiting"]["max"] in (4, 5)  # 5 in the first step, which has one
    assert server["generation_tokens"]["delta"] == 6 * OSL
    assert server["requests_done"]["delta"] == 6
    assert server["prompt_tokens"]["delta"] == sum(r["isl_usage"] for r in records)
    assert server["ttft"]["count"] == 6
    client = ran.summary["metrics"]["ttft"]["mean"]
    assert server["ttft"]["mean"] == pytest.approx(client, abs=5)
    assert ran.summary["server"]["derived"]["ttft_in_queue"]["share_pct"] > 50


def _held(records: list[dict[str, Any]], t_ns: int) -> tuple[int, int]:
    """(waiting, tokens that hold room) at a moment, by the client's records."""
    alive = [r for r in records if r["sent_ns"] <= t_ns < r["end_ns"]]
    tokens = [_tokens(r, t_ns) for r in alive]
    order = sorted(range(len(alive)), key=lambda k: (-tokens[k], alive[k]["sent_ns"]))
    running = order[:BATCH]
    return len(alive) - len(running), sum(alive[k]["isl_usage"] + tokens[k] for k in running)


def _tokens(record: dict[str, Any], t_ns: int) -> int:
    events = zip(record["event_ns"], record["event_kind"], strict=True)
    return sum(at_ns <= t_ns and kind == EventKind.CONTENT for at_ns, kind in events)


def test_files_block_and_page(run: Runner, simulator: Simulator) -> None:
    ran = profile(run, simulator.url, "--extra", FAST, "--osl", "60", "-n", "30", "--server-metrics")
    assert ran.code == 0
    assert "server (vllm): KV cache mean 0 %" in ran.out
    assert "TTFT p50 / p95: server " in ran.out
    assert "server (vllm)" in (ran.folder / "summary.md").read_text()
    rows = list(csv.DictReader((ran.folder / "server_metrics.csv").read_text().splitlines()))
    times = [float(row["t_s"]) for row in rows]
    assert times == sorted(times)
    assert times[0] < 0 < times[-1]
    first_sent = min(r["sent_ns"] for r in ran.records if r.get("phase", 1)) - min(
        r["intended_ns"] for r in ran.records
    )
    assert [(int(row["t_ns"]) - first_sent) / 1e9 for row in rows] == pytest.approx(times, abs=1e-6)
    counts = [float(row["generation_tokens"]) for row in rows]
    assert all(a <= b for a, b in pairwise(counts))
    again = read(ran.folder)
    page = str(section(again))
    assert "The engine's latencies beside the client's" in page
    assert "Not told by this server" not in page  # the embedded engine tells everything
    drawn, other = server_over_run.data(again), throughput_over_run.data(again)
    assert drawn.columns["t_s"][[0, -1]] == pytest.approx([other.columns["from_s"][0], other.columns["to_s"][-1]])
    assert _draw.image(_draw.spec("server_over_run", drawn, LIGHT), "png")[1:4] == b"PNG"
    with pytest.raises(Nothing, match="see --gpu-telemetry"):
        gpu_over_run.data(again)


def test_it_is_made_again_from_the_rows(run: Runner, simulator: Simulator) -> None:
    ran = profile(run, simulator.url, "--extra", FAST, "--server-metrics")
    before = ran.summary["server"]
    csv_before = (ran.folder / "server_metrics.csv").read_bytes()
    (ran.folder / "server_metrics.csv").unlink()
    (ran.folder / "summary.json").unlink()
    rebuild(ran.folder)
    assert ran.summary["server"] == before
    assert (ran.folder / "server_metrics.csv").read_bytes() == csv_before


def test_rows_without_figures_are_a_note(run: Runner, simulator: Simulator, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> None:
        raise IndexError("out of bounds")

    monkeypatch.setattr("genbench.studies.telemetry.figures", breaks)
    ran = profile(run, simulator.url, "--extra", FAST, "--server-metrics")
    assert (ran.code, ran.summary["outcomes"]) == (0, {"ok": 6})
    said = "no figures of the server's side: server_metrics.jsonl has rows that do not fit (IndexError: out of bounds)"
    assert ran.summary["server"]["notes"] == [said]
    assert (ran.folder / "server_metrics.csv").exists()
    assert said in str(section(read(ran.folder)))


@pytest.mark.parametrize("arguments", [(), ("--server-metrics", "off")])
def test_default_and_off(
    run: Runner, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    monkeypatch.setattr("genbench.studies.observe.BY_DEFAULT", True)
    ran = profile(run, simulator.url, "--extra", FAST, *arguments)
    assert ran.code == 0
    assert ("server" in ran.summary) == (not arguments)
    assert (ran.folder / "server_metrics.jsonl").exists() == (not arguments)
    assert not [note for note in ran.summary["notes"] if "metrics" in note]


def test_a_server_without_metrics_is_no_news(
    run: Runner, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("genbench.studies.observe.BY_DEFAULT", True)
    monkeypatch.setattr("genbench.studies.observe.DEFAULT_PATHS", ("/nothing/here",))
    ran = profile(run, simulator.url, "--extra", FAST)
    assert ran.code == 0
    assert "server" not in ran.summary
    assert "/nothing/here" not in ran.out + ran.err
    ran = profile(run, simulator.url, "--extra", FAST, "--server-metrics")
    assert ran.code == 2
    assert f"--server-metrics {simulator.url}/nothing/here: HTTP 404; give the address" in ran.err


def test_gpus_and_their_energy(run: Runner, simulator: Simulator) -> None:
    """The exporter's energy grows by 50 J a question, its power is 300 and 200 W."""

    def dcgm(k: int, _: str) -> Answer:
        text = data("dcgm").replace(b"4000000", b"%d" % (4_000_000 + 25_000 * k))
        return Answer(text)

    with exporting(dcgm) as exporter:
        arguments = ("--gpu-telemetry", exporter.url, "--server-metrics", "off", "-n", "24", "--osl", "60")
        ran = profile(run, simulator.url, "--extra", FAST, *arguments)
    server = ran.summary["server"]
    assert server["metrics"]["gpu_power"]["mean"] == 500
    assert server["metrics"]["gpu_util_pct"]["mean"] == 85
    assert server["metrics"]["gpu_memory_total"]["mean"] == 2**37
    assert set(server["gpus"]) == {"GPU-0", "GPU-1"}
    duration = ran.summary["run"]["duration"]["value"]
    each_s = server["derived"]["energy"]["value"] / duration
    assert each_s == pytest.approx(50 / EVERY_S, rel=0.5)
    per_token = server["derived"]["energy_per_output_token"]["value"]
    assert per_token == pytest.approx(server["derived"]["energy"]["value"] / (24 * 60))
    assert "J per output token" in " ".join(ran.out.split())
    assert "SMs active mean 55 %" in ran.out
    drawn = gpu_over_run.data(read(ran.folder))
    assert np.nanmax(drawn.columns["gpu_memory_gib"]) == 32
    assert _draw.image(_draw.spec("gpu_over_run", drawn, LIGHT), "png")[1:4] == b"PNG"
    assert "GPU GPU-1" in str(section(read(ran.folder)))


@pytest.mark.parametrize(
    ("option", "answer", "said"),
    [
        ("--server-metrics", Answer(b"<html></html>"), "answers with an HTML page"),
        ("--server-metrics", Answer(b"", 404), "HTTP 404"),
        ("--gpu-telemetry", Answer(data("vllm")), "answers with no GPU metric"),
        ("--prometheus", Answer(data("dcgm")), "no Prometheus server there (its answer is not JSON)"),
    ],
)
def test_what_is_no_exporter_ends_before_the_load(
    run: Runner, simulator: Simulator, option: str, answer: Answer, said: str
) -> None:
    simulator.clear()
    with exporting(lambda k, _: answer) as exporter:
        ran = profile(run, simulator.url, option, exporter.url)
    assert ran.code == 2
    assert said in ran.err
    assert len(ran.err.strip().splitlines()) == 1
    assert len(simulator.truth()) <= 4  # the preflight's
    assert not list(ran.folder.glob("run*"))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--gpu-telemetry", "http://127.0.0.1:1"), "--gpu-telemetry http://127.0.0.1:1/metrics: connection refused"),
        (("--server-metrics", "ftp://x"), "--server-metrics ftp://x is no http or https address"),
        (("--server-metrics", "http://x:99999"), "Port out of range"),
        (("--prometheus", "http://me:secret@127.0.0.1:1"), "put a proxy without a password in front"),
        (("--server-metrics", "off", "--server-metrics", "http://x"), "--server-metrics off goes with no other"),
    ],
)
def test_addresses_that_are_none(run: Runner, simulator: Simulator, arguments: tuple[str, ...], said: str) -> None:
    ran = profile(run, simulator.url, *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert said in ran.err
    assert "secret" not in ran.err
    assert len(ran.err.strip().splitlines()) == 1


def test_an_exporter_that_dies_does_not_end_the_run(run: Runner, simulator: Simulator) -> None:
    with exporting(lambda k, _: Answer(data("vllm"), drop=k > 3)) as exporter:
        ran = profile(run, simulator.url, "--extra", FAST, "-n", "30", "--osl", "60", "--server-metrics", exporter.url)
    assert ran.code == 0
    (said,) = [note for note in ran.summary["server"]["notes"] if "fell silent" in note]
    assert "it closed the connection" in said
    assert said.partition(" ")[0] in ran.out.replace("\n", " ")


def test_keys_go_to_the_runs_own_host_only(run: Runner, simulator: Simulator) -> None:
    key = "sk-very-secret-123"
    with exporting(lambda k, _: Answer(data("vllm"))) as exporter:
        elsewhere = exporter.url.replace("127.0.0.1", "localhost")
        ran = profile(
            run, simulator.url, "--extra", FAST, "--api-key", key, "-H", "X-Team: search-team",
            "--server-metrics", exporter.url, "--server-metrics", f"{elsewhere}/metrics?token=abcdefgh",
        )  # fmt: skip
        assert ran.code == 0
        own = [headers for path, headers in exporter.asked if "token" not in path]
        others = [headers for path, headers in exporter.asked if "token" in path]
    assert all(one["Authorization"] == f"Bearer {key}" and one["X-Team"] == "search-team" for one in own)
    assert others
    assert not any("Authorization" in one or "X-Team" in one for one in others)
    for path in ran.folder.iterdir():
        text = path.read_text()
        assert key not in text
        assert "abcdefgh" not in text, path


def test_what_prometheus_stored(run: Runner, simulator: Simulator) -> None:
    """A server that answers every range with a point each second around now."""

    def stored(k: int, path: str) -> Answer:
        if "query_range" not in path:
            return Answer(b'{"status":"success","data":{"resultType":"scalar","result":[0,"1"]}}')
        asked = parse_qs(urlsplit(path).query)
        start, end = float(asked["start"][0]), float(asked["end"][0])
        moments = np.arange(start, end, 0.05).tolist()
        result = [
            {
                "metric": {"__name__": "vllm:num_requests_running", "instance": "a:1"},
                "values": [[t, "3"] for t in moments],
            }
        ]
        return Answer(orjson.dumps({"status": "success", "data": {"resultType": "matrix", "result": result}}))

    with exporting(stored) as exporter:
        arguments = ("-n", "30", "--osl", "60", "--prometheus", exporter.url, "--server-metrics", "off")
        ran = profile(run, simulator.url, "--extra", FAST, *arguments)
    assert ran.code == 0
    (source,) = ran.summary["server"]["sources"]
    assert (source["role"], source["dialect"]) == ("prometheus", "vllm")
    running = ran.summary["server"]["metrics"]["running"]
    assert running["mean"] == running["idle"] == 3
    with exporting(lambda k, path: Answer(b"gone", 500) if "range" in path else stored(k, path)) as exporter:
        ran = profile(run, simulator.url, "--extra", FAST, "--prometheus", exporter.url)
    assert ran.code == 0
    assert f"{exporter.url}/ told nothing of the run: HTTP 500" in ran.summary["notes"]


def test_two_servers(run: Runner, start_simulator: Callable[..., Simulator]) -> None:
    one, other = start_simulator(), start_simulator()
    ran = profile(run, one.url, "--url", other.url, "--extra", FAST, "--server-metrics", "--warmup", "0")
    server = ran.summary["server"]
    assert [source["url"] for source in server["sources"]] == [f"{one.url}/metrics", f"{other.url}/metrics"]
    assert server["metrics"]["generation_tokens"]["delta"] == 6 * 6
    assert read(ran.folder).server is not None
