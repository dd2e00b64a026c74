"""Kernel stamps: brought onto our clock, checked, and replaced when they cannot be true."""

import socket
import sys
import time
from collections.abc import Callable, Iterator

import pytest

from genbench.clock import Offset, drift_ns, now_ns, take_offset
from genbench.transport import stamps as stamps_module
from genbench.transport.stamps import Stamps

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    """(client, server) over loopback TCP; the client asks for stamps."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
        Stamps.enable(client)
        client.connect(listener.getsockname())
        server, _ = listener.accept()
        with server:
            yield client, server


@pytest.fixture
def opened() -> Iterator[Callable[[], Stamps]]:
    """Makes stamps; closes them at the end."""
    made: list[Stamps] = []

    def make() -> Stamps:
        made.append(Stamps())
        return made[-1]

    yield make
    for stamps in made:
        stamps.close()


@pytest.mark.skipif(sys.platform != "linux", reason="SO_TIMESTAMPNS is Linux's")
def test_the_stamp_is_the_arrival_not_the_read(pair: Pair, opened: Callable[[], Stamps]) -> None:
    client, server = pair
    stamps = opened()
    assert stamps.prompt
    before = now_ns()
    server.sendall(b"x")
    after = now_ns()
    time.sleep(0.05)
    data, t = stamps.receive(client, before)
    assert data == b"x"
    # Loopback delivers within the send call; the tolerance is the offset's own bracket.
    assert before <= t <= after + stamps.offset.width_ns
    assert (stamps.kernel, stamps.missing, stamps.implausible) == (1, 0, 0)
    assert stamps.facts()["stamp_source"] == "kernel stamps"


@pytest.mark.parametrize("shift_ns", [-10_000_000_000, 10_000_000_000])
def test_a_stamp_that_cannot_be_true_is_replaced_and_the_offset_taken_again(
    pair: Pair, opened: Callable[[], Stamps], shift_ns: int
) -> None:
    client, server = pair
    stamps = opened()
    good = stamps.offset
    stamps.offset = Offset(good.ns + shift_ns, good.width_ns)  # as if the wall clock had been stepped
    before = now_ns()
    server.sendall(b"x")
    _, t = stamps.receive(client, before)
    assert before <= t <= now_ns()
    assert (stamps.implausible, stamps.steps) == (1, 1)
    assert abs(stamps.offset.ns - good.ns) < 1_000_000
    server.sendall(b"y")
    stamps.receive(client, t)
    assert stamps.kernel == 1  # the fresh offset holds


def test_a_socket_without_stamps_uses_the_read_clock_and_says_so(opened: Callable[[], Stamps]) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stamps = opened()
        before = now_ns()
        theirs.sendall(b"x")
        _, t = stamps.receive(ours, before)
        assert before <= t <= now_ns()
        assert (stamps.kernel, stamps.missing) == (0, 1)
        assert stamps.facts()["stamp_source"] == "the read clock"


def test_offset_and_drift() -> None:
    first, second = take_offset(), take_offset()
    assert drift_ns(first, second) == 0
    assert first.to_monotonic(time.time_ns()) - now_ns() < 1_000_000
    # 20 us plus both brackets is the bound: 20_000 + 100 + 200 = 20_300.
    kept = Offset(0, 100)
    assert drift_ns(kept, Offset(20_300, 200)) == 0
    assert drift_ns(kept, Offset(20_301, 200)) == 20_301
    assert drift_ns(kept, Offset(-20_301, 200)) == -20_301


def test_a_kernel_that_stamps_only_when_read_is_no_source(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some sandboxes do; and Linux itself, for a moment after the first socket asked."""
    monkeypatch.setattr(stamps_module, "TRY_S", 0.0)  # as if every stamp were as young as its read
    monkeypatch.setattr(time, "time_ns", lambda: 0)
    stamps = Stamps()
    stamps.kernel = 5
    assert not stamps.prompt
    assert stamps.facts()["stamp_source"] == "the read clock"
    stamps.close()
