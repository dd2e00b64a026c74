"""The process that scrapes, against exporters that behave and others that do not."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from genbench.clock import now_ns
from genbench.telemetry import log, prometheus, scrape
from genbench.telemetry.beside import NAME, SCRAPE, Beside
from genbench.telemetry.source import DEFAULT_PATHS, Line, Source, Unavailable
from tests.telemetry.exporter import Answer, Exporter, data, exporting
from tests.transport.raw_server import RawServer

EVERY_S, TIMEOUT_S = 0.02, 0.3


def asked(exporter: Exporter, role: Any = "server", path: str = "/metrics", **more: Any) -> Source:
    """A source that the user named."""
    return Source(exporter.url + path, role, "--server-metrics", **more)


def watched(folder: Path, sources: Sequence[Source], until: int, exporter: Exporter) -> Sequence[log.Told]:
    """Scrape until an exporter was asked so often; what is in the file then."""
    beside = Beside()
    try:
        beside.ask(sources, EVERY_S, TIMEOUT_S)
        beside.begin(folder)
        deadline_s = time.monotonic() + 20
        while len(exporter.asked) < until and time.monotonic() < deadline_s:
            time.sleep(0.005)
    finally:
        beside.end()
    return log.read(folder)


def test_rows_are_on_the_runs_clock(tmp_path: Path) -> None:
    with exporting(lambda k, _: Answer(data("vllm", "before" if k < 4 else "after"))) as exporter:
        before_ns = now_ns()
        (told,) = watched(tmp_path, [asked(exporter)], 8, exporter)
        after_ns = now_ns()
    assert (told.role, told.dialect, told.url) == ("server", "vllm", exporter.url + "/metrics")
    moments = [one.t_ns for one in told.scrapes]
    assert moments == sorted(moments)
    assert before_ns < moments[0] < moments[-1] < after_ns
    assert [one.values["running"] for one in told.scrapes][:3] == [0, 0, 0]  # question 0 was who is there
    assert told.scrapes[-1].values["running"] == 8
    assert told.scrapes[-1].histograms["ttft"].count == 16
    assert len(told.scrapes) == len(exporter.asked) - 1


def test_one_more_scrape_at_the_end(tmp_path: Path) -> None:
    """Every hour is not often: what there is comes from before the load, from its begin and from its end."""
    with exporting(lambda k, _: Answer(data("vllm"))) as exporter:
        beside = Beside()
        beside.ask([asked(exporter)], 3600)
        beside.begin(tmp_path)
        while len(exporter.asked) < 3:
            time.sleep(0.005)
        beside.end()
        assert len(log.read(tmp_path)[0].scrapes) == 3


def test_an_exporter_that_hangs_holds_up_nobody(tmp_path: Path) -> None:
    with (
        exporting(lambda k, _: Answer(data("vllm"), hang=k > 1)) as hangs,
        exporting(lambda k, _: Answer(data("dcgm"))) as works,
    ):
        sources = [asked(hangs), asked(works, "gpu")]
        told = watched(tmp_path, sources, 12, works)
    assert len(told[1].good) >= 10
    assert not told[0].good[1:] or told[0].scrapes[-1].error
    assert "process_memory" not in told[1].scrapes[0].values  # the exporter's, not the server's


def test_an_exporter_that_breaks_and_comes_back(tmp_path: Path) -> None:
    odd = {
        2: (Answer(b"<html>nginx</html>"), "answered with an HTML page"),
        4: (Answer(b"", status=503), "HTTP 503"),
        6: (Answer(drop=True), "it closed the connection"),
        8: (Answer(b"once upon a time"), "answered with something that is no metrics"),
    }
    labels = b'vllm:time_to_first_token_seconds_bucket{le="x"} 1\nvllm:time_to_first_token_seconds_count 1\n'
    odd[10] = (Answer(labels), odd[8][1])
    odd[7] = odd[6]  # a kept connection that is closed is opened anew once
    with exporting(lambda k, _: odd[k][0] if k in odd else Answer(data("vllm"))) as exporter:
        (told,) = watched(tmp_path, [asked(exporter)], 14, exporter)
    assert [bool(one.error) for one in told.scrapes].count(True) == len(odd) - 1  # 6 and 7 are one question
    assert {one.error for one in told.scrapes} == {"", *(said for _, said in odd.values())}
    assert not told.scrapes[0].error
    assert not told.scrapes[-1].error
    assert len(told.good) > 4


def test_an_exporter_that_dies(tmp_path: Path) -> None:
    beside = Beside()
    with exporting(lambda k, _: Answer(data("vllm"))) as exporter:
        beside.ask([asked(exporter)], EVERY_S)
        beside.begin(tmp_path)
        while len(exporter.asked) < 4:
            time.sleep(0.005)
    beside.end()
    (told,) = log.read(tmp_path)
    assert told.scrapes[-1].error
    assert not told.scrapes[0].error


@pytest.mark.parametrize(
    ("answer", "role", "said"),
    [
        (Answer(b"<html></html>"), "server", "answers with an HTML page"),
        (Answer(b"gone", status=404), "server", "HTTP 404"),
        (Answer(b'{"detail":"x"}'), "server", "answers with JSON that is not trtllm-serve's"),
        (Answer(drop=True), "server", "it closed the connection"),
        (Answer(hang=True), "server", "no answer in 0.3 s"),
        (Answer(data("vllm")), "gpu", "answers with no GPU metric"),
    ],
)
def test_who_is_not_an_exporter(answer: Answer, role: str, said: str) -> None:
    with exporting(lambda k, _: answer) as exporter, closing_end(Beside()) as beside:
        (found,) = beside.ask([asked(exporter, role)], EVERY_S, TIMEOUT_S)
    assert said in found["error"]


def closing_end(beside: Beside) -> Any:
    """Ends it at the end of a block."""
    beside.close = beside.end  # type: ignore[attr-defined]
    return closing(beside)


def test_the_first_path_with_metrics_is_taken() -> None:
    """/metrics of `trtllm-serve` is JSON, and the text beside it says more; NIM has it at /v1/metrics."""
    trtllm = {"/metrics": data("tensorrt-llm-json"), "/prometheus/metrics": data("tensorrt-llm")}
    nim = {"/v1/metrics": data("nim")}
    json_only = {"/metrics": data("tensorrt-llm-json")}
    for served, dialect, last in (
        (trtllm, "tensorrt-llm", "/prometheus/metrics"),
        (nim, "nim", "/v1/metrics"),
        (json_only, "tensorrt-llm", "/metrics"),
    ):

        def answer(k: int, path: str, served: dict[str, bytes] = served) -> Answer:
            return Answer(served[path]) if path in served else Answer(b"{}", 404)

        with exporting(answer) as exporter, closing_end(Beside()) as beside:
            (found,) = beside.ask([Source(exporter.url, "server", paths=DEFAULT_PATHS)])
            while exporter.asked[-1][0] != last:  # the first scrape follows
                time.sleep(0.005)
        assert found == {"source": 0, "dialect": dialect}


def test_what_nobody_named_may_be_missing() -> None:
    with exporting(lambda k, _: Answer(b"x 1\n")) as exporter, closing_end(Beside()) as beside:
        (found,) = beside.ask([Source(exporter.url, "server", paths=DEFAULT_PATHS)])
    assert found["error"] == "answers with metrics that are not known"


def test_it_ignores_ctrl_c_and_ends_with_its_parent(tmp_path: Path) -> None:
    with exporting(lambda k, _: Answer(data("vllm"))) as exporter:
        with subprocess.Popen(SCRAPE, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdin
            assert child.stdout
            told = {"every_s": EVERY_S, "timeout_s": TIMEOUT_S, "sources": [asked(exporter).packed()]}
            child.stdin.write(json.dumps(told).encode() + b"\n" + json.dumps(str(tmp_path / NAME)).encode() + b"\n")
            child.stdin.flush()
            assert json.loads(child.stdout.readline()) == {"source": 0, "dialect": "vllm"}
            os.kill(child.pid, signal.SIGINT)
            after = len(exporter.asked) + 3
            while len(exporter.asked) < after:
                assert child.poll() is None
                time.sleep(0.005)
            child.stdin.close()  # as the kernel does when the parent is killed
            assert child.wait(5) == 0
        assert len(log.read(tmp_path)[0].good) >= 3


def test_it_ends_without_having_been_told_anything() -> None:
    child = subprocess.run(SCRAPE, input=b"", capture_output=True, timeout=10, check=False)
    assert (child.returncode, child.stdout, child.stderr) == (0, b"", b"")


def test_a_process_that_is_no_scraper_stops_nothing(tmp_path: Path) -> None:
    for program in ("/no/such/program", "/bin/true"):
        beside = Beside((program,))
        (found,) = beside.ask([Source("http://127.0.0.1:1/metrics", "server")])
        assert "does not answer" in found["error"]
        beside.begin(tmp_path)
        beside.end()
        beside.end()
    assert log.read(tmp_path) == ()


def test_a_torn_last_line_and_foreign_lines_are_left_out(tmp_path: Path) -> None:
    rows = [
        {"source": 0, "url": "U", "role": "server", "dialect": "vllm"},
        {"source": 0, "t_ns": 5, "v": {"running": 2, "of_the_future": 1}, "h": {}, "g": {}},
        {"note": "of another version"},
    ]
    text = "\n".join(json.dumps(row) for row in rows) + '\n{"source":0,"t_ns":6,"v":{"runn'
    (tmp_path / NAME).write_text(text)
    (told,) = log.read(tmp_path)
    assert [(one.t_ns, dict(one.values)) for one in told.scrapes] == [(5, {"running": 2})]


def test_an_answer_that_nobody_thought_of_is_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> None:
        raise ZeroDivisionError

    rows: list[dict[str, Any]] = []
    found = scrape.Log()
    monkeypatch.setattr(found, "add", rows.append)
    monkeypatch.setattr(prometheus, "translated", breaks)
    with exporting(lambda k, _: Answer(data("vllm"))) as exporter:
        one = scrape.Scraper(0, asked(exporter), found, EVERY_S, TIMEOUT_S)
        one._scrape()
        assert one._settled() == {"error": "its answer could not be read (ZeroDivisionError)"}
        one._line.close()
    assert [row["error"] for row in rows] == ["its answer could not be read (ZeroDivisionError)"]


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"])
def test_an_answer_that_trickles_is_given_up(head: bytes) -> None:
    """Each byte comes in time; together they never end. First the header, then the body."""

    def trickles(sock: socket.socket) -> None:
        sock.recv(1 << 16)
        sock.sendall(head)
        with contextlib.suppress(OSError):  # it has hung up
            while True:
                sock.sendall(b"H")
                time.sleep(0.02)

    with RawServer(trickles) as server:
        line = Line(Source(f"http://127.0.0.1:{server.port}/metrics", "server"), TIMEOUT_S)
        began_s = time.monotonic()
        with pytest.raises(Unavailable, match=r"no answer in 0\.3 s"):
            line.get()
        assert TIMEOUT_S <= time.monotonic() - began_s < 5 * TIMEOUT_S
