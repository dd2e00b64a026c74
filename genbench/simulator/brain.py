"""The scheduler in real time: each step ends at an absolute moment, and its tokens leave then.

Rules
- A step begins when the one before has ended, or when a request arrives while nothing runs: at the stamp of its last
  byte, not when the loop came to it. So the moments do not depend on how busy this process is; what is late is only
  the writing.
- What arrives during a step, by its stamp, joins the next one. What arrived before its end but was read after the next
  had begun joins the one after.
- A request is as many sequences as it has choices. One that is dropped frees its room at once.
"""

from collections.abc import Sequence as Several
from typing import Protocol

from genbench.simulator.clockwork import DONE, Timed
from genbench.simulator.feed import Feed
from genbench.simulator.prefix import blocks
from genbench.simulator.render import words
from genbench.simulator.scheduler import Scheduler, Sequence
from genbench.simulator.work import TEMPLATE_TOKENS, Work

TEMPLATE = (None,) * TEMPLATE_TOKENS  # no word is like it


class Timer(Protocol):
    """What runs the batch at its moments."""

    def add(self, item: Timed) -> None:
        """Run it from its `due_ns` on."""


class Batch:
    """One scheduler on one timer."""

    def __init__(self, scheduler: Scheduler, timer: Timer) -> None:
        self.scheduler = scheduler
        self._timer = timer
        self._idle = True
        self.due_ns = 0  # the end of the step under way, or of the last one
        self.over = False

    def take(self, work: Work, received_ns: int) -> Feed:
        """Queue a request; its moments come out of the feed."""
        tokens = 0 if "immediate_finish" in work.faults else work.tokens
        tokens = max(1, tokens)  # an embedding is done with its prompt
        every = int(work.faults.get("multi_token", 1)) if work.stream else tokens
        feed = Feed(received_ns, tokens, every, self._drop)
        count = len(work.sizes) if work.kind == "embeddings" else work.choices
        for choice in range(count):  # the choices of a prompt stand together
            self._queue(feed, work, choice * len(work.sizes) // count, tokens)
        if self._idle:
            self._idle = False
            self._begin(max(received_ns, self.due_ns))
            self._timer.add(self)
        return feed

    def run(self) -> int:
        """The step is over: hand out its tokens, begin the next. See `clockwork.Timed`."""
        scheduler, t_ns = self.scheduler, self.due_ns
        decoded = scheduler.receivers()
        joined, finished = scheduler.end(t_ns)
        if scheduler.cache is not None:
            for sequence in finished:
                self._remember(sequence)
        for sequence in (*decoded, *joined):
            if sequence.owner is not None:  # None: dropped since
                _owner(sequence)[0].push(sequence, t_ns)
        return self._begin(t_ns)

    def _begin(self, t_ns: int) -> int:
        scheduler = self.scheduler
        length = scheduler.begin(t_ns)
        if length is None and scheduler.waiting:  # they came after the last step ended
            t_ns = scheduler.waiting[0].arrival_ns
            length = scheduler.begin(t_ns)
        if length is None:
            self._idle = True
            return DONE
        self.due_ns = t_ns + length
        return self.due_ns

    def _queue(self, feed: Feed, work: Work, prompt: int, tokens: int) -> None:
        known: tuple[object, ...] = ()
        if self.scheduler.cache is not None and work.kind != "embeddings":
            known = _prompt(work, prompt)
        size = max(1, work.sizes[prompt])
        sequence = Sequence(feed.received_ns, size, tokens, blocks=blocks(known), owner=(feed, work))
        feed.add(sequence, known)
        self.scheduler.add(sequence)

    def _remember(self, sequence: Sequence) -> None:
        """The answer's tokens are in the cache as well, for the next turn of the conversation."""
        if sequence.owner is None or self.scheduler.cache is None:
            return
        feed, work = _owner(sequence)
        choice = feed.sequences.index(sequence)
        if feed.prompts[choice]:
            answer = words(work, choice, 0, sequence.osl).decode().split()
            self.scheduler.cache.insert(blocks((*feed.prompts[choice], *answer)))

    def _drop(self, feed: Feed) -> None:
        for sequence in feed.sequences:
            self.scheduler.remove(sequence)
            sequence.owner = None  # no circle: the collector is off


def _owner(sequence: Sequence) -> tuple[Feed, Work]:
    found = sequence.owner
    assert isinstance(found, tuple)
    return found


def _prompt(work: Work, number: int) -> tuple[object, ...]:
    """The tokens of a prompt as `/tokenize` has them, in words."""
    if work.kind == "chat":
        found: list[object] = []
        for text in work.inputs:
            found += [*TEMPLATE, *_tokens(text)]
        return (*found, *TEMPLATE)
    return tuple(_tokens(work.inputs[number]))


def _tokens(text: str | list[int]) -> Several[object]:
    return text.split() if isinstance(text, str) else text
