"""Conversations: what each turn's body says, whose words it repeats, salt and prefix, how many there are."""

import json
from pathlib import Path
from typing import Any

import pytest

from genbench import config, registry
from genbench.errors import DatasetError
from genbench.plan.build import build
from genbench.plan.facts import Facts
from genbench.resolve import resolve
from genbench.tokens import Tokenizer
from genbench.types import MISSING, Phase, Plan, Request

WORDS = Tokenizer("words", lambda text: list(range(len(text.split()))), local=True)
TALK = (
    '{"turns": [{"prompt": "one", "answer": "uno"}, {"prompt": "two", "answer": "due"}, {"prompt": "three"}]}\n'
    '{"prompt": "alone"}\n'
    '{"turns": [{"prompt": "red"}, {"prompt": "green"}]}\n'
)


def make(tokenizer: Tokenizer | None = None, **named: object) -> Plan:
    resolved, _ = resolve(config.load({"url": "http://x", "salt": "none", "warmup": "0"} | named))
    return build(resolved, Facts("m"), registry.load("endpoints", resolved.target.endpoint_type), tokenizer)


@pytest.fixture
def talk(tmp_path: Path) -> str:
    path = tmp_path / "talk.jsonl"
    path.write_text(TALK)
    return str(path)


def said(request: Request) -> list[str]:
    """A body's messages, as 'role: words'."""
    return [f"{one['role']}: {one['content']}" for one in json.loads(request.body)["messages"]]


def after(request: Request, answer: str) -> Request:
    assert request.then is not None
    return request.then(answer)


def test_the_data_sets_own_answers_are_repeated(talk: str) -> None:
    first = make(input_file=talk, request_count="3").requests[0]
    second = after(first, "not this")
    third = after(second, "nor this")
    assert not first.needs_answer
    assert said(first) == ["user: one"]
    assert said(second) == ["user: one", "assistant: uno", "user: two"]
    assert said(third) == ["user: one", "assistant: uno", "user: two", "assistant: due", "user: three"]
    assert third.then is None
    assert [one.index for one in (first, second, third)] == [0, 1, 2]


def test_the_servers_answers_are_repeated_where_asked(talk: str) -> None:
    first = make(input_file=talk, request_count="3", history="server").requests[0]
    assert first.needs_answer
    second = after(first, "eins")
    assert said(second) == ["user: one", "assistant: eins", "user: two"]
    assert said(after(second, "zwei"))[2:] == ["user: two", "assistant: zwei", "user: three"]


def test_without_answers_in_the_data_the_servers_are_repeated(talk: str) -> None:
    plan = make(input_file=talk, request_count="6")
    requests = [plan.requests[unit] for unit in range(3)]
    assert [one.needs_answer for one in requests] == [False, False, True]
    assert said(after(requests[2], "blau")) == ["user: red", "assistant: blau", "user: green"]
    with pytest.raises(DatasetError, match="no answers to repeat"):
        make(input_file=talk, request_count="6", history="dataset")


def test_sessions_and_singles(talk: str) -> None:
    plan = make(input_file=talk, request_count="6")
    requests = [plan.requests[unit] for unit in range(3)]
    assert [one.sample.session for one in requests] == [0, MISSING, 2]
    assert [one.index for one in requests] == [0, 3, 4]
    assert plan.requests.total_turns == 6  # type: ignore[attr-defined]


def test_the_count_is_of_requests_and_cuts_the_last_conversation(talk: str) -> None:
    plan = make(input_file=talk, request_count="8")  # 3 + 1 + 2, then 2 of the first 3
    assert len(plan.requests) == 4
    last = [plan.requests[unit] for unit in range(4)][-1]
    assert after(last, "").then is None


def test_warm_up_is_whole_conversations(talk: str) -> None:
    plan = make(input_file=talk, request_count="2", warmup="1")
    assert plan.schedule.warmup == 1
    warm, measured, last = (plan.requests[unit] for unit in range(3))
    assert after(after(warm, ""), "").phase == Phase.WARMUP
    assert [measured.phase, last.phase, last.then] == [Phase.MEASURED, Phase.MEASURED, None]


def test_turns_can_be_limited(talk: str) -> None:
    plan = make(input_file=talk, turns="1", request_count="3")
    assert [said(plan.requests[unit]) for unit in range(3)] == [["user: one"], ["user: alone"], ["user: red"]]


def test_salt_and_prefix_stand_in_front_of_the_first_turn_only() -> None:
    named: dict[str, Any] = {"turns": "2", "isl": "10", "shared_prefix_tokens": "5", "request_count": "4"}
    plan = make(WORDS, salt="x y z", **named)
    first, other = (plan.requests[unit] for unit in range(2))
    words = said(first)[0].split()[1:]
    assert words[:3] == ["x", "y", "z"]
    assert len(words) == 15
    assert words[3:8] == said(other)[0].split()[4:9]
    assert words[8:] != said(other)[0].split()[9:]
    second = after(first, "the answer")
    assert said(second)[0] == said(first)[0]
    assert len(said(second)[2].split()) - 1 == 10
    assert (first.isl_tokenizer, second.isl_tokenizer) == (15, 15 + 2 + 10)
    assert (first.sample.isl, second.sample.isl) == (15, MISSING)


def test_a_system_prompt_is_the_first_message_of_all(talk: str) -> None:
    plan = make(input_file=talk, request_count="4", system_prompt="be brief", salt="x y z")
    first, alone = (plan.requests[unit] for unit in range(2))
    assert said(first) == ["system: x y z be brief", "user: one"]
    assert said(after(first, ""))[0] == "system: x y z be brief"
    assert said(alone) == ["system: x y z be brief", "user: alone"]


def test_think_time_of_the_command_line_replaces_the_files(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_text('{"turns": [{"prompt": "a", "answer": "b"}, {"prompt": "c", "think_s": 7}]}\n')
    own = after(make(input_file=str(path), request_count="2").requests[0], "")
    assert own.sample.think_ns == 7_000_000_000
    said = after(make(input_file=str(path), request_count="2", think_time_s="2").requests[0], "")
    assert said.sample.think_ns == 2_000_000_000


def test_conversations_are_for_chat(talk: str) -> None:
    with pytest.raises(DatasetError, match="only chat takes"):
        make(input_file=talk, request_count="3", endpoint_type="completions")


def test_a_long_conversation_is_no_deep_one(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    turns = [{"prompt": f"q{k}", "answer": f"a{k}"} for k in range(1200)]
    path.write_text(json.dumps({"turns": turns}) + "\n")
    request = make(input_file=str(path), request_count="1200").requests[0]
    count = 1
    while request.then is not None:
        request = request.then("")
        count += 1
    assert count == 1200
    assert len(said(request)) == 2 * 1200 - 1


def test_how_many_turns_there_are_is_not_known_where_time_decides() -> None:
    plan = make(turns="4", request_rate="5", duration_s="3")
    assert plan.requests.total_turns is None  # type: ignore[attr-defined]


def test_whose_history_it_is_is_in_the_hash(talk: str) -> None:
    hashes = {make(input_file=talk, request_count="3", history=whose).dataset_sha256 for whose in ("server", "dataset")}
    assert len(hashes) == 2


def test_a_conversation_of_one_turn_is_one() -> None:
    plan = make(turns="1-2", request_count="40")
    firsts = [plan.requests[unit] for unit in range(len(plan.requests))]
    assert {one.then is None for one in firsts} == {True, False}
    assert [one.sample.session for one in firsts] == list(range(len(firsts)))
