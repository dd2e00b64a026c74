"""Text completions: one prompt in, its continuation out, streamed or whole.

Source: https://platform.openai.com/docs/api-reference/completions. A chunk and a whole response have the same shape.
"""

from collections.abc import Mapping
from typing import Any

from genbench.endpoints._openai import body, choice_index, closed, joined
from genbench.errors import ConfigError
from genbench.types import MISSING, Event, EventKind, Sample

PATH = "/v1/completions"
FRAMING = "sse"


def build(sample: Sample, options: Mapping[str, Any]) -> dict[str, Any]:
    """Request body: the sample's prompt, or its token ids. Raises ConfigError for a sample that only has messages."""
    if sample.messages and not sample.prompt:
        raise ConfigError("completions needs prompts, but this input has messages; use --endpoint-type chat")
    return body(options, {"prompt": list(sample.token_ids) or sample.prompt})


def read(message: Mapping[str, Any]) -> list[Event]:
    """Events of a stream's chunk or of a whole response; takes any JSON value.

    A choice gives CONTENT for text and FINISH for finish_reason; EMPTY when its text is empty and it goes on.
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
    content = choice.get("text")
    text = joined(content)
    finish = choice.get("finish_reason")
    if text:
        events.append(Event(EventKind.CONTENT, text, index, _tokens(choice)))
    if isinstance(finish, str) and finish:
        events.append(Event(EventKind.FINISH, "", index, MISSING, None, finish))
    elif content == "":
        events.append(Event(EventKind.EMPTY, "", index, _tokens(choice)))


def _tokens(choice: dict[str, Any]) -> int:
    ids = choice.get("token_ids")
    if isinstance(ids, list):
        return len(ids)
    logprobs = choice.get("logprobs")
    if isinstance(logprobs, dict):
        tokens = logprobs.get("tokens")
        if isinstance(tokens, list):
            return len(tokens)
    return MISSING
