"""Plans made of literal conversations, and a transport that answers as a test says; no plan package, no server."""

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from genbench.clock import now_ns
from genbench.decode import ResponseDecoder
from genbench.endpoints import chat
from genbench.engine.decoding import Decoding
from genbench.engine.live import Live, Snapshot
from genbench.engine.loop import Engine, Rules
from genbench.records import RecordTable, RecordWriter, open_table
from genbench.transport.exchange import Exchange, Transport
from genbench.transport.poller import Poller
from genbench.types import Outcome, Phase, Plan, Record, Request, Sample, Schedule
from tests.transport.harness import run

MS = 1_000_000
Reply = tuple[float, int, bytes]  # delay in s, status, body


def says(text: str, **more: Any) -> bytes:
    """A whole chat answer."""
    choice = {"message": {"content": text, **more}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice]}).encode()


def talk(
    session: int,
    turns: int,
    *,
    think_ms: float = 0,
    warm: bool = False,
    needs_answer: bool = True,
    body: Callable[[int, str], bytes] = lambda turn, text: text.encode() or b"{}",
) -> Request:
    """The first turn of a conversation; turn t has the index 100 * session + t, and a body made from the answer."""

    def turn(t: int, text: str) -> Request:
        sample = Sample(session=session, turn=t, think_ns=round(think_ms * MS) if t else 0)
        phase = Phase.WARMUP if warm else Phase.MEASURED
        goes_on = t + 1 < turns
        then = (lambda answer: turn(t + 1, answer)) if goes_on else None
        made = body(t, text)
        return Request(100 * session + t, sample, made, phase=phase, then=then, needs_answer=needs_answer and goes_on)

    return turn(0, "")


@dataclass
class Literal:
    """See `types.Requests`: just these."""

    items: Sequence[Request]
    total_turns: int | None = None

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Request:
        return self.items[index]

    def is_made(self, index: int) -> bool:
        return True

    def refill(self, used: int, budget_ns: int) -> bool:
        return True


def plan(
    items: Iterable[Request],
    *,
    concurrency: int | None = None,
    offsets_ms: Sequence[float] | None = None,
    duration_s: float | None = None,
    ramp_up_ms: float = 0,
    grace_s: float = 0.5,
    total_turns: int | None = None,
) -> Plan:
    """A plan of these first turns; the warm-up ones are at the front."""
    listed = list(items)
    schedule = Schedule(
        offset_ns=None if offsets_ms is None else (np.array(offsets_ms) * MS).astype(np.int64),
        concurrency=concurrency,
        duration_ns=None if duration_s is None else round(duration_s * 1e9),
        warmup=sum(request.phase == Phase.WARMUP for request in listed),
        grace_ns=round(grace_s * 1e9),
        ramp_up_ns=round(ramp_up_ms * MS),
    )
    return Plan(Literal(listed, total_turns), schedule, 0, "", "")


@dataclass
class Fake:
    """Answers each request by `reply(request)`; keeps who was in flight, and how many right after each end.

    `on_end` hears of each end.
    """

    reply: Callable[[Request], Reply] = lambda request: (0.005, 200, says(f"answer to {request.index}"))
    order: list[Request] = field(default_factory=list)
    flying: set[int] = field(default_factory=set)
    most: int = 0
    after_each_end: list[int] = field(default_factory=list)
    on_end: Callable[[int], None] = lambda index: None

    async def open(self, connections: int) -> list[int]:
        return []

    def send(self, exchange: Exchange) -> None:
        self.order.append(exchange.request)
        self.flying.add(exchange.request.index)
        self.most = max(self.most, len(self.flying))
        exchange.record.start_ns = exchange.record.sent_ns = now_ns()
        delay_s, status, body = self.reply(exchange.request)
        asyncio.get_running_loop().call_later(delay_s, self._end, exchange, status, body)

    def _end(self, exchange: Exchange, status: int, body: bytes) -> None:
        if exchange.ended:
            return
        exchange.reply.status, exchange.reply.content_type = status, "application/json"
        exchange.reply.chunks.append((now_ns(), body))
        self._over(exchange)

    def cancel(self, exchange: Exchange, outcome: Outcome = Outcome.CANCELLED, why: str = "") -> None:
        exchange.reply.outcome = outcome
        self._over(exchange)

    def _over(self, exchange: Exchange) -> None:
        self.flying.discard(exchange.request.index)
        exchange.record.end_ns = now_ns()
        exchange.done(exchange)
        self.after_each_end.append(len(self.flying))
        self.on_end(exchange.request.index)

    async def close(self) -> None:
        assert not self.flying

    def facts(self) -> dict[str, Any]:
        return {}


@dataclass
class Ran:
    """An engine at its end, what it and its transport say, its records, and what the watcher saw."""

    engine: Engine
    facts: dict[str, Any]
    table: RecordTable
    seen: list[Snapshot]
    seconds: float

    def row(self, index: int) -> int:
        """Where the record with this index is in the table."""
        return int(np.flatnonzero(self.table.index == index)[0])


def go(
    folder: Path,
    work: Plan,
    transport: Transport | Callable[[asyncio.AbstractEventLoop, Poller], Transport],
    *,
    rules: Rules | None = None,
    before: Callable[[Engine], None] = lambda engine: None,
) -> Ran:
    """Run a plan; `before` gets the engine before it begins."""

    async def main() -> tuple[Engine, dict[str, Any], list[Snapshot], float]:
        loop = asyncio.get_running_loop()
        poller, live, seen = Poller(loop), Live(), list[Snapshot]()
        used = transport(loop, poller) if callable(transport) else transport

        def sink(record: Record, decoder: ResponseDecoder) -> None:
            live.add(record)

        writer = RecordWriter(folder / "requests.jsonl")
        decoding = Decoding(loop, poller, chat, writer, sink, keep_text=False)
        engine = Engine(loop, poller, used, decoding, live, work, seen.append, rules)
        before(engine)
        began = now_ns()
        facts = await asyncio.wait_for(engine.run(), 20)
        seconds = (now_ns() - began) / 1e9
        facts |= used.facts()
        await used.close()
        poller.close()
        writer.close()
        return engine, facts, seen, seconds

    engine, facts, seen, seconds = run("uvloop", main())
    return Ran(engine, facts, open_table(folder), seen, seconds)
