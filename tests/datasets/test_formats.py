"""Each format from a small file: which words are sent, what lengths, conversations, times, and what is refused."""

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from genbench import registry
from genbench.datasets import azure_llm, burstgpt
from genbench.errors import DatasetError
from genbench.lengths import Lengths
from genbench.types import MISSING, Sample
from tests.datasets.options import DATA, options, samples, words, writer

FIXED = Lengths("fixed", 99, 0)
EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "data"
Write = Callable[[str, str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    return writer(tmp_path)


def chat(system: str, user: str) -> tuple[dict[str, str], ...]:
    return ({"role": "system", "content": system}, {"role": "user", "content": user})


def test_openorca() -> None:
    said: list[str] = []
    found = samples("openorca", DATA / "openorca.jsonl", count=words, say=said.append)
    assert found == [
        Sample(messages=chat("You are a patient teacher.", "Why is the sky blue?"), osl=7),
        Sample(prompt="Name a prime above ten.", osl=1),
    ]
    assert said == [f"{DATA}/openorca.jsonl line 3 has an empty prompt: such rows are left out"]


def test_a_system_prompt_without_chat_stands_in_front() -> None:
    found = samples("openorca", DATA / "openorca.jsonl", chat=False)
    assert [sample.prompt for sample in found] == [
        "You are a patient teacher.\n\nWhy is the sky blue?",
        "Name a prime above ten.",
    ]


def test_alpaca() -> None:
    assert samples("alpaca", DATA / "alpaca.json", count=words) == [
        Sample(prompt="Put the words in order.\n\nlate is it", osl=3),
        Sample(prompt="Name a bird that cannot fly.", osl=2),
        Sample(prompt="Count the vowels.", osl=3),
    ]
    found = samples("alpaca", DATA / "alpaca.json", columns={"prompt": "output"})
    assert [sample.prompt for sample in found] == ["it is late", "The ostrich.", "There are none."]


def test_cnn_dailymail() -> None:
    found = samples("cnn_dailymail", DATA / "cnn_dailymail.csv", count=words)
    assert [sample.osl for sample in found] == [4, 3, 4]
    instruction, article = found[0].prompt.split("\n\n")
    assert article == "The bridge opened on Monday.\nNobody, it is said, paid the toll."
    assert all(sample.prompt.startswith(instruction) for sample in found)
    (texts,) = samples("cnn_dailymail", DATA / "cnn_dailymail.csv", texts=True, batch_size=3)
    assert texts.texts[2] == "Rain fell."


def test_the_same_rows_from_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [json.loads(line) for line in (DATA / "openorca.jsonl").read_text().splitlines()]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "openorca.parquet")
    expected = samples("openorca", DATA / "openorca.jsonl", count=words)
    assert samples("openorca", tmp_path / "openorca.parquet", count=words) == expected
    shuffled = samples("openorca", tmp_path / "openorca.parquet", count=words, sampling="shuffle")
    assert sorted(shuffled, key=str) == sorted(expected, key=str)


def test_llm_load_test() -> None:
    path = DATA / "llm-load-test.jsonl"
    assert samples("llm-load-test".replace("-", "_"), path) == [
        Sample(prompt="What floats on water?", isl=6, osl=11),
        Sample(messages=chat("You write code.", "Write a loop."), osl=9),
        Sample(prompt="Spell the word boat.", isl=7),
    ]
    counted = samples("llm_load_test", path, count=words)
    assert [sample.isl for sample in counted] == [MISSING] * 3  # the plan counts with the tokenizer of this model
    assert [sample.osl for sample in counted] == [11, 9, None]
    assert len(samples("llm_load_test", path, sampling="shuffle")) == 3


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, [None, 7, None]),
        ({"osl": FIXED}, [99, 7, 99]),
        ({"count": words}, [3, 7, None]),
        ({"count": words, "osl": FIXED}, [3, 7, 99]),
        ({"count": words, "osl": FIXED, "osl_named": True}, [99, 99, 99]),
        ({"count": words, "osl_named": True}, [None, None, None]),  # --osl none
    ],
)
def test_where_an_output_length_comes_from(write: Write, changed: dict[str, Any], expected: list[int]) -> None:
    lines = '{"q": "a", "a": "x y z"}\n{"q": "b", "a": "x", "n": 7}\n{"q": "c", "a": ""}\n'
    csv = 'q,a,n\na,x y z,\nb,x,7\nc,"",\n'
    columns = {"prompt": "q", "output": "a", "osl": "n"}
    found = samples("jsonl", write("a.csv", csv), columns=columns, **changed)
    assert [sample.osl for sample in found] == expected
    if changed:
        columns.pop("osl")
        found = samples("openorca", write("a.jsonl", lines), columns=columns, **changed)
        assert [sample.osl for sample in found if sample.prompt != "b"] == [expected[0], expected[2]]


def test_drawn_lengths_do_not_depend_on_the_order(write: Write) -> None:
    path = write("a.jsonl", "".join(f'{{"prompt": "p{k}"}}\n' for k in range(50)))
    spread = Lengths("uniform", 1, 1000)
    first = samples("jsonl", path, osl=spread)
    shuffled = samples("jsonl", path, osl=spread, sampling="shuffle")
    assert [sample.osl for sample in first] == [sample.osl for sample in shuffled]
    assert [sample.prompt for sample in first] != [sample.prompt for sample in shuffled]
    assert [sample.osl for sample in samples("jsonl", path, seed=2, osl=spread)] != [sample.osl for sample in first]


def test_sharegpt_first_turns() -> None:
    said: list[str] = []
    found = samples("sharegpt", DATA / "sharegpt.json", count=words, say=said.append)
    assert found == [
        Sample(prompt="How tall is a giraffe?", osl=3),
        Sample(messages=chat("You are a sailor.", "Where is the wind?"), osl=2),
        Sample(prompt="One.\n\nTwo.", osl=2),
    ]
    path = DATA / "sharegpt.json"
    assert said == [
        f"{path} item 2 does not begin with a user's words: such rows are left out",
        f"{path}: 2 of 5 rows left out",
    ]


def test_sharegpt_conversations() -> None:
    found = samples("sharegpt", DATA / "sharegpt.json", count=words, turns=1 << 30)
    assert found == [
        Sample(prompt="How tall is a giraffe?", osl=3, session=0, turn=0, answer="About five metres."),
        Sample(prompt="And an elephant?", osl=2, session=0, turn=1, answer="About three."),
        Sample(messages=chat("You are a sailor.", "Where is the wind?"), osl=2, session=1, turn=0, answer="Behind us."),
        Sample(prompt="One.\n\nTwo.", osl=2, session=2, turn=0, answer="Three.\n\nFour."),
        Sample(prompt="Five?", session=2, turn=1),
    ]


def test_at_most_so_many_turns() -> None:
    first = samples("jsonl", DATA / "conversations.jsonl", turns=2)
    assert [(sample.session, sample.turn) for sample in first] == [(0, 0), (0, 1), (-1, 0), (1, 0)]
    single = samples("jsonl", DATA / "conversations.jsonl", turns=1)
    assert [(sample.session, sample.answer) for sample in single] == [(-1, "")] * 3


def test_sharegpt_lines_and_embeddings(write: Write) -> None:
    rows = json.loads((DATA / "sharegpt.json").read_text())
    path = write("a.jsonl", "".join(json.dumps({"talk": row["conversations"]}) + "\n" for row in rows))
    (found,) = samples("sharegpt", path, columns={"messages": "talk"}, texts=True, batch_size=8, turns=5)
    assert found.texts == ("How tall is a giraffe?", "Where is the wind?", "One.\n\nTwo.")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"conversations": "x"}, r"line 1: 'conversations' is the text 'x', expected a list of messages"),
        ({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": 7}]}, "line 1: message 2 of"),
        ({"conversations": ["x"]}, r"line 1: message 1 of 'conversations' is not of the form"),
        ({"conversation": []}, r"line 1 has no 'conversations'; it has: conversation; name one .* messages=NAME"),
    ],
)
def test_sharegpt_rows_that_are_none(write: Write, row: dict[str, object], says: str) -> None:
    with pytest.raises(DatasetError, match=says):
        samples("sharegpt", write("a.jsonl", json.dumps(row)))


def test_jsonl_conversations() -> None:
    assert samples("jsonl", DATA / "conversations.jsonl", count=words, osl=FIXED) == [
        Sample(prompt="Plan a walk of an hour.", osl=40, session=0, turn=0, answer="Go along the river to the mill."),
        Sample(
            prompt="And if it rains?", osl=4, session=0, turn=1, think_ns=4_500_000_000, answer="Take the bus back."
        ),
        Sample(prompt="Thank you.", osl=99, session=0, turn=2, think_ns=1_000_000_000),
        Sample(prompt="A question by itself.", osl=7),
        Sample(prompt="Is tea older than coffee?", osl=99, session=1, turn=0),
    ]


@pytest.mark.parametrize(
    ("turns", "says"),
    [
        ("[]", "turns must be a non-empty list"),
        ('["a"]', "turn 1 is the text 'a', expected an object"),
        ('[{"prompt": "a"}, {}]', "turn 2 has no text; give a non-empty 'prompt'"),
        ('[{"prompt": "a", "answer": 7}]', "turn 1: 'answer' is the number 7, expected text"),
        ('[{"prompt": "a", "think_s": -1}]', "turn 1: think_s -1 is no time in seconds"),
        ('[{"prompt": "a", "max_tokens": "7"}]', "line 1: max_tokens '7' is no positive number"),
    ],
)
def test_turns_that_are_none(write: Write, turns: str, says: str) -> None:
    with pytest.raises(DatasetError, match=says):
        samples("jsonl", write("a.jsonl", f'{{"turns": {turns}}}'))


def test_jsonl(write: Write) -> None:
    message = {"role": "user", "content": "c"}
    lines = ['{"prompt": "a"}', "", '{"text": "b", "max_tokens": 5}', json.dumps({"messages": [message]})]
    path = write("a.jsonl", "\n".join(lines))
    assert samples("jsonl", path) == [Sample(prompt="a"), Sample(prompt="b", osl=5), Sample(messages=(message,))]


def test_jsonl_columns(write: Write) -> None:
    path = write("a.csv", "q,s,n\nwhy?,be brief,5\n")
    found = samples("jsonl", path, columns={"prompt": "q", "system": "s", "osl": "n"})
    assert found == [Sample(messages=chat("be brief", "why?"), osl=5)]
    assert samples("jsonl", path, columns={"text": "q"}, texts=True) == [Sample(texts=("why?",))]


@pytest.mark.parametrize(
    ("line", "changed", "says"),
    [
        ('{"other": "a"}', {}, r"a.jsonl line 1 has no text; give a non-empty 'prompt'"),
        ('{"prompt": ""}', {}, "line 1 has no text"),
        ('{"prompt": 7}', {}, "line 1: 'prompt' is the number 7, expected text"),
        ('{"prompt": "a", "max_tokens": 0}', {}, "line 1: max_tokens 0 is no positive number"),
        ('{"messages": []}', {}, "line 1: messages must be"),
        ('{"messages": [{"content": "x"}]}', {}, "line 1: messages must be"),
        ('{"messages": [{"role": "user"}]}', {"chat": False}, "which only chat takes; use --endpoint-type chat"),
        ('{"turns": [{"prompt": "a"}]}', {"texts": True}, "line 1 has turns, which embeddings do not take"),
        ('{"prompt": "a"}', {"columns": {"prompt": "q"}}, "line 1 has no 'q'; it has: prompt; name one with"),
        ('{"q": ""}', {"columns": {"prompt": "q"}}, "line 1 has no text in 'q'"),
        ('{"prompt": "a"}', {"columns": {"osl": "n"}}, "has no 'n'; it has: prompt; name one with --columns osl="),
        ('{"prompt": "a", "timestamp": "1"}', {}, "timestamp '1' is no number of seconds"),
        ('{"prompt": "a", "timestamp": -1}', {}, "timestamp -1 is no number of seconds"),
        ('{"prompt": "a"}', {"replay": True}, "line 1 has no timestamp, which a replay needs"),
    ],
)
def test_lines_that_cannot_be_used(write: Write, line: str, changed: dict[str, Any], says: str) -> None:
    with pytest.raises(DatasetError, match=says):
        samples("jsonl", write("a.jsonl", line), **changed)


def test_a_table_without_a_prompt_names_its_columns(write: Write) -> None:
    with pytest.raises(DatasetError, match="has no column 'prompt'; it has: q, n; name one with --columns prompt="):
        samples("jsonl", write("a.csv", "q,n\na,1\n"))


def test_batches(write: Write) -> None:
    path = write("a.jsonl", "".join(f'{{"text": "t{k}"}}\n' for k in range(5)))
    assert samples("jsonl", path, texts=True, batch_size=2) == [
        Sample(texts=("t0", "t1")),
        Sample(texts=("t2", "t3")),
        Sample(texts=("t4",)),
    ]


def test_times_of_lines() -> None:
    found = samples("jsonl", DATA / "timed.jsonl", replay=True)
    assert [sample.at_ns for sample in found] == [0, 500_000_000, 2_750_000_000, MISSING]
    assert [sample.at_ns for sample in samples("jsonl", DATA / "timed.jsonl", sampling="shuffle")] == [MISSING] * 4


def test_burstgpt() -> None:
    said: list[str] = []
    found = samples("burstgpt", DATA / "burstgpt.csv", say=said.append)
    assert [(sample.isl, sample.osl, sample.at_ns) for sample in found] == [
        (12, 15, 0),
        (3, 9, 37_500_000_000),
        (7, 2, 87_000_000_000),
    ]
    assert [words(sample.prompt) for sample in found] == [12, 3, 7]
    path = DATA / "burstgpt.csv"
    assert said == [
        f"{path} line 3 has no time or no tokens: such rows are left out",
        f"{path}: 2 of 5 rows left out",
    ]
    assert burstgpt.SYNTHETIC_TEXT


def test_burstgpt_with_sessions() -> None:
    found = samples("burstgpt", DATA / "burstgpt_sessions.csv", replay=True, osl=FIXED)
    assert [(sample.isl, sample.osl, sample.at_ns, sample.session) for sample in found] == [
        (9, 4, 0, MISSING),
        (21, 14, 51_250_000_000, MISSING),
        (5, 6, 82_000_000_000, MISSING),
    ]
    named = samples("burstgpt", DATA / "burstgpt_sessions.csv", osl=FIXED, osl_named=True, tokens_per_word=1.5)
    assert [sample.osl for sample in named] == [99] * 3
    assert [words(sample.prompt) for sample in named] == [6, 14, 3]


@pytest.mark.parametrize(
    ("year", "expected"),
    [
        ("2023", [(31, 5, 0), (8, 12, 100), (110, 27, 8_837_266_000)]),
        ("2024", [(22, 5, 0), (8, 1, 500_000_000), (11, 7, 1_750_000_000)]),
    ],
)
def test_azure(year: str, expected: list[tuple[int, int, int]]) -> None:
    found = samples("azure_llm", DATA / f"azure-llm-{year}.csv", replay=True)
    assert [(sample.isl, sample.osl, sample.at_ns) for sample in found] == expected
    assert azure_llm.SYNTHETIC_TEXT


def test_the_words_of_a_trace_follow_from_the_seed() -> None:
    path = DATA / "azure-llm-2023.csv"
    assert samples("azure_llm", path) == samples("azure_llm", path)
    assert samples("azure_llm", path) != samples("azure_llm", path, seed=2)
    lengths = [sample.isl for sample in samples("azure_llm", path, sampling="shuffle", seed=3)]
    assert sorted(lengths) == [8, 31, 110]
    assert {sample.at_ns for sample in samples("azure_llm", path, sampling="shuffle")} == {MISSING}


def test_a_trace_for_embeddings() -> None:
    (batch,) = samples("azure_llm", DATA / "azure-llm-2023.csv", texts=True, batch_size=3)
    assert batch.isl == 31 + 8 + 110
    assert [words(text) for text in batch.texts] == [31, 8, 110]


def test_a_trace_that_goes_backwards_cannot_be_replayed(write: Write) -> None:
    head = "Timestamp,Model,Request tokens,Response tokens\n"
    path = write("b.csv", head + "5,m,1,1\n9,m,0,1\n7.5,m,1,1\n6,m,1,1\n")
    assert [sample.at_ns for sample in samples("burstgpt", path)] == [0, 2_500_000_000, 1_000_000_000]
    with pytest.raises(DatasetError, match=r"b.csv line 5: Timestamp 6 is before 7.5 of line 4; sort the file by time"):
        samples("burstgpt", path, replay=True)
    with pytest.raises(DatasetError, match="--sampling shuffle would mix up the times"):
        samples("burstgpt", path, replay=True, sampling="shuffle")
    lines = write("t.jsonl", '{"prompt": "a", "timestamp": 2}\n\n{"prompt": "b", "timestamp": 1.5}\n')
    with pytest.raises(DatasetError, match=r"t.jsonl line 3: timestamp 1.5 is before 2 of line 1"):
        samples("jsonl", lines, replay=True)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("burstgpt", "Timestamp,Request tokens\n1,2\n", "has no column 'Response tokens'; it has: Timestamp, Request"),
        ("burstgpt", "Timestamp,Request tokens,Response tokens\nx,2,3\n", r"line 2: Timestamp 'x' is no time; .* 45.5"),
        ("burstgpt", "Timestamp,Request tokens,Response tokens\nnan,2,3\n", "line 2: Timestamp 'nan' is no time"),
        ("burstgpt", "Timestamp,Request tokens,Response tokens\n1,2.5,3\n", "Request tokens '2.5' is no whole number"),
        ("azure_llm", "TIMESTAMP,ContextTokens,GeneratedTokens\n12,2,3\n", "line 2: TIMESTAMP '12' is no time"),
        ("azure_llm", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-13-01 00:00:00,2,3\n", "'2023-13-01 00:00:00' is"),
        ("azure_llm", "a,b,c\n1,2,3\n", "has no column 'ContextTokens'; it has: a, b, c"),
    ],
)
def test_traces_that_are_none(write: Write, name: str, content: str, says: str) -> None:
    with pytest.raises(DatasetError, match=says):
        samples(name, write("t.csv", content))


def test_rows_at_random_of_which_none_is_of_use_end(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genbench.datasets._samples.ENDLESS", 50)
    path = write("t.csv", "Timestamp,Request tokens,Response tokens\n1,0,3\n2,0,3\n")
    with pytest.raises(DatasetError, match="each of 50 rows at random has no time or no tokens; give other data"):
        samples("burstgpt", path, sampling="random")


FILES = {
    "jsonl": "conversations.jsonl",
    "sharegpt": "sharegpt.json",
    "openorca": "openorca.jsonl",
    "alpaca": "alpaca.json",
    "cnn_dailymail": "cnn_dailymail.csv",
    "burstgpt": "burstgpt.csv",
    "azure_llm": "azure-llm.csv",
    "llm_load_test": "llm-load-test.jsonl",
}


@pytest.mark.parametrize("name", sorted(FILES))
def test_the_examples(name: str) -> None:
    found = samples(name, EXAMPLES / FILES[name])
    assert len(found) >= 3
    assert all(sample.prompt or sample.messages for sample in found)
    again = samples(name, EXAMPLES / FILES[name], sampling="shuffle")
    assert len(again) == len(found)
    load = registry.load("datasets", name).load
    endless = load(options(EXAMPLES / FILES[name], sampling="random"), np.random.default_rng(1))
    assert len(list(islice(endless, 50))) == 50
    batches = FILES[name] != "conversations.jsonl" and samples(name, EXAMPLES / FILES[name], texts=True, batch_size=2)
    assert batches is False or len(batches[0].texts) == 2


@pytest.mark.parametrize("name", sorted(FILES))
def test_without_a_file(name: str) -> None:
    with pytest.raises(DatasetError, match="needs a file; write --dataset it:None:FILE"):
        samples(name, None)
