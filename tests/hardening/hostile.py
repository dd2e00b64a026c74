"""One server that is kind or hostile as each request asks: its body begins with a line that names the behaviour.

A kind answer's every text is the server's own clock reading just before it wrote it, so that what the client says of
its time can be held against it.
"""

import contextlib
import json
import select
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

from tests.hardening.answers import CHAT, CHUNKED, chunked, delta, events, head

GOOD = head(CHUNKED) + b"".join(chunked(CHAT))
BIG = 100 << 20
BEGIN, END = b'data: {"choices":[{"delta":{"content":"', b'"},"finish_reason":"stop"}]}\n\n'
GAP_S = 0.01
TOKENS = 6


def ask(name: str, **rest: Any) -> bytes:
    """Body of a request for this behaviour."""
    return json.dumps({"do": name, **rest}).encode() + b"\n"


def serve(sock: socket.socket) -> None:
    """Behave as asked, request after request, until one of the two closes."""
    while True:
        data = b""
        while b"\n" not in data.partition(b"\r\n\r\n")[2]:
            piece = sock.recv(65536)
            if not piece:
                return
            data += piece
        asked = json.loads(data.partition(b"\r\n\r\n")[2].partition(b"\n")[0])
        if not BEHAVIOURS[asked["do"]](sock, asked):
            return


Behaviour = Callable[[socket.socket, dict[str, Any]], bool]
BEHAVIOURS: dict[str, Behaviour] = {}


def behaviour(do: Behaviour) -> Behaviour:
    """Register one; it returns whether the connection goes on."""
    BEHAVIOURS[do.__name__] = do
    return do


@behaviour
def kind(sock: socket.socket, asked: dict[str, Any]) -> bool:
    """A good answer, evenly paced."""
    sock.sendall(head(CHUNKED))
    for number in range(TOKENS):
        time.sleep(GAP_S)
        rest = {"finish_reason": "stop"} if number == TOKENS - 1 else {}
        sock.sendall(chunked(events(delta(str(time.perf_counter_ns()), **rest), done=False))[0])
    sock.sendall(b"0\r\n\r\n")
    return True


@behaviour
def trickle(sock: socket.socket, asked: dict[str, Any]) -> bool:
    """A good answer, each byte in a write of its own."""
    for place in range(len(GOOD)):
        sock.sendall(GOOD[place : place + 1])
        time.sleep(0.0002)
    return True


@behaviour
def cut(sock: socket.socket, asked: dict[str, Any]) -> bool:
    """The first bytes of a good answer, then the end."""
    sock.sendall(GOOD[: asked["at"]])
    return False


@behaviour
def reset(sock: socket.socket, asked: dict[str, Any]) -> bool:
    """The same, but the end is a RST."""
    sock.sendall(GOOD[: asked["at"]])
    time.sleep(0.05)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


@behaviour
def say(sock: socket.socket, asked: dict[str, Any]) -> bool:
    """Any bytes; then go on with `more` for ever, or close, or fall silent."""
    with contextlib.suppress(OSError):
        sock.sendall(asked["text"].encode("latin-1"))
        more = asked.get("more", "").encode("latin-1") * 100
        while more:
            sock.sendall(more)
    if asked.get("silent"):
        sock.recv(1)
    return False


@behaviour
def good(sock: socket.socket, asked: dict[str, Any]) -> bool:
    """A good answer at once, and `after` behind it."""
    sock.sendall(GOOD + asked.get("after", "").encode("latin-1"))
    return True


@behaviour
def stall(sock: socket.socket, asked: dict[str, Any]) -> bool:
    """Read no further until the connection or the test is over."""
    hung_up = select.poll()
    hung_up.register(sock, 0)  # hang-ups and errors are told without being asked for
    hung_up.poll(10_000)
    return False


@behaviour
def early(sock: socket.socket, asked: dict[str, Any]) -> bool:
    """Answer before the upload is through, and read no further."""
    sock.sendall(GOOD)
    return stall(sock, asked)


@behaviour
def early_end(sock: socket.socket, asked: dict[str, Any]) -> bool:
    """Refuse before the upload is through, and close upon it: the client's next write meets a RST."""
    sock.sendall(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
    return False


@behaviour
def big(sock: socket.socket, asked: dict[str, Any]) -> bool:
    """One event of 100 MiB."""
    part = b"a" * (1 << 20)
    sock.sendall(head(b"Content-Length: %d" % (len(BEGIN) + BIG + len(END))) + BEGIN)
    for _ in range(BIG // len(part)):
        sock.sendall(part)
    sock.sendall(END)
    return True
