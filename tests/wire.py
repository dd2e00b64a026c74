"""Captures of real servers' answers (`tests/data/wire`, made with `curl -i --raw`): head, then the body as it came."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genbench.decode import ResponseDecoder
from genbench.endpoints import chat, completions, embeddings
from genbench.types import Endpoint, Record, Reply

FOLDER = Path(__file__).parent / "data" / "wire"


@dataclass(frozen=True)
class Capture:
    """One answer. `chunks` are the pieces of its chunked coding, or the whole body; `whole` if it ended by itself."""

    name: str
    status: int
    headers: dict[str, str]
    chunks: list[bytes]
    whole: bool

    @property
    def body(self) -> bytes:
        """The body without its chunked coding."""
        return b"".join(self.chunks)

    def reply(self, pieces: list[bytes] | None = None) -> Reply:
        """As a transport would hand it on: piece k arrives at (k + 1) ms."""
        pieces = self.chunks if pieces is None else pieces
        return Reply(
            status=self.status,
            content_type=self.headers.get("content-type", ""),
            chunks=[((number + 1) * 1_000_000, piece) for number, piece in enumerate(pieces)],
        )


def names(part: str = "") -> list[str]:
    """Names of the captures that contain `part`."""
    return sorted(path.stem for path in FOLDER.glob("*.txt") if part in path.stem)


def load(name: str) -> Capture:
    """Read one capture."""
    head, _, body = (FOLDER / f"{name}.txt").read_bytes().partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    chunks, whole = [body] if body else [], True
    if headers.get("transfer-encoding") == "chunked":
        chunks, whole = _dechunked(body)
    return Capture(name, int(status_line.split()[1]), headers, chunks, whole)


def _dechunked(body: bytes) -> tuple[list[bytes], bool]:
    chunks: list[bytes] = []
    while body:
        size_line, _, rest = body.partition(b"\r\n")
        try:
            size = int(size_line, 16)
        except ValueError:
            return chunks, False  # curl's own message: it gave up waiting
        if size == 0:
            return chunks, True
        assert rest[size : size + 2] == b"\r\n"
        chunks.append(rest[:size])
        body = rest[size + 2 :]
    return chunks, False


LETTERS = "RETCLFU:XD"  # role empty reasoning(T) content tool(L) finish usage comment error(X) done, as in EventKind


def kinds(record: Record) -> str:
    """The kinds of its events as one word."""
    return "".join(LETTERS[kind] for kind in record.event_kind)


def endpoint_of(name: str) -> Endpoint:
    """The endpoint kind of a capture."""
    return embeddings if "-emb" in name else completions if "cmpl" in name else chat


def decoded(reply: Reply, endpoint: Endpoint = chat, **record: Any) -> tuple[Record, list[tuple[int, int, str]]]:
    """The record of a reply, and its texts."""
    made = Record(**record)
    decoder = ResponseDecoder(made, endpoint, keep_text=True)
    decoder.feed(reply)
    decoder.finish(reply)
    return made, decoder.texts


def stream(*pieces: bytes, status: int = 200, content_type: str = "text/event-stream") -> Reply:
    """Piece k arrives at (k + 1) ns."""
    return Reply(status, content_type, chunks=[(number + 1, piece) for number, piece in enumerate(pieces)])
