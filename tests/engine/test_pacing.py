"""The pacer wakes at absolute moments, on both event loops, with and without a timerfd."""

import asyncio
import sys

import pytest

from genbench.clock import now_ns
from genbench.engine.pacing import Pacer
from genbench.transport.poller import Poller
from tests.transport.harness import LOOPS, run


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("platform", ["linux", "elsewhere"])
def test_wakes_at_each_moment_and_never_before(loop: str, platform: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)

    async def main() -> tuple[str, list[int], list[int]]:
        running = asyncio.get_running_loop()
        poller = Poller(running)
        over = running.create_future()
        start = now_ns() + 5_000_000
        due = [start + k * 3_000_000 for k in range(10)]
        woken: list[int] = []

        def wake() -> None:
            woken.append(now_ns())
            if len(woken) == len(due):
                over.set_result(None)
            else:
                pacer.at(due[len(woken)])

        pacer = Pacer(running, poller, wake)
        pacer.at(due[0])
        await asyncio.wait_for(over, 5)
        pacer.close()
        poller.close()
        return pacer.source, due, woken

    source, due, woken = run(loop, main())
    assert source == ("timerfd" if platform == "linux" else "loop timer and spin")
    assert all(late >= planned for planned, late in zip(due, woken, strict=True))


def test_a_moment_that_is_past_wakes_at_once() -> None:
    async def main() -> int:
        running = asyncio.get_running_loop()
        poller = Poller(running)
        over = running.create_future()
        pacer = Pacer(running, poller, lambda: over.set_result(None))
        before = now_ns()
        pacer.at(0)
        await asyncio.wait_for(over, 5)
        pacer.close()
        poller.close()
        return now_ns() - before

    assert run("uvloop", main()) < 1_000_000_000
