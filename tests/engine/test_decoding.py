"""The decoding queue: in slices, raw when overdue, everything at the end."""

import asyncio
import json
import socket
from pathlib import Path

import pytest

from genbench.clock import now_ns
from genbench.decode import ResponseDecoder
from genbench.endpoints import chat
from genbench.engine.decoding import OVERDUE_NS, Decoding
from genbench.engine.live import Live
from genbench.records import RecordWriter, open_table
from genbench.transport.exchange import Exchange
from genbench.transport.poller import READ, Poller
from genbench.types import EventKind, Outcome, Record, Request, Sample
from tests.transport.harness import LOOPS, run


def exchange(index: int, tokens: int, ended_ns: int) -> Exchange:
    """A whole streamed answer that nobody has decoded yet."""
    record = Record(index=index, sent_ns=1000, end_ns=ended_ns)
    found = Exchange(Request(index, Sample(), b""), record, lambda _: None, lambda _: None)
    found.reply.status = 200
    found.reply.content_type = "text/event-stream"
    for k in range(tokens):
        finish = ', "finish_reason": "length"' if k == tokens - 1 else ""
        data = 'data: {"choices": [{"index": 0, "delta": {"content": "x"}' + finish + "}]}\n\n"
        found.reply.chunks.append((2000 + k, data.encode()))
    found.ended = True
    return found


@pytest.mark.parametrize("loop", LOOPS)
def test_everything_is_decoded_while_the_loop_turns(loop: str, tmp_path: Path) -> None:
    live = Live()

    async def main() -> int:
        running = asyncio.get_running_loop()
        poller = Poller(running)
        writer = RecordWriter(tmp_path / "requests.jsonl")
        decoding = Decoding(running, poller, chat, writer, lambda r, _: live.add(r), keep_text=False)
        for k in range(50):
            decoding.arrived(exchange(k, 100, now_ns()))
        while live.done < 50:
            await asyncio.sleep(0.005)
        decoding.finish()
        poller.close()
        writer.close()
        return decoding.content_events

    assert run(loop, main()) == 5000
    table = open_table(tmp_path / "requests.jsonl")
    assert (table.event_kind == EventKind.CONTENT).sum() == 5000
    assert set(table.outcome) == {Outcome.OK}


def test_where_readers_are_always_ready_what_is_overdue_goes_to_the_log_raw(tmp_path: Path) -> None:
    seen: list[int] = []

    def sink(record: Record, decoder: ResponseDecoder) -> None:
        seen.append(record.index)

    async def main() -> int:
        running = asyncio.get_running_loop()
        poller = Poller(running)
        ours, theirs = socket.socketpair()
        theirs.send(b"x")
        poller.watch(ours.fileno(), Busy(), READ)  # nobody reads it: it stays ready
        writer = RecordWriter(tmp_path / "requests.jsonl")
        decoding = Decoding(running, poller, chat, writer, sink, keep_text=False)
        overdue = now_ns() - OVERDUE_NS - 1
        failed = exchange(2, 3, overdue)
        failed.reply.status = 500
        for one in (exchange(0, 3, overdue), failed, exchange(1, 3, now_ns() + 60_000_000_000)):
            decoding.arrived(one)
        while decoding.raw == 0 or not seen:
            await asyncio.sleep(0.005)
        await asyncio.sleep(0.05)
        decoding.flush()
        rows = [json.loads(line) for line in (tmp_path / "requests.jsonl").read_text().splitlines()]
        assert [row["index"] for row in rows] == [0, 2]  # the third ended just now: it can wait for a quiet moment
        assert ["raw" in row for row in rows] == [True, False]  # an error is read at once
        decoding.finish()
        poller.close()
        writer.close()
        for sock in (ours, theirs):
            sock.close()
        return decoding.raw

    assert run("uvloop", main()) == 1
    assert seen == [2, 1]
    table = open_table(tmp_path / "requests.jsonl")
    assert table.outcome == [Outcome.OK, Outcome.OK, Outcome.HTTP_ERROR]
    assert table.event_ns[table.event_start[0] : table.event_start[1]].tolist()[:3] == [2000, 2001, 2002]


class Busy:
    """A reader that is never done."""

    def ready(self, mask: int) -> None:
        assert mask & READ


def test_live_percentiles_are_within_two_percent() -> None:
    live = Live()
    for k in range(1, 101):
        record = Record(streamed=True, sent_ns=0, outcome=Outcome.OK)
        record.event_ns, record.event_kind = [k * 1_000_000], [int(EventKind.CONTENT)]
        live.add(record)
    live.add(Record(outcome=Outcome.TRUNCATED))
    assert (live.done, live.failed) == (101, 1)
    p50, p99 = live.ttft_ms(0.5), live.ttft_ms(0.99)
    assert p50 is not None
    assert p99 is not None
    assert abs(p50 - 50) < 1.1
    assert abs(p99 - 99) < 2.1
    assert Live().ttft_ms(0.5) is None


def test_live_rate() -> None:
    live = Live()
    assert live.tokens_per_s(1_000_000_000, 100) == 0.0  # nothing to compare with yet
    assert live.tokens_per_s(1_500_000_000, 200) == 200.0  # 100 events in half a second
