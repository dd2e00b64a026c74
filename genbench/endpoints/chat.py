"""Chat completions: messages in, text, reasoning or tool calls out, streamed or whole.

Source: https://platform.openai.com/docs/api-reference/chat and what servers were seen to send instead.
"""

from collections.abc import Mapping
from typing import Any

from genbench.endpoints._openai import body, choice_index, closed, joined, shares
from genbench.types import MISSING, Event, EventKind, Sample

PATH = "/v1/chat/completions"
FRAMING = "sse"


def build(sample: Sample, options: Mapping[str, Any]) -> dict[str, Any]:
    """Request body: the sample's messages, or its prompt as the one message of a user."""
    messages = [dict(message) for message in sample.messages] or [{"role": "user", "content": sample.prompt}]
    return body(options, {"messages": messages})


def read(message: Mapping[str, Any]) -> list[Event]:
    """Events of a stream's chunk (`delta`) or of a whole response (`message`); takes any JSON value.

    A choice gives, in this order, one event each for reasoning, content, tool calls and finish_reason. A chunk's choice
    with none of them is ROLE where it names a role, else EMPTY.
    """
    if not isinstance(message, dict):
        return []
    events: list[Event] = []
    choices = message.get("choices")
    if isinstance(choices, list):
        for position, choice in enumerate(choices):
            if isinstance(choice, dict):
                _read_choice(choice, choice_index(choice, position), events)
    return closed(message, events)


def _read_choice(choice: dict[str, Any], index: int, events: list[Event]) -> None:
    delta = choice.get("delta")
    chunk = isinstance(delta, dict)
    if not isinstance(delta, dict):
        delta = choice.get("message")
        if not isinstance(delta, dict):
            delta = {}
    parts = _parts(delta)
    finish = choice.get("finish_reason")
    tokens = _tokens(choice)
    if len(parts) == 1:
        kind, text = parts[0]
        events.append(Event(kind, text, index, tokens))
    elif parts:
        for (kind, text), share in zip(parts, shares(tokens, len(parts)), strict=True):
            events.append(Event(kind, text, index, share))
    if isinstance(finish, str) and finish:
        events.append(Event(EventKind.FINISH, "", index, MISSING, None, finish))
    elif chunk and not parts:
        kind = EventKind.ROLE if delta.get("role") else EventKind.EMPTY
        events.append(Event(kind, "", index, tokens))


def _parts(delta: dict[str, Any]) -> list[tuple[EventKind, str]]:
    parts: list[tuple[EventKind, str]] = []
    reasoning = delta.get("reasoning_content") or delta.get("reasoning")
    if reasoning:
        reasoning = joined(reasoning)
        if reasoning:
            parts.append((EventKind.REASONING, reasoning))
    text = joined(delta.get("content")) or joined(delta.get("refusal"))
    if text:
        parts.append((EventKind.CONTENT, text))
    if "tool_calls" in delta or "function_call" in delta:
        text = _tool_text(delta)
        if text:
            parts.append((EventKind.TOOL, text))
    return parts


def _tool_text(delta: dict[str, Any]) -> str:
    """Names and arguments of all calls in a row; `function_call` is the older spelling of a single one."""
    calls = delta.get("tool_calls")
    functions = [call.get("function") for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
    functions.append(delta.get("function_call"))
    return "".join(
        joined(function.get("name")) + joined(function.get("arguments"))
        for function in functions
        if isinstance(function, dict)
    )


def _tokens(choice: dict[str, Any]) -> int:
    ids = choice.get("token_ids")
    if isinstance(ids, list):
        return len(ids)
    logprobs = choice.get("logprobs")
    if isinstance(logprobs, dict):
        content = logprobs.get("content")
        if isinstance(content, list):
            return len(content)
    return MISSING
