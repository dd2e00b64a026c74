"""What OpenAI's endpoint kinds have in common: request options, usage, error shapes, token shares.

Everything here takes any JSON value: what a server sends is data, never a reason to raise.
"""

from collections.abc import Mapping
from typing import Any

from genbench.types import MISSING, Event, EventKind, Usage

CHOICES = 1 << 15  # a choice is kept in an int16; an index beyond it is not one
COUNTS = 1 << 31  # an event's tokens are kept in an int32; a count beyond it is not one


def body(options: Mapping[str, Any], content: Mapping[str, Any]) -> dict[str, Any]:
    """Request body of a kind that generates: model, content, stream, length, sampling; `extra` is merged last and wins.

    `ignore_eos` also sends `min_tokens` = max_tokens: servers know one or the other.
    """
    fields: dict[str, Any] = {"model": options.get("model", ""), **content}
    stream = bool(options.get("stream"))
    fields["stream"] = stream  # also when false: servers disagree about the default
    if stream and options.get("include_usage"):
        fields["stream_options"] = {"include_usage": True}
    max_tokens = options.get("max_tokens")
    if max_tokens is not None:
        fields[options.get("max_tokens_field") or "max_tokens"] = max_tokens
    if options.get("ignore_eos"):
        fields["ignore_eos"] = True
        if max_tokens is not None:
            fields["min_tokens"] = max_tokens
    for name in ("temperature", "top_p", "seed"):
        if options.get(name) is not None:
            fields[name] = options[name]
    fields.update(options.get("extra") or {})
    return fields


def choice_index(choice: Mapping[str, Any], position: int) -> int:
    """A choice's own index, its position in the list where it has none."""
    index = choice.get("index")
    return index if type(index) is int and 0 <= index < CHOICES else min(position, CHOICES - 1)


def joined(content: Any) -> str:
    """Text of a content field: a string, or a list of parts; anything else has none."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [part.get("text") if isinstance(part, dict) else part for part in content]
    return "".join(text for text in texts if isinstance(text, str))


def shares(tokens: int, events: int) -> list[int]:
    """Tokens of one message over its content events: one each while they last, the last event gets the rest.

    (5, 2) gives [1, 4], (1, 2) gives [1, 0]; an unknown number (-1) stays unknown for each.
    """
    if tokens < 0:
        return [MISSING] * events
    first = [1 if position < tokens else 0 for position in range(events - 1)]
    return [*first, tokens - sum(first)]


def usage_of(value: Any) -> Usage | None:
    """Token counts of a `usage` object, None if it is none; a field that is missing or not a count is -1."""
    if not isinstance(value, dict):
        return None
    return Usage(
        _count(value.get("prompt_tokens")),
        _count(value.get("completion_tokens")),
        _detail(value.get("prompt_tokens_details"), "cached_tokens"),
        _detail(value.get("completion_tokens_details"), "reasoning_tokens"),
    )


def _count(value: Any) -> int:
    return value if type(value) is int and 0 <= value < COUNTS else MISSING


def _detail(details: Any, name: str) -> int:
    return _count(details.get(name)) if isinstance(details, dict) else MISSING


def closed(message: Mapping[str, Any], events: list[Event]) -> list[Event]:
    """The events with what a message has outside its choices: an error, and the usage on the last event."""
    if not events or "error" in message:
        error = error_of(message)
        if error is not None:
            events.append(Event(EventKind.ERROR, error))
    if "usage" in message:
        usage = usage_of(message["usage"])
        if usage is not None:
            if not events:
                events.append(Event(EventKind.USAGE, usage=usage))
            else:
                e = events[-1]
                events[-1] = Event(e.kind, e.text, e.choice, e.tokens, usage, e.finish_reason, e.embeddings)
    return events


def error_of(message: Any) -> str | None:
    """Text of an error object, never empty; None if the message is not one.

    Shapes met: {"error": {"message": ..}}, {"error": "text"}, {"object": "error", "message": ..} (older vLLM),
    {"detail": "text"} and {"detail": [{"loc": .., "msg": ..}]} (FastAPI).
    """
    if not isinstance(message, dict):
        return None
    error = message.get("error")
    if isinstance(error, str) and error:
        return error
    if isinstance(error, dict):
        return _first_text(error)
    if message.get("object") == "error":
        return _first_text(message)
    if "choices" in message or "data" in message:
        return None
    detail = message.get("detail")
    if isinstance(detail, str) and detail:
        return detail
    if isinstance(detail, dict) and detail:
        return _first_text(detail)
    if isinstance(detail, list) and detail:
        return "; ".join(_complaint(item) for item in detail)
    return None


def _first_text(error: Mapping[str, Any]) -> str:
    for name in ("message", "msg", "detail", "type", "code"):
        value = error.get(name)
        if type(value) in (str, int) and value != "":
            return str(value)
    return "an error without a message"


def _complaint(item: Any) -> str:
    if not isinstance(item, dict):
        return _word(item)
    place = item.get("loc")
    text = _first_text(item)
    return f"{'.'.join(map(_word, place))}: {text}" if isinstance(place, list) and place else text


def _word(value: Any) -> str:
    """A text or a number as it is; a list or an object may be nested too deep for `str`."""
    return "..." if isinstance(value, (list, dict)) else str(value)
