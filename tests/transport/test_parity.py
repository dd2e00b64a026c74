"""The three transports against the same simulator: the same records, but for what is listed here.

Each has a simulator of its own and sends it the same requests in the same order: an answer's words depend on its
number. What a library cannot show is in `expected` and DIFFERENCES, with the reason; all else must be equal.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import orjson
import pytest

from genbench.types import MISSING, Outcome
from tests.simulator.process import Simulator
from tests.transport.side_by_side import NAMES, PATHS, Said, address, decoded, once

FAST = {"ttft_ms": 3, "itl_ms": 3}
CASES: tuple[tuple[str, str, Mapping[str, Any]], ...] = (
    ("chat", "", {}),
    ("chat", "", {"n": 2}),
    ("chat", "", {"stream": False}),
    ("chat", "", {"stream": False, "n": 2}),
    ("completions", "", {}),
    ("completions", "", {"stream": False}),
    ("completions", "cut", {}),
    ("embeddings", "", {}),
    ("embeddings", "", {"encoding_format": "base64"}),
    ("embeddings", "status:500", {}),
    ("chat", "no_ignore_eos", {"ignore_eos": True, "min_tokens": 6}),
    ("chat", "no_done unterminated", {}),
    ("chat", "crlf event_error:2", {}),
    *(
        ("chat", fault, {"stream": stream})
        for fault in (
            *("status:429", "status:503", "no_max_tokens", "close_before_byte", "garbage", "inband_error"),
            *("event_error", "cut", "reset", "stall", "empty_body", "immediate_finish", "usage_in_finish"),
            *("no_usage", "usage_chars", "reasoning", "tools", "slow_head:20", "continue_head", "connection_close"),
        )
        for stream in (True, False)
    ),
    *(
        ("chat", fault, {})
        for fault in (
            *("no_stream_options", "early_role", "comments", "crlf", "split", "packed", "multi_token", "no_done"),
            *("unterminated", "keepalive_close"),
        )
    ),
    ("chat", "truncated_json", {"stream": False}),
)

# (transport, faults): what the record says instead, and why.
DIFFERENCES: Mapping[tuple[str, str], tuple[Mapping[str, Any], str]] = {
    ("openai", "no_done unterminated"): (
        {"usage": (MISSING, MISSING)},
        "the SDK drops an event without its blank line; here it was the one with the usage",
    ),
    ("aiohttp", "reset"): (
        {"error": "the server closed the connection before the response was complete"},
        "aiohttp does not tell a reset from an end",
    ),
}


def expected(name: str, faults: str, wire: Said, found: Said) -> Said:
    """What a transport should say where the wire transport says this."""
    if wire.outcome == Outcome.PROTOCOL_ERROR:
        wire = replace(wire, error=found.error)  # what is wrong is told in the library's own words
    if name == "openai" and (
        wire.streamed or wire.outcome == Outcome.TRUNCATED or wire.outcome == Outcome.TIMEOUT_IDLE
    ):
        # What came is the SDK's own writing of it, and nothing at all of an unstreamed answer that broke off.
        wire = replace(wire, response_bytes=found.response_bytes)
    if name == "openai" and wire.streamed:
        keep = [k for k, kind in enumerate(wire.kinds) if kind not in ("done", "comment")]
        if wire.unterminated and not wire.done:
            keep.pop()
        kinds, tokens = tuple(wire.kinds[k] for k in keep), tuple(wire.tokens[k] for k in keep)
        wire = replace(wire, done=False, unterminated=False, kinds=kinds, tokens=tokens)
    return replace(wire, **DIFFERENCES.get((name, faults), ({}, ""))[0])


@pytest.fixture(scope="module")
def simulators() -> Iterator[Mapping[str, Simulator]]:
    """One for each transport."""
    started = {name: Simulator() for name in NAMES}
    yield started
    for one in started.values():
        one.stop()


def body_of(kind: str, faults: str, more: Mapping[str, Any]) -> dict[str, Any]:
    """A small request to the simulator."""
    body: dict[str, Any] = {"model": "simulated-model", "stream": True, "max_tokens": 6}
    if kind == "embeddings":
        body = {"model": "simulated-model", "input": ["one", "and two \u4e16\u754c"]}
    elif kind == "chat":
        body["messages"] = [{"role": "user", "content": 'Say "hé" \\ \u4e16\u754c'}]
    else:
        body["prompt"] = "Once upon a time"
    body |= more
    if body.get("stream"):
        body["stream_options"] = {"include_usage": True}
    return body | {"simulate": {**FAST, "fault": faults.split()}}


@pytest.mark.parametrize(
    ("kind", "faults", "more"), CASES, ids=[f"{k}-{f or 'well'}-{'-'.join(map(str, m.values()))}" for k, f, m in CASES]
)
def test_the_same_record(simulators: Mapping[str, Simulator], kind: str, faults: str, more: Mapping[str, Any]) -> None:
    body = body_of(kind, faults, more)
    found: dict[str, Said] = {}
    for name, simulator in simulators.items():
        where = address(simulator.url, path=PATHS[kind])
        exchange = once(name, where, orjson.dumps(body), idle_s=0.25 if "stall" in faults else 5.0)[0]
        assert MISSING not in (exchange.record.sent_ns, exchange.record.sent_end_ns, exchange.record.end_ns)
        found[name] = decoded(exchange, kind, body)
    for name in ("aiohttp", "openai"):
        assert found[name] == expected(name, faults, found["wire"], found[name]), name
