"""The plan's requests, built ahead of the moment they are sent."""

import hashlib
from collections import deque
from collections.abc import Callable

from genbench.clock import now_ns
from genbench.types import OPEN_ENDED, Request

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

    `total_turns` is the number of requests with every turn of every conversation, None where only time limits.
    """

    def __init__(self, make: Callable[[int], Request], total: int, ahead: int, total_turns: int | None = None) -> None:
        self._make = make
        self._total = total
        self._ahead = ahead
        self._ready: deque[tuple[Request, bytes]] = deque()  # each with the digest of its body
        self._first = 0  # index of _ready[0]
        self._sent = hashlib.sha256()  # over the digests of what was handed out; a list of them would grow for ever
        self.total_turns = total_turns if total_turns is not None or total == OPEN_ENDED else total
        self.on_build: Watcher | None = None

    def __len__(self) -> int:
        return self._total

    def __getitem__(self, index: int) -> Request:
        while self.made <= index:
            self._build()
        while self._first < index:  # what was never asked for (it was not sent) is dropped
            self._ready.popleft()
            self._first += 1
        self._first += 1
        request, digest = self._ready.popleft()
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
            if now_ns() > until:
                return False
            self._build()
        return True

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
        self._ready.append((request, digest_of(request)))
        self.saw(request)
        while request.then is not None and not request.needs_answer:
            request = request.then("")
            self.saw(request)
