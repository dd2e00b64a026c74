"""The wire transport against a server whose every byte is known, on both event loops."""

import asyncio
import socket
import ssl
import struct
import threading
import time

import pytest

from genbench.clock import now_ns
from genbench.transport.exchange import Exchange
from genbench.types import MISSING, Outcome
from tests.certificates import Certificate
from tests.transport.harness import LOOPS, body_of, run, send, start, transport
from tests.transport.raw_server import RawServer, Script, read_request

OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

pytestmark = pytest.mark.parametrize("loop", LOOPS)


def answers(*parts: bytes, times: int = 1 << 30) -> Script:
    """Answer so many requests with these bytes, each part in a write of its own, then close."""

    def script(sock: socket.socket) -> None:
        for _ in range(times):
            if not read_request(sock):
                return
            for part in parts:
                sock.sendall(part)
                if len(parts) > 1:
                    time.sleep(0.002)

    return script


def once(loop: str, *scripts: Script, **options: float | bool) -> Exchange:
    """One request against these scripts."""

    async def main(port: int) -> Exchange:
        async with transport(port, **options) as wire:  # type: ignore[arg-type]
            return await send(wire)

    with RawServer(*scripts) as server:
        exchange: Exchange = run(loop, main(server.port))
    return exchange


def test_a_whole_answer(loop: str) -> None:
    exchange = once(loop, answers(OK))
    record, reply = exchange.record, exchange.reply
    assert (reply.status, reply.outcome, body_of(exchange)) == (200, None, b"{}")
    assert reply.content_type == "application/json"
    points = [record.start_ns, record.tcp_end_ns, record.sent_ns, record.sent_end_ns]
    assert points == sorted(points)
    assert MISSING not in points
    # The answer is stamped by the kernel: not before the send began, not after now.
    assert record.sent_ns <= record.headers_ns <= record.end_ns <= now_ns()


@pytest.mark.parametrize("cut", range(1, len(CHUNKED) + 18, 7))
def test_the_same_answer_cut_anywhere(loop: str, cut: int) -> None:
    whole = CHUNKED + b"5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"
    exchange = once(loop, answers(whole[:cut], whole[cut:]))
    assert (exchange.reply.outcome, body_of(exchange)) == (None, b"hello!")


def test_pieces_carry_the_stamp_of_their_own_segment(loop: str) -> None:
    sent: list[int] = []

    def script(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(CHUNKED)
        for _ in range(5):
            time.sleep(0.02)
            sent.append(time.perf_counter_ns())
            sock.sendall(b"1\r\nx\r\n")
        sock.sendall(b"0\r\n\r\n")

    async def main(port: int) -> Exchange:
        async with transport(port) as wire:
            ended: asyncio.Future[Exchange] = asyncio.get_running_loop().create_future()
            start(wire, b"{}", ended.set_result)
            await asyncio.sleep(0.05)
            time.sleep(0.015)  # a loop that is late must not move the stamps
            facts = wire.facts()
            assert facts["transport"] == "wire"
            return await ended

    with RawServer(script) as server:
        exchange = run(loop, main(server.port))
    stamps = [t for t, _ in exchange.reply.chunks]
    assert len(stamps) == 5
    # A stamp lies after the server's clock reading and, the kernel being the one that takes it, well before the next.
    assert all(before <= stamp < before + 15_000_000 for before, stamp in zip(sent, stamps, strict=True))


def test_a_connection_is_kept_and_used_again(loop: str) -> None:
    async def main(port: int) -> list[Exchange]:
        async with transport(port) as wire:
            return [await send(wire, index=i) for i in range(3)]

    with RawServer(answers(OK)) as server:
        found = run(loop, main(server.port))
        assert server.accepted == 1
    assert [e.record.connection for e in found] == [0, 0, 0]
    assert [e.record.tcp_end_ns == MISSING for e in found] == [False, True, True]


def test_connections_opened_ahead_are_used_last_in_first_out(loop: str) -> None:
    async def main(port: int) -> tuple[list[int], list[Exchange]]:
        async with transport(port) as wire:
            times = await wire.open(4)
            return times, [await send(wire) for _ in range(2)]

    with RawServer(answers(OK)) as server:
        times, found = run(loop, main(server.port))
        assert server.accepted == 4
    assert len(times) == 4
    assert all(t > 0 for t in times)
    assert found[0].record.connection == found[1].record.connection
    assert found[0].record.tcp_end_ns == MISSING  # it did not open the connection


def test_a_connection_that_had_answered_and_closes_without_a_byte_is_tried_once_more(loop: str) -> None:
    def leaves(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(OK)
        read_request(sock)  # takes the second request and goes

    async def main(port: int) -> tuple[Exchange, dict[str, object]]:
        async with transport(port) as wire:
            await send(wire)
            return await send(wire, index=1), wire.facts()

    with RawServer(leaves, answers(OK)) as server:
        exchange, facts = run(loop, main(server.port))
    assert (exchange.reply.outcome, exchange.record.attempts) == (None, 2)
    assert facts["retries"] == 1
    assert exchange.record.sent_ns < exchange.record.tcp_end_ns  # the first send stays


def test_without_retry_it_is_truncated(loop: str) -> None:
    def leaves(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(OK)
        read_request(sock)

    async def main(port: int) -> Exchange:
        async with transport(port, retry=False) as wire:
            await send(wire)
            return await send(wire, index=1)

    with RawServer(leaves, answers(OK)) as server:
        exchange = run(loop, main(server.port))
    assert (exchange.reply.outcome, exchange.record.attempts) == (Outcome.TRUNCATED, 1)


def test_a_new_connection_that_closes_without_a_byte_is_not_tried_again(loop: str) -> None:
    def leaves(sock: socket.socket) -> None:
        read_request(sock)

    exchange = once(loop, leaves)
    assert (exchange.reply.outcome, exchange.record.attempts) == (Outcome.TRUNCATED, 1)
    assert exchange.reply.error == "the server closed the connection before it answered"


def test_an_idle_connection_that_the_server_closed_is_replaced(loop: str) -> None:
    async def main(port: int) -> tuple[Exchange, dict[str, object]]:
        async with transport(port) as wire:
            await send(wire)
            await asyncio.sleep(0.05)
            return await send(wire, index=1), wire.facts()

    with RawServer(answers(OK, times=1), answers(OK)) as server:
        exchange, facts = run(loop, main(server.port))
    assert (exchange.reply.outcome, exchange.record.attempts, facts["connections_replaced"]) == (None, 1, 1)


@pytest.mark.parametrize(
    ("data", "outcome", "body"),
    [
        # No length and not chunked: the body ends with the connection, and that is whole.
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n", None, b"data: 1\n\n"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", Outcome.TRUNCATED, b"half"),
        (CHUNKED + b"5\r\nhello\r\n", Outcome.TRUNCATED, b"hello"),
        (b"HTTP/1.1 200 OK\r\nContent-", Outcome.TRUNCATED, b""),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Outcome.PROTOCOL_ERROR, b""),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
            Outcome.PROTOCOL_ERROR,
            b"",
        ),
        (CHUNKED + b"zz\r\n", Outcome.PROTOCOL_ERROR, b""),
        # Interim heads are no answers.
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK, None, b"{}"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", None, b""),
        # A second response nobody asked for ends the connection, not the first one.
        (OK + OK, None, b"{}"),
    ],
)
def test_framing(loop: str, data: bytes, outcome: Outcome | None, body: bytes) -> None:
    exchange = once(loop, answers(data, times=1))
    assert (exchange.reply.outcome, body_of(exchange)) == (outcome, body)
    assert exchange.record.end_ns >= exchange.record.sent_ns
    assert (exchange.reply.error == "") == (outcome is None)


def test_a_reset_in_the_middle_is_truncated(loop: str) -> None:
    def script(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(CHUNKED + b"1\r\nx\r\n")
        time.sleep(0.05)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    exchange = once(loop, script)
    assert (exchange.reply.outcome, body_of(exchange)) == (Outcome.TRUNCATED, b"x")
    assert "reset" in exchange.reply.error


def test_nobody_listens(loop: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    async def main() -> Exchange:
        async with transport(port) as wire:
            return await send(wire)

    exchange = run(loop, main())
    assert (exchange.reply.outcome, exchange.reply.error) == (Outcome.CONNECT_ERROR, "Connection refused")
    assert exchange.record.sent_ns == MISSING


def test_silence_times_out_and_harms_nobody_else(loop: str) -> None:
    def silent(sock: socket.socket) -> None:
        read_request(sock)
        sock.recv(1)

    async def main(port: int) -> list[Exchange]:
        async with transport(port, idle_s=0.3) as wire:
            return list(await asyncio.gather(send(wire), send(wire, index=1)))

    with RawServer(silent, answers(OK)) as server:
        first, second = run(loop, main(server.port))
    assert sorted([str(first.reply.outcome), str(second.reply.outcome)]) == ["None", "timeout_idle"]


def test_a_connection_that_never_comes_up_times_out(loop: str) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:  # the queue of connections nobody accepts is full now
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))

        async def main() -> Exchange:
            async with transport(port, connect_s=0.3) as wire:
                return await send(wire)

        exchange = run(loop, main())
        for filler in fillers:
            filler.close()
    assert exchange.reply.outcome == Outcome.TIMEOUT_CONNECT


def test_a_large_upload_goes_in_parts(loop: str) -> None:
    body = b'{"x":"' + b"y" * (8 << 20) + b'"}'
    got: list[int] = []

    def script(sock: socket.socket) -> None:
        time.sleep(0.05)  # let the buffers fill
        got.append(len(read_request(sock).partition(b"\r\n\r\n")[2]))
        sock.sendall(OK)

    async def main(port: int) -> Exchange:
        async with transport(port) as wire:
            return await send(wire, body)

    with RawServer(script) as server:
        exchange = run(loop, main(server.port))
    assert got == [len(body)]
    assert exchange.reply.outcome is None
    assert exchange.record.sent_end_ns - exchange.record.sent_ns > 10_000_000  # it had to wait for the reader


def test_an_answer_during_the_upload_is_read_and_ends_the_connection(loop: str) -> None:
    over = threading.Event()

    def script(sock: socket.socket) -> None:
        sock.recv(1000)
        sock.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
        over.wait(5)

    async def main(port: int) -> tuple[Exchange, Exchange]:
        async with transport(port) as wire:
            first = await send(wire, b"x" * (16 << 20))
            over.set()
            return first, await send(wire, index=1)

    with RawServer(script, answers(OK)) as server:
        first, second = run(loop, main(server.port))
    assert (first.reply.status, first.reply.outcome, body_of(first)) == (413, None, b"big")
    assert second.record.connection != first.record.connection


def test_cancelling_keeps_what_had_arrived(loop: str) -> None:
    def script(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(CHUNKED + b"5\r\nhello\r\n")
        sock.recv(1)

    async def main(port: int) -> Exchange:
        async with transport(port) as wire:
            ended: asyncio.Future[Exchange] = asyncio.get_running_loop().create_future()
            exchange = start(wire, b"{}", ended.set_result)
            while not exchange.reply.chunks:
                await asyncio.sleep(0.005)
            wire.cancel(exchange)
            return await ended

    with RawServer(script) as server:
        exchange = run(loop, main(server.port))
    assert (exchange.reply.outcome, body_of(exchange)) == (Outcome.CANCELLED, b"hello")


def test_many_at_once_over_few_connect_slots(loop: str) -> None:
    async def main(port: int) -> list[Exchange]:
        async with transport(port) as wire:
            return list(await asyncio.gather(*(send(wire, index=i) for i in range(300))))

    with RawServer(answers(OK)) as server:
        found = run(loop, main(server.port))
    assert {e.reply.outcome for e in found} == {None}


def tls_server(certificate: Certificate, script: Script) -> Script:
    """The same script behind TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert, certificate.key)

    def wrapped(sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True) as secure:
            script(secure)

    return wrapped


def client_context(certificate: Certificate) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate.ca))


def over_tls(loop: str, script: Script, context: ssl.SSLContext) -> Exchange:
    async def main(port: int) -> Exchange:
        async with transport(port, tls=context) as wire:
            await send(wire)
            return await send(wire, index=1)

    with RawServer(script) as server:
        exchange: Exchange = run(loop, main(server.port))
    return exchange


def test_tls(loop: str, certificate: Certificate) -> None:
    exchange = over_tls(loop, tls_server(certificate, answers(OK)), client_context(certificate))
    assert (exchange.reply.outcome, body_of(exchange)) == (None, b"{}")


def test_tls_with_an_untrusted_certificate(loop: str, certificate: Certificate) -> None:
    exchange = over_tls(loop, tls_server(certificate, answers(OK)), ssl.create_default_context())
    assert exchange.reply.outcome == Outcome.TLS_ERROR
    assert "certificate" in exchange.reply.error


def test_tls_to_a_server_that_speaks_plain_http(loop: str, certificate: Certificate) -> None:
    exchange = over_tls(loop, lambda sock: sock.sendall(OK), client_context(certificate))
    assert exchange.reply.outcome == Outcome.TLS_ERROR


def test_tls_that_ends_without_close_notify_is_truncated(loop: str, certificate: Certificate) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert, certificate.key)

    def script(sock: socket.socket) -> None:
        secure = context.wrap_socket(sock, server_side=True)
        read_request(secure)
        secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\n")
        time.sleep(0.05)
        plain = socket.socket(fileno=secure.detach())
        plain.close()  # the end, without a word

    async def main(port: int) -> Exchange:
        async with transport(port, tls=client_context(certificate)) as wire:
            return await send(wire)

    with RawServer(script) as server:
        exchange = run(loop, main(server.port))
    assert (exchange.reply.outcome, body_of(exchange)) == (Outcome.TRUNCATED, b"data: 1\n\n")
