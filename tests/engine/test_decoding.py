"""The decoding queue: in slices, raw when overdue, everything at the end."""

import asyncio
import json
from pathlib import Path

import pytest

from genbench.clock import now_ns
from genbench.decode import ResponseDecoder
from genbench.endpoints import chat
from genbench.engine.decoding import OVERDUE_NS, Decoding
from genbench.engine.live import Live
from genbench.records import RecordWriter, open_table
from genbench.transport.exchange import Exchange
from genbench.transport.poller import Poller
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


def test_what_is_overdue_goes_to_the_log_raw_and_is_decoded_when_read(tmp_path: Path) -> None:
    seen: list[int] = []

    def sink(record: Record, decoder: ResponseDecoder) -> None:
        seen.append(record.index)

    async def main() -> int:
        running = asyncio.get_running_loop()
        poller = Poller(running)
        writer = RecordWriter(tmp_path / "requests.jsonl")
        decoding = Decoding(running, poller, chat, writer, sink, keep_text=False)
        decoding.arrived(exchange(0, 3, now_ns() - OVERDUE_NS - 1))
        decoding.arrived(exchange(1, 3, now_ns()))
        decoding.tick()  # the loop has not turned since: nothing could be decoded
        rows = [json.loads(line) for line in (tmp_path / "requests.jsonl").read_text().splitlines()]
        assert [row.get("index", 0) for row in rows] == [0]
        assert "raw" in rows[0]
        decoding.finish()
        poller.close()
        writer.close()
        return decoding.raw

    assert run("uvloop", main()) == 1
    assert seen == [1]
    table = open_table(tmp_path / "requests.jsonl")
    assert table.outcome == [Outcome.OK, Outcome.OK]
    assert table.event_ns[table.event_start[0] : table.event_start[1]].tolist()[:3] == [2000, 2001, 2002]


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
