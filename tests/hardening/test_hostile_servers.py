"""A server that does everything wrong at once: each request ends as it should, and the others do not feel it."""

import asyncio
import ssl
import statistics
from pathlib import Path
from typing import Any

import pytest

from genbench.clock import now_ns
from genbench.decode import ResponseDecoder
from genbench.endpoints import chat
from genbench.engine.decoding import Decoding
from genbench.records import RecordWriter, open_table
from genbench.transport.exchange import Exchange
from genbench.transport.tls import TlsSession
from genbench.transport.wire import WireTransport
from genbench.types import Outcome, Record, Request, Sample
from tests.certificates import Certificate
from tests.hardening import hostile
from tests.hardening.answers import CHAT, CHUNKED, chunked, head
from tests.hardening.hostile import BIG, GAP_S, GOOD, TOKENS, ask
from tests.transport.harness import LOOPS, body_of, run, start, transport
from tests.transport.raw_server import RawServer, Script

IDLE_S = 0.8
LATE_MS = 2.0  # a segment over loopback takes 0.02 ms; the rest is for two sides on one busy machine
HEAD = head(CHUNKED).decode()
UPLOAD = b"x" * (16 << 20)
STREAM = b"".join(CHAT).decode()

Case = tuple[bytes, set[Outcome]]
HOSTILE: dict[str, Case] = {
    "single bytes": (ask("trickle"), {Outcome.OK}),
    "head without end": (ask("say", text="HTTP/1.1 200 OK\r\nX: ", more="a" * 100), {Outcome.PROTOCOL_ERROR}),
    "headers without end": (ask("say", text="HTTP/1.1 200 OK\r\n", more="X: y\r\n"), {Outcome.PROTOCOL_ERROR}),
    "1xx for ever": (ask("say", text="", more="HTTP/1.1 100 Continue\r\n\r\n"), {Outcome.PROTOCOL_ERROR}),
    "chunk extension without end": (ask("say", text=HEAD + "5;", more="a" * 100), {Outcome.PROTOCOL_ERROR}),
    "a chunk of -5 bytes": (ask("say", text=HEAD + "-5\r\nhello\r\n", silent=True), {Outcome.PROTOCOL_ERROR}),
    "a length beyond all": (
        ask("say", text=f"HTTP/1.1 200 OK\r\nContent-Length: {9**30}\r\n\r\n"),
        {Outcome.PROTOCOL_ERROR},
    ),
    "a huge length": (
        ask("say", text=f"HTTP/1.1 200 OK\r\nContent-Length: {1 << 60}\r\n\r\n{STREAM}"),
        {Outcome.TRUNCATED},
    ),
    "a huge length, silent": (
        ask("say", text=f"HTTP/1.1 200 OK\r\nContent-Length: {1 << 60}\r\n\r\n{STREAM}", silent=True),
        {Outcome.TIMEOUT_IDLE},
    ),
    "nothing": (ask("say", text="", silent=True), {Outcome.TIMEOUT_IDLE}),
    "not HTTP": (ask("say", text="\x16\x03\x01 hello"), {Outcome.PROTOCOL_ERROR}),
    "RST in the head": (ask("reset", at=20), {Outcome.TRUNCATED}),
    "RST in the stream": (ask("reset", at=len(GOOD) - 60), {Outcome.TRUNCATED}),
    "RST before the last byte": (ask("reset", at=len(GOOD) - 1), {Outcome.TRUNCATED}),
    "upload not read": (ask("stall") + UPLOAD, {Outcome.TIMEOUT_IDLE}),
    "answer before the upload is through": (ask("early") + UPLOAD, {Outcome.OK}),
    "refusal before the upload is through": (ask("early_end") + UPLOAD, {Outcome.HTTP_ERROR}),
    "garbage behind the answer": (ask("good", after="garbage"), {Outcome.OK}),
    "a second answer": (ask("good", after=GOOD.decode("latin-1")), {Outcome.OK}),
    "half an answer more": (ask("good", after="HTTP/1"), {Outcome.OK}),
}
CUTS: dict[str, Case] = {
    f"cut at {place}": (ask("cut", at=place), {Outcome.OK if place == len(GOOD) else Outcome.TRUNCATED})
    for place in range(len(GOOD) + 1)
}


class Campaign:
    """Sends requests and decodes them as the engine does; records and their texts by index."""

    def __init__(self, wire: WireTransport, folder: Path) -> None:
        self.wire = wire
        self.records: dict[int, tuple[Record, list[str]]] = {}
        self.writer = RecordWriter(folder / "requests.jsonl")
        loop = asyncio.get_running_loop()
        self.decoding = Decoding(loop, wire.poller, chat, self.writer, self._keep, keep_text=True)
        self.open = 0

    def _keep(self, record: Record, decoder: ResponseDecoder) -> None:
        self.records[record.index] = record, [text for _, _, text in decoder.texts]

    def _done(self, exchange: Exchange) -> None:
        exchange.ended = True
        self.open -= 1
        self.decoding.arrived(exchange)

    def send(self, index: int, body: bytes) -> Exchange:
        """Start one request."""
        exchange = Exchange(Request(index, Sample(), body), Record(index=index), self.decoding.arrived, self._done)
        self.open += 1
        self.wire.send(exchange)
        return exchange

    async def over(self) -> None:
        """Wait until all have ended, then close the log."""
        async with asyncio.timeout(30):
            while self.open:
                await asyncio.sleep(0.005)
        self.decoding.finish()
        self.writer.close()


def lateness_ms(record: Record, texts: list[str]) -> list[float]:
    """How long after the server's clock reading each token of a kind answer is said to have come."""
    times = [at for at, kind in zip(record.event_ns, record.event_kind, strict=True) if kind == 3]
    return [(at - int(text)) / 1e6 for at, text in zip(times, texts, strict=True)]


def campaign(loop: str, folder: Path, cases: dict[str, Case], kind: int) -> tuple[list[Any], float]:
    """Run all cases at once beside so many kind requests; returns the kind ones' records, and the seconds it took."""
    made: list[Campaign] = []
    names = list(cases)

    async def main(port: int) -> None:
        async with transport(port, idle_s=IDLE_S) as wire:
            made.append(one := Campaign(wire, folder))
            for number in range(kind):
                one.send(len(names) + number, ask("kind"))
                if number == 5:
                    for index, name in enumerate(names):
                        one.send(index, cases[name][0])
                await asyncio.sleep(GAP_S)
            await one.over()

    with RawServer(hostile.serve) as server:
        began = now_ns()
        run(loop, main(server.port))
        spent = (now_ns() - began) / 1e9
    records = made[0].records
    assert sorted(records) == list(range(len(names) + kind))
    found = {name: records[index][0] for index, name in enumerate(names)}
    wrong = {name: (one.outcome, one.error) for name, one in found.items() if one.outcome not in cases[name][1]}
    assert not wrong
    table = open_table(folder)
    assert table.outcome == [records[index][0].outcome for index in sorted(records)]
    return [records[len(names) + number] for number in range(kind)], spent


def unharmed(kind: list[tuple[Record, list[str]]]) -> None:
    """Every kind request is whole, and its stamps are right but for what the machine itself was late."""
    assert {record.outcome for record, _ in kind} == {Outcome.OK}
    late = [lateness_ms(record, texts) for record, texts in kind]
    assert {len(one) for one in late} == {TOKENS}
    flat = [value for one in late for value in one]
    assert min(flat) > -0.1  # the clocks are one; an offset's width
    assert statistics.median(flat) < LATE_MS / 4
    assert statistics.quantiles(flat, n=10)[-1] < LATE_MS


@pytest.mark.parametrize("loop", LOOPS)
def test_every_hostile_server_at_once(loop: str, tmp_path: Path) -> None:
    kind, spent = campaign(loop, tmp_path, HOSTILE, 60)
    unharmed(kind)
    assert spent < 3 * IDLE_S + 2


def test_a_server_that_closes_at_every_byte(tmp_path: Path) -> None:
    kind, _ = campaign("uvloop", tmp_path, CUTS, 40)
    unharmed(kind)


def peak_mib(reset: bool = False) -> float:
    """The process's largest resident size since the last reset."""
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's account of memory")
def test_an_event_of_100_mib(tmp_path: Path) -> None:
    # It is one event with one text: ok, read in linear time. While its JSON is read, for about 0.3 s, the loop stands
    # still; kernel stamps do not move, and what arrives meanwhile shares reads. Its memory is that of the text, four
    # times: pieces, line, message, text.
    before = peak_mib(reset=True)
    kind, spent = campaign("uvloop", tmp_path, {"big": (ask("big"), {Outcome.OK})}, 40)
    assert peak_mib() - before < 6 * BIG / (1 << 20)
    assert spent < 10
    assert {record.outcome for record, _ in kind} == {Outcome.OK}
    assert statistics.median(value for one in kind for value in lateness_ms(*one)) < LATE_MS


# -- what one TLS segment can hold ------------------------------------------------------------------------------------


def in_one_segment(certificate: Certificate, *records: bytes, notify: bool = False) -> Script:
    """Over TLS, answer each request with these records, and perhaps close_notify, all in one segment."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.cert, certificate.key)

    def script(sock: Any) -> None:
        session = TlsSession(context, server_side=True)
        while not session.handshake():
            sock.sendall(session.outgoing())
            session.feed(sock.recv(65536))
        sock.sendall(session.outgoing())
        while True:
            data = b"".join(session.plaintext())  # the request may have come with the end of the handshake
            while b"{}" not in data:
                piece = sock.recv(65536)
                if not piece:
                    return
                session.feed(piece)
                data += b"".join(session.plaintext())
            for record in records:
                session.write(record)
            sock.sendall(session.close() if notify else session.outgoing())
            if notify:
                sock.recv(1)
                return

    return script


def two_in_a_row(script: Script, certificate: Certificate) -> list[Exchange]:
    """A request, and the next one in the very turn in which the first ended; never sent twice."""
    found: list[Exchange] = []

    async def main(port: int) -> None:
        over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        context = ssl.create_default_context(cafile=str(certificate.ca))

        def done(exchange: Exchange) -> None:
            found.append(exchange)
            if len(found) == 2:
                over.set_result(None)
            else:
                start(wire, b"{}", done, index=1)

        async with transport(port, tls=context, retry=False) as wire:
            start(wire, b"{}", done)
            await asyncio.wait_for(over, 10)

    with RawServer(script) as server:
        run("uvloop", main(server.port))
    return found


STOLEN = head(CHUNKED) + b"".join(chunked((b'data: {"choices":[{"delta":{"content":"stolen"}}]}\n\n', *CHAT)))


@pytest.mark.parametrize("after", [b"garbage", STOLEN, b"HTTP/1.1 2"])
def test_a_tls_record_behind_an_answer_is_not_the_next_answer(after: bytes, certificate: Certificate) -> None:
    first, second = two_in_a_row(in_one_segment(certificate, GOOD, after), certificate)
    assert (first.reply.outcome, second.reply.outcome) == (None, None)
    assert body_of(second) == b"".join(CHAT)
    assert first.record.connection != second.record.connection


def test_a_tls_connection_that_ends_with_its_answer_carries_no_other(certificate: Certificate) -> None:
    first, second = two_in_a_row(in_one_segment(certificate, GOOD, notify=True), certificate)
    assert (first.reply.outcome, second.reply.outcome, second.record.attempts) == (None, None, 1)
