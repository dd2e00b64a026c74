"""Readiness of many sockets through one descriptor on the event loop.

An epoll of our own, itself watched by the loop (asyncio or uvloop alike). Two reasons: a batch of ready sockets costs
the loop one callback instead of one each, and `dispatch()` answers the question the decoding queue has to ask before
every slice of work: is a reader waiting? Where there is no epoll, `selectors` does the same with its own (kqueue).
"""

import asyncio
import select
import selectors
from typing import Protocol

READ = 1  # EPOLLIN
WRITE = 4  # EPOLLOUT
BATCH = 256


class Handler(Protocol):
    """Whoever owns a descriptor."""

    def ready(self, mask: int) -> None:
        """`mask` has READ and/or WRITE; errors and hang-ups show as both."""


class Poller:
    """Level-triggered: a handler that leaves bytes behind is called again in the next turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._handlers: dict[int, Handler] = {}
        self._epoll = select.epoll() if hasattr(select, "epoll") else _Selector()
        self._fd = self._epoll.fileno()
        loop.add_reader(self._fd, self.dispatch)

    def watch(self, fd: int, handler: Handler, mask: int) -> None:
        """Start to watch a descriptor, or change what is watched for."""
        if fd in self._handlers:
            self._epoll.modify(fd, mask)
        else:
            self._epoll.register(fd, mask)
        self._handlers[fd] = handler

    def forget(self, fd: int) -> None:
        """Stop watching; must be called before the descriptor is closed."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def dispatch(self) -> int:
        """Serve what is ready now, without waiting; returns how many descriptors were."""
        handlers = self._handlers
        ready = [(fd, mask, handlers.get(fd)) for fd, mask in self._epoll.poll(0, BATCH)]
        for fd, mask, handler in ready:
            # A handler earlier in this batch may have closed this one, and another may have got its number since.
            if handler is not None and handlers.get(fd) is handler:
                handler.ready(mask)
        return len(ready)

    def close(self) -> None:
        """Leave the loop; watched descriptors are their owners' to close."""
        self._loop.remove_reader(self._fd)
        self._handlers.clear()
        self._epoll.close()


class _Selector:
    """The five calls of `select.epoll` used above, over `selectors`."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def fileno(self) -> int:
        return self._selector.fileno()

    def register(self, fd: int, mask: int) -> None:
        self._selector.register(fd, self._events(mask))

    def modify(self, fd: int, mask: int) -> None:
        self._selector.modify(fd, self._events(mask))

    def unregister(self, fd: int) -> None:
        self._selector.unregister(fd)

    def poll(self, timeout: float, limit: int) -> list[tuple[int, int]]:
        found = self._selector.select(timeout)[:limit]
        return [
            (key.fd, (READ if events & selectors.EVENT_READ else 0) | (WRITE if events & selectors.EVENT_WRITE else 0))
            for key, events in found
        ]

    def close(self) -> None:
        self._selector.close()

    @staticmethod
    def _events(mask: int) -> int:
        return (selectors.EVENT_READ if mask & READ else 0) | (selectors.EVENT_WRITE if mask & WRITE else 0)
