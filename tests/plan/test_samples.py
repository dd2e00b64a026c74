"""What of a data set is used: bounds, the model's length, repeats, and what is said of what was left out."""

import json
from pathlib import Path
from typing import Any

import pytest

from genbench import config, registry
from genbench.errors import ConfigError, DatasetError
from genbench.plan.build import build
from genbench.plan.facts import Facts
from genbench.plan.samples import cut
from genbench.resolve import resolve
from genbench.tokens import Tokenizer
from genbench.types import Plan

WORDS = Tokenizer("words", lambda text: list(range(len(text.split()))), local=True)


@pytest.fixture
def data(tmp_path: Path) -> str:
    """Prompts of 1, 2, ... 6 words; the answers have 10, 20, ... tokens."""
    path = tmp_path / "in.jsonl"
    rows = [{"prompt": " ".join(["w"] * n), "max_tokens": 10 * n} for n in range(1, 7)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def make(facts: Facts = Facts("m"), **named: object) -> Plan:  # noqa: B008  # frozen
    given = {"url": "http://x", "salt": "none", "warmup": "0", "tokenizer": "t"} | named
    resolved, _ = resolve(config.load(given))
    return build(resolved, facts, registry.load("endpoints", resolved.target.endpoint_type), WORDS)


def sizes(plan: Plan) -> list[tuple[int, int | None]]:
    """(words, output tokens asked for) of each request."""
    found = []
    for k in range(len(plan.requests)):
        request = plan.requests[k]
        text = json.loads(request.body)["messages"][-1]["content"]
        found.append((len(text.split()), request.max_tokens))
    return found


def test_bounds_on_the_input(data: str) -> None:
    plan = make(input_file=data, min_isl="2", max_isl="4", request_count="3")
    assert sizes(plan) == [(2, 20), (3, 30), (4, 40)]
    assert plan.notes() == ("left out of the data: 1 shorter than --min-isl 2",)
    both = make(input_file=data, min_isl="2", max_isl="4", request_count="4")
    assert sizes(both)[3] == (2, 20)
    assert both.notes() == (
        "left out of the data: 1 shorter than --min-isl 2",
        "left out of the data: 2 longer than --max-isl 4",
        "the data's 3 samples were used more than once (warm-up is one use); the prefix cache may answer",
    )


def test_a_bound_on_the_output(data: str) -> None:
    assert sizes(make(input_file=data, max_osl="25", request_count="3")) == [(1, 10), (2, 20), (3, 25)]


def test_nothing_left(data: str) -> None:
    with pytest.raises(DatasetError, match=r"nothing is left of 6 samples \(6 shorter than --min-isl 9\)"):
        make(input_file=data, min_isl="9", request_count="1")


def test_beyond_the_models_length(data: str) -> None:
    # each needs n + 10 n tokens: 44 is enough for n = 4
    facts = Facts("m", max_model_len=44)
    skipped = make(facts, input_file=data, request_count="6")
    assert [words for words, _ in sizes(skipped)] == [1, 2, 3, 4, 1, 2]
    assert "left out of the data: 2 beyond the model's 44 tokens" in skipped.notes()
    with pytest.raises(DatasetError, match=r"a prompt of 5 tokens and its answer are beyond the model's 44 tokens"):
        make(facts, input_file=data, request_count="6", on_too_long="fail")
    # asked for, the model's own length is put aside
    own = make(facts, input_file=data, request_count="6", max_model_len="66", on_too_long="fail")
    assert sizes(own)[-1] == (6, 60)


def test_cut_to_the_models_length(data: str) -> None:
    # with 12 tokens of answer at most there is room for 3 words of 15
    plan = make(input_file=data, request_count="6", max_osl="12", max_model_len="15", on_too_long="truncate")
    assert sizes(plan) == [(1, 10), (2, 12), (3, 12), (3, 12), (3, 12), (3, 12)]
    assert plan.notes() == ("of the data: 3 cut short, beyond the model's 15 tokens",)


def test_what_stands_around_a_prompt_counts_too(data: str) -> None:
    facts = Facts("m", max_model_len=44, template_tokens=11)
    assert [words for words, _ in sizes(make(facts, input_file=data, request_count="4"))] == [1, 2, 3, 1]
    shared = make(Facts("m", max_model_len=44), input_file=data, request_count="4", shared_prefix_tokens="11")
    assert [words - 11 for words, _ in sizes(shared)] == [1, 2, 3, 1]


def test_a_conversation_ends_where_the_model_does(tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl"
    turns = [{"prompt": "a b", "answer": "c", "max_tokens": 3}] * 4
    path.write_text(json.dumps({"turns": turns}) + "\n")
    plan = make(input_file=str(path), request_count="2", max_model_len="10")  # 5 a turn: two of them
    second = plan.requests[0].then("")  # type: ignore[misc]
    assert second.then is None
    assert plan.notes()[0] == "of the data: 1 conversations ended early, beyond the model's 10 tokens"


def test_synthetic_prompts_beyond_the_model_are_an_error() -> None:
    with pytest.raises(DatasetError, match="beyond the model's 600 tokens"):
        make(Facts("m", max_model_len=600), request_count="1", on_too_long="fail")
    with pytest.raises(DatasetError, match="nothing is left"):
        make(Facts("m", max_model_len=600), request_count="1")


def test_salt_and_system_prompt_count_too(data: str) -> None:
    """44 tokens hold 4 words and 40 of answer; each word in front takes one of them away."""
    facts = Facts("m", max_model_len=44)
    salted = make(facts, input_file=data, request_count="4", salt="x y z")
    assert [words - 3 for words, _ in sizes(salted)] == [1, 2, 3, 1]
    told = make(facts, input_file=data, request_count="4", system_prompt="a b c d e f g h i j k l m n o p q r s t u v")
    assert [words for words, _ in sizes(told)] == [1, 2, 1, 2]


OWN = """
from genbench.types import Sample

def load(options, rng):
    for k in range(4):
        for turn in range(3):
            yield Sample(prompt=f"{k} {turn}", answer="so", session=k, turn=turn)

def raises(options, rng):
    yield Sample(prompt="a")
    raise KeyError("oh")

def odd(options, rng):
    return iter([{"prompt": "a"}])
"""


def test_a_data_set_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "own.py"
    path.write_text(OWN)
    plan = make(dataset=str(path), request_count="7")
    assert (len(plan.requests), plan.requests.total_turns) == (3, 7)  # type: ignore[attr-defined]
    with pytest.raises(DatasetError, match=r"own.py:raises fails: KeyError: 'oh'"):
        make(dataset=f"{path}:raises", request_count="7")
    with pytest.raises(DatasetError, match=r"own.py:odd: load yields dict, expected Sample"):
        make(dataset=f"{path}:odd", request_count="7")
    path.write_text("1 / 0")
    with pytest.raises(ConfigError, match=r"own.py fails when it is loaded: ZeroDivisionError"):
        make(dataset=str(path), request_count="7")


def test_a_file_is_to_be_named_with_its_kind(data: str) -> None:
    with pytest.raises(ConfigError, match="is a file: say what is in it, like sharegpt:"):
        make(dataset=data)


def test_long_prompts_are_not_held_by_the_thousand() -> None:
    plan = make(isl="20000", duration_s="5", concurrency="50")
    assert plan.requests.made < 400  # type: ignore[attr-defined]  # of 1,000, some 120 kB each


def test_looking_for_rows_that_fit_can_be_put_off(tmp_path: Path) -> None:
    """One row in a hundred fits: building one more gives the loop back in between."""
    path = tmp_path / "in.jsonl"
    path.write_text("".join(f'{{"prompt": "{"w " * (1 if k % 100 else 9)}"}}\n' for k in range(400)))
    plan = make(input_file=str(path), min_isl="5", duration_s="5")
    requests = plan.requests
    ready = requests.made  # type: ignore[attr-defined]
    for k in range(ready):
        requests[k]
    calls = 0
    while not requests.is_made(ready):
        calls += 1
        assert not requests.refill(ready, 1_000)
    assert calls > 1


@pytest.mark.parametrize(("room", "words"), [(1, 1), (3, 3), (9, 5)])
def test_cut(room: int, words: int) -> None:
    assert cut("a b c d e", room, WORDS) == " ".join(["a", "b", "c", "d", "e"][:words])


@pytest.mark.parametrize(
    ("named", "says"),
    [
        ({"dataset": "sharegtp:x"}, "--dataset sharegtp:x: no data set 'sharegtp'; use one of"),
        ({"dataset": "sharegpt:x", "isl": "9"}, "--isl is the length of synthetic prompts"),
        ({"dataset": "sharegpt:x", "input_file": "y"}, "give one of the two"),
        ({"isl": "9-3"}, "--isl 9-3: the high end is below the low end"),
        ({"isl": "0"}, "--isl 0: must be at least 1"),
        ({"osl": "many"}, "--osl many: not a length; write N, LOW-HIGH"),
        ({"isl_osl": "9:"}, "--isl-osl 9:: '9:' is not ISL:OSL"),
        ({"isl_osl": "9:9", "isl": "5"}, "--isl-osl gives both lengths"),
        ({"min_isl": "9", "max_isl": "3"}, "--min-isl 9 is above --max-isl 3"),
        ({"dataset": "alpaca:x", "min_isl": "9", "tokenizer": None}, "--min-isl 9 needs the model's --tokenizer"),
        ({"num_prefixes": "3"}, "--num-prefixes needs the length of shared prefixes"),
        ({"columns": "prompt=a"}, "--columns is about a file's rows"),
        ({"dataset": "alpaca:x", "columns": "who=a"}, "--columns who=a: write ROLE=COLUMN with a ROLE of prompt"),
        ({"sampling": "shuffle"}, "--sampling shuffle is about a file's rows"),
        ({"turns": "soon"}, "--turns soon: not a length"),
        ({"dataset": "sharegpt:x", "turns": "1-3"}, "--turns 1-3: a file's conversations have their own length"),
        ({"turns": "3", "endpoint_type": "completions"}, "--turns 3 needs messages"),
        ({"history": "server"}, "--history is about conversations; give --turns N"),
        ({"think_time_s": "3"}, "--think-time is about conversations"),
        ({"turns": "3", "session_connection": True, "transport": "openai"}, "--session-connection needs the wire"),
        ({"system_prompt": "x", "endpoint_type": "completions"}, "--system-prompt needs messages"),
        ({"system_prompt": "@/none/there"}, "--system-prompt @/none/there: no such file"),
        ({"prefix_distribution": "zipf"}, "--prefix-distribution needs the length of shared prefixes"),
        ({"dataset": "synthetic:x"}, "synthetic prompts are drawn, there is no file"),
        ({"dataset": "alpaca:x", "turns": "2"}, "--turns 2: alpaca has no conversations"),
        ({"turns": "all"}, "--turns all is for a file's conversations"),
        ({"endpoint_type": "embeddings", "max_osl": "5"}, "--max-osl 5: embeddings have no output"),
        ({"until_ci": "ttft.p95:5%", "stream": False}, "--until-ci ttft.p95:5% needs a stream"),
        ({"until_ci": "itl.p95:5%"}, "--until-ci itl.p95:5%: takes ttft"),
        ({"salt": "\udcff"}, "--salt: ? is not UTF-8 text"),
        ({"seed": str(2**64)}, "--seed 18446744073709551616: must be at most"),
        ({"apply_chat_template": True}, "--apply-chat-template is for --endpoint-type completions"),
    ],
)
def test_what_does_not_go_together(named: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as error:
        make(**named)
    assert says in str(error.value)
    assert str(error.value).count("\n") == 0
