"""The scheduler's model once more, slow and plain: every sum is taken anew in every step."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st

from genbench.simulator.costs import Costs


@dataclass
class Answer:
    """What became of one request."""

    admitted_ns: int = -1
    tokens_ns: list[int] = field(default_factory=list)
    preemptions: int = 0


def simulate(costs: Costs, arrivals_ns: Sequence[int], isl: Sequence[int], osl: Sequence[int]) -> list[Answer]:
    """Each request's moments; all of them must fit."""
    answers = [Answer() for _ in isl]
    coming, waiting, running = list(range(len(isl))), list[int](), list[int]()
    left = [0] * len(isl)
    now = 0

    def need(row: int) -> int:
        return isl[row] + len(answers[row].tokens_ns)

    def used() -> int:
        return sum(map(need, running))

    def admit(budget: int) -> dict[int, int]:
        found: dict[int, int] = {}
        while waiting and budget > 0 and len(running) < costs.max_batch:
            row = waiting[0]
            if used() + need(row) > costs.kv_tokens or (need(row) > budget and not costs.chunked_prefill):
                break
            running.append(waiting.pop(0))
            if answers[row].admitted_ns < 0:
                answers[row].admitted_ns = now
            left[row] = need(row)
            found[row] = min(left[row], budget)
            budget -= found[row]
        return found

    def make_room() -> bool:
        before = len(running)
        while used() > costs.kv_tokens:
            row = running.pop()
            waiting.insert(0, row)
            left[row] = 0
            answers[row].preemptions += 1
        return len(running) < before

    while coming or waiting or running:
        while coming and arrivals_ns[coming[0]] <= now:
            waiting.append(coming.pop(0))
        if not waiting and not running:
            now = arrivals_ns[coming[0]]
            continue
        chunks: dict[int, int] = {}
        if costs.chunked_prefill:
            preempted = make_room()
            decoding = [row for row in running if not left[row]]
            budget = costs.max_step_tokens - len(decoding)
            for row in running:
                if left[row]:
                    chunks[row] = min(left[row], budget)
                    budget -= chunks[row]
            if not preempted:
                chunks |= admit(budget)
        else:
            chunks = admit(costs.max_step_tokens)
            if not chunks:
                make_room()
            decoding = [] if chunks else list(running)
        assert len(decoding) + sum(chunks.values()) <= costs.max_step_tokens
        length = costs.step_base_s * 1e9 + costs.step_per_sequence_s * 1e9 * len(decoding)
        length += costs.step_per_kv_token_s * 1e9 * sum(map(need, decoding))
        now += round(length + 1e9 / costs.prefill_tps * sum(chunks.values()))
        for row, tokens in chunks.items():
            left[row] -= tokens
        for row in [*decoding, *(row for row in chunks if not left[row])]:
            answers[row].tokens_ns.append(now)
            if len(answers[row].tokens_ns) == osl[row]:
                running.remove(row)
    return answers


@st.composite
def engines(draw: st.DrawFn) -> Costs:
    """Small engines in which everything happens: full batches, no KV room, prompts longer than a step."""
    batch, kv = draw(st.integers(1, 5)), draw(st.integers(10, 60))
    step, chunked = draw(st.integers(batch, 30)), draw(st.booleans())
    return Costs(
        prefill_tps=draw(st.sampled_from([1e4, 3333.0, 1e6])),
        step_base_s=draw(st.sampled_from([0.01, 0.0033333, 0.0])),
        step_per_sequence_s=draw(st.sampled_from([0.001, 0.00007])),
        step_per_kv_token_s=draw(st.sampled_from([0.0, 1e-5, 1.37e-7])),
        max_batch=batch,
        kv_tokens=kv,
        max_step_tokens=step,
        max_model_len=max(2, kv if chunked else min(kv, step)),
        chunked_prefill=chunked or step < 2,
    )


@st.composite
def loads(draw: st.DrawFn) -> tuple[Costs, list[int], list[int], list[int]]:
    """An engine, and arrivals, input and output lengths that it takes."""
    costs = draw(engines())
    gaps = draw(st.lists(st.sampled_from([0, 1_000, 3_000_000, 10_000_000, 60_000_000]), min_size=1, max_size=14))
    arrivals, isl, osl = list[int](), list[int](), list[int]()
    for gap in gaps:
        arrivals.append((arrivals[-1] if arrivals else 0) + gap)
        isl.append(draw(st.integers(1, costs.max_model_len - 1)))
        osl.append(draw(st.integers(1, min(20, costs.max_model_len - isl[-1]))))
    return costs, arrivals, isl, osl
