"""A client that keeps every byte: what came, how it ended, and when."""

import itertools
import json
import re
import socket
import ssl
import time
from dataclasses import dataclass, field
from typing import Any

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
EMBEDDINGS = "/v1/embeddings"
_IDS = itertools.count()


@dataclass
class Answer:
    """Bytes of one answer; `end` is complete, eof, reset or timeout; `reads` are (perf_counter_ns, bytes)."""

    request_id: str = ""
    end: str = ""
    reads: list[tuple[int, bytes]] = field(default_factory=list)

    @property
    def data(self) -> bytes:
        return b"".join(data for _, data in self.reads)

    @property
    def final(self) -> bytes:
        """Everything but 1xx heads."""
        data = self.data
        while data.startswith(b"HTTP/1.1 1") and b"\r\n\r\n" in data:
            data = data.partition(b"\r\n\r\n")[2]
        return data

    @property
    def status(self) -> int:
        return int(self.final.split(b" ", 2)[1])

    @property
    def headers(self) -> dict[str, str]:
        lines = self.final.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
        return {name: value for name, _, value in (line.partition(": ") for line in lines)}

    @property
    def body(self) -> bytes:
        """The body with chunked coding taken off, as far as it came."""
        rest = self.final.partition(b"\r\n\r\n")[2]
        if self.headers.get("transfer-encoding") != "chunked":
            return rest
        found = b""
        while match := re.match(rb"([0-9a-f]+)\r\n", rest):
            size = int(match[1], 16)
            found += rest[match.end() : match.end() + size]
            rest = rest[match.end() + size + 2 :]
        return found

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def messages(self) -> list[dict[str, Any]]:
        """The JSON of every data line but [DONE]."""
        lines = re.split(rb"\r?\n", self.body)
        return [json.loads(line[6:]) for line in lines if line.startswith(b"data: {")]

    def _whole(self) -> bool:
        head, blank, rest = self.final.partition(b"\r\n\r\n")
        if not blank:
            return False
        if b"transfer-encoding: chunked" in head:
            return rest.endswith(b"\r\n0\r\n\r\n") or rest == b"0\r\n\r\n"
        length = re.search(rb"content-length: (\d+)", head)
        return bool(length) and len(rest) >= int(length[1]) if length else False


def body_of(path: str, fields: dict[str, Any]) -> dict[str, Any]:
    """A small streamed request of this kind."""
    asked: dict[str, dict[str, Any]] = {
        CHAT: {"messages": [{"role": "user", "content": "one two three"}], "stream": True, "max_tokens": 5},
        COMPLETIONS: {"prompt": "one two three", "stream": True, "max_tokens": 5},
        EMBEDDINGS: {"input": "one two three"},
    }
    return asked.get(path, {}) | fields


def render(path: str, body: dict[str, Any], request_id: str, headers: dict[str, str], method: str) -> bytes:
    """The request's bytes."""
    data = json.dumps(body).encode() if body else b""
    lines = {"host": "x", "content-length": str(len(data)), "x-request-id": request_id} | headers
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + data


def connect(port: int, context: ssl.SSLContext | None = None) -> socket.socket:
    """A connection, TLS with a context."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=5)
    return context.wrap_socket(sock, server_hostname="localhost") if context else sock


def read_answer(sock: socket.socket, request_id: str = "", timeout_s: float = 5.0) -> Answer:
    """Read until the answer is whole, the connection ends or nothing came for `timeout_s`."""
    answer = Answer(request_id)
    sock.settimeout(timeout_s)
    while True:
        try:
            data = sock.recv(1 << 16)
        except TimeoutError:
            answer.end = "timeout"
            return answer
        except ConnectionResetError:
            answer.end = "reset"
            return answer
        if not data:
            answer.end = "eof"
            return answer
        answer.reads.append((time.perf_counter_ns(), data))
        if answer._whole():
            answer.end = "complete"
            return answer


def ask(
    port: int,
    path: str = CHAT,
    *,
    fault: str | list[str] | None = None,
    control: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
    method: str = "POST",
    sock: socket.socket | None = None,
    timeout_s: float = 5.0,
    scripted: bool = True,
    **fields: Any,
) -> Answer:
    """One request and its answer, on `sock` or a connection of its own. Fast unless `control` says otherwise.

    Not `scripted`: it names no times, so that the server's own brain has them.
    """
    request_id = f"test-{next(_IDS)}"
    body = body_of(path, fields)
    if method == "POST":
        times = {"ttft_ms": 2, "itl_ms": 1} if scripted else {}
        body["simulate"] = times | (control or {}) | ({"fault": fault} if fault else {})
    own = sock is None
    sock = sock or connect(port)
    try:
        sock.sendall(render(path, body, request_id, headers or {}, method))
        return read_answer(sock, request_id, timeout_s)
    finally:
        if own:
            sock.close()
