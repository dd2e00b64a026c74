"""The slots of a closed loop open evenly over a time: at which moments, for whom, and what the window makes of it."""

from pathlib import Path

import numpy as np
import pytest

from genbench.engine.pacing import NEVER
from genbench.engine.slots import Slots
from genbench.metrics import steady
from genbench.types import Schedule
from tests.engine.made import MS, Fake, go, plan, says, talk

SLOTS, RAMP_MS = 5, 100.0


def opened_ms(intended_ns: list[int]) -> list[float]:
    """Moments from the first one on."""
    return [(t - intended_ns[0]) / MS for t in sorted(intended_ns)]


def test_slot_j_opens_at_its_share_of_the_time(tmp_path: Path) -> None:
    """Each is held for longer than the ramp, so the first five requests are the slots' own."""
    fake = Fake(lambda request: (0.15, 200, says("so")))
    ran = go(tmp_path, plan([talk(k, 1) for k in range(8)], concurrency=SLOTS, ramp_up_ms=RAMP_MS), fake)
    intended = sorted(ran.table.intended_ns.tolist())
    assert intended[0] == ran.facts["start_ns"]
    assert opened_ms(intended[:SLOTS]) == [0, 20, 40, 60, 80]
    assert fake.most == SLOTS
    late_ms = (ran.table.sent_ns - ran.table.intended_ns) / MS
    assert late_ms.min() >= 0
    assert np.median(late_ms) < 2


def test_slots_that_end_early_are_used_again_while_others_open(tmp_path: Path) -> None:
    """10 ms each: at no time are more in flight than slots are open."""
    fake = Fake(lambda request: (0.01, 200, says("so")))
    work = plan([talk(k, 1) for k in range(60)], concurrency=SLOTS, ramp_up_ms=RAMP_MS)
    table = go(tmp_path, work, fake).table
    start = int(table.intended_ns.min())
    for t in np.arange(0, 80, 5) * MS + start:
        flying = int(((table.sent_ns <= t) & (table.end_ns > t)).sum())
        assert flying <= 1 + (t - start) / MS // 20
    assert fake.most == SLOTS


def test_warm_up_uses_the_slots_that_are_open(tmp_path: Path) -> None:
    """Three warm-up requests in slots 0, 1, 2; slot 3 opens at its moment for a measured one, whatever still flies."""
    fake = Fake(lambda request: (0.15, 200, says("so")))
    talks = [talk(k, 1, warm=k < 3) for k in range(8)]
    ran = go(tmp_path, plan(talks, concurrency=SLOTS, ramp_up_ms=RAMP_MS), fake)
    table = ran.table
    intended = sorted(table.intended_ns.tolist())
    assert opened_ms(intended[:SLOTS]) == [0, 20, 40, 60, 80]
    first = int(table.intended_ns[table.measured].min())
    assert (first - intended[0]) / MS == 60
    assert ran.facts["measured_ns"] >= first


def test_conversations_ramp_up_too(tmp_path: Path) -> None:
    talks = [talk(k, 3, think_ms=30) for k in range(9)]
    table = go(tmp_path, plan(talks, concurrency=SLOTS, ramp_up_ms=RAMP_MS), Fake()).table
    begun = sorted(table.intended_ns[table.turn == 0].tolist())
    assert opened_ms(begun[:4]) == [0, 20, 40, 60]
    assert len(table) == 27


@pytest.mark.parametrize(("count", "duration_s"), [(2, None), (50, 0.05)])
def test_a_run_that_ends_before_all_are_open(tmp_path: Path, count: int, duration_s: float | None) -> None:
    work = plan([talk(k, 1) for k in range(count)], concurrency=SLOTS, ramp_up_ms=10_000, duration_s=duration_s)
    ran = go(tmp_path, work, Fake())
    assert ran.seconds < 5
    assert ran.facts["not_sent"] == 0
    assert ran.facts["in_flight_max"] == 1


def test_the_window_begins_when_all_slots_have_opened(tmp_path: Path) -> None:
    fake = Fake(lambda request: (0.01, 200, says("so")))
    work = plan([talk(k, 1) for k in range(100)], concurrency=SLOTS, ramp_up_ms=RAMP_MS)
    ran = go(tmp_path, work, fake)
    window = steady.window(ran.table, SLOTS, open_loop=False)
    assert window is not None
    assert window[0] >= ran.facts["start_ns"] + 80 * MS


def test_moments_do_not_drift_by_rounding() -> None:
    slots = Slots(Schedule(None, 3, None, 0, 0, ramp_up_ns=100))
    moments = []
    while (t := slots.next_ns(7)) != NEVER:
        moments.append(t)
        slots.open += 1
    assert moments == [7, 7 + 33, 7 + 66]
