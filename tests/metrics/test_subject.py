import json
from typing import Any

import numpy as np
import pytest

from genbench.errors import RecordError
from genbench.metrics.slo import parse
from genbench.metrics.subject import Subject, as_dict, from_dict, subject
from genbench.metrics.summary import Run, summarise
from genbench.records import table_from
from genbench.types import Outcome, Phase, Record
from tests.metrics.made import stream

REQUESTS = 48
LOAD = {"config": {"load": {"concurrency": 2}}}
OPEN = {"config": {"load": {"request_rate": 10.0, "arrival": "constant"}}}


def records(count: int = REQUESTS) -> list[Record]:
    """A request each 100 ms, of 150 ms: first token after 50 + index ms / 10, 3 tokens."""
    return [stream(i, 100 * i, [100 * i + 50 + i / 10, 100 * i + 100, 100 * i + 150]) for i in range(count)]


def of(rows: list[Record], header: dict[str, Any] = LOAD, *rules: str) -> Subject:
    table = table_from(rows)
    return subject(Run(header, table, summarise(table, header, [parse(rule) for rule in rules])), "one")


def test_values_lie_in_the_block_of_their_request() -> None:
    """48 requests are cut into 12 blocks of 4, in the order of sending; each has two gaps."""
    one = of(records()[::-1])
    assert one.blocks == 12
    assert one.parts["ttft"].block.tolist() == np.repeat(np.arange(12), 4).tolist()
    assert one.parts["ttft"].values[:2] == pytest.approx([50, 50.1])
    assert one.parts["itl"].block.tolist() == np.repeat(np.arange(12), 8).tolist()
    assert one.parts["itl"].weights is not None
    assert one.stats["ttft"]["p50"] == pytest.approx(52.35)
    assert one.counts == {"ok": REQUESTS, "failed": 0}


@pytest.mark.parametrize(("requests", "blocks"), [(96, 24), (95, 12), (47, 8), (32, 8), (31, 0), (0, 0)])
def test_blocks_hold_four_requests(requests: int, blocks: int) -> None:
    assert of(records(requests)).blocks == blocks


def test_the_amounts_of_all_blocks_are_the_runs_own_rate() -> None:
    one = of(records(), LOAD, "ttft.p95<52ms")
    assert set(one.flows) == {"output_token_throughput", "request_throughput", "goodput"}
    for key, flow in one.flows.items():
        assert flow.amounts.sum() / flow.seconds.sum() == pytest.approx(one.stats[key]["value"])
    flow = one.flows["request_throughput"]
    assert flow.seconds == pytest.approx([0.4] * 11 + [0.45])  # four sends, and the last one's answer
    assert flow.amounts[0] == pytest.approx(3 + 100 / 150)  # the fourth is sent at 300 and done at 450 ms
    assert one.flows["goodput"].amounts.sum() == pytest.approx(20)  # those up to 51.9 ms


def test_a_run_too_short_for_blocks_is_one_among_others() -> None:
    """20 requests: no blocks of its own, and still a throughput that the rounds of run-ab are made of."""
    one = of(records(20))
    flow = one.flows["request_throughput"]
    assert (one.blocks, flow.amounts.size) == (0, 1)
    assert flow.amounts[0] / flow.seconds[0] == pytest.approx(one.stats["request_throughput"]["value"])
    assert of([]).flows == {}


def test_warm_up_and_failures() -> None:
    rows = records()
    for row in rows[:8]:
        row.phase = Phase.WARMUP
    rows[20].outcome = Outcome.TRUNCATED
    one = of(rows)
    assert one.counts == {"ok": 39, "failed": 1}
    assert one.blocks == 8
    assert one.parts["ttft"].block.tolist() == np.delete(np.repeat(np.arange(8), 5), 12).tolist()


def test_the_load_sets_the_rate_of_an_open_loop_that_is_kept_up_with() -> None:
    assert of(records(), OPEN).flows["request_throughput"].offered
    assert not of(records()).flows["request_throughput"].offered
    assert not of(records(), OPEN, "ttft.p95<52ms").flows["goodput"].offered
    late = [*records(), stream(REQUESTS, 100 * REQUESTS, [100 * REQUESTS + 9000])]
    assert not of(late, OPEN).flows["request_throughput"].offered


def test_a_plan_is_what_was_sent_and_how() -> None:
    known = {**LOAD, "dataset_sha256": "d", "offsets_sha256": None}
    one = of(records(), known)
    assert one.plan
    assert of(records(), known).plan == one.plan
    assert of(records(REQUESTS - 1), known).plan != one.plan
    assert of(records(), {**known, "dataset_sha256": "other"}).plan != one.plan
    assert of(records(), {**known, **OPEN}).plan != one.plan
    assert of(records()).plan == ""


def test_a_baseline_is_read_again() -> None:
    one = of(records(), LOAD, "ttft.p95<52ms")
    text = json.dumps(as_dict(one))
    again = from_dict(json.loads(text))
    assert (again.name, again.counts, again.plan, again.blocks) == (one.name, one.counts, one.plan, one.blocks)
    assert again.stats == one.stats
    assert again.facts == json.loads(json.dumps(one.facts))
    for key, flow in one.flows.items():
        assert again.flows[key].amounts == pytest.approx(flow.amounts, rel=1e-5)
    assert again.parts["ttft"].values == pytest.approx(one.parts["ttft"].values, rel=1e-3)
    gaps, told = one.parts["itl"], again.parts["itl"]
    assert told.weights is not None
    assert np.average(told.values, weights=told.weights) == pytest.approx(gaps.values.mean(), rel=5e-3)
    assert np.bincount(told.block, weights=told.weights) == pytest.approx(np.bincount(gaps.block))


def test_a_baseline_of_many_tokens_is_small() -> None:
    """1,000 requests of 128 tokens whose gaps take any value from 5 to 45 ms."""
    rng = np.random.default_rng(1)
    rows = [stream(i, 50.0 * i, (50.0 * i + rng.uniform(5, 45, 128).cumsum()).tolist()) for i in range(1000)]
    assert len(json.dumps(as_dict(of(rows)), separators=(",", ":"))) < 200_000


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "other"}, "not a baseline"),
        ({"schema": None}, "not a baseline"),
        ({"schema": 99}, "install a newer one"),
        ({"parts": {"ttft": {}}}, "cannot be read"),
        ({"counts": None}, "cannot be read"),
    ],
)
def test_what_is_not_a_baseline(change: dict[str, Any], said: str) -> None:
    document = as_dict(of(records()))
    with pytest.raises(RecordError, match=said):
        from_dict({**document, **change})
