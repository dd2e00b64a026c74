"""A generative answer as bytes: the events of a stream in vLLM's shape, or the whole body.

No time, no framing, no sockets: `script` decides when each piece leaves and how it is wrapped. The parts that do not
change within a stream are rendered once; an event is then one formatting of bytes (1-2 us).
"""

import base64
import hashlib
from array import array
from collections.abc import Callable, Iterator

import orjson

from genbench.simulator.work import Work
from genbench.types import EventKind

Marks = tuple[tuple[int, int], ...]  # (event kind, tokens) of each event in a piece
Piece = tuple[bytes, Marks]
Cached = Callable[[], int | None]

WORDS = tuple(
    b" " + word
    for word in (
        b"the of and to in is that it was for on are as with his they at be this from have or by one had not but what "
        b"all were when we there can an your which their said if do will each about how up out them then she many some "
        b"so these would other into has more her two like him see time could no make than first been its who now "
        b"people my made over did down only way find use may water long little very after words called just where most "
        b"know get through back much before go good new write our used me man too any day same right look think also"
    ).split()
)
TOOL_NAME = "look_up"
_ROLE: Marks = ((EventKind.ROLE, 0),)
_NULL = b"null"


def words(work: Work, choice: int, start: int, count: int) -> bytes:
    """The text of tokens `start` to `start + count` of a choice, each a word with a space before it."""
    first = 13 * work.number + 31 * choice + start
    if count == 1:
        return WORDS[first % len(WORDS)]
    return b"".join([WORDS[k % len(WORDS)] for k in range(first, first + count)])


def usage(work: Work, tokens: int, choices: int, cached: int | None) -> dict[str, object]:
    """The usage object after `tokens` tokens in each of `choices` choices; `cached` None: there is no prefix cache."""
    completion = tokens * choices
    if "usage_chars" in work.faults:
        completion = sum(len(words(work, choice, 0, tokens)) for choice in range(choices))
    prompt = work.prompt_usage()
    found: dict[str, object] = {"prompt_tokens": prompt, "total_tokens": prompt + completion}
    found["completion_tokens"] = completion
    if cached is not None:
        found["prompt_tokens_details"] = {"cached_tokens": cached}
    return found


def finish_reason(work: Work) -> str:
    """The finish reason of every choice."""
    return "tool_calls" if "tools" in work.faults and work.kind == "chat" and _tokens(work) else work.finish


def _tokens(work: Work) -> int:
    return 0 if "immediate_finish" in work.faults else work.tokens


class Stream:
    """The events of one stream, without times. `cached` tells the prompt tokens that the prefix cache knew."""

    def __init__(self, work: Work, cached: Cached = lambda: None) -> None:
        faults = work.faults
        self._cached = cached
        self.work = work
        self.tokens = _tokens(work)
        self.chat = work.kind == "chat"
        self.blank = b"\r\n\r\n" if "crlf" in faults else b"\n\n"
        self.per_event = int(faults.get("multi_token", 1))
        self._comment = b": ping" + self.blank if "comments" in faults else b""
        self._reasoning = int(faults.get("reasoning", 0)) if self.chat else 0
        self._tools = "tools" in faults and self.chat
        self._usage_in_finish = "usage_in_finish" in faults
        self._usage = "no_usage" not in faults
        self._continuous = work.continuous_usage and work.include_usage and self._usage
        self._unterminated = "unterminated" in faults
        self._reason = b'"%b"' % finish_reason(work).encode()
        name, prefix = ("chat.completion.chunk", "chatcmpl-") if self.chat else ("text_completion", "cmpl-")
        stem = {"id": prefix + work.request_id, "object": name, "created": work.created, "model": work.model}
        self._stem = b"data: " + orjson.dumps(stem)[:-1] + b',"choices":['
        self._open = [b'%b{"index":%d,' % (self._stem, choice) for choice in range(work.choices)]

    def _event(self, choice: int, body: bytes, reason: bytes, tokens: int) -> bytes:
        """One event of a choice; `tokens` so far, for usage that comes with each."""
        stop = b"" if self.chat and reason is _NULL else b',"stop_reason":null'
        ride = b',"usage":' + orjson.dumps(usage(self.work, tokens, 1, self._cached())) if self._continuous else b""
        return b'%b%b,"logprobs":null,"finish_reason":%b%b}]%b}%b' % (
            self._open[choice],
            body,
            reason,
            stop,
            ride,
            self.blank,
        )

    def roles(self) -> list[Piece]:
        """The role events, one per choice; none outside chat."""
        if not self.chat:
            return []
        body = b'"delta":{"role":"assistant","content":""}'
        return [(self._event(choice, body, _NULL, 0), _ROLE) for choice in range(self.work.choices)]

    def contents(self) -> Iterator[list[Piece]]:
        """The content events of each step, one per choice, in order."""
        choices = range(self.work.choices)
        per_event, total = self.per_event, self.tokens
        own_finish = self._usage_in_finish
        bare = self._unterminated and not self.trailer()[0]
        for step, start in enumerate(range(0, total, per_event)):
            count = min(per_event, total - start)
            last = start + count == total
            reason = self._reason if last and not own_finish else _NULL
            pieces = []
            for choice in choices:
                body, kind = self._body(choice, step, start, count, last)
                marks: Marks = ((kind, count),)
                event = self._event(choice, body, reason, start + count)
                if self._comment:
                    event, marks = self._comment + event, ((EventKind.COMMENT, 0), *marks)
                pieces.append((event, marks))
            if last and bare:
                pieces[-1] = (pieces[-1][0].rstrip(b"\r\n"), pieces[-1][1])
            yield pieces

    def _body(self, choice: int, step: int, start: int, count: int, last: bool) -> tuple[bytes, int]:
        text = words(self.work, choice, start, count)
        if not self.chat:
            return b'"text":"%b"' % text, EventKind.CONTENT
        if self._tools:
            return self._tool(choice, step, text, last), EventKind.TOOL
        if step < self._reasoning:
            return b'"delta":{"reasoning_content":"%b"}' % text, EventKind.REASONING
        return b'"delta":{"content":"%b"}' % text, EventKind.CONTENT

    def _tool(self, choice: int, step: int, text: bytes, last: bool) -> bytes:
        """A piece of a tool call; the arguments of all pieces together are one JSON object."""
        arguments = (b'{\\"text\\":\\"' if step == 0 else b"") + text + (b'\\"}' if last else b"")
        head = b""
        if step == 0:
            head = b'"id":"call-%d","type":"function",' % choice
            arguments = b'"name":"%b","arguments":"%b"' % (TOOL_NAME.encode(), arguments)
        else:
            arguments = b'"arguments":"%b"' % arguments
        return b'"delta":{"tool_calls":[{"index":0,%b"function":{%b}}]}' % (head, arguments)

    def trailer(self) -> Piece:
        """What follows the last content event: a finish event of its own, usage, [DONE]; maybe nothing."""
        work, parts, marks = self.work, [], []
        if not self.tokens or self._usage_in_finish:
            ride = b',"usage":' + self._total() if self._usage_in_finish else b""
            for choice in range(work.choices):
                body = b'"delta":{}' if self.chat else b'"text":""'
                event = b'%b%b,"logprobs":null,"finish_reason":%b,"stop_reason":null}]%b}%b'
                parts.append(event % (self._open[choice], body, self._reason, ride, self.blank))
                marks.append((int(EventKind.FINISH), 0))
        if work.include_usage and self._usage and not self._usage_in_finish:
            parts.append(b'%b],"usage":%b}%b' % (self._stem, self._total(), self.blank))
            marks.append((int(EventKind.USAGE), 0))
        if "no_done" not in work.faults:
            parts.append(b"data: [DONE]" + self.blank)
            marks.append((int(EventKind.DONE), 0))
        data = b"".join(parts)
        return (data.rstrip(b"\r\n") if self._unterminated else data), tuple(marks)

    def _total(self) -> bytes:
        return orjson.dumps(usage(self.work, self.tokens, self.work.choices, self._cached()))

    def failure(self, named: bool) -> bytes:
        """An error inside the stream, plain data or an `event: error`."""
        line = self.blank[: len(self.blank) // 2]
        return (b"event: error" + line if named else b"") + b"data: " + orjson.dumps(FAILURE) + self.blank


FAILURE = {"error": {"message": "simulated failure", "type": "InternalServerError", "param": None, "code": 500}}


def whole(work: Work, cached: Cached = lambda: None) -> tuple[bytes, Marks]:
    """The body of an answer that is not streamed, and what it counts for. `cached` as in `Stream`."""
    if "inband_error" in work.faults or "event_error" in work.faults:
        return orjson.dumps(FAILURE), ((EventKind.ERROR, 0),)
    if work.kind == "embeddings":
        return _embeddings(work), ((EventKind.CONTENT, 0),)
    tokens, chat = _tokens(work), work.kind == "chat"
    choices: list[dict[str, object]] = []
    for index in range(work.choices):
        choice: dict[str, object] = {"index": index}
        if chat:
            choice["message"] = _message(work, index, tokens)
        else:
            choice["text"] = words(work, index, 0, tokens).decode()
        choices.append(choice | {"logprobs": None, "finish_reason": finish_reason(work), "stop_reason": None})
    name, prefix = ("chat.completion", "chatcmpl-") if chat else ("text_completion", "cmpl-")
    body: dict[str, object] = {"id": prefix + work.request_id, "object": name, "created": work.created}
    body |= {"model": work.model, "choices": choices}
    if "no_usage" not in work.faults:
        body["usage"] = usage(work, tokens, work.choices, cached())
    return orjson.dumps(body), ((EventKind.CONTENT if tokens else EventKind.FINISH, tokens * work.choices),)


def _message(work: Work, choice: int, tokens: int) -> dict[str, object]:
    message: dict[str, object] = {"role": "assistant", "content": words(work, choice, 0, tokens).decode()}
    if "tools" in work.faults and tokens:
        arguments = orjson.dumps({"text": message["content"]}).decode()
        function = {"name": TOOL_NAME, "arguments": arguments}
        message |= {"content": None, "tool_calls": [{"id": f"call-{choice}", "type": "function", "function": function}]}
    elif "reasoning" in work.faults:
        thought = min(tokens, int(work.faults["reasoning"]))
        message["reasoning_content"] = words(work, choice, 0, thought).decode()
        message["content"] = words(work, choice, thought, tokens - thought).decode()
    return message


def _embeddings(work: Work) -> bytes:
    data: list[dict[str, object]] = []
    for index, text in enumerate(work.inputs):
        vector = embedding(text, work.dimensions)
        value = base64.b64encode(vector.tobytes()).decode() if work.base64 else vector.tolist()
        data.append({"index": index, "object": "embedding", "embedding": value})
    body: dict[str, object] = {"id": "embd-" + work.request_id, "object": "list", "created": work.created}
    body |= {"model": work.model, "data": data}
    if "no_usage" not in work.faults:
        prompt = work.prompt_usage()
        body["usage"] = {"prompt_tokens": prompt, "total_tokens": prompt, "completion_tokens": 0}
    return orjson.dumps(body)


def embedding(text: str | list[int], dimensions: int) -> "array[float]":
    """A unit vector that depends on the text alone, in 32-bit floats."""
    key = text if isinstance(text, str) else " ".join(map(str, text))
    raw = array("H", hashlib.shake_128(key.encode("utf-8", "surrogatepass")).digest(2 * dimensions))
    values = [number - 32_767.5 for number in raw]
    length = sum(value * value for value in values) ** 0.5
    return array("f", [value / length for value in values])
