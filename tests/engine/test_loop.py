"""The engine against a transport that does just what a test says, and against plans and disks that fail."""

import asyncio
import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genbench.clock import now_ns
from genbench.decode import ResponseDecoder
from genbench.endpoints import chat
from genbench.engine.decoding import Decoding
from genbench.engine.live import Live
from genbench.engine.loop import Engine
from genbench.errors import RecordError
from genbench.plan.requests import BuiltRequests
from genbench.records import RecordTable, RecordWriter, open_table
from genbench.transport.exchange import Exchange
from genbench.transport.poller import Poller
from genbench.types import Outcome, Phase, Plan, Record, Request, Sample, Schedule
from tests.transport.harness import run

ANSWER = b'{"choices": [{"message": {"content": "x"}, "finish_reason": "stop"}]}'


class Fake:
    """Answers each request after `delay_s`, or refuses the connection."""

    def __init__(self, delay_s: float, *, refuse: bool = False) -> None:
        self._delay_s, self._refuse = delay_s, refuse
        self.order: list[int] = []
        self.flying = self.most = 0

    async def open(self, connections: int) -> list[int]:
        return []

    def send(self, exchange: Exchange) -> None:
        self.order.append(exchange.request.index)
        self.flying += 1
        self.most = max(self.most, self.flying)
        exchange.record.start_ns = exchange.record.sent_ns = now_ns()
        asyncio.get_running_loop().call_later(self._delay_s, self._end, exchange)

    def _end(self, exchange: Exchange) -> None:
        if exchange.ended:
            return
        self.flying -= 1
        exchange.record.end_ns = now_ns()
        if self._refuse:
            exchange.reply.outcome = Outcome.CONNECT_ERROR
        else:
            exchange.reply.status, exchange.reply.content_type = 200, "application/json"
            exchange.reply.chunks.append((exchange.record.end_ns, ANSWER))
        exchange.done(exchange)

    def cancel(self, exchange: Exchange, outcome: Outcome = Outcome.CANCELLED, why: str = "") -> None:
        self.flying -= 1
        exchange.record.end_ns = now_ns()
        exchange.reply.outcome = outcome
        exchange.done(exchange)

    async def close(self) -> None:
        assert self.flying == 0

    def facts(self) -> dict[str, Any]:
        return {}


def plan(
    count: int,
    *,
    concurrency: int | None = None,
    offsets_ms: list[float] | None = None,
    warmup: int = 0,
    duration_s: float | None = None,
    make: Callable[[int], Request] | None = None,
) -> Plan:
    def one(index: int) -> Request:
        return Request(index, Sample(), b"{}", phase=Phase.WARMUP if index < warmup else Phase.MEASURED)

    offset_ns = None if offsets_ms is None else (np.array(offsets_ms) * 1e6).astype(np.int64)
    duration_ns = None if duration_s is None else round(duration_s * 1e9)
    schedule = Schedule(offset_ns, concurrency, duration_ns, warmup, 100_000_000)
    requests = BuiltRequests(make or one, count, count if make is None else 1)
    return Plan(requests, schedule, 0, "", "")


def go(folder: Path, work: Plan, fake: Fake, *, hold_ms: float = 0) -> tuple[Engine, dict[str, Any], RecordTable]:
    async def main() -> tuple[Engine, dict[str, Any]]:
        loop = asyncio.get_running_loop()
        poller = Poller(loop)
        writer = RecordWriter(folder / "requests.jsonl")
        live = Live()

        def sink(record: Record, decoder: ResponseDecoder) -> None:
            live.add(record)

        decoding = Decoding(loop, poller, chat, writer, sink, keep_text=False)
        engine = Engine(loop, poller, fake, decoding, live, work)
        if hold_ms:  # a client that is busy with something else for a while
            loop.call_later(0.005, lambda: busy(hold_ms))
        facts = await asyncio.wait_for(engine.run(), 20)
        await fake.close()
        poller.close()
        writer.close()
        return engine, facts

    engine, facts = run("uvloop", main())
    assert gc.isenabled()
    return engine, facts, open_table(folder)


def busy(milliseconds: float) -> None:
    until = now_ns() + milliseconds * 1e6
    while now_ns() < until:
        pass


def test_every_request_ends_in_one_record(tmp_path: Path) -> None:
    engine, facts, table = go(tmp_path, plan(20, concurrency=3), Fake(0.002))
    assert table.index.tolist() == list(range(20))
    assert set(table.outcome) == {"ok"}
    assert engine.error is None
    assert (facts["sent"], facts["not_sent"], facts["in_flight_max"]) == (20, 0, 3)


def test_fewer_requests_than_slots(tmp_path: Path) -> None:
    _, facts, table = go(tmp_path, plan(2, concurrency=8), Fake(0.002))
    assert (len(table), facts["in_flight_max"]) == (2, 2)


def test_warm_up_leaves_alone_and_the_rest_follows_the_first_measured_one(tmp_path: Path) -> None:
    fake = Fake(0.02)
    _, facts, table = go(tmp_path, plan(40, concurrency=10, warmup=3), fake)
    first_measured = table.sent_ns[table.measured].min()
    assert first_measured >= table.end_ns[~table.measured].min()
    assert facts["in_flight_max"] == fake.most == 10


def test_the_cap_holds_and_keeps_the_order(tmp_path: Path) -> None:
    fake = Fake(0.01)
    _, _, table = go(tmp_path, plan(30, concurrency=4, offsets_ms=[k * 0.5 for k in range(30)]), fake)
    assert fake.most == 4
    assert fake.order == list(range(30))
    assert (table.ready_ns >= table.intended_ns).all()


def test_the_cap_holds_when_connections_are_refused(tmp_path: Path) -> None:
    fake = Fake(0.001, refuse=True)
    _, _, table = go(tmp_path, plan(12, concurrency=4, offsets_ms=[k * 10.0 for k in range(12)]), fake)
    assert fake.most <= 4
    assert fake.order == list(range(12))
    assert len(table) == 12


@pytest.mark.parametrize("cap", [None, 1000])
def test_lateness_of_the_client_is_no_wait_for_the_cap(tmp_path: Path, cap: int | None) -> None:
    work = plan(40, concurrency=cap, offsets_ms=[k * 1.0 for k in range(40)])
    _, _, table = go(tmp_path, work, Fake(0.001), hold_ms=20)
    assert (table.ready_ns == table.intended_ns).all()
    assert (table.sent_ns - table.ready_ns).max() > 10_000_000


def test_what_was_due_and_not_sent_counts_for_the_requested_rate(tmp_path: Path) -> None:
    work = plan(100, concurrency=1, offsets_ms=[k * 2.0 for k in range(100)], duration_s=0.1)
    _, facts, table = go(tmp_path, work, Fake(0.03))
    assert facts["not_sent"] > 20
    assert facts["due"] == len(table) + facts["not_sent"]
    span_ms = (facts["last_due_ns"] - facts["first_due_ns"]) / 1e6
    assert span_ms == pytest.approx(2.0 * (facts["due"] - 1))


@pytest.mark.parametrize("offsets_ms", [None, [k * 1.0 for k in range(50)]])
def test_a_body_that_cannot_be_built_ends_the_run_in_order(tmp_path: Path, offsets_ms: list[float] | None) -> None:
    def make(index: int) -> Request:
        if index == 20:
            raise OSError("the input is gone")
        return Request(index, Sample(), b"{}")

    work = plan(50, concurrency=4, offsets_ms=offsets_ms, make=make)
    engine, facts, table = go(tmp_path, work, Fake(0.005))
    assert str(engine.error) == "the input is gone"
    assert engine.interrupted
    assert table.index.tolist() == list(range(20))  # everything sent is in the log, as ok or cancelled
    assert facts["not_sent"] >= 1  # that one, and what waited for the cap


def test_a_full_disk_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: RecordWriter) -> None:
        if self.path.exists() and not full_once:
            full_once.append(True)
            raise RecordError("no space left on device")

    full_once: list[bool] = []
    monkeypatch.setattr(RecordWriter, "flush", full)
    work = plan(1000, concurrency=2)
    fake = Fake(0.01)

    async def main() -> Engine:
        loop = asyncio.get_running_loop()
        poller = Poller(loop)
        writer = RecordWriter(tmp_path / "requests.jsonl")
        decoding = Decoding(loop, poller, chat, writer, lambda record, decoder: None, keep_text=False)
        engine = Engine(loop, poller, fake, decoding, Live(), work)
        await asyncio.wait_for(engine.run(), 20)
        poller.close()
        return engine

    engine = run("asyncio", main())
    assert isinstance(engine.error, RecordError)
    assert len(fake.order) < 200  # it stopped at the first tick


def test_an_endpoint_kind_that_raises_loses_no_request(tmp_path: Path) -> None:
    class Broken:
        PATH, FRAMING = chat.PATH, chat.FRAMING
        build = staticmethod(chat.build)

        @staticmethod
        def read(message: dict[str, Any]) -> list[Any]:
            raise KeyError("mine")

    async def main() -> Engine:
        loop = asyncio.get_running_loop()
        poller = Poller(loop)
        writer = RecordWriter(tmp_path / "requests.jsonl")
        decoding = Decoding(loop, poller, Broken, writer, lambda record, decoder: None, keep_text=False)  # type: ignore[arg-type]
        engine = Engine(loop, poller, Fake(0.001), decoding, Live(), plan(5, concurrency=1))
        await asyncio.wait_for(engine.run(), 20)
        poller.close()
        writer.close()
        return engine

    assert run("uvloop", main()).error is None
    table = open_table(tmp_path)
    assert table.outcome == ["protocol_error"] * 5
    assert "KeyError: 'mine'" in table.error[0]
