"""A script under way on a connection: each write at its moment, the truth and the figures taken as it goes."""

from typing import Protocol

from genbench.clock import now_ns
from genbench.simulator.clockwork import DONE, Clockwork
from genbench.simulator.feed import Feed
from genbench.simulator.figures import Figures
from genbench.simulator.script import Ending, Script, Step
from genbench.simulator.truth import CLIENT_CLOSED, COMPLETE, Entry
from genbench.simulator.work import Work
from genbench.types import CONTENT_KINDS

_CONTENT = frozenset(map(int, CONTENT_KINDS))


class Stage(Protocol):
    """What a play needs of its connection."""

    blocked: bool

    def send(self, data: bytes) -> int:
        """Hand bytes to the kernel; returns the moment just before (ns)."""

    def end(self, ending: Ending) -> None:
        """The script is over."""


class Account:
    """Books of one generative request: its truth and the server's figures. `feed` where the scheduler has it."""

    __slots__ = ("_contents", "_feed", "_first_ns", "_last_ns", "entry", "figures", "work")

    def __init__(self, work: Work | None, entry: Entry, figures: Figures, feed: Feed | None = None) -> None:
        self.work, self.entry, self.figures = work, entry, figures
        self._feed = feed
        self._contents = 0
        self._first_ns = self._last_ns = 0
        if work:
            entry.faults = tuple(work.faults)
            if feed is None:  # else the scheduler counts
                figures.running += 1
                figures.prompt_tokens += work.prompt_tokens

    def add(self, marks: tuple[tuple[int, int], ...], t_ns: int) -> None:
        """Book the events that one write completed."""
        entry = self.entry
        for kind, tokens in marks:
            entry.add(kind, t_ns, tokens)
            if kind in _CONTENT and self.work:
                if self._contents % self.work.choices == 0:
                    self._observe(t_ns)
                self._contents += 1
                if self._feed is None:
                    self.figures.generation_tokens += tokens

    def _observe(self, t_ns: int) -> None:
        if self._last_ns:
            self.figures.itl.observe((t_ns - self._last_ns) / 1e9)
        else:
            self._first_ns = t_ns
            self.figures.ttft.observe((t_ns - self.entry.received_ns) / 1e9)
        self._last_ns = t_ns

    def close(self, outcome: str) -> None:
        """The request ended; `outcome` as in the truth."""
        self.entry.outcome = outcome
        if not self.work:
            return
        if self._feed is None:
            self.figures.running -= 1
        reason = {COMPLETE: self.work.finish, CLIENT_CLOSED: "abort"}.get(outcome, "error")
        self.figures.successes[reason] += 1
        if outcome == COMPLETE and self._last_ns:
            received_ns = self.entry.received_ns
            admitted_ns = self._feed.sequences[0].admitted_ns if self._feed else received_ns
            self.figures.e2e.observe((self._last_ns - received_ns) / 1e9)
            self.figures.queue.observe((admitted_ns - received_ns) / 1e9)
            self.figures.prefill.observe((self._first_ns - admitted_ns) / 1e9)
            self.figures.decode.observe((self._last_ns - self._first_ns) / 1e9)


class Play:
    """One script on one connection. A connection that cannot take more stops it until `resume`, a batch that has not
    come so far until `wake`.
    """

    __slots__ = (
        "_account",
        "_clockwork",
        "_data",
        "_marks",
        "_parked",
        "_received_ns",
        "_script",
        "_stage",
        "due_ns",
        "over",
    )

    def __init__(
        self, script: Script, received_ns: int, stage: Stage, clockwork: Clockwork, account: Account | None
    ) -> None:
        self._script = script
        self._received_ns = received_ns
        self._stage = stage
        self._clockwork = clockwork
        self._account = account
        self._data = b""
        self._marks: tuple[tuple[int, int], ...] = ()
        self._parked = False
        self.due_ns = 0
        self.over = False
        if script.feed:
            script.feed.wake = self.wake

    def begin(self) -> None:
        """Take up the script; a first piece without delay leaves at once."""
        due_ns = self._advance(next(self._script.steps, None))
        if due_ns == self._received_ns:
            due_ns = self.run()
        if due_ns >= 0:
            self._clockwork.add(self)

    def run(self) -> int:
        """Send what is due. See `clockwork.Timed`."""
        data = self._data
        if data:
            t_ns = self._stage.send(data)
            if self.over:
                return DONE
            if self._account:
                self._account.entry.sent_bytes += len(data)
                self._account.add(self._marks, t_ns)
            if self._stage.blocked:
                return DONE
        return self._advance(next(self._script.steps, None))

    def resume(self) -> None:
        """The connection has taken everything: go on."""
        if self._advance(next(self._script.steps, None)) >= 0:
            self._clockwork.add(self)

    def wake(self) -> None:
        """The batch has come further: what is due now leaves now."""
        if not self._parked:
            return  # it is not there yet, or its connection is not: it finds the moment when it asks
        self._parked = False
        due_ns = self._advance(next(self._script.steps, None))
        now = now_ns()
        while 0 <= due_ns <= now:
            due_ns = self.run()
        if due_ns >= 0:
            self._clockwork.add(self)

    def abandon(self) -> None:
        """The client went away. A stalled stream keeps the fault as its outcome."""
        if not self.over:
            stalled = self._script.ending is Ending.STALL and self.due_ns == DONE and not self._parked
            self._finish(self._script.outcome if stalled else CLIENT_CLOSED)

    def _advance(self, step: Step | None) -> int:
        if step is None:
            self.due_ns = DONE
            if self._script.ending is not Ending.STALL:
                self._finish(self._script.outcome)
            elif self._script.feed:
                self._script.feed.release()
            self._stage.end(self._script.ending)
            return DONE
        offset_ns, self._data, self._marks = step
        if offset_ns < 0:
            self._parked = True
            self.due_ns = DONE
            return DONE
        self.due_ns = self._received_ns + offset_ns
        return self.due_ns

    def _finish(self, outcome: str) -> None:
        self.over = True
        if self._account:
            self._account.close(outcome)
            self._account = None
        if self._script.feed:
            self._script.feed.release()
