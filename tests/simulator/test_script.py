"""The brain's times and the composed bytes, without a process."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import pytest

from genbench.errors import ConfigError
from genbench.simulator import faults
from genbench.simulator.script import Ending, compose, scripted
from genbench.simulator.truth import Truth
from genbench.simulator.work import Work, chat_tokens, count, inputs_of, token_ids
from genbench.types import EventKind

WORK = Work(
    kind="completions",
    request_id="r",
    number=0,
    model="m",
    created=1,
    stream=True,
    tokens=3,
    choices=1,
    finish="length",
    include_usage=False,
    continuous_usage=False,
    ttft_ns=50,
    itl_ns=20,
    gaps_ns=(),
    jitter=0.0,
    scripted=False,
    faults={},
    close=False,
    until_close=False,
    inputs=("one two",),
    sizes=(2,),
    prompt_tokens=2,
    dimensions=4,
    base64=False,
)


def test_offsets_are_ttft_then_one_itl_after_the_other() -> None:
    assert list(islice(scripted(WORK), 4)) == [50, 70, 90, 110]


def test_explicit_gaps_come_first_then_the_itl() -> None:
    # 50, +5, +100, then every 20
    assert list(islice(scripted(replace(WORK, gaps_ns=(5, 100))), 5)) == [50, 55, 155, 175, 195]


def test_jitter_keeps_order_and_does_not_drift() -> None:
    work = replace(WORK, itl_ns=1000, jitter=0.5)
    found = list(islice(scripted(work), 2000))
    assert found == sorted(found)
    assert found == list(islice(scripted(work), 2000))
    assert found[0] == 50
    assert all(abs(at - (50 + 1000 * k)) <= 500 for k, at in enumerate(found))
    assert len({at - 1000 * k for k, at in enumerate(found)}) > 100


def test_steps_of_a_stream_are_lazy_and_carry_their_marks() -> None:
    asked: list[int] = []

    def counting() -> Iterator[int]:
        for at in scripted(WORK):
            asked.append(at)
            yield at

    script = compose(WORK, counting())
    first = next(script.steps)
    assert first[0] == 0
    assert first[1].startswith(b"HTTP/1.1 200 OK\r\n")
    assert asked == []  # no time is asked for before the head has left
    second = next(script.steps)
    assert asked == [50]
    assert second[2] == ((EventKind.CONTENT, 1),)
    rest = list(script.steps)
    assert [at for at, _, _ in rest] == [70, 90, 90]
    assert rest[-1][1] == b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
    assert script.ending is Ending.KEEP


@pytest.mark.parametrize(
    ("text", "found"),
    [("cut", {"cut": 3}), ("cut:0", {"cut": 0}), ("status:429", {"status": 429}), ("loading:0.5", {"loading": 0.5})],
)
def test_faults_are_parsed(text: str, found: dict[str, float]) -> None:
    assert faults.parse([text]) == found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nope", "unknown fault 'nope'"),
        ("status", "'status' has CODE ''"),
        ("status:200", "from 400 to 599"),
        ("cut:x", "'cut' has K 'x'"),
        ("crlf:1", "'crlf' takes no argument"),
        ("packed:0", "from 1 to"),
    ],
)
def test_a_wrong_fault_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        faults.parse([text])


@pytest.mark.parametrize(("share", "hit"), [(0.0, []), (0.25, [3, 7]), (0.5, [1, 3, 5, 7]), (1.0, list(range(8)))])
def test_a_share_of_requests_is_spread_evenly(share: float, hit: list[int]) -> None:
    assert [number for number in range(8) if faults.falls_on(number, share)] == hit


def test_share_counts_exactly_over_many() -> None:
    assert sum(faults.falls_on(number, 0.29) for number in range(10_000)) == 2900


def test_tokens_are_words_and_ids_are_counted() -> None:
    assert count("  one two\nthree ") == 3
    assert count([5, 6]) == 2
    assert chat_tokens(("one two", "three")) == 3 + 2 * 3 + 3
    assert inputs_of([1, 2, 3], "input") == ([1, 2, 3],)
    assert inputs_of([[1], [2, 3]], "input") == ([1], [2, 3])
    assert token_ids("one two one")[0] == token_ids("one two one")[2]


def test_truth_is_bounded_and_counts_what_it_drops() -> None:
    truth = Truth(limit=3)
    entry = truth.open("a", 1, 10, "clock")
    for k in range(4):
        entry.add(EventKind.CONTENT, k, 1)
    truth.open("b", 1, 20, "clock")
    found: dict[str, Any] = truth.as_dict()
    # room for the request and two events; two events and the second request are dropped
    assert found["dropped"] == 3
    (one,) = found["requests"]
    assert one["events"] == [("content", 0, 1), ("content", 1, 1)]
    truth.clear()
    assert truth.as_dict() == {"dropped": 0, "requests": []}
