"""Each dialect by hand: records with whole milliseconds, their figures worked out in the comments."""

import math

import pytest

from genbench.errors import ConfigError
from genbench.metrics.definitions import by_key
from genbench.metrics.dialects import DIALECTS, translate
from genbench.types import EventKind, Outcome, Phase, Record
from tests.metrics.made import MS, ns, stream
from tests.metrics.translated import Theirs, normal, row_of, run_of, said

R, C, T = EventKind.REASONING, EventKind.CONTENT, EventKind.TOOL
# -- the tools, one request each --------------------------------------------------------------------------------------

NORMAL: dict[str, Theirs] = {
    "vllm": {
        ("TTFT", "Mean"): 0.625,  # the role chunk, 100.5 - 99.875
        ("TPOT", "Mean"): 129.5 / 3,  # (230 - 100.5) / (4 - 1)
        # Chunks at 100.5 150 170 190 230: gaps 49.5 20 20 40; the finish event is of the last token's message.
        ("ITL", "Mean"): 129.5 / 4,
        ("ITL", "Median"): 30,  # of 20 20 40 49.5
        ("E2EL", "Mean"): 130.125,  # 230 - 99.875
        ("Successful requests", ""): 1,
        ("Failed requests", ""): 0,
        ("Benchmark duration", ""): 0.135125,
        ("Total generated tokens", ""): 4,
        ("Total input tokens", ""): 10,
        ("Peak output token throughput", ""): 5,  # all five chunks in the first second
        ("Peak concurrent requests", ""): 1,
    },
    "aiperf": {
        ("Time to First Token", "avg"): 50.125,  # 150 - 99.875
        ("Time to Second Token", "p50"): 20,
        ("Time to First Output Token", "max"): 50.125,
        ("Request Latency", "avg"): 130.125,
        ("Decode Duration", "avg"): 80,  # 230 - 150
        ("Inter Token Latency", "avg"): 80 / 3,
        ("Inter Chunk Latency", "avg"): 80 / 3,  # of 20 20 40
        ("Inter Chunk Latency", "std"): math.sqrt(800 / 9),  # population: ((20/3)^2 * 2 + (40/3)^2) / 3
        ("Output Token Throughput Per User", "avg"): 37.5,
        ("E2E Output Token Throughput", "avg"): 4000 / 130.125,
        ("Output Sequence Length", "avg"): 4,
        ("Benchmark Duration", ""): 0.130125,  # ends with the last token, not with the body
        ("Request Throughput", ""): 1000 / 130.125,
        ("Output Token Throughput", ""): 4000 / 130.125,
        ("Total Token Throughput", ""): 14000 / 130.125,
        ("Request Error Rate", ""): 0,
        ("Request Count", ""): 1,
    },
    "genai-perf": {
        ("Time To First Token", "avg"): 50.125,
        ("Time To Second Token", "avg"): 20,
        ("Inter Token Latency", "avg"): 26.666667,  # 26,666,666.7 ns are 26,666,667
        ("Output Token Throughput Per User", "avg"): 1e9 / 26_666_667,
        ("Request Latency", "avg"): 130.125,
        ("Request Throughput", ""): 1000 / 130.125,
        ("Request Count", ""): 1,
    },
    "guidellm": {
        ("Request Latency", "Mean"): 0.135,  # to the end of the body: 235 - 100
        ("TTFT", "Mdn"): 50,  # from the first header: our sent
        ("ITL", "Mean"): 80 / 3,
        ("TPOT", "Mean"): 32.5,  # (230 - 100) / 4
        ("Requests Comp", ""): 1,
        ("Requests Per Sec Mean", ""): 1 / 0.135,
        ("Output Tokens Per Sec Mean", ""): 4 / 0.135,
        ("Total Tokens Per Sec Mean", ""): 14 / 0.135,
        ("Requests Concurrency", "Mean"): 1,
    },
    "llm-load-test": {
        ("tpot", "mean"): 135.125 / 4,  # (235 - 99.875) / 4
        ("ttft", "mean"): 50.125,
        ("itl", "mean"): 85 / 3,  # (235 - 150) / 3
        ("tt_ack", "mean"): 0.625,
        ("response_time", "percentile_80"): 135.125,
        ("throughput_full_duration", ""): 4 / 0.135125,
        ("throughput", ""): None,
        ("total_failures", ""): 0,
    },
    "mlperf": {
        ("latency", "Mean"): 135.25 * MS,  # from the intended moment, 99.75
        ("first token latency", "99.00 percentile"): 50.25 * MS,
        ("Time per Output Token", "Min"): 28_333_333,  # 85 ms / 3 in whole ns
        ("Completed samples per second", ""): 0,  # (1 - 1) / 0.13525
        ("Completed tokens per second", ""): 4 / 0.13525,
    },
}


def role_first() -> Record:
    """As normal, but the role chunk comes 30 ms after the send, 20 ms before the first token."""
    record = normal()
    record.event_ns[0] = ns(130)
    return record


CASES: dict[str, tuple[Record, dict[str, Theirs]]] = {
    "normal": (normal(), NORMAL),
    "one token": (
        stream(0, 100, [150], osl=1),
        {
            "vllm": {("TPOT", "Mean"): None, ("TTFT", "Mean"): 0.625, ("ITL", "Mean"): 49.5, ("E2EL", "Mean"): 50.125},
            "aiperf": {
                ("Inter Token Latency", "avg"): None,
                ("Time to Second Token", "avg"): None,
                ("Inter Chunk Latency", "avg"): None,
                ("Decode Duration", "avg"): 0,
                ("Request Latency", "avg"): 50.125,
            },
            "genai-perf": {("Inter Token Latency", "avg"): None, ("Request Latency", "avg"): 50.125},
            "guidellm": {("ITL", "Mean"): None, ("TPOT", "Mean"): 50, ("TTFT", "Mean"): 50},
            "llm-load-test": {("itl", "mean"): None, ("tpot", "mean"): 50.125},
            "mlperf": {("Time per Output Token", "Mean"): None, ("latency", "Mean"): 50.25 * MS},
        },
    ),
    "one chunk of many tokens": (
        stream(0, 100, [150], osl=8),
        {
            "vllm": {("TPOT", "Mean"): 49.5 / 7},  # role to token: it was one chunk with choices before
            "aiperf": {("Inter Token Latency", "avg"): 0, ("Output Token Throughput Per User", "avg"): None},
            "genai-perf": {("Inter Token Latency", "avg"): None},  # two responses are needed
            "guidellm": {("ITL", "Mean"): 0, ("TPOT", "Mean"): 6.25},  # 50 / 8
            "llm-load-test": {("itl", "mean"): 0, ("tpot", "mean"): 50.125 / 8},
            "mlperf": {("Time per Output Token", "Mean"): 0},
        },
    ),
    "role-only chunk first": (
        role_first(),
        {
            "vllm": {("TTFT", "Mean"): 30.125, ("TPOT", "Mean"): 100 / 3, ("ITL", "Mean"): 25},  # 20 20 20 40
            "aiperf": {("Time to First Token", "avg"): 50.125},
            "genai-perf": {("Time To First Token", "avg"): 50.125},
            "guidellm": {("TTFT", "Mean"): 50},
            "llm-load-test": {("ttft", "mean"): 50.125, ("tt_ack", "mean"): 30.125},
            "mlperf": {("first token latency", "Mean"): 50.25 * MS},
        },
    ),
    "reasoning": (
        stream(0, 100, [150, 170, 190, 230], end=235, kinds=[R, R, C, C]),
        {
            "vllm": {("TTFT", "Mean"): 0.625},
            "aiperf": {("Time to First Token", "avg"): 50.125, ("Time to First Output Token", "avg"): 90.125},
            # Only text: responses at 190 and 230, (130.125 - 90.125) / (4 - 1).
            "genai-perf": {("Time To First Token", "avg"): 90.125, ("Inter Token Latency", "avg"): 13.333333},
            "guidellm": {("TTFT", "Mean"): 50, ("TTFOT", "Mean"): 90},
            "llm-load-test": {("ttft", "mean"): 50.125},
            "mlperf": {("first token latency", "Mean"): 50.25 * MS},
        },
    ),
    "tool call": (
        stream(0, 100, [150, 170, 190, 230], end=235, kinds=[T, T, C, C]),
        {
            "aiperf": {("Time to First Output Token", "avg"): 50.125},
            "genai-perf": {("Time To First Token", "avg"): 90.125},
            "guidellm": {("TTFOT", "Mean"): 50},
        },
    ),
    "error mid-stream": (
        stream(0, 100, [150, 170], outcome=Outcome.STREAM_ERROR, end=180, osl=-1),
        {
            "vllm": {("Successful requests", ""): 1, ("E2EL", "Mean"): 70.125, ("TPOT", "Mean"): None},
            "aiperf": {("Request Count", ""): 1, ("Request Error Rate", ""): 0, ("Request Latency", "avg"): 70.125},
            "genai-perf": {("Request Count", ""): 1, ("Time To Second Token", "avg"): 20},
            # Errored: in no latency, but its two tokens and itself are in the rates, over 80 ms.
            "guidellm": {
                ("Requests Err", ""): 1,
                ("TTFT", "Mean"): None,
                ("Output Tokens Per Sec Mean", ""): 25,
                ("Requests Per Sec Mean", ""): 12.5,
            },
            "llm-load-test": {("total_failures", ""): 1, ("failure_rate", ""): 100, ("ttft", "mean"): None},
            "mlperf": {("latency", "Mean"): None},
        },
    ),
    "failed": (
        Record(index=0, start_ns=ns(100), intended_ns=ns(100), end_ns=ns(110), outcome=Outcome.CONNECT_ERROR),
        {
            "aiperf": {("Request Count", ""): 0, ("Request Error Rate", ""): 100, ("Request Throughput", ""): None},
            "genai-perf": {("Request Count", ""): 0, ("Request Throughput", ""): None},
            "guidellm": {("Requests Err", ""): 1, ("Requests Per Sec Mean", ""): 100},
            "llm-load-test": {("total_requests", ""): 1, ("total_failures", ""): 1},
            "mlperf": {("latency", "Mean"): None, ("Completed samples per second", ""): None},
        },
    ),
}


@pytest.mark.parametrize(("case", "name"), [(case, name) for case, (_, tools) in CASES.items() for name in tools])
def test_by_hand(case: str, name: str) -> None:
    record, tools = CASES[case]
    found = said(name, record)
    for key, expected in tools[name].items():
        assert key in found, key
        if expected is None:
            assert found[key] is None, key
        else:
            assert found[key] == pytest.approx(expected, rel=1e-9, abs=1e-9), key


def test_every_dialect_is_in_every_case_that_matters() -> None:
    for case in ("normal", "one token", "one chunk of many tokens", "role-only chunk first", "reasoning"):
        assert set(CASES[case][1]) == set(DIALECTS), case


# -- what counts ------------------------------------------------------------------------------------------------------


def mixed() -> list[Record]:
    """Two good answers, one cut, one HTTP error, one without output, one cancelled, and one for warm-up."""
    refused = Record(index=3, start_ns=ns(130), sent_ns=ns(131), end_ns=ns(140), outcome=Outcome.HTTP_ERROR, status=500)
    return [
        stream(0, 100, [150, 170], end=175),
        stream(1, 110, [160, 200, 240], end=300),
        stream(2, 120, [150], outcome=Outcome.TRUNCATED, end=400),
        refused,
        stream(4, 140, [], outcome=Outcome.NO_OUTPUT, end=160, osl=0),
        stream(5, 150, [180], outcome=Outcome.CANCELLED, end=200),
        stream(6, 10, [20], phase=Phase.WARMUP),
    ]


def test_vllm_counts() -> None:
    found = said("vllm", *mixed())
    # The answer without output has a chunk with choices: a success. First start 99.875, last end 400.
    assert found["Successful requests", ""] == 3
    assert found["Failed requests", ""] == 2
    assert found["Benchmark duration", ""] == pytest.approx(0.300125)
    assert found["Request throughput", ""] == pytest.approx(3 / 0.300125)
    assert found["Output token throughput", ""] == pytest.approx(5 / 0.300125)


def test_aiperf_counts() -> None:
    found = said("aiperf", *mixed())
    # 99.875 to the last content of a valid answer, 240; the cut one, the refused and the empty one are errors.
    assert found["Benchmark Duration", ""] == pytest.approx(0.140125)
    assert found["Request Count", ""] == 2
    assert found["Request Error Rate", ""] == 60
    assert found["Request Throughput", ""] == pytest.approx(2 / 0.140125)


def test_genai_perf_counts_every_request() -> None:
    found = said("genai-perf", *mixed())
    assert found["Request Count", ""] == 2
    assert found["Request Throughput", ""] == pytest.approx(5 / 0.140125)


def test_guidellm_counts() -> None:
    found = said("guidellm", *mixed())
    assert (found["Requests Comp", ""], found["Requests Err", ""], found["Requests Inc", ""]) == (2, 3, 1)
    # Its window is 100 to 400 ms, with all six in it; tokens: 2 + 3, and one each of the cut and the cancelled one.
    assert found["Timings Dur", ""] == pytest.approx(0.3)
    assert found["Requests Per Sec Mean", ""] == pytest.approx(20)
    assert found["Output Tokens Per Sec Mean", ""] == pytest.approx(7 / 0.3)


def test_llm_load_test_counts() -> None:
    found = said("llm-load-test", *mixed())
    assert (found["total_requests", ""], found["total_failures", ""], found["failure_rate", ""]) == (5, 3, 60)
    assert found["full_duration", ""] == pytest.approx(0.200125)  # 99.875 to 300


def test_notes_say_what_was_assumed() -> None:
    run = run_of(*mixed(), stream(7, 150, [170], outcome=Outcome.STREAM_ERROR, osl=-1))
    for name, words in (
        ("vllm", ("error inside the stream", "truncated", "without a token count", "cancelled by us")),
        ("aiperf", ("error inside the stream", "truncated", "adj_", "effective_", "without a token count")),
        ("genai-perf", ("may end the run", "without a token count", "cancelled by us")),
        ("guidellm", ("truncated",)),
        ("llm-load-test", ("not ok", "usage with each chunk")),
        ("mlperf", ("waits for every sample", "closed loop")),
    ):
        notes = " ".join(translate(name, run).notes)
        for word in words:
            assert word in notes, (name, word)


def test_a_good_run_has_no_such_note() -> None:
    for name in DIALECTS:
        notes = " ".join(translate(name, run_of(normal())).notes)
        for word in ("truncated", "error inside", "cancelled", "token count:", "adj_", "not ok", "no request"):
            assert word not in notes, name


@pytest.mark.parametrize("name", DIALECTS)
def test_an_empty_log(name: str) -> None:
    found = translate(name, run_of())
    assert "the log has no request" in found.notes
    for row in found.rows:
        assert all(not one.theirs for one in row.figures), row.name  # none, or a count of 0
        assert row.why


@pytest.mark.parametrize("name", DIALECTS)
def test_every_row_has_its_reason_and_a_key_of_ours(name: str) -> None:
    known = by_key()
    for records in ([normal()], mixed(), []):
        for row in translate(name, run_of(*records)).rows:
            assert row.why
            assert row.ours == "" or row.ours in known
            assert row.figures


def test_unknown_dialect() -> None:
    with pytest.raises(ConfigError, match=r"no dialect 'sglang'.*vllm, aiperf"):
        translate("sglang", run_of())


# -- reasons ----------------------------------------------------------------------------------------------------------


def test_a_reason_stands_where_values_agree_and_says_so() -> None:
    found = translate("vllm", run_of(normal()))
    assert row_of(found, "Total generated tokens").why.endswith("; same here")
    assert not row_of(found, "TTFT").why.endswith("same here")
    figure = row_of(found, "TTFT").figures[0]
    assert (figure.theirs, figure.ours) == (0.625, 50)


def test_the_same_definition_says_so() -> None:
    assert row_of(translate("guidellm", run_of(normal())), "Requests Comp").why == "same definition"


def test_ours_is_in_their_unit() -> None:
    latency = row_of(translate("guidellm", run_of(normal())), "Request Latency")
    assert latency.unit == "Sec"
    assert latency.figures[0].ours == pytest.approx(0.130)
    first = row_of(translate("mlperf", run_of(normal())), "first token latency")
    assert first.unit == "ns"
    assert first.figures[0].ours == pytest.approx(50.25e6)


def test_ours_are_our_statistics() -> None:
    records = [stream(i, 1000 * i, [1000 * i + ttft, 1000 * i + ttft + 20]) for i, ttft in enumerate((40, 50, 60, 90))]
    row = row_of(translate("llm-load-test", run_of(*records)), "ttft")
    ours = {one.stat: one.ours for one in row.figures}
    assert ours["percentile_80"] == pytest.approx(72)  # linear between 60 and 90 at 0.8 * 3 = 2.4
    assert ours["mean"] == 60
    ttft = row_of(translate("vllm", run_of(*records)), "TTFT")
    # Sample deviation of 40 50 60 90: sqrt((400 + 100 + 0 + 900) / 3)
    assert ttft.figures[3].ours == pytest.approx(math.sqrt(1400 / 3))


def test_the_source_of_lengths_is_in_the_reason() -> None:
    plain = row_of(translate("aiperf", run_of(normal())), "Output Sequence Length")
    assert "--use-server-token-count" in plain.why
    counted = normal()
    counted.osl_tokenizer = 5
    found = translate("aiperf", run_of(counted))
    assert "tokenizer" in row_of(found, "Output Sequence Length").why
    assert row_of(found, "Output Sequence Length").figures[0].theirs == 5
    assert row_of(found, "Inter Token Latency").figures[0].theirs == 20  # 80 / (5 - 1)
