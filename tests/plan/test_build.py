"""Plans: same seed and salt, same bytes; arrivals; lengths; what is built ahead."""

import hashlib
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genbench import config, registry
from genbench.arrivals import burst, poisson
from genbench.errors import DatasetError
from genbench.plan.build import build
from genbench.plan.facts import Facts, parse_extra
from genbench.plan.requests import BuiltRequests
from genbench.plan.salt import fresh_salt
from genbench.resolve import resolve
from genbench.tokens import Tokenizer
from genbench.types import OPEN_ENDED, Phase, Plan, Request, Sample

FACTS = Facts(model="m", tokens_per_word=1.0)
WORDS = Tokenizer("words", lambda text: list(range(len(text.split()))), local=True)


def make(tokenizer: Tokenizer | None = None, facts: Facts = FACTS, **named: object) -> Plan:
    resolved, _ = resolve(config.load({"url": "http://x"} | named))
    return build(resolved, facts, registry.load("endpoints", resolved.target.endpoint_type), tokenizer)


def bodies(made: Plan) -> list[dict[str, Any]]:
    return [json.loads(made.requests[i].body) for i in range(len(made.requests))]


def test_same_seed_and_salt_same_bytes() -> None:
    first, again = make(request_count="5", salt="s"), make(request_count="5", salt="s")
    sent = bodies(first)
    assert sent == bodies(again)
    assert sent != bodies(make(request_count="5", salt="s", seed="1"))
    assert first.dataset_sha256 == make(request_count="5", salt="other").dataset_sha256


def test_a_fresh_salt_is_new_each_time_and_stands_in_front() -> None:
    first, second = make(request_count="1", warmup="0"), make(request_count="1", warmup="0")
    assert first.salt != second.salt
    text = bodies(first)[0]["messages"][0]["content"]
    assert text.startswith(first.salt)
    assert len(text.split()) == 550  # inside the length asked for
    assert text.split()[3:] == bodies(second)[0]["messages"][0]["content"].split()[3:]


def test_warm_up_has_a_salt_of_its_own() -> None:
    made = make(request_count="2", warmup="1", salt="one two three")
    warm, measured, _ = (made.requests[i] for i in range(3))
    assert (warm.phase, measured.phase) == (Phase.WARMUP, Phase.MEASURED)
    assert json.loads(measured.body)["messages"][0]["content"].startswith("one two three ")
    assert not json.loads(warm.body)["messages"][0]["content"].startswith("one two three ")


def test_no_salt() -> None:
    made = make(request_count="1", warmup="0", salt="none")
    assert made.salt == ""


def test_lengths_with_a_tokenizer_are_exact() -> None:
    made = make(WORDS, request_count="20", isl="100", isl_stddev="20", osl="30", osl_stddev="5")
    requests = [made.requests[i] for i in range(len(made.requests))]
    assert all(r.isl_tokenizer == r.sample.isl == len(r.sample.prompt.split()) for r in requests)
    assert len({r.sample.isl for r in requests}) > 5
    assert all(json.loads(r.body)["max_tokens"] == r.max_tokens for r in requests)
    assert 80 < np.mean([r.sample.isl for r in requests]) < 120


def test_lengths_without_one_follow_the_measured_tokens_per_word() -> None:
    made = make(None, replace(FACTS, tokens_per_word=2.0), request_count="1", isl="100")
    request = made.requests[0]
    assert len(request.sample.prompt.split()) == 50
    assert (request.sample.isl, request.isl_tokenizer) == (100, -1)


def test_embeddings() -> None:
    made = make(WORDS, endpoint_type="embeddings", request_count="2", isl="10", batch_size="3", warmup="0")
    request = made.requests[0]
    assert [len(text.split()) for text in json.loads(request.body)["input"]] == [10, 10, 10]
    assert request.isl_tokenizer == 30
    assert "max_tokens" not in json.loads(request.body)


def test_the_body_has_what_was_asked_and_nothing_else() -> None:
    facts = replace(FACTS, ignore_eos=True, max_tokens_field="max_completion_tokens")
    body = bodies(make(None, facts, request_count="1", temperature="0", extra=("n=2", 'stop:["x"]')))[0]
    assert set(body) == {
        "model", "messages", "stream", "stream_options", "max_completion_tokens", "ignore_eos", "min_tokens",
        "temperature", "n", "stop",
    }  # fmt: skip
    assert (body["n"], body["stop"], body["temperature"]) == (2, ["x"], 0)


def test_two_choices_are_known_to_the_request() -> None:
    assert make(request_count="1", extra=("n=2",)).requests[0].choices == 2
    assert make(request_count="1").requests[0].choices == 1


@pytest.mark.parametrize(
    ("items", "found"),
    [
        (("a=1",), {"a": 1}),
        (("a:true",), {"a": True}),
        (("a=x=y",), {"a": "x=y"}),
        (("url=http://x",), {"url": "http://x"}),
        (('{"a": {"b": 1}}', "c=2"), {"a": {"b": 1}, "c": 2}),
    ],
)
def test_extra_fields(items: tuple[str, ...], found: dict[str, object]) -> None:
    assert parse_extra(items) == found


def test_poisson_gaps() -> None:
    offsets = np.array(list(itertools.islice(poisson.offsets(50.0, np.random.default_rng(0), {}), 10_001)))
    gaps = np.diff(offsets) / 1e9
    assert offsets[0] == 0
    assert (gaps >= 0).all()
    # 10,000 exponential gaps of mean 1/50 s: the mean's standard error is 1/50/100 s; three of them.
    assert abs(gaps.mean() - 0.02) < 3 * 0.0002
    assert abs(gaps.std() - 0.02) < 0.001
    assert list(itertools.islice(burst.offsets(float("inf"), np.random.default_rng(0), {}), 3)) == [0, 0, 0]


def test_an_open_loop_of_some_seconds() -> None:
    made = make(request_rate="100", duration_s="2", warmup="10")
    offsets = made.schedule.offset_ns
    assert offsets is not None
    assert len(made.requests) == len(offsets)
    assert offsets[-1] - offsets[10] < 2_000_000_000
    assert 150 < len(offsets) < 270  # 10 + Poisson(200), six standard deviations of 14


def test_a_closed_loop_limited_by_time_never_runs_out() -> None:
    made = make(None, replace(FACTS, latency_s=1.0), duration_s="5", concurrency="2")
    assert len(made.requests) == OPEN_ENDED
    assert isinstance(made.requests, BuiltRequests)
    assert made.requests.made == 1000
    assert made.requests[1500].index == 1500


def test_building_ahead() -> None:
    built: list[int] = []

    def one(index: int) -> Request:
        built.append(index)
        return Request(index, Sample(), b"%d" % index)

    requests = BuiltRequests(one, 100, 10)
    assert requests.refill(0, 1 << 60)
    assert built == list(range(10))
    nothing = requests.sha256()
    assert requests[0].body == b"0"
    assert requests.sha256() == hashlib.sha256(hashlib.sha256(b"0").digest()).hexdigest() != nothing
    assert not requests.is_made(10)
    assert requests.refill(1, 1 << 60)
    assert built == list(range(11))
    assert requests[20].index == 20  # nobody asked for those between
    assert not requests.refill(60, 0) or requests.made >= 70


def write(path: Path, *lines: str) -> str:
    path.write_text("".join(line + "\n" for line in lines))
    return str(path)


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ((), "has no samples"),
        (("",), "has no samples"),
        (('{"prompt": "a"}', "nope"), "line 2 is not JSON"),
        (('{"prompt": "a"}', "", "[1]"), "line 3 is no JSON object"),
        (('{"other": "a"}',), "line 1 has no text"),
        (('{"prompt": ""}',), "line 1 has no text"),
        (('{"prompt": "a", "max_tokens": 0}',), "line 1: max_tokens 0"),
        (('{"messages": []}',), "line 1: messages must be"),
        (('{"messages": [{"content": "x"}]}',), "line 1: messages must be"),
    ],
)
def test_a_file_that_cannot_be_used_names_the_line(tmp_path: Path, lines: tuple[str, ...], says: str) -> None:
    path = write(tmp_path / "in.jsonl", *lines)
    with pytest.raises(DatasetError, match=says):
        make(input_file=path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such file"):
        make(input_file=str(tmp_path / "none.jsonl"))


def test_messages_are_for_chat(tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl", '{"messages": [{"role": "user", "content": "x"}]}')
    with pytest.raises(DatasetError, match="only chat takes"):
        make(input_file=path, endpoint_type="completions")


def test_a_short_file_is_used_again_and_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl", '{"text": "a"}', '{"text": "b", "max_tokens": 7}')
    made = make(input_file=path, request_count="4", warmup="0", salt="none")
    assert [body["messages"][0]["content"] for body in bodies(made)] == ["a", "b", "a", "b"]
    assert made.notes() == (
        "the data's 2 samples were used more than once (warm-up is one use); the prefix cache may answer",
    )
    assert make(input_file=path, request_count="2", warmup="0").notes() == ()


def test_batches_from_a_file(tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl", *(f'{{"text": "t{i}"}}' for i in range(5)))
    made = make(input_file=path, endpoint_type="embeddings", batch_size="2", request_count="3", warmup="0", salt="none")
    assert [body["input"] for body in bodies(made)] == [["t0", "t1"], ["t2", "t3"], ["t4"]]


def test_the_salt_goes_into_the_first_message(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "hi"}]
    lines = [
        json.dumps({"messages": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]}),
        json.dumps({"messages": [{"role": "user", "content": parts}]}),
    ]
    path = write(tmp_path / "in.jsonl", *lines)
    first, second = bodies(make(input_file=path, request_count="2", warmup="0", salt="pepper"))
    assert [m["content"] for m in first["messages"]] == ["pepper be brief", "hi"]
    assert second["messages"][0]["content"] == [{"type": "text", "text": "pepper "}, *parts]


def test_fresh_salts_differ() -> None:
    assert len({fresh_salt() for _ in range(20)}) == 20
