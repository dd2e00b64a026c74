"""Server-sent events, bytes in and messages out, as the WHATWG spec has them; no I/O, no JSON, no times.

Source: https://html.spec.whatwg.org/multipage/server-sent-events.html, sections 9.2.5 and 9.2.6.

Invariants
- The messages do not depend on how the bytes were cut: fed whole, byte by byte or anywhere between, the list is the
  same. A message comes out of the very `feed` that completes it, so the caller's stamp of those bytes is its stamp.
- A line ends with LF, CR or CRLF. A CR ends its line at once; an LF that comes next, perhaps in the next read, belongs
  to it and is swallowed. A byte order mark is dropped at the very start and nowhere else.
- An event is complete at the blank line. It is dispatched if it had a `data` field, even an empty one; several are
  joined with LF. `id`, `retry` and unknown fields are ignored, as are their values.
- A comment line (`: ping`) is a message of its own, complete when its line ends, even in the middle of an event: it
  says that the server lives, and a read that held one held an earlier message.
- At the end of the body the spec drops an unfinished event. A server that forgets the last blank line has said
  something all the same: `finish` hands it out, and the caller marks it.
- Work and memory are linear in what was fed. The common case, whole `data: ...` LF LF blocks, takes a split and a slice
  per event; only other blocks, and the pieces of one that was cut, are looked at line by line. Pieces of a long line
  are kept in a list and joined once.
"""

from typing import NamedTuple

BOM = b"\xef\xbb\xbf"
DEFAULT_EVENT = b"message"


class Message(NamedTuple):
    """One event, or one comment line (then `data` is its text and `event` is empty)."""

    event: bytes
    data: bytes
    comment: bool


class SseParser:
    """The parser of one response body. After `finish` it is used up."""

    __slots__ = ("_after_cr", "_data", "_event", "_head", "_line", "_open")

    def __init__(self) -> None:
        self._head: bytes | None = b""  # bytes that may be the start of a byte order mark; None once that is decided
        self._line: list[bytes] = []  # pieces of a line that has not ended
        self._data: list[bytes] = []  # data lines of the event under way
        self._event = b""
        self._after_cr = False
        self._open = False  # something of the above is under way: a new block cannot be read on its own

    def feed(self, data: bytes) -> list[Message]:
        """Messages completed by these bytes, in the order of their completion."""
        found: list[Message] = []
        if self._head is not None:
            data = self._without_bom(data)
        if self._open:
            end = data.find(b"\n\n")
            if end < 0:
                self._lines(data, found)
                return found
            # Whatever was under way, the second of two LFs is a blank line: after it everything starts afresh.
            self._lines(data[: end + 2], found)
            data = data[end + 2 :]
        blocks = data.split(b"\n\n")
        rest = blocks.pop()
        for block in blocks:
            if block.startswith(b"data: ") and b"\n" not in block and b"\r" not in block:
                found.append(Message(DEFAULT_EVENT, block[6:], False))
            else:
                self._lines(block + b"\n\n", found)
        if rest:
            self._lines(rest, found)
        return found

    def finish(self) -> Message | None:
        """The event that the end of the body left without its blank line, if there is one."""
        found: list[Message] = []
        line = b"".join(self._line)
        if line and not line.startswith(b":"):
            self._take(line, found)
        self._take(b"", found)
        return found[0] if found else None

    def _without_bom(self, data: bytes) -> bytes:
        head = (self._head or b"") + data
        if len(head) < len(BOM) and BOM.startswith(head):
            self._head = head
            return b""
        self._head = None
        return head.removeprefix(BOM)

    def _lines(self, data: bytes, found: list[Message]) -> None:
        if not data:
            return
        if self._after_cr and data.startswith(b"\n"):
            data = data[1:]
        # bytes.splitlines knows LF, CR and CRLF and, unlike str.splitlines, nothing else.
        for line in data.splitlines(keepends=True):
            if line.endswith(b"\r\n"):
                line = line[:-2]
            elif line.endswith((b"\n", b"\r")):
                line = line[:-1]
            else:
                self._line.append(line)
                break
            if self._line:
                self._line.append(line)
                line = b"".join(self._line)
                self._line.clear()
            self._take(line, found)
        self._after_cr = data.endswith(b"\r")
        self._open = bool(self._after_cr or self._line or self._data or self._event)

    def _take(self, line: bytes, found: list[Message]) -> None:
        if not line:
            if self._data:
                found.append(Message(self._event or DEFAULT_EVENT, b"\n".join(self._data), False))
                self._data.clear()
            self._event = b""
            return
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if not name:
            found.append(Message(b"", value, True))
        elif name == b"data":
            self._data.append(value)
        elif name == b"event":
            self._event = value
