"""Samples, salt, arrivals and seed become a plan: the exact bytes of every request and when it is due.

Everything follows from the seed and the salt, so the same two give the same bytes. A conversation's later turns are
built with its first one where the data set has the assistant's words, else when the server's answer is there.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import orjson

from genbench.errors import DatasetError
from genbench.options import RunConfig
from genbench.plan.facts import Facts, body_options
from genbench.plan.requests import BuiltRequests
from genbench.plan.salt import Messages, Salter, fresh_salt, fronted, warmup_salt
from genbench.plan.samples import (
    Conversation,
    Samples,
    dataset_sha256,
    first_ones,
)
from genbench.plan.schedule import arrivals
from genbench.plan.template import chat_template
from genbench.sources import may_converse
from genbench.tokens import Tokenizer
from genbench.types import MISSING, OPEN_ENDED, Endpoint, Phase, Plan, Request, Sample, Schedule

AHEAD_S = 10
LEAST_AHEAD = 1000
Say = Callable[[str], None]


def build(
    config: RunConfig, facts: Facts, endpoint: Endpoint, tokenizer: Tokenizer | None, say: Say = lambda _: None
) -> Plan:
    """The plan of a resolved config; `say` hears what preparing the data cost.

    Raises DatasetError for data that cannot be used, ConfigError for options that do not go with it.
    """
    load = config.load
    assert load.warmup is not None
    say = _once(say)
    salt = fresh_salt() if config.workload.salt is None else config.workload.salt
    salt = "" if salt == "none" else salt
    local = tokenizer is not None and tokenizer.local and salt
    in_front = max(tokenizer.count(one) for one in (salt, warmup_salt(salt))) if tokenizer and local else 0

    def data() -> Samples:
        return Samples(config, facts, tokenizer, say, in_front)

    samples = data()
    stream = samples.stream()
    units, turns = _size(config, data().stream())
    times = (conversation[0].at_ns for conversation in data().stream() if conversation)
    count, offset_ns = arrivals(load, config.seed, units, times if load.arrival == "trace" else None)
    head = first_ones(samples, stream, count)
    maker = _Maker(config, facts, endpoint, tokenizer, itertools.chain(head, stream), salt, turns)
    if offset_ns is None or count < 2:
        rate = (load.concurrency or 1) / max(facts.latency_s, 0.001)
    else:
        rate = (count - 1) * 1e9 / max(1, int(offset_ns[-1] - offset_ns[0]))
    ahead = int(min(count, max(LEAST_AHEAD, AHEAD_S * rate)))
    whole = turns if turns is not None or count == OPEN_ENDED or _converses(config) else count
    requests = BuiltRequests(maker.make, count, ahead, whole)
    maker.saw = requests.saw
    requests.refill(0, 1 << 62)
    schedule = Schedule(
        offset_ns=offset_ns,
        concurrency=load.concurrency,
        duration_ns=None if load.duration_s is None else round(load.duration_s * 1e9),
        warmup=min(load.warmup, count),
        grace_ns=round(load.grace_s * 1e9),
        ramp_up_ns=round(load.ramp_up_s * 1e9),
        even=not (load.ramp or load.stages or load.arrival == "trace"),
    )

    def notes() -> tuple[str, ...]:
        used = max(requests.handed_out, 0 if count == OPEN_ENDED else count)
        return (*samples.notes(used), *maker.notes())

    return Plan(requests, schedule, config.seed, salt, dataset_sha256(head, count, config), notes)


def _once(say: Say) -> Say:
    """Says nothing twice: the data may be gone through more than once."""
    said: set[str] = set()

    def once(text: str) -> None:
        if text not in said:
            said.add(text)
            say(text)

    return once


def _size(config: RunConfig, stream: Iterator[Conversation]) -> tuple[int, int | None]:
    """(conversations, requests in all) with warm-up; a request count ends the last conversation where it is reached.

    Warm-up counts conversations, the request count every turn. With conversations the data is gone through once for
    their lengths alone.
    """
    load = config.load
    assert load.warmup is not None
    if load.request_count is None:
        return OPEN_ENDED, None
    if not _converses(config):
        return load.warmup + load.request_count, None
    units = warm = turns = 0
    for conversation in stream:
        units += bool(conversation)
        if units <= load.warmup:
            warm += len(conversation)
        else:
            turns += len(conversation)
        if turns >= load.request_count:
            return units, warm + load.request_count
    return units, warm + turns


def _converses(config: RunConfig) -> bool:
    return may_converse(config.workload.dataset, config.workload.turns)


class _Maker:
    """Makes the requests of one conversation after the other."""

    def __init__(
        self,
        config: RunConfig,
        facts: Facts,
        endpoint: Endpoint,
        tokenizer: Tokenizer | None,
        stream: Iterator[Conversation],
        salt: str,
        turns: int | None,
    ) -> None:
        workload = config.workload
        self._stream = stream
        self._endpoint = endpoint
        self._facts = facts
        self._options = body_options(config, facts)
        asked = self._options["extra"].get("n")
        self._choices = asked if isinstance(asked, int) and asked > 1 else 1
        self._warmup = config.load.warmup or 0
        per_word = facts.tokens_per_word or 1.0
        self._salter = Salter(salt, config, tokenizer, per_word)
        self._system = workload.system_prompt or ""
        self._history = workload.history
        self._chats = config.target.endpoint_type not in ("completions", "embeddings")
        self._template = chat_template(config.target.tokenizer) if workload.apply_chat_template else None
        self._left = turns
        self._next_index = 0
        self.saw: Callable[[Request], None] = lambda _: None

    def make(self, unit: int) -> Request | None:
        """The first request of conversation number `unit`; None when the data had none that fits, so far."""
        turns = next(self._stream)
        if not turns:
            return None
        if self._left is not None:
            turns = turns[: self._left]
            self._left -= len(turns)
        phase = Phase.WARMUP if unit < self._warmup else Phase.MEASURED
        salt, prefix = self._salter.front(warm=phase == Phase.WARMUP)
        index = self._next_index
        self._next_index += len(turns)
        if len(turns) == 1 and not self._system and self._template is None:
            sample, isl = self._salter.first(turns[0], salt, prefix)
            return self._request(index, replace(sample, session=_session(unit, turns)), isl, phase)
        if not self._chats and self._template is None:
            what = "a system prompt" if len(turns) == 1 else "conversations"
            raise DatasetError(f"{what} need messages, which only chat takes; use --endpoint-type chat")
        return self._conversation(index, unit, turns, phase, (salt, prefix))

    def _conversation(
        self, index: int, unit: int, turns: Conversation, phase: Phase, front: tuple[str, str]
    ) -> Request:
        """The first turn, which knows how to make the next."""
        from_data = self._history == "dataset" or (not self._history and all(one.answer for one in turns[:-1]))
        if self._history == "dataset" and not all(one.answer for one in turns[:-1]):
            raise DatasetError("--history dataset: the data has no answers to repeat; use --history server")
        salt, prefix = front
        system: Messages = ({"role": "system", "content": self._system},) if self._system else ()
        first = turns[0]
        if first.messages or system:
            own: Messages = first.messages or ({"role": "user", "content": self._salter.later(first)[0]},)
            opening = fronted((*system, *own), f"{salt} {prefix}".strip())
            isl = self._salter.count(opening)
            first = replace(first, isl=MISSING)  # nobody asked for the length of all that
        else:  # the salt counts into a synthetic prompt's exact length
            first, isl = self._salter.first(first, salt, prefix)
            opening = ({"role": "user", "content": first.prompt},)
        made = [replace(one, session=_session(unit, turns), turn=k) for k, one in enumerate((first, *turns[1:]))]
        if from_data:
            return self._known(index, made, opening, isl, phase)
        return self._turn(index, made, 0, opening, isl, phase)

    def _turn(self, index: int, turns: list[Sample], k: int, messages: Messages, isl: int, phase: Phase) -> Request:
        """Turn k with everything said before it; its `then` makes the next one of the server's answer."""
        sample = self._worded(turns, k, messages)
        if k + 1 == len(turns):
            return self._request(index + k, sample, isl, phase)

        def then(answer: str) -> Request:
            more, length = self._said(turns, k, answer, messages, isl)
            made = self._turn(index, turns, k + 1, more, length, phase)
            self.saw(made)
            return made

        return self._request(index + k, sample, isl, phase, then, needs_answer=True)

    def _said(self, turns: list[Sample], k: int, said: str, messages: Messages, isl: int) -> tuple[Messages, int]:
        """The messages of turn k + 1 and their length, `said` being the answer to turn k."""
        text, own = self._salter.later(turns[k + 1])
        more = ({"role": "assistant", "content": said}, {"role": "user", "content": text})
        return (*messages, *more), MISSING if isl < 0 else isl + self._salter.count_text(said) + max(0, own)

    def _known(self, index: int, turns: list[Sample], opening: Messages, isl: int, phase: Phase) -> Request:
        """The first turn of a conversation whose answers are the data's: all turns are made, the last one first."""
        parts = [(opening, isl)]
        for k, one in enumerate(turns[:-1]):
            parts.append(self._said(turns, k, one.answer, *parts[-1]))
        following: Request | None = None
        for k in reversed(range(len(turns))):
            sample = self._worded(turns, k, parts[k][0])
            then = None if following is None else partial(_given, following)
            following = self._request(index + k, sample, parts[k][1], phase, then)
        assert following is not None
        return following

    def _worded(self, turns: list[Sample], k: int, messages: Messages) -> Sample:
        """Turn k as it is sent: with everything said before it."""
        sample = replace(turns[k], messages=messages, prompt="", isl=MISSING if k else turns[k].isl)
        if self._template is None:
            return sample
        return replace(sample, messages=(), prompt=self._template(messages))

    def _request(
        self,
        index: int,
        sample: Sample,
        isl: int,
        phase: Phase,
        then: Callable[[str], Request] | None = None,
        *,
        needs_answer: bool = False,
    ) -> Request:
        options: dict[str, Any] = self._options
        if self._facts.max_tokens_field and sample.osl is not None:
            options = options | {"max_tokens": sample.osl}
        body = self._endpoint.build(sample, options)
        # A copy: what orjson returns keeps a buffer of some KiB alive, however short it is.
        data = bytes(memoryview(orjson.dumps(body)))
        limit = body.get(self._facts.max_tokens_field)  # not the sample's: --extra may have the last word
        most = limit if isinstance(limit, int) else None
        return Request(index, sample, data, most, phase, isl, self._choices, then, needs_answer)

    def notes(self) -> list[str]:
        """What to know of the prompts' lengths."""
        return self._salter.notes()


def _session(unit: int, turns: Conversation) -> int:
    """Conversations are numbered by their place in the plan, those of one turn too; other requests have no number."""
    return MISSING if turns[0].session == MISSING else unit


def _given(request: Request, answer: str) -> Request:
    return request
