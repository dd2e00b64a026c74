"""An exporter whose answers a test writes down: a function from the number of the question to an answer."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

DATA = Path(__file__).parent.parent / "data" / "metrics"
TEXT = "text/plain; version=0.0.4"


@dataclass
class Answer:
    """What is sent back. `hang`: nothing at all, until the exporter is closed; `drop`: the connection is closed."""

    body: bytes = b""
    status: int = 200
    kind: str = TEXT
    hang: bool = False
    drop: bool = False


@dataclass
class Exporter:
    """A running one: its address, and what it was asked, with which headers."""

    url: str
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)


@contextmanager
def exporting(answer: Callable[[int, str], Answer]) -> Iterator[Exporter]:
    """Serve on loopback; `answer` gets the number of the question and its path."""
    found = Exporter("")
    closing = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if closing.is_set():  # a connection that was kept
                self.close_connection = True
                return
            found.asked.append((self.path, dict(self.headers)))
            one = answer(len(found.asked) - 1, self.path)
            if one.hang:
                closing.wait(20)
            if one.hang or one.drop:
                self.close_connection = True
                return
            self.send_response(one.status)
            self.send_header("Content-Type", one.kind)
            self.send_header("Content-Length", str(len(one.body)))
            self.end_headers()
            self.wfile.write(one.body)

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    found.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield found
    finally:
        closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def data(folder: str, name: str = "after") -> bytes:
    """An exposition from tests/data/metrics."""
    (path,) = (DATA / folder).glob(f"{name}.*")
    return path.read_bytes()
