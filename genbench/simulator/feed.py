"""The moments of one answer, known only as they come: a batch brings tokens, a play asks for the next moment.

An answer of several choices is as many sequences; a moment is due when the slowest of them has its token. An event of
several tokens is due with the last of them.
"""

from collections import deque
from collections.abc import Callable

from genbench.simulator.scheduler import Sequence

PARKED = -1  # an offset: not known yet, whoever asked is woken when it is


class Feed:
    """Offsets of an answer's events from `received_ns`, in order: an iterator that never ends, but answers PARKED.

    `total` tokens per choice, `every` of them an event. `wake` is called when there is a new moment, `drop` when nobody
    will ask any more.
    """

    __slots__ = (
        "_counts",
        "_done",
        "_every",
        "_moments",
        "_total",
        "drop",
        "prompts",
        "received_ns",
        "sequences",
        "wake",
    )

    def __init__(self, received_ns: int, total: int, every: int, drop: "Callable[[Feed], None]") -> None:
        self.received_ns = received_ns
        self.sequences: list[Sequence] = []
        self.prompts: list[tuple[object, ...]] = []  # their tokens, where there is a prefix cache
        self.wake: Callable[[], None] | None = None
        self.drop = drop
        self._total, self._every = total, every
        self._moments: deque[int] = deque()
        self._counts: dict[Sequence, int] = {}
        self._done = 0

    def add(self, sequence: Sequence, prompt: tuple[object, ...] = ()) -> None:
        """One more choice."""
        self.sequences.append(sequence)
        self.prompts.append(prompt)
        self._counts[sequence] = 0

    @property
    def cached_tokens(self) -> int:
        """Prompt tokens that needed no prefill; 0 until they are admitted."""
        return sum(sequence.cached for sequence in self.sequences if sequence.admitted_ns >= 0)

    def push(self, sequence: Sequence, t_ns: int) -> None:
        """A token for one of the choices."""
        if len(self.sequences) > 1:
            self._counts[sequence] += 1
            if min(self._counts.values()) == self._done:
                return
        self._done += 1
        if self._done % self._every == 0 or self._done == self._total:
            self._moments.append(t_ns - self.received_ns)
            if self.wake:
                self.wake()

    def release(self) -> None:
        """Nobody will ask any more."""
        self.wake = None
        self.drop(self)

    def __iter__(self) -> "Feed":
        return self

    def __next__(self) -> int:
        return self._moments.popleft() if self._moments else PARKED
