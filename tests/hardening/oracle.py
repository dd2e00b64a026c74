"""Was this answer whole? The simplest reading of HTTP, event streams and the endpoints' JSON; no code shared with ours.

It is for one question, "may the outcome be `ok`?", and takes the whole of the bytes at once. Where readers may differ
(a bare LF, what a content type is worth) it says yes, so that a no is beyond dispute.
"""

import base64
import json
import math
import re
import struct
from collections.abc import Iterator
from typing import Any

HEAD = re.compile(rb"[\r\n]*HTTP/\d\.\d (\d{3})[^\n]*\n(.*?)\r?\n\r?\n", re.DOTALL)
HEAD_ALONE = re.compile(rb"[\r\n]*HTTP/\d\.\d (\d{3})[^\n]*\n()\r?\n")
SIZE = re.compile(rb"([0-9a-fA-F]+)[ \t]*(;[^\n]*?)?\r?\n")
END = re.compile(rb"([^\r\n]+\r?\n)*\r?\n")  # trailers, and the blank line


def may_be_ok(data: bytes, kind: str, *, closed: bool, inputs: int = 1) -> bool:
    """Whether these bytes hold a whole, good answer of this endpoint kind. `closed`: the server closed after them."""
    body = body_of(data, closed=closed)
    if body is None:
        return False
    document = _value(body)
    if isinstance(document, dict):
        return _vectors(document) == inputs if kind == "embeddings" else _has_text(document)
    messages, ended = _stream(body)
    if kind == "embeddings":
        return ended and sum(map(_vectors, messages)) == inputs
    return ended and any(map(_has_text, messages))


def body_of(data: bytes, *, closed: bool) -> bytes | None:
    """The body of a 2xx answer whose framing is complete; None where there is none."""
    while True:
        head = HEAD_ALONE.match(data) or HEAD.match(data)
        if head is None:
            return None
        rest = data[head.end() :]
        if not 100 <= int(head[1]) < 200:
            break
        data = rest
    if not 200 <= int(head[1]) < 300:
        return None
    fields = [line.partition(b":") for line in head[2].lower().split(b"\n")]
    headers = {name.strip(): value.strip() for name, _, value in fields}
    if b"chunked" in headers.get(b"transfer-encoding", b""):
        return _dechunked(rest)
    if b"content-length" in headers:
        length = headers[b"content-length"]
        return rest[: int(length)] if length.isdigit() and len(rest) >= int(length) else None
    return rest if closed else None


def _dechunked(data: bytes) -> bytes | None:
    body = b""
    while size := SIZE.match(data):
        data = data[size.end() :]
        length = int(size[1], 16)
        if not length:
            return body if END.match(data) else None
        if len(data) < length:
            return None
        body += data[:length]
        data = data[length:].removeprefix(b"\r").removeprefix(b"\n")
    return None


def _stream(body: bytes) -> tuple[list[dict[str, Any]], bool]:
    """The messages of an event stream, and whether it said that it is over."""
    text = body.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    messages, ended = [], False
    for block in text.split(b"\n\n"):
        fields = [line.partition(b":") for line in block.split(b"\n")]
        data = b"\n".join(value.removeprefix(b" ") for name, _, value in fields if name == b"data")
        message = _value(data)
        if isinstance(message, dict):
            messages.append(message)
            ended = ended or any(isinstance(choice.get("finish_reason"), str) for choice in _choices(message))
        ended = ended or data.startswith(b"[DONE]")
    return messages, ended


def _value(data: bytes) -> Any:
    try:
        return json.loads(data.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        return None


def _choices(message: dict[str, Any]) -> list[dict[str, Any]]:
    choices = message.get("choices")
    return [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []


def _has_text(message: dict[str, Any]) -> bool:
    """Whether any choice has a text that is not empty, in a field that can hold one."""
    return any(
        text for choice in _choices(message) for name in ("delta", "message", "text") for text in _texts(choice, name)
    )


def _texts(holder: dict[str, Any], name: str) -> Iterator[str]:
    value = holder.get(name)
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for part in value:
            yield from [part] if isinstance(part, str) else _fields(part)
    else:
        yield from _fields(value)


def _fields(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name in value:
            if name not in ("role", "id", "type", "index"):
                yield from _texts(value, name)


def _vectors(document: dict[str, Any]) -> int:
    data = document.get("data")
    found = [item.get("embedding") for item in data if isinstance(item, dict)] if isinstance(data, list) else []
    return sum(1 for vector in found if _is_vector(vector))


def _is_vector(vector: Any) -> bool:
    if isinstance(vector, str):
        try:
            raw = base64.b64decode(vector, validate=True)
            return bool(raw) and all(math.isfinite(number) for (number,) in struct.iter_unpack("<f", raw))
        except (ValueError, struct.error):
            return False
    if not isinstance(vector, list) or not vector:
        return False
    if isinstance(vector[0], list):
        return all(isinstance(row, list) and row and all(map(_is_finite, row)) for row in vector)
    return all(map(_is_finite, vector))


def _is_finite(number: Any) -> bool:
    try:
        return type(number) in (int, float) and math.isfinite(number)
    except OverflowError:
        return False
