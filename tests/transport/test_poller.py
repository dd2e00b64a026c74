"""The poller: batches, closing within a batch, and the way without epoll."""

import asyncio
import select
import socket

import pytest

from genbench.transport.poller import READ, WRITE, Poller
from tests.transport.harness import LOOPS, run


class Seen:
    """Notes what it is called with, and reads."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.masks: list[int] = []

    def ready(self, mask: int) -> None:
        self.masks.append(mask)
        if mask & READ:
            self.sock.recv(100)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("epoll", [True, False])
def test_readiness(loop: str, epoll: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not epoll:
        monkeypatch.delattr(select, "epoll")

    async def main() -> None:
        poller = Poller(asyncio.get_running_loop())
        ours, theirs = socket.socketpair()
        seen = Seen(ours)
        poller.watch(ours.fileno(), seen, READ)
        assert poller.dispatch() == 0
        theirs.send(b"x")
        assert poller.dispatch() == 1  # asked for
        theirs.send(b"y")
        await asyncio.sleep(0.05)  # and through the loop
        assert [mask & READ for mask in seen.masks] == [READ, READ]
        poller.watch(ours.fileno(), seen, READ | WRITE)
        assert poller.dispatch() == 1
        assert seen.masks[-1] & WRITE
        poller.forget(ours.fileno())
        theirs.send(b"z")
        assert poller.dispatch() == 0
        poller.close()
        ours.close()
        theirs.close()

    run(loop, main())


def test_a_handler_may_close_another_one_of_the_same_batch() -> None:
    class Closer:
        def __init__(self, other: socket.socket, poller: Poller) -> None:
            self.other, self.poller, self.calls = other, poller, 0

        def ready(self, mask: int) -> None:
            self.calls += 1
            if self.other.fileno() >= 0:
                self.poller.forget(self.other.fileno())
                self.other.close()

    async def main() -> int:
        poller = Poller(asyncio.get_running_loop())
        a, b = socket.socketpair()
        c, d = socket.socketpair()
        for sock in (b, d):
            sock.send(b"x")
        first, second = Closer(c, poller), Closer(a, poller)
        poller.watch(a.fileno(), first, READ)
        poller.watch(c.fileno(), second, READ)
        poller.dispatch()
        poller.close()
        for sock in (a, b, c, d):
            sock.close()
        return first.calls + second.calls

    assert run("asyncio", main()) == 1
