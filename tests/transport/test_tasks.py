"""What every transport does with bytes and connections that no simulator gives; and the rules of `tasks`."""

import asyncio
import errno
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import orjson
import pytest

from genbench.transport.exchange import Exchange, Proxy, Timeouts
from genbench.transport.tasks import Errors, outcome_of
from genbench.types import MISSING, Outcome, Record
from tests.certificates import Certificate
from tests.transport.harness import LOOPS, run
from tests.transport.raw_server import RawServer, read_request
from tests.transport.side_by_side import (
    ANSWER,
    CHUNKED,
    EVENT,
    NAMES,
    OK_HEAD,
    STREAM,
    address,
    ask,
    decoded,
    once,
    opened,
    serve,
    started,
)

# (bytes, wire's outcome, what others make of it instead and why)
FRAMING: tuple[tuple[bytes, str, Mapping[str, tuple[str, str]]], ...] = (
    (STREAM + b"\r\n" + EVENT % b'"stop"', "ok", {}),
    (STREAM + b"Content-Length: 99\r\n\r\n" + EVENT % b"null", "truncated", {}),
    (CHUNKED + b"5\r\nhello\r\n", "truncated", {}),
    (b"HTTP/1.1 200 OK\r\nContent-", "truncated", {}),
    (CHUNKED + b"zz\r\n", "protocol_error", {}),
    (STREAM + b'\r\ndata: {"oops\n\n', "protocol_error", {}),
    (b"HTTP/1.1 204 No Content\r\n\r\n", "empty_body", {}),
    (b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", "http_error", {}),
    (
        b"SSH-2.0-OpenSSH_9.2\r\n",
        "protocol_error",
        {"openai": ("truncated", "h11 waits for a whole head before it looks at it")},
    ),
    (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        "protocol_error",
        {"aiohttp": ("http_error", "aiohttp takes 101 for the answer")},
    ),
    (
        STREAM + b"\r\n" + EVENT % b"null" + b"data: [DONE]\n\n",
        "ok",
        {"openai": ("truncated", "the SDK does not say that it saw [DONE], and a finish_reason there is not")},
    ),
    (
        OK_HEAD
        + b"85\r\n\r\n"
        + b'{"choices":[{"index":0,"message":{"content":"a whole one"},"finish_reason":"stop"}]}\n',
        "ok",
        {"openai": ("empty_body", "the SDK looks for events in a JSON answer to a request for a stream")},
    ),
)


@pytest.mark.parametrize(("data", "outcome", "instead"), FRAMING)
def test_the_same_outcome(data: bytes, outcome: str, instead: Mapping[str, tuple[str, str]]) -> None:
    def script(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(data)

    body = {"stream": True, "messages": []}
    for name in NAMES:
        with RawServer(script) as server:
            exchange = once(name, address(f"http://localhost:{server.port}"), orjson.dumps(body))[0]
        assert decoded(exchange, "chat", body).outcome == instead.get(name, (outcome, ""))[0], name


def over_tls(certificate: Certificate, script: Callable[[socket.socket], None]) -> Callable[[socket.socket], None]:
    """The same script behind TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert, certificate.key)

    def wrapped(sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True) as secure:
            script(secure)

    return wrapped


@pytest.mark.parametrize("name", NAMES)
def test_tls(name: str, certificate: Certificate) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate.ca))
    with RawServer(over_tls(certificate, serve)) as server:
        first, second = once(name, address(f"https://localhost:{server.port}", tls=trusting), b"{}", b"{}")
        assert server.accepted == 1
        strange = once(name, address(f"https://localhost:{server.port}", tls=ssl.create_default_context()), b"{}")[0]
    assert [first.reply.outcome, second.reply.outcome] == [None, None]
    assert first.record.start_ns <= first.record.tls_end_ns <= first.record.sent_ns
    assert second.record.tls_end_ns == second.record.tcp_end_ns == MISSING
    assert (strange.reply.outcome, strange.reply.error) == (
        Outcome.TLS_ERROR,
        "unable to get local issuer certificate",
    )
    with RawServer(lambda sock: sock.sendall(ANSWER)) as server:
        plain = once(name, address(f"https://localhost:{server.port}", tls=trusting), b"{}")[0]
    assert (plain.reply.outcome, plain.reply.error) == (Outcome.TLS_ERROR, "wrong version number")
    with RawServer(lambda sock: None) as server:
        gone = once(name, address(f"https://localhost:{server.port}", tls=trusting), b"{}")[0]
    assert gone.reply.outcome == Outcome.TLS_ERROR


def test_only_the_wire_transport_asks_for_the_end_of_tls(certificate: Certificate) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert, certificate.key)

    def script(sock: socket.socket) -> None:
        secure = context.wrap_socket(sock, server_side=True)
        read_request(secure)
        secure.sendall(STREAM + b"\r\n" + EVENT % b'"stop"')
        socket.socket(fileno=secure.detach()).close()  # the end, without a word

    trusting = ssl.create_default_context(cafile=str(certificate.ca))
    found = {}
    for name in NAMES:
        with RawServer(script) as server:
            body = orjson.dumps({"stream": True})
            found[name] = once(name, address(f"https://localhost:{server.port}", tls=trusting), body)[0].reply.outcome
    assert found == {"wire": Outcome.TRUNCATED, "aiohttp": None, "openai": None}


@pytest.mark.parametrize("name", NAMES)
def test_nobody_there(name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    exchange = once(name, address(f"http://localhost:{port}"), b"{}")[0]
    assert (exchange.reply.outcome, exchange.reply.error) == (Outcome.CONNECT_ERROR, "Connection refused")
    assert exchange.record.sent_ns == MISSING


@pytest.mark.parametrize("name", NAMES)
def test_a_connection_that_never_comes_up(name: str) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:  # the queue of connections nobody accepts is full now
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        exchange = once(name, address(f"http://localhost:{full.getsockname()[1]}"), b"{}", connect_s=0.2)[0]
        for filler in fillers:
            filler.close()
    assert (exchange.reply.outcome, exchange.reply.error) == (Outcome.TIMEOUT_CONNECT, "no connection within 0.2 s")


def test_the_same_bytes_and_headers(certificate: Certificate) -> None:
    seen: dict[str, bytes] = {}
    body = (
        b'{"model":"m","temperature":1e-7,"messages":[{"content":"\\u00e9 \xc3\xa9","role":"user"}],"zeta":1,"alpha":2}'
    )
    for name in NAMES:

        def script(sock: socket.socket, name: str = name) -> None:
            seen[name] = read_request(sock)
            sock.sendall(ANSWER)

        with RawServer(script) as server:
            where = address(f"http://localhost:{server.port}/base?a=1&b=%20x", key="sk-secret")
            exchange = once(name, where, body)[0]
            port = server.port
        assert exchange.record.request_bytes == len(body)
        seen[name] = seen[name].replace(b"%d" % port, b"PORT")
    heads = {name: data.partition(b"\r\n\r\n")[0].split(b"\r\n") for name, data in seen.items()}
    assert {data.partition(b"\r\n\r\n")[2] for data in seen.values()} == {body}
    assert {head[0] for head in heads.values()} == {b"POST /base/v1/chat/completions?a=1&b=%20x HTTP/1.1"}
    headers = {name: {line.lower() for line in head[1:]} for name, head in heads.items()}
    assert headers["aiohttp"] == headers["wire"]
    more = {line.partition(b":")[0] for line in headers["openai"] - headers["wire"]}
    assert headers["wire"] <= headers["openai"]
    assert {line for line in more if not line.startswith(b"x-stainless-")} == {b"accept", b"connection"}


@pytest.mark.parametrize("name", NAMES)
def test_a_unix_socket(name: str, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()

        def accept() -> None:
            sock, _ = listener.accept()
            with sock:
                serve(sock)

        thread = threading.Thread(target=accept)
        thread.start()
        exchanges = once(name, address(f"unix://{tmp_path}/s"), b"{}", b"{}")
        thread.join(5)
    assert [(one.reply.outcome, one.record.connection) for one in exchanges] == [(None, 0), (None, 0)]


@pytest.mark.parametrize("name", ["aiohttp", "openai"])
def test_a_proxy(name: str) -> None:
    seen: list[bytes] = []

    def script(sock: socket.socket) -> None:
        seen.append(read_request(sock))
        refused = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
        sock.sendall(refused if seen[-1].startswith(b"CONNECT") else ANSWER)

    with RawServer(script) as server:
        proxy = Proxy("127.0.0.1", server.port, "Basic dXNlcjpnZWhlaW1uaXM=")
        plain = once(name, address("http://far.test:8000", proxy=proxy), b"{}")[0]
        secure = once(name, address("https://far.test:8443", proxy=proxy, tls=ssl.create_default_context()), b"{}")[0]
    assert plain.reply.outcome is None
    assert seen[0].startswith(b"POST http://far.test:8000/v1/chat/completions HTTP/1.1\r\n")
    assert seen[1].startswith(b"CONNECT far.test:8443 HTTP/1.1\r\n")
    assert secure.reply.outcome == Outcome.CONNECT_ERROR
    assert "403" in secure.reply.error
    assert all(b"Basic dXNlcjpnZWhlaW1uaXM=" in request for request in seen)
    assert "geheimnis" not in secure.reply.error
    assert "user" not in secure.reply.error


# -- the rules of tasks -----------------------------------------------------------------------------------------------

TASKS = pytest.mark.parametrize("name", ["aiohttp", "openai"])
LOOP = pytest.mark.parametrize("loop", LOOPS)


def trickle(sock: socket.socket) -> None:
    """Two events, then silence."""
    read_request(sock)
    piece = EVENT % b"null"
    sock.sendall(CHUNKED + b"%x\r\n%b\r\n" % (2 * len(piece), 2 * piece))
    sock.recv(1)


@LOOP
@TASKS
def test_cancel_ends_on_the_spot_and_once_and_keeps_what_had_arrived(name: str, loop: str) -> None:
    async def main(port: int) -> tuple[Exchange, int]:
        async with opened(name, address(f"http://localhost:{port}")) as transport:
            ended: list[Exchange] = []
            exchange = started(transport, orjson.dumps({"stream": True}), ended.append)
            while not exchange.reply.chunks:
                await asyncio.sleep(0.005)
            transport.cancel(exchange, Outcome.TIMEOUT_TOTAL, "no end within 1 s")
            assert ended == [exchange]
            transport.cancel(exchange)
            pieces = len(exchange.reply.chunks)
            await asyncio.sleep(0.05)
            assert len(exchange.reply.chunks) == pieces
            return exchange, len(ended)

    with RawServer(trickle) as server:
        exchange, ends = run(loop, main(server.port))
    assert ends == 1
    said = decoded(exchange, "chat", {})
    assert (said.outcome, said.error, said.texts) == (Outcome.TIMEOUT_TOTAL, "no end within 1 s", {0: "xx"})
    assert exchange.record.end_ns > exchange.record.headers_ns


@TASKS
def test_cancel_before_there_is_a_connection(name: str) -> None:
    async def main(port: int) -> Exchange:
        async with opened(name, address(f"http://localhost:{port}")) as transport:
            ended: list[Exchange] = []
            exchange = started(transport, b"{}", ended.append)
            transport.cancel(exchange)
            assert ended == [exchange]
            await asyncio.sleep(0.02)
            return exchange

    with RawServer(serve) as server:
        exchange = run("asyncio", main(server.port))
        assert server.accepted == 0
    assert exchange.reply.error == "cancelled by the client while connecting"


@TASKS
def test_after_close_nothing_is_reported(name: str) -> None:
    async def main(port: int) -> list[Exchange]:
        ended: list[Exchange] = []
        async with opened(name, address(f"http://localhost:{port}")) as transport:
            exchange = started(transport, orjson.dumps({"stream": True}), ended.append)
            while not exchange.reply.chunks:
                await asyncio.sleep(0.005)
        return ended

    with RawServer(trickle) as server:
        assert run("asyncio", main(server.port)) == []


@LOOP
@TASKS
def test_the_next_request_leaves_from_within_done_on_the_same_connection(name: str, loop: str) -> None:
    async def main(port: int) -> list[Exchange]:
        async with opened(name, address(f"http://localhost:{port}")) as transport:
            found: list[Exchange] = []
            over = asyncio.get_running_loop().create_future()

            def done(exchange: Exchange) -> None:
                found.append(exchange)
                if len(found) < 5:
                    started(transport, b"{}", done)
                else:
                    over.set_result(None)

            started(transport, b"{}", done)
            await asyncio.wait_for(over, 20)
            assert transport.facts()["connections_opened"] == 1
            return found

    with RawServer(serve) as server:
        found = run(loop, main(server.port))
        assert server.accepted == 1
    assert [one.reply.outcome for one in found] == [None] * 5
    first, *later = (one.record for one in found)
    points = [first.start_ns, first.tcp_end_ns, first.sent_ns, first.sent_end_ns, first.headers_ns, first.end_ns]
    assert points == sorted(points)
    assert MISSING not in points
    assert {(one.connection, one.tcp_end_ns) for one in later} == {(0, MISSING)}


@TASKS
def test_many_at_once_to_two_targets(name: str) -> None:
    async def main(ports: list[int]) -> list[Exchange]:
        async with opened(name, *(address(f"http://localhost:{port}") for port in ports)) as transport:
            asking = (ask(transport, b"{}", target=k % 2) for k in range(100))
            return list(await asyncio.gather(*asking))

    with RawServer(serve) as one, RawServer(serve) as two:
        found = run("asyncio", main([one.port, two.port]))
        assert one.accepted + two.accepted == len({exchange.record.connection for exchange in found})
        assert one.accepted > 1 < two.accepted
    assert {exchange.reply.outcome for exchange in found} == {None}


class Odd(Exception):
    """A library's own."""


@pytest.mark.parametrize(
    ("error", "sent", "answered", "outcome", "why"),
    [
        (TimeoutError(), False, False, Outcome.TIMEOUT_CONNECT, "no connection within 10 s"),
        (TimeoutError(), True, True, Outcome.TIMEOUT_IDLE, "no byte for 300 s"),
        (OSError(errno.ECONNREFUSED, "x"), False, False, Outcome.CONNECT_ERROR, "Connection refused"),
        (OSError(errno.ECONNRESET, "x"), False, False, Outcome.TLS_ERROR, "connection reset by peer during the TLS"),
        (OSError(errno.ECONNRESET, "x"), True, False, Outcome.TRUNCATED, "connection reset by peer before it answered"),
        (socket.gaierror(-2, "unknown"), False, False, Outcome.CONNECT_ERROR, "gaierror: [Errno -2] unknown"),
        (Odd("connection closed"), True, True, Outcome.PROTOCOL_ERROR, "Odd: connection closed"),
        (Odd("peer closed connection"), True, True, Outcome.TRUNCATED, "the server closed the connection before the"),
        (KeyError("a mistake of ours"), True, True, Outcome.PROTOCOL_ERROR, "KeyError: 'a mistake of ours'"),
    ],
)
def test_what_an_exception_means(error: Exception, sent: bool, answered: bool, outcome: Outcome, why: str) -> None:
    record = Record(sent_ns=1 if sent else MISSING, headers_ns=2 if answered else MISSING)
    wrapped = RuntimeError("the SDK's own")
    wrapped.__cause__ = error
    timeouts = Timeouts(10_000_000_000, 300_000_000_000)
    for one in (error, wrapped):
        found, text = outcome_of(one, Errors((), (Odd,), ()), record, timeouts)
        assert found == outcome
        if one is error or "Error" not in why:
            assert text.startswith(why)
