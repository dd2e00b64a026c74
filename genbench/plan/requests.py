"""The plan's requests, built ahead of the moment they are sent."""

import hashlib
from collections import deque
from collections.abc import Callable

from genbench.clock import now_ns
from genbench.types import Request

MOST_BYTES = 32 << 20
LEAST = 128  # whatever their size
Watcher = Callable[[int, bytes], None]


def digest_of(request: Request) -> bytes:
    """Hash of a body; of a conversation, of the bodies of all turns that are known before the answers are."""
    digest = hashlib.sha256(request.body)
    while request.then is not None and not request.needs_answer:
        request = request.then("")
        digest.update(request.body)
    return digest.digest()


class BuiltRequests:
    """See `types.Requests`: builds them in order, by `make(k)`.

    `make` may need several calls for one (None: not yet). `total_turns` is the number of requests with every turn of
    every conversation, None where that is not known. Nothing more is built ahead while `MOST_BYTES` are ready.
    """

    def __init__(self, make: Callable[[int], Request | None], total: int, ahead: int, turns: int | None = None) -> None:
        self._make = make
        self._total = total
        self._ahead = ahead
        self._ready: deque[tuple[Request, bytes]] = deque()  # each with the digest of its body
        self._first = 0  # index of _ready[0]
        self._sent = hashlib.sha256()  # over the digests of what was handed out; a list of them would grow for ever
        self._bytes = 0  # of what is ready
        self.total_turns = turns
        self.on_build: Watcher | None = None

    def __len__(self) -> int:
        return self._total

    def __getitem__(self, index: int) -> Request:
        while self.made <= index:
            self._build()
        while self._first < index:  # what was never asked for (it was not sent) is dropped
            self._bytes -= len(self._ready.popleft()[0].body)
            self._first += 1
        self._first += 1
        request, digest = self._ready.popleft()
        self._bytes -= len(request.body)
        self._sent.update(digest)
        return request

    @property
    def made(self) -> int:
        """How many were built so far."""
        return self._first + len(self._ready)

    def is_made(self, index: int) -> bool:
        """Whether it is ready to be sent."""
        return index < self.made

    def refill(self, used: int, budget_ns: int) -> bool:
        """Build ahead of `used` for about `budget_ns`; True when far enough ahead."""
        until = now_ns() + budget_ns
        while self.made < min(self._total, used + self._ahead):
            if self._bytes > MOST_BYTES and self.made >= used + LEAST:
                return True
            if now_ns() > until:
                return False
            self._build()
        return True

    @property
    def handed_out(self) -> int:
        """How many were asked for."""
        return self._first

    def peek(self) -> list[Request]:
        """What is built and not yet handed out; a conversation's turns as far as they are known."""
        found = []
        for request, _ in self._ready:
            found.append(request)
            while request.then is not None and not request.needs_answer:
                request = request.then("")
                found.append(request)
        return found

    def sha256(self) -> str:
        """Hash over what was handed out so far, in order: equal for two runs that sent the same bytes.

        Turns that repeat the server's own answers are not in it.
        """
        return self._sent.hexdigest()

    def saw(self, request: Request) -> None:
        """Tell who watches of a body."""
        if self.on_build is not None:
            self.on_build(request.index, request.body)

    def _build(self) -> None:
        request = self._make(self.made)
        if request is None:
            return
        self._ready.append((request, digest_of(request)))
        self._bytes += len(request.body)
        self.saw(request)
        while request.then is not None and not request.needs_answer:
            request = request.then("")
            self.saw(request)
