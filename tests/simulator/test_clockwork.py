"""The timer for all streams: order, turns, both kinds of timer, on both loops."""

import asyncio
import sys
from collections.abc import Callable, Iterator

import pytest
import uvloop

from genbench.clock import now_ns
from genbench.simulator.clockwork import DONE, SLICE, Clockwork


class Item:
    """Notes its name at each run, until its due times are used up."""

    def __init__(self, name: str, due: list[int], log: list[str], finished: Callable[[], None]) -> None:
        self.name, self.log, self.finished = name, log, finished
        self.due_ns, *self.rest = due
        self.over = False
        self.ran_ns: list[int] = []

    def run(self) -> int:
        self.log.append(self.name)
        self.ran_ns.append(now_ns())
        if not self.rest:
            self.finished()
            return DONE
        self.due_ns = self.rest.pop(0)
        return self.due_ns


@pytest.fixture(params=["uvloop", "asyncio"])
def loop(request: pytest.FixtureRequest) -> Iterator[asyncio.AbstractEventLoop]:
    """Each kind of loop, which gives up after 5 s."""
    found: asyncio.AbstractEventLoop = (
        uvloop.new_event_loop() if request.param == "uvloop" else asyncio.new_event_loop()
    )
    found.call_later(5, found.stop)
    yield found
    found.close()


def test_overdue_items_take_turns(loop: asyncio.AbstractEventLoop) -> None:
    clockwork, log = Clockwork(loop), list[str]()
    for name in "ab":
        clockwork.add(Item(name, [1] * 1000, log, lambda: loop.stop() if len(log) == 2000 else None))
    loop.run_forever()
    clockwork.close()
    assert "".join(log) == "ab" * 1000


def test_the_loop_gets_its_turn(loop: asyncio.AbstractEventLoop) -> None:
    clockwork, log = Clockwork(loop), list[str]()
    clockwork.add(Item("a", [1] * 10 * SLICE, log, loop.stop))
    loop.call_soon(log.append, "loop")
    loop.run_forever()
    clockwork.close()
    assert log.count("a") == 10 * SLICE
    assert log.index("loop") <= SLICE


@pytest.mark.parametrize("platform", ["linux", "other"])
def test_items_run_in_the_order_of_their_times_and_never_early(
    loop: asyncio.AbstractEventLoop, platform: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if platform == "linux" and sys.platform != "linux":
        pytest.skip("no timerfd here")
    monkeypatch.setattr(sys, "platform", platform)
    clockwork, log, start = Clockwork(loop), list[str](), now_ns()
    ms = 1_000_000
    late = Item("late", [start + 12 * ms, start + 30 * ms], log, loop.stop)
    soon = Item("soon", [start + 6 * ms, start + 18 * ms, start + 24 * ms], log, lambda: None)
    never = Item("never", [start + 3 * ms], log, lambda: None)
    for item in (late, soon, never):  # the later one first: the timer has to be set anew for the earlier
        clockwork.add(item)
    never.over = True
    loop.run_forever()
    clockwork.close()
    assert log == ["soon", "late", "soon", "soon", "late"]
    assert [ran >= start + due * ms for ran, due in zip(soon.ran_ns, (6, 18, 24), strict=True)] == [True] * 3
    assert [ran >= start + due * ms for ran, due in zip(late.ran_ns, (12, 30), strict=True)] == [True] * 2
