"""What a run says while it is under way: percentiles, failures by kind, the last snapshot."""

import asyncio
import gc
from collections.abc import Sequence
from pathlib import Path

import pytest

from genbench.decode import ResponseDecoder
from genbench.endpoints import chat
from genbench.engine.decoding import Decoding
from genbench.engine.live import GAPS_PER_LOOK, SHOWN, Live, Snapshot, Spread
from genbench.engine.loop import Engine
from genbench.errors import RecordError
from genbench.records import RecordWriter
from genbench.transport.poller import Poller
from genbench.types import EventKind, Outcome, Phase, Plan, Record
from tests.engine.test_loop import Fake, plan
from tests.transport.harness import run

MS = 1_000_000


def answer(gaps_ms: Sequence[float], *, ttft_ms: float = 50.0, choices: int = 1) -> Record:
    """A streamed answer: a role event with the first token, then the tokens, then finish, usage, done."""
    record = Record(streamed=True, sent_ns=0, outcome=Outcome.OK, choices=choices)
    times = [ttft_ms]
    for gap in gaps_ms:
        times.append(times[-1] + gap)
    record.event_ns = [round(t * MS) for t in [times[0], *times, times[-1], times[-1], times[-1]]]
    ends = [EventKind.FINISH, EventKind.USAGE, EventKind.DONE]
    record.event_kind = [int(kind) for kind in [EventKind.ROLE, *[EventKind.CONTENT] * len(times), *ends]]
    return record


def test_percentiles_to_within_two_percent() -> None:
    spread = Spread()
    for k in range(1, 1001):
        spread.add(k * MS)
    assert spread.percentiles_ms(SHOWN) == pytest.approx([500, 900, 990], rel=0.02)


def test_percentiles_follow_what_comes_after() -> None:
    spread = Spread()
    spread.add(10 * MS)
    assert spread.percentiles_ms((0.5,)) == spread.percentiles_ms((0.5,)) == pytest.approx([10], rel=0.02)
    assert spread.percentiles_ms((0.1, 0.9)) == pytest.approx([10, 10], rel=0.02)
    spread.add_gaps([0, 30 * MS, 60 * MS], b"\1\1\1")
    assert spread.percentiles_ms((0.5,)) == pytest.approx([30], rel=0.02)


def test_nothing_has_no_percentiles() -> None:
    assert Spread().percentiles_ms(SHOWN) is None


@pytest.mark.parametrize("duration_ns", [-5, 0, 1, 10**18])
def test_no_duration_falls_out_of_the_buckets(duration_ns: int) -> None:
    spread = Spread()
    spread.add(duration_ns)
    spread.add_gaps([0, duration_ns], b"\1\1")
    found = spread.percentiles_ms((1.0,))
    assert found is not None
    assert found[0] > 0


def test_gaps_are_those_between_content_events() -> None:
    live = Live()
    live.add(answer([20] * 90 + [40] * 9 + [200]))
    assert live.itl.percentiles_ms(SHOWN) == pytest.approx([20, 20, 40], rel=0.02)
    assert live.ttft.percentiles_ms(SHOWN) == pytest.approx([50, 50, 50], rel=0.02)


def test_a_comment_between_two_tokens_is_no_token() -> None:
    record = answer([20, 20])
    record.event_ns.insert(2, 55 * MS)
    record.event_kind.insert(2, int(EventKind.COMMENT))
    live = Live()
    live.add(record)
    assert live.itl.percentiles_ms((0.01, 1.0)) == pytest.approx([20, 20], rel=0.02)


def test_one_token_has_no_gap_and_several_choices_have_none_that_means_anything() -> None:
    live = Live()
    live.add(answer([]))
    live.add(answer([20, 20], choices=2))
    assert live.itl.percentiles_ms(SHOWN) is None
    assert live.ttft.percentiles_ms(SHOWN) is not None


def test_gaps_are_taken_of_so_many_answers_between_two_looks() -> None:
    live = Live()
    for _ in range(GAPS_PER_LOOK):
        live.add(answer([20]))
    live.add(answer([500] * 1000))  # one too many
    assert live.itl.percentiles_ms((1.0,)) == pytest.approx([20], rel=0.02)
    live.look(1, 0)
    live.add(answer([500]))
    assert live.itl.percentiles_ms((1.0,)) == pytest.approx([500], rel=0.02)


def test_failures_are_counted_by_kind_and_the_warm_up_is_not() -> None:
    live = Live()
    for outcome in (Outcome.HTTP_ERROR, Outcome.HTTP_ERROR, Outcome.TRUNCATED, Outcome.CANCELLED, Outcome.NO_OUTPUT):
        live.add(Record(outcome=outcome))
    live.add(Record(outcome=Outcome.TIMEOUT_IDLE, phase=Phase.WARMUP))
    assert live.failures == {"http_error": 2, "truncated": 1}
    assert (live.failed, live.failed_at_all, live.ended_at_all) == (3, 4, 6)


def test_a_server_that_does_not_stream_has_latencies() -> None:
    live = Live()
    seen = [live.streams]
    live.add(Record(outcome=Outcome.OK, sent_ns=0, end_ns=30 * MS))
    seen.append(live.streams)
    live.add(answer([20]))
    seen.append(live.streams)
    assert seen == [True, False, True]  # one that streams is enough
    assert live.latency.percentiles_ms((0.5,)) == pytest.approx([30], rel=0.02)


def watched(folder: Path, work: Plan, fake: Fake) -> tuple[Engine, list[Snapshot]]:
    """A run, and what its watcher was shown."""
    seen: list[Snapshot] = []

    async def main() -> Engine:
        loop = asyncio.get_running_loop()
        poller, live = Poller(loop), Live()

        def sink(record: Record, decoder: ResponseDecoder) -> None:
            live.add(record)

        writer = RecordWriter(folder / "requests.jsonl")
        decoding = Decoding(loop, poller, chat, writer, sink, keep_text=False)
        engine = Engine(loop, poller, fake, decoding, live, work, seen.append)
        await asyncio.wait_for(engine.run(), 20)
        poller.close()
        writer.close()
        return engine

    return run("uvloop", main()), seen


def test_the_watcher_sees_the_run_and_its_end(tmp_path: Path) -> None:
    _, seen = watched(tmp_path, plan(12, concurrency=4, warmup=4), Fake(0.2))
    assert [now.over for now in seen] == [False] * (len(seen) - 1) + [True]
    last = seen[-1]
    assert (last.done, last.total, last.in_flight, last.waiting) == (8, 8, 0, None)
    middle = seen[-2]
    assert not middle.warming_up
    assert not middle.streams
    assert middle.latency_ms == pytest.approx([200] * 3, rel=0.1)


def test_the_watcher_knows_who_waits_for_the_cap(tmp_path: Path) -> None:
    _, seen = watched(tmp_path, plan(6, concurrency=2, offsets_ms=[0] * 6), Fake(0.3))
    assert (seen[0].in_flight, seen[0].waiting) == (2, 4)
    assert seen[-1].waiting == 0


def test_the_watcher_hears_of_the_end_of_a_run_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: RecordWriter) -> None:
        monkeypatch.undo()
        raise RecordError("no space left on device")

    monkeypatch.setattr(RecordWriter, "flush", full)
    engine, seen = watched(tmp_path, plan(1000, concurrency=2), Fake(0.01))
    assert isinstance(engine.error, RecordError)
    assert seen[-1].over
    assert gc.isenabled()
