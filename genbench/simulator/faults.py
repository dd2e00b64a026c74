"""Everything the embedded engine can do wrong on purpose: the names, their arguments, what each looks like.

A fault is written NAME or NAME:ARGUMENT. K counts content events of the stream; events are counted over all choices.
What a fault does lives where the bytes are made (`request`, `render`, `script`); this table is the only list of names.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from genbench.errors import ConfigError

Faults = Mapping[str, float]  # name -> argument (0 for those without one)


@dataclass(frozen=True, slots=True)
class Kind:
    """One fault: a sentence for the help, the argument's name and range, its default (None: it must be given)."""

    says: str
    argument: str = ""
    default: float | None = 0.0
    low: float = 0.0
    high: float = 1e6


KINDS: Mapping[str, Kind] = {
    # Refused before any answer.
    "status": Kind("an error status with an error body; 429 with Retry-After: 1", "CODE", None, 400, 599),
    "loading": Kind("503 on every route for so long after the start", "SECONDS", 1.0, 0, 3600),
    "no_ignore_eos": Kind("422 naming ignore_eos and min_tokens when they are sent"),
    "no_max_tokens": Kind("400 naming max_completion_tokens when max_tokens is sent"),
    "no_stream_options": Kind("400 when stream_options is sent"),
    # Not an answer at all.
    "close_before_byte": Kind("the connection is closed without a byte"),
    "garbage": Kind("bytes that are not HTTP, then the end"),
    # Broken off in the middle (unstreamed: in the middle of the body).
    "inband_error": Kind("an error object as data after K events, then the end of the body", "K", 3),
    "event_error": Kind("an 'event: error' after K events, then the end of the body", "K", 3),
    "cut": Kind("the connection is closed after K events without the last chunk", "K", 3),
    "reset": Kind("the connection is reset after K events", "K", 3),
    "stall": Kind("nothing more after K events, the connection stays open", "K", 3),
    "truncated_json": Kind("unstreamed: Content-Length is larger than the body, then the end"),
    "empty_body": Kind("200 and a complete body without an event"),
    "immediate_finish": Kind("a finish reason without any token"),
    # Unusual, but whole.
    "early_role": Kind("the role event leaves on receipt instead of with the first token"),
    "comments": Kind("a ': ping' comment before each content event"),
    "crlf": Kind("lines of the stream end in CR LF"),
    "split": Kind("each event in two writes, 1 ms apart"),
    "packed": Kind("N events in one write, when the last of them is due", "N", 4, 1),
    "multi_token": Kind("the text of N tokens in one event", "N", 4, 1),
    "no_done": Kind("no [DONE]"),
    "unterminated": Kind("the last event lacks its blank line"),
    "usage_in_finish": Kind("usage rides in a finish event of its own whose choices are not empty, asked for or not"),
    "no_usage": Kind("never any usage"),
    "usage_chars": Kind("usage counts characters"),
    "reasoning": Kind("the first K events are delta.reasoning_content", "K", 3),
    "tools": Kind("a tool call instead of text"),
    "slow_head": Kind("the response head trickles in four pieces until MS", "MS", 200),
    "continue_head": Kind("an unasked '100 Continue' before the head"),
    "keepalive_close": Kind("the connection is closed right after the answer without having said so"),
    "connection_close": Kind("Connection: close, and a body that ends with the connection"),
}


def parse(texts: Iterable[str]) -> Faults:
    """Faults of ['cut:5', 'crlf'], in that order. Raises ConfigError with one sentence."""
    found: dict[str, float] = {}
    for text in texts:
        name, colon, argument = text.partition(":")
        kind = KINDS.get(name)
        if kind is None:
            raise ConfigError(f"unknown fault '{name}'; use one of {', '.join(KINDS)}")
        if not kind.argument and colon:
            raise ConfigError(f"fault '{name}' takes no argument, but '{argument}' was given; leave it out")
        found[name] = _argument(name, kind, argument) if colon or kind.default is None else kind.default
    return found


def _argument(name: str, kind: Kind, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not kind.low <= value <= kind.high:
        raise ConfigError(
            f"fault '{name}' has {kind.argument} '{text}'; give a number from {kind.low:g} to {kind.high:g}"
        )
    return value


def falls_on(number: int, share: float) -> bool:
    """Whether request `number` (from 0) is one of the `share` that get the faults; evenly spread, no chance in it."""
    edge = 1e-9  # 0.29 * 100 is 28.999999999999996
    return math.floor((number + 1) * share + edge) > math.floor(number * share + edge)
