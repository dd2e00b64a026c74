"""Time-outs by a clock of the test's own: what is given up, when, and in what order of sending."""

import asyncio
from collections.abc import Callable
from typing import Any

from genbench.clock import now_ns
from genbench.engine.deadlines import Deadlines
from genbench.transport.exchange import Exchange
from genbench.types import MISSING, Outcome, Record, Request, Sample
from tests.transport.harness import run

MS = 1_000_000


def exchange(index: int, sent_ns: int = MISSING) -> Exchange:
    record = Record(index=index, start_ns=now_ns(), sent_ns=sent_ns)
    return Exchange(Request(index, Sample(), b""), record, lambda _: None, lambda _: None)


class Trial:
    """A Deadlines object, what it gave up (index, outcome, ns), and the tokens a test says there are."""

    def __init__(self, first_token_ns: int | None, total_ns: int | None) -> None:
        self.given_up: list[tuple[int, str, int]] = []
        self.tokens: dict[int, int] = {}
        self.raised: list[Exception] = []
        self.deadlines = Deadlines(
            asyncio.get_running_loop(), first_token_ns, total_ns, self.token_of, self.give_up, self.guarded
        )

    def token_of(self, one: Exchange) -> int:
        return self.tokens.get(one.record.index, MISSING)

    def give_up(self, one: Exchange, outcome: Outcome, why: str) -> None:
        if why == "":
            raise AssertionError
        self.given_up.append((one.record.index, str(outcome), now_ns()))
        self.deadlines.remove(one)

    def guarded(self, call: Callable[..., None], *arguments: Any) -> None:
        try:
            call(*arguments)
        except Exception as error:
            self.raised.append(error)


def test_one_that_waits_for_a_connection_does_not_hide_another() -> None:
    async def main() -> tuple[list[tuple[int, str, int]], int]:
        trial = Trial(50 * MS, None)
        trial.deadlines.add(exchange(0))  # never sent
        later = exchange(1, now_ns())
        trial.deadlines.add(later)
        await asyncio.sleep(0.09)
        trial.deadlines.close()
        return trial.given_up, later.record.sent_ns

    (found,), sent = run("asyncio", main())
    assert found[:2] == (1, "timeout_first_token")
    assert found[2] - sent >= 50 * MS


def test_sent_out_of_order() -> None:
    """Taken up first, sent last: each has its own time."""

    async def main() -> list[tuple[int, str, int]]:
        trial = Trial(40 * MS, None)
        slow, fast = exchange(0), exchange(1)
        trial.deadlines.add(slow)
        fast.record.sent_ns = now_ns()
        trial.deadlines.add(fast)
        await asyncio.sleep(0.02)
        slow.record.sent_ns = now_ns()
        await asyncio.sleep(0.1)
        trial.deadlines.close()
        return trial.given_up

    assert [index for index, _, _ in run("asyncio", main())] == [1, 0]


def test_the_tokens_own_stamp_decides() -> None:
    async def main() -> list[int]:
        trial = Trial(30 * MS, None)
        sent = now_ns()
        for index, came in ((0, 29 * MS), (1, 31 * MS)):
            trial.tokens[index] = sent + came
            trial.deadlines.add(exchange(index, sent))
        await asyncio.sleep(0.07)
        trial.deadlines.close()
        return [index for index, _, _ in trial.given_up]

    assert run("asyncio", main()) == [1]


def test_an_error_in_a_look_does_not_end_the_looks() -> None:
    async def main() -> tuple[int, list[int]]:
        trial = Trial(None, 20 * MS)
        broken, fine = exchange(0), exchange(1)
        give_up, trial.deadlines._give_up = trial.give_up, None  # type: ignore[assignment]
        trial.deadlines.add(broken)
        await asyncio.sleep(0.04)
        trial.deadlines._give_up = give_up
        fine.record.start_ns = now_ns()
        trial.deadlines.add(fine)
        await asyncio.sleep(0.06)
        trial.deadlines.close()
        return len(trial.raised), [index for index, _, _ in trial.given_up]

    assert run("asyncio", main()) == (1, [1])
