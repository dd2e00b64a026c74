"""What only the aiohttp transport does: connections ahead, its stamps, large bodies; the rest is in test_tasks."""

import asyncio
import importlib
import socket
import sys
import time

import pytest

from genbench.clock import now_ns
from genbench.errors import ConfigError
from genbench.transport.exchange import Exchange
from genbench.types import MISSING, Outcome
from tests.transport.harness import run
from tests.transport.raw_server import RawServer, read_request
from tests.transport.side_by_side import ANSWER, CHUNKED, address, ask, once, opened, serve, started


def test_connections_opened_ahead_are_used() -> None:
    async def main(port: int) -> tuple[list[int], list[Exchange], int]:
        async with opened("aiohttp", address(f"http://localhost:{port}")) as transport:
            times = await transport.open(4)
            found = list(await asyncio.gather(*(ask(transport, b"{}") for _ in range(4))))
            return times, found, transport.facts()["connections_opened"]

    with RawServer(serve) as server:
        times, found, count = run("asyncio", main(server.port))
        assert (server.accepted, count) == (4, 4)
    assert len(times) == 4
    assert all(t > 0 for t in times)
    assert sorted(one.record.connection for one in found) == [0, 1, 2, 3]
    assert {one.record.tcp_end_ns for one in found} == {MISSING}


def test_connections_that_cannot_be_opened_are_left_to_the_requests() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    async def main() -> tuple[list[int], Exchange]:
        async with opened("aiohttp", address(f"http://localhost:{port}")) as transport:
            return await transport.open(3), await ask(transport, b"{}")

    times, exchange = run("asyncio", main())
    assert times == []
    assert exchange.reply.outcome == Outcome.CONNECT_ERROR


def test_a_name_is_not_looked_up_again() -> None:
    with RawServer(serve) as server:
        exchange = once("aiohttp", address(f"http://no-such-name.invalid:{server.port}"), b"{}")[0]
    assert exchange.reply.outcome is None


def test_what_a_late_loop_finds_is_one_piece_with_one_stamp() -> None:
    sent: list[int] = []

    def script(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(CHUNKED)
        for _ in range(4):
            time.sleep(0.02)
            sent.append(now_ns())
            sock.sendall(b"1\r\nx\r\n")
        time.sleep(0.02)
        sock.sendall(b"0\r\n\r\n")

    async def main(port: int) -> tuple[Exchange, int]:
        async with opened("aiohttp", address(f"http://localhost:{port}")) as transport:
            ended: asyncio.Future[Exchange] = asyncio.get_running_loop().create_future()
            exchange = started(transport, b"{}", ended.set_result)
            while len(exchange.reply.chunks) < 2:
                await asyncio.sleep(0.001)
            time.sleep(0.1)  # the loop is late while the other two arrive
            woke_ns = now_ns()
            await ended
            return exchange, woke_ns

    with RawServer(script) as server:
        exchange, woke_ns = run("asyncio", main(server.port))
    stamps, pieces = zip(*exchange.reply.chunks, strict=True)
    assert pieces == (b"x", b"x", b"xx")
    assert sent[0] < stamps[0] < sent[1] < stamps[1] < sent[2] < sent[3] < woke_ns < stamps[2] <= exchange.record.end_ns


def test_a_large_upload() -> None:
    body = b'{"x":"' + b"y" * (8 << 20) + b'"}'
    got: list[int] = []

    def script(sock: socket.socket) -> None:
        time.sleep(0.05)  # let the buffers fill
        got.append(len(read_request(sock).partition(b"\r\n\r\n")[2]))
        sock.sendall(ANSWER)

    with RawServer(script) as server:
        exchange = once("aiohttp", address(f"http://localhost:{server.port}"), body)[0]
    assert got == [len(body)] == [exchange.record.request_bytes]
    assert exchange.reply.outcome is None
    assert exchange.record.sent_end_ns - exchange.record.sent_ns > 10_000_000  # it had to wait for the reader


def test_an_answer_during_the_upload() -> None:
    def script(sock: socket.socket) -> None:
        sock.recv(1000)
        sock.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
        sock.recv(1000)
        time.sleep(0.05)

    with RawServer(script, serve) as server:
        first, second = once("aiohttp", address(f"http://localhost:{server.port}"), b"x" * (16 << 20), b"{}")
    assert (first.reply.status, first.reply.outcome) == (413, None)
    assert second.record.connection != first.record.connection


def test_facts() -> None:
    async def main() -> dict[str, object]:
        async with opened("aiohttp", address("http://localhost:1")) as transport:
            return transport.facts()

    facts = run("asyncio", main())
    assert str(facts.pop("library")).startswith("aiohttp 3.")
    assert facts == {"transport": "aiohttp", "stamp_source": "the read clock", "connections_opened": 0}


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aiohttp", None)
    monkeypatch.delitem(sys.modules, "genbench.transport.aiohttp")
    with pytest.raises(ConfigError, match=r"needs the aiohttp package; pip install 'genbench\[aiohttp\]'"):
        importlib.import_module("genbench.transport.aiohttp")
