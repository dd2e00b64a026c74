"""A model of continuous batching, as vLLM does it: which sequence gets what in each step, and how long a step takes.

Pure: no clock, no I/O. Whoever owns one says when: `begin(now)` fixes a step and returns its length, `end(then)` hands
out its tokens. `brain.py` does that over the wire in real time, `virtual.py` as fast as it goes; both get the same
times from the same arrivals. docs/simulator.md has the model in words.

Rules of a step
- First come, first served: a sequence is admitted only after all that came before it. At most `max_batch` run.
- A running sequence holds KV room for its prompt and every token it has generated; the room for a whole prompt is taken
  on admission. When the room runs out, the latest arrived is put back to the front of the queue and starts over.
- Every decoding sequence gets one token. What `max_step_tokens` leaves goes to prompts, split where they do not fit:
  so at most one prompt is half done. After a preemption nobody is admitted in that step.
- Without `chunked_prefill` a step takes whole prompts while there are any that fit, and then nobody decodes.
- The first token comes at the end of the step that finishes the prompt.

Cost of a step: O(admissions + ends), not O(batch). A sequence that begins to decode when `decodes` steps have decoded
ends when `osl - generated` more have: it waits in the bucket of that number.
"""

import heapq
import random
from array import array
from collections import deque
from enum import Enum

from genbench.simulator.costs import Costs
from genbench.simulator.prefix import BLOCK, PrefixCache


class Place(Enum):
    """Where a sequence is."""

    WAITING = "waiting"
    PREFILLING = "prefilling"
    DECODING = "decoding"
    GONE = "gone"


class Sequence:
    """One prompt and its answer. `isl` and `osl` are at least 1; `cached` of the prompt's tokens need no prefill.

    `joins` has, for each time it began to decode, (moment, decoding steps so far, tokens it had before): the token of
    that moment is followed by one for each decoding step, until the next entry says otherwise. `owner` is the caller's.
    """

    __slots__ = (
        "admitted_ns",
        "arrival_ns",
        "blocks",
        "cached",
        "end_at",
        "first_ns",
        "generated",
        "isl",
        "joins",
        "left",
        "osl",
        "owner",
        "place",
        "preemptions",
        "since",
    )

    def __init__(
        self,
        arrival_ns: int,
        isl: int,
        osl: int,
        *,
        cached: int = 0,
        blocks: tuple[int, ...] = (),
        owner: object = None,
    ) -> None:
        self.arrival_ns, self.isl, self.osl = arrival_ns, isl, osl
        self.cached = min(cached, isl - 1)  # the last token of a prompt is always computed
        self.blocks = blocks
        self.owner = owner
        self.place = Place.WAITING
        self.admitted_ns = self.first_ns = -1
        self.generated = 0  # as of the last join or preemption
        self.since = self.end_at = 0  # counted in decoding steps
        self.left = 0  # prompt tokens still to be computed
        self.preemptions = 0
        self.joins: list[tuple[int, int, int]] = []

    def tokens(self, decodes: int) -> int:
        """Tokens so far, after so many decoding steps of its scheduler."""
        return self.generated + (decodes - self.since if self.place is Place.DECODING else 0)


class Scheduler:
    """The queue, the batch and their counts, readable at any moment.

    `waiting` in order of arrival, those put back in front; `decoding` in order of arrival; `prefilling` those that the
    step under way computes prompts of, the last of them maybe in part. Token counts are those of ended steps.
    """

    def __init__(self, costs: Costs, seed: int = 0, cache: PrefixCache | None = None) -> None:
        self.costs = costs
        self.cache = cache
        self.waiting: deque[Sequence] = deque()
        self.decoding: dict[Sequence, None] = {}
        self.prefilling: list[Sequence] = []
        self.decodes = 0  # steps so far in which sequences decoded
        self.preemptions = self.prompt_tokens = self.generation_tokens = 0
        self.cache_queries = self.cache_hits = 0  # in tokens
        self._kv_decoding = self._kv_prefilling = 0
        self._decode_now = False
        self._ends: dict[int, list[Sequence]] = {}  # by number of decoding steps
        self._end_numbers: list[int] = []  # a heap of the keys above, and of keys that have gone
        self._base_ns, self._sequence_ns = costs.step_base_s * 1e9, costs.step_per_sequence_s * 1e9
        self._kv_ns, self._prefill_ns = costs.step_per_kv_token_s * 1e9, 1e9 / costs.prefill_tps
        self._noise = costs.step_noise
        self._draw = random.Random(seed).uniform

    @property
    def running(self) -> int:
        """Sequences in the batch."""
        return len(self.decoding) + len(self.prefilling)

    @property
    def kv_used(self) -> int:
        """Tokens that hold KV room."""
        return self._kv_decoding + self._kv_prefilling

    @property
    def full(self) -> bool:
        """Whether nobody could be admitted now, whoever comes: the batch is full or somebody else has to wait."""
        return self.running >= self.costs.max_batch or bool(self.waiting)

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence. It must fit by itself (`Costs.fits`), else it would wait for ever."""
        self.waiting.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Forget a sequence, wherever it is; its room is free at once. The length of a step under way stays."""
        if sequence.place is Place.WAITING:
            self.waiting.remove(sequence)
        elif sequence.place is Place.PREFILLING:
            self.prefilling.remove(sequence)
            self._kv_prefilling -= sequence.isl + sequence.generated
        elif sequence.place is Place.DECODING:
            del self.decoding[sequence]
            self._stop_decoding(sequence)
        sequence.place = Place.GONE

    def begin(self, now_ns: int) -> int | None:
        """Fix the step that begins now; returns its length in ns. None: nobody runs and nobody has arrived."""
        costs = self.costs
        if costs.chunked_prefill:
            preempted = self._make_room()
            budget = costs.max_step_tokens - len(self.decoding)
            tokens = 0
            if self.prefilling:  # the one half done goes on first
                sequence = self.prefilling[0]
                tokens = min(sequence.left, budget)
                sequence.left -= tokens
            if not preempted:
                tokens += self._admit(now_ns, budget - tokens)
            self._decode_now = bool(self.decoding)
        else:
            tokens = self._admit(now_ns, costs.max_step_tokens)
            if not tokens:
                self._make_room()
            self._decode_now = not tokens and bool(self.decoding)
        if self._decode_now:
            fixed = self._base_ns + self._sequence_ns * len(self.decoding)
            length = fixed + self._kv_ns * self._kv_decoding + self._prefill_ns * tokens
        elif tokens:
            length = self._base_ns + self._prefill_ns * tokens
        else:
            return None
        return round(length * (1 + self._draw(-self._noise, self._noise))) if self._noise else round(length)

    def receivers(self) -> list[Sequence]:
        """Who gets a token at the end of the step under way by decoding, in order of arrival."""
        return list(self.decoding) if self._decode_now else []

    def end(self, now_ns: int) -> tuple[list[Sequence], list[Sequence]]:
        """The step is over: who got a token by finishing its prompt, and who has its last token."""
        finished: list[Sequence] = []
        if self._decode_now and self.decoding:
            self.decodes += 1
            self._kv_decoding += len(self.decoding)
            self.generation_tokens += len(self.decoding)
            finished = self._ends.get(self.decodes, finished).copy()
            for sequence in finished:
                self.remove(sequence)
        self._decode_now = False
        if not self.prefilling:
            return [], finished
        joined = [sequence for sequence in self.prefilling if not sequence.left]
        for sequence in joined:
            self._join(sequence, now_ns)
            if sequence.place is Place.GONE:
                finished.append(sequence)
        self.prefilling = [sequence for sequence in self.prefilling if sequence.left]
        return joined, finished

    def coast(self, now_ns: int, stop_ns: int, ends: "array[int]") -> int:
        """Take the steps that are bound to be mere decoding, one after the other; returns the moment it has come to.

        The same as `begin` and `end` over and over, at a tenth of the price; nobody ends and nobody is put back in
        them. It begins no step at `stop_ns` or later. The moments at which the steps end are appended to `ends`.
        """
        batch, kv = len(self.decoding), self._kv_decoding
        if not batch or self.prefilling or (self.waiting and self._has_room(self.waiting[0])):
            return now_ns
        numbers = self._end_numbers
        while numbers[0] not in self._ends:
            heapq.heappop(numbers)
        steps = min(numbers[0] - self.decodes - 1, (self.costs.kv_tokens - kv) // batch)
        fixed, per_kv, noise, draw = self._base_ns + self._sequence_ns * batch, self._kv_ns, self._noise, self._draw
        done = 0
        while done < steps and now_ns < stop_ns:
            length = fixed + per_kv * kv
            now_ns += round(length * (1 + draw(-noise, noise))) if noise else round(length)
            ends.append(now_ns)
            kv += batch
            done += 1
        self.decodes += done
        self.generation_tokens += done * batch
        self._kv_decoding = kv
        return now_ns

    def _has_room(self, sequence: Sequence) -> bool:
        need = sequence.isl + sequence.generated
        return self.running < self.costs.max_batch and self.kv_used + need <= self.costs.kv_tokens

    def _admit(self, now_ns: int, budget: int) -> int:
        """Take up who waits, as long as there is room; returns the prompt tokens that the step computes of them."""
        waiting, tokens = self.waiting, 0
        while waiting and budget > tokens:
            sequence = waiting[0]
            if sequence.arrival_ns > now_ns or not self._has_room(sequence):
                break
            need = sequence.isl + sequence.generated
            if self.cache is not None:
                sequence.cached = min(self.cache.match(sequence.blocks), (sequence.isl - 1) // BLOCK * BLOCK)
            left = need - sequence.cached
            if left > budget - tokens and not self.costs.chunked_prefill:
                break
            waiting.popleft()
            if sequence.admitted_ns < 0:
                sequence.admitted_ns = now_ns
                self.cache_queries += sequence.isl
                self.cache_hits += sequence.cached
            sequence.place = Place.PREFILLING
            chunk = min(left, budget - tokens)
            sequence.left = left - chunk
            tokens += chunk
            self.prefilling.append(sequence)
            self._kv_prefilling += need
        return tokens

    def _join(self, sequence: Sequence, now_ns: int) -> None:
        """Its prompt is computed: one token now, the others by decoding."""
        self._kv_prefilling -= sequence.isl + sequence.generated
        sequence.joins.append((now_ns, self.decodes, sequence.generated))
        sequence.generated += 1
        self.generation_tokens += 1
        if sequence.first_ns < 0:
            sequence.first_ns = now_ns
            self.prompt_tokens += sequence.isl
        if self.cache is not None:
            self.cache.insert(sequence.blocks)
        if sequence.generated == sequence.osl:
            sequence.place = Place.GONE
            return
        sequence.place = Place.DECODING
        sequence.since, sequence.end_at = self.decodes, self.decodes + sequence.osl - sequence.generated
        self.decoding[sequence] = None
        self._kv_decoding += sequence.isl + sequence.generated
        if sequence.end_at not in self._ends:
            self._ends[sequence.end_at] = []
            heapq.heappush(self._end_numbers, sequence.end_at)
        self._ends[sequence.end_at].append(sequence)

    def _stop_decoding(self, sequence: Sequence) -> None:
        sequence.generated += self.decodes - sequence.since
        self._kv_decoding -= sequence.isl + sequence.generated
        ends = self._ends[sequence.end_at]
        ends.remove(sequence)
        if not ends:
            del self._ends[sequence.end_at]

    def _make_room(self) -> bool:
        """Put the latest arrived back until the rest fits; whether anybody had to go. The first arrived always fits."""
        before = self.preemptions
        while self._kv_decoding + self._kv_prefilling > self.costs.kv_tokens:
            if self.prefilling:
                sequence = self.prefilling.pop()
                self._kv_prefilling -= sequence.isl + sequence.generated
            else:
                sequence, _ = self.decoding.popitem()
                self._stop_decoding(sequence)
            sequence.place = Place.WAITING
            sequence.preemptions += 1
            self.preemptions += 1
            self.waiting.appendleft(sequence)
        return self.preemptions > before
