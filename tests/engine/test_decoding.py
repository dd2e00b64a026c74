"""The decoding queue: in slices, raw when overdue, everything at the end."""

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from genbench.clock import now_ns
from genbench.decode import ResponseDecoder
from genbench.endpoints import chat
from genbench.engine.decoding import BACKLOG, OVERDUE_NS, Decoding
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
    done: list[int] = []

    async def main() -> int:
        running = asyncio.get_running_loop()
        poller = Poller(running)
        writer = RecordWriter(tmp_path / "requests.jsonl")
        decoding = Decoding(running, poller, chat, writer, lambda r, _: done.append(r.index), keep_text=False)
        for k in range(50):
            decoding.arrived(exchange(k, 100, now_ns()))
        while len(done) < 50:
            await asyncio.sleep(0.005)
        decoding.finish()
        poller.close()
        writer.close()
        return decoding.content_events

    assert run(loop, main()) == 5000
    table = open_table(tmp_path / "requests.jsonl")
    assert (table.event_kind == EventKind.CONTENT).sum() == 5000
    assert set(table.outcome) == {Outcome.OK}


def crowd(tmp_path: Path, count: int, *, keep_text: bool = False) -> tuple[int, int, list[dict[str, Any]]]:
    """So many overdue answers and an error while a reader is always ready: (raw, decoded before the end, log rows)."""
    seen: list[int] = []

    def sink(record: Record, decoder: ResponseDecoder) -> None:
        seen.append(record.index)

    async def main() -> tuple[int, int]:
        running = asyncio.get_running_loop()
        poller = Poller(running)
        ours, theirs = socket.socketpair()
        theirs.send(b"x")
        poller.watch(ours.fileno(), Busy(), READ)  # nobody reads it: it stays ready
        writer = RecordWriter(tmp_path / "requests.jsonl")
        decoding = Decoding(running, poller, chat, writer, sink, keep_text=keep_text)
        overdue = now_ns() - OVERDUE_NS - 1
        for k in range(count):
            one = exchange(k, 3, overdue)
            one.reply.status = 500 if k == 1 else 200
            decoding.arrived(one)
        while decoding.raw + len(seen) < count:
            await asyncio.sleep(0.001)
        before = len(seen)
        decoding.finish()
        poller.close()
        writer.close()
        for sock in (ours, theirs):
            sock.close()
        return decoding.raw, before

    raw, before = run("uvloop", main())
    lines = (tmp_path / "requests.jsonl").read_text().splitlines()
    return raw, before, [json.loads(line) for line in lines]


def test_a_busy_machine_still_decodes(tmp_path: Path) -> None:
    raw, before, rows = crowd(tmp_path, 100)
    assert (raw, before) == (0, 100)
    assert not any("raw" in row for row in rows)


def test_what_cannot_be_kept_up_with_goes_to_the_log_raw_and_is_decoded_when_read(tmp_path: Path) -> None:
    raw, _, rows = crowd(tmp_path, BACKLOG + 500)
    assert raw > 100
    assert sum("raw" in row for row in rows) == raw
    assert not any("raw" in row for row in rows if row["index"] == 1)  # an error is read at once
    table = open_table(tmp_path / "requests.jsonl")
    assert len(table) == BACKLOG + 500
    assert table.outcome.count(Outcome.OK) == BACKLOG + 499
    for k in (0, BACKLOG):
        assert table.event_ns[table.event_start[k] : table.event_start[k + 1]].tolist()[:3] == [2000, 2001, 2002]


def test_texts_that_are_wanted_are_not_left_raw(tmp_path: Path) -> None:
    assert crowd(tmp_path, BACKLOG + 500, keep_text=True)[0] == 0


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
    assert live.failed == 1
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
