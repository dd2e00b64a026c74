"""Chat and completions against transformers serve and llama-cpp-python: the numbers must be those of the wire."""

import json
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from tests.engines.serving import Engine, Ran, plain_client, profile

pytestmark = [pytest.mark.engines, pytest.mark.timeout(240)]

Bench = Callable[..., Ran]
SMALL = ("--request-count", "12", "--isl", "64", "--osl", "16")
AROUND = "<|turn|>user\n<|end|><|turn|>assistant:"  # what the models' chat template puts around a prompt
MODEL = {"transformers": "./tiny", "llama": "tiny", "vllm": "tiny"}


@pytest.fixture(params=["transformers", "llama", "vllm"])
def named(request: pytest.FixtureRequest) -> tuple[str, Engine]:
    """Each engine in turn, with its name."""
    return request.param, request.getfixturevalue(request.param)


@pytest.mark.parametrize("kind", ["chat", "completions"])
@pytest.mark.parametrize("stream", ["--stream", "--no-stream"])
@pytest.mark.parametrize("load", [("-c", "1"), ("-c", "4"), ("-r", "20")], ids=["c1", "c4", "r20"])
def test_every_count_is_exact(
    named: tuple[str, Engine], bench: Bench, tokenizer: str, kind: str, stream: str, load: tuple[str, str]
) -> None:
    name, engine = named
    options = (*SMALL, *load, stream, "--endpoint-type", kind, "--model", MODEL[name], "--tokenizer", tokenizer)
    ran = bench(engine, *options)
    assert ran.code == 0, ran.err
    assert ran.summary["outcomes"] == {"ok": 12}
    assert ran.stat("osl", "min") == ran.stat("osl", "max") == 16
    silent = (name, stream) == ("llama", "--stream")  # it never sends usage in a stream
    template = 0 if kind == "completions" else len(Tokenizer.from_file(f"{tokenizer}/tokenizer.json").encode(AROUND))
    assert ran.header["preflight"]["template_tokens"] == (None if silent else template)
    for row in ran.records:
        assert row["isl_tokenizer"] == 64
        assert row["osl_tokenizer"] == 16
        if not silent:
            assert row["osl_usage"] == 16
            assert row["isl_usage"] == 64 + template
    metrics = ran.summary["metrics"]
    assert ("ttft" in metrics) == (stream == "--stream")
    if stream == "--stream":
        # 16 tokens, each in an event of its own: 15 gaps. (A read may hold several; their gaps are then 0.)
        assert metrics["itl"]["count"] == 12 * 15
        assert ran.stat("ttft", "max") <= ran.stat("request_latency", "max")
        for row in ran.records:
            assert row["sent_ns"] <= row["event_ns"][0] <= row["event_ns"][-1] <= row["end_ns"]


def test_times_agree_with_a_plain_client(named: tuple[str, Engine], tmp_path: Path) -> None:
    """In turns, and by the least times: both clients share the machine with the engine, and with whoever else."""
    name, engine = named
    ours: dict[str, list[float]] = {"ttft": [], "request_latency": []}
    plain: dict[str, list[float]] = {"ttft": [], "request_latency": []}
    for turn in range(3):
        ran = profile(tmp_path / str(turn), engine.url, *SMALL, "--model", MODEL[name], "--save-inputs")
        lines = (ran.folder / "inputs.jsonl").read_text().splitlines()
        times = plain_client(engine.port, "/v1/chat/completions", [json.loads(line)["body"] for line in lines])
        for position, key in enumerate(ours):
            ours[key].append(ran.stat(key, "min"))
            plain[key].append(min(time[position] for time in times))
    for key in ours:
        low, high = 0.6 * min(plain[key]) - 1, 1.4 * min(plain[key]) + 1
        assert low < min(ours[key]) < high, (key, ours, plain)


def test_a_file_of_prompts_keeps_its_own_limits(
    named: tuple[str, Engine], bench: Bench, tmp_path: Path, tokenizer: str
) -> None:
    name, engine = named
    file = tmp_path / "prompts.jsonl"
    file.write_text('{"prompt": "Tell me a story", "max_tokens": 7}\n{"text": "List some colours", "max_tokens": 9}\n')
    ran = bench(engine, "-i", str(file), "-n", "6", "--model", MODEL[name], "--tokenizer", tokenizer, "--warmup", "0")
    assert ran.code == 0, ran.err
    assert sorted(row["osl_tokenizer"] for row in ran.records) == [7, 7, 7, 9, 9, 9]
    assert any("2 samples used 3x" in note for note in ran.summary["notes"])


def test_messages_as_texts_and_as_parts(named: tuple[str, Engine], bench: Bench, tmp_path: Path) -> None:
    name, engine = named
    file = tmp_path / "messages.jsonl"
    file.write_text(
        '{"messages": [{"role": "system", "content": "Be brief"}, {"role": "user", "content": "Hi"}]}\n'
        '{"messages": [{"role": "user", "content": [{"type": "text", "text": "in parts"}]}]}\n'
    )
    ran = bench(engine, "-i", str(file), "-n", "4", "--osl", "5", "--model", MODEL[name])
    assert (ran.code, ran.summary["outcomes"]) == (0, {"ok": 4}), ran.err


def test_promises_decide_the_exit_code(named: tuple[str, Engine], bench: Bench) -> None:
    name, engine = named
    ran = bench(engine, *SMALL, "--model", MODEL[name], "--slo", "error_rate<1%", "--slo", "ttft.p50<1us")
    assert ran.code == 1
    assert [promise["passed"] for promise in ran.summary["slo"]] == [True, False]


def test_a_wrong_path_is_one_sentence(named: tuple[str, Engine], bench: Bench) -> None:
    name, engine = named
    ran = bench(engine, *SMALL, "--model", MODEL[name], "--endpoint", "/v1/nowhere")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.strip().count("\n") == 0
    assert "knows no /v1/nowhere (HTTP 404" in ran.err


def test_vllm_counts_what_genbench_counts(vllm: Engine, bench: Bench) -> None:
    """The server's own counters grow by what the records hold, and by the few tokens of the preflight."""
    before = counters(vllm)
    ran = bench(vllm, *SMALL, "--warmup", "0", "-c", "2")
    grown = {name: value - before[name] for name, value in counters(vllm).items()}
    asked = 12 + 4  # the preflight: a first request and three that measure template and words
    assert grown["request_success_total"] == asked
    assert grown["generation_tokens_total"] - sum(row["osl_usage"] for row in ran.records) == 4 + 1 + 1 + 1


def test_vllm_refuses_a_prompt_beyond_its_context(vllm: Engine, bench: Bench) -> None:
    ran = bench(vllm, "-n", "5", "--isl", "4000", "--osl", "4")
    assert ran.code == 1
    assert ran.summary["outcomes"] == {"ok": 0, "http_error": 5}
    assert "maximum context length" in ran.summary["outcome_examples"]["http_error"]


def test_vllm_two_answers(vllm: Engine, bench: Bench) -> None:
    ran = bench(vllm, *SMALL, "--extra", "n=2")
    assert (ran.code, ran.summary["outcomes"]) == (0, {"ok": 12}), ran.err
    assert ran.stat("osl", "min") == ran.stat("osl", "max") == 32


def test_vllm_tells_tokens_by_logprobs(vllm: Engine, bench: Bench) -> None:
    ran = bench(vllm, *SMALL, "--extra", "logprobs=true")
    assert (ran.code, ran.summary["outcomes"]) == (0, {"ok": 12}), ran.err
    assert ran.summary["sources"]["tokens_per_event"] == "events"


def counters(vllm: Engine) -> dict[str, float]:
    """vLLM's totals, all labels added up."""
    found = {"generation_tokens_total": 0.0, "request_success_total": 0.0}
    for line in urllib.request.urlopen(vllm.url + "/metrics", timeout=10).read().decode().splitlines():
        name = line.partition("{")[0].removeprefix("vllm:")
        if name in found:
            found[name] += float(line.rpartition(" ")[2])
    return found


def test_transformers_lists_no_model(transformers: Engine, bench: Bench) -> None:
    ran = bench(transformers, *SMALL)
    assert ran.code == 2
    assert ran.err.strip().endswith("lists no models at /v1/models; name one with --model")


def test_transformers_refuses_a_wrong_model(transformers: Engine, bench: Bench) -> None:
    ran = bench(transformers, *SMALL, "--model", "nope")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.strip().count("\n") == 0
    assert "'nope'" in ran.err
    assert "pinned to './tiny'" in ran.err


def test_transformers_refuses_an_unknown_field(transformers: Engine, bench: Bench) -> None:
    ran = bench(transformers, *SMALL, "--model", "./tiny", "--extra", "unheard=1")
    assert ran.code == 2
    assert "Unexpected fields in the request: {'unheard'}" in ran.err


def test_transformers_refuses_ignore_eos_and_the_run_goes_on(transformers: Engine, bench: Bench) -> None:
    ran = bench(transformers, *SMALL, "--model", "./tiny")
    assert ran.code == 0
    assert any("refuses ignore_eos" in note for note in ran.summary["notes"])
    template = ran.header["preflight"]["template_tokens"]
    assert 8 <= template <= 12  # found without a tokenizer
    assert abs(ran.stat("isl") - 64 - template) <= 2


def test_extra_limit_does_not_hide_usage(transformers: Engine, bench: Bench) -> None:
    ran = bench(transformers, "-n", "4", "--isl", "64", "--osl", "none", "--extra", "max_tokens=20", "-m", "./tiny")
    assert (ran.stat("osl", "min"), ran.stat("osl", "max")) == (20, 20)
    assert not any("no usage from the server" in note for note in ran.summary["notes"])


def test_llama_answers_as_whatever_model(llama: Engine, bench: Bench) -> None:
    ran = bench(llama, *SMALL, "--model", "nope")
    assert ran.code == 0
    assert "the server lists tiny and no 'nope': it may answer with another model" in ran.summary["notes"]


def test_llama_without_usage_or_tokenizer_counts_nothing(llama: Engine, bench: Bench) -> None:
    ran = bench(llama, *SMALL)
    assert ran.code == 0
    assert not {"osl", "isl", "tpot", "itl"} & set(ran.summary["metrics"])
    assert ran.summary["metrics"]["icl"]["count"] == 12 * 15
    assert any("name one with --tokenizer" in note for note in ran.summary["notes"])


@pytest.mark.parametrize(
    ("stream", "possible"), [("--stream", {"empty_body", "truncated"}), ("--no-stream", {"http_error"})]
)
def test_llama_with_a_prompt_beyond_its_context(llama: Engine, bench: Bench, stream: str, possible: set[str]) -> None:
    """Streamed it answers 200 without an event, and on a kept connection at times without the last HTTP chunk too."""
    ran = bench(llama, "-n", "30", "--isl", "4000", "--osl", "4", stream)
    assert ran.code == 1
    outcomes = ran.summary["outcomes"]
    assert outcomes.pop("ok") == 0
    assert sum(outcomes.values()) == 30
    assert set(outcomes) <= possible


def test_llama_breaks_off_answers_by_default(start_llama: Callable[..., Engine], bench: Bench) -> None:
    """A new request ends the one before: [DONE] without finish_reason, and no last HTTP chunk. Not a success."""
    ran = bench(start_llama(), "-n", "12", "--isl", "64", "--osl", "64", "-c", "3")
    assert ran.summary["outcomes"]["truncated"] >= 6
    assert ran.summary["outcomes"]["ok"] + ran.summary["outcomes"]["truncated"] == 12


def test_answers_that_end_by_themselves(
    start_transformers: Callable[[str], Engine], bench: Bench, tokenizer: str
) -> None:
    """The end token counts in usage and has no text: one more than the tokenizer finds. No text at all is no_output."""
    ran = bench(
        start_transformers("ending"),
        *("-n", "30", "--isl", "64", "--osl", "60", "--model", "./ending", "--tokenizer", tokenizer, "--warmup", "0"),
    )
    assert ran.code == 0, ran.err
    assert set(ran.summary["outcomes"]) <= {"ok", "no_output"}
    ended = [row for row in ran.records if row["finish_reason"] == "stop"]
    assert len(ended) >= 15
    for row in ended:
        assert row["osl_usage"] == row["osl_tokenizer"] + 1
        assert (row["osl_tokenizer"] == 0) == (row["outcome"] == "no_output")
