"""Conversations: who follows whom, when, in which slot, on which connection, and what their early ends leave."""

import asyncio
import json
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from genbench.engine.loop import Engine, Rules
from genbench.metrics.summary import summarise
from genbench.records import RecordTable
from genbench.transport.exchange import Timeouts, Transport
from genbench.transport.poller import Poller
from genbench.transport.wire import WireTransport
from genbench.types import Request
from tests.engine.made import MS, Fake, Reply, go, plan, says, talk
from tests.simulator.process import Simulator
from tests.transport import side_by_side
from tests.transport.raw_server import RawServer, read_request

CONTENT_LENGTH = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"


def turns_of(table: RecordTable, session: int) -> list[int]:
    """Rows of one conversation, in the order of their turns."""
    rows = np.flatnonzero(table.session == session)
    return [int(row) for row in rows[np.argsort(table.turn[rows])]]


def under_way(table: RecordTable) -> int:
    """The most conversations that were under way at a time, from the first send to the last end of each."""
    marks = []
    for session in set(table.session.tolist()):
        rows = turns_of(table, session)
        marks += [(int(table.sent_ns[rows[0]]), 1), (int(table.end_ns[rows[-1]]), -1)]
    level = most = 0
    for _, change in sorted(marks):
        level += change
        most = max(most, level)
    return most


@pytest.mark.parametrize("offsets_ms", [None, [0.0, 1.0, 2.0, 3.0, 4.0]])
@pytest.mark.parametrize("think_ms", [0.0, 7.0])
def test_each_turn_is_due_its_think_time_after_the_answer(
    tmp_path: Path, think_ms: float, offsets_ms: list[float] | None
) -> None:
    talks = [talk(session, 4, think_ms=think_ms) for session in range(5)]
    work = plan(talks, concurrency=2 if offsets_ms is None else None, offsets_ms=offsets_ms)
    ran = go(tmp_path, work, Fake(), rules=Rules(targets=3))
    table = ran.table
    assert sorted(table.index.tolist()) == [100 * session + t for session in range(5) for t in range(4)]
    assert set(table.outcome) == {"ok"}
    for session in range(5):
        rows = turns_of(table, session)
        assert table.turn[rows].tolist() == [0, 1, 2, 3]
        due = table.end_ns[rows[:-1]] + round(think_ms * MS)
        assert table.intended_ns[rows[1:]].tolist() == table.ready_ns[rows[1:]].tolist() == due.tolist()
        assert set(table.target[rows].tolist()) == {session % 3}
        late_ms = (table.sent_ns[rows[1:]] - due) / MS
        assert late_ms.min() >= 0
        assert np.median(late_ms) < 2
    assert (ran.facts["sent"], ran.facts["conversations_broken"], ran.facts["conversations_cut"]) == (20, 0, 0)


def test_the_next_turn_repeats_what_the_assistant_said(tmp_path: Path) -> None:
    """Content of the first choice: no reasoning, no tool call; nothing where nothing was said."""

    def reply(request: Request) -> Reply:
        body = says("I see", reasoning_content="hm", tool_calls=[{"function": {"name": "look"}}])
        other = b'{"choices": [{"message": {"content": "one"}, "finish_reason": "stop"}, '
        other += b'{"message": {"content": "two"}, "finish_reason": "stop"}]}'
        silent = b'{"choices": [{"message": {"content": ""}, "finish_reason": "stop"}]}'
        return 0.001, 200, [body, other, silent, says("end")][request.sample.turn]

    fake = Fake(reply)
    ran = go(tmp_path, plan([talk(0, 4, body=lambda turn, text: f"{turn}:{text}".encode())], concurrency=1), fake)
    assert [request.body for request in fake.order] == [b"0:", b"1:I see", b"2:one", b"3:"]
    assert ran.table.outcome == ["ok", "ok", "no_output", "ok"]
    assert ran.facts["conversations_broken"] == 0


def test_a_conversation_that_needs_no_answer_gets_none(tmp_path: Path) -> None:
    fake = Fake()
    work = plan([talk(0, 3, needs_answer=False, body=lambda turn, text: f"{turn}:{text}".encode())], concurrency=1)
    go(tmp_path, work, fake)
    assert [request.body for request in fake.order] == [b"0:", b"1:", b"2:"]


def test_a_slot_is_kept_while_its_user_thinks(tmp_path: Path) -> None:
    ran = go(tmp_path, plan([talk(session, 3, think_ms=20) for session in range(6)], concurrency=2), Fake())
    table = ran.table
    assert under_way(table) == 2
    last_ends = sorted(int(table.end_ns[turns_of(table, session)[-1]]) for session in range(6))
    begun = sorted(int(table.intended_ns[turns_of(table, session)[0]]) for session in range(6))
    assert begun[2:] == last_ends[:4]  # each begins when one has ended
    assert ran.facts["pacing"] == "timerfd" if sys.platform == "linux" else True


@pytest.mark.parametrize("warm", [2, 3, 8])
def test_no_dip_between_warm_up_and_measurement_in_a_closed_loop(tmp_path: Path, warm: int) -> None:
    """Without think time N are in flight after each end, from when all slots are open until the plan is used up."""
    slots = 4
    talks = [talk(session, 2 + session % 3, warm=session < warm) for session in range(30)]
    fake = Fake(lambda request: (0.004 + 0.001 * (request.index % 5), 200, says("so")))
    ran = go(tmp_path, plan(talks, concurrency=slots), fake)
    last_begun = fake.order.index(talks[-1])
    levels = fake.after_each_end[: last_begun - slots]
    assert set(levels) == {min(warm, slots), slots}
    assert levels == sorted(levels)  # up once, never down
    assert ran.table.measured.sum() == sum(2 + session % 3 for session in range(warm, 30))


def test_no_gap_between_warm_up_and_measurement_in_an_open_loop(tmp_path: Path) -> None:
    """The first measured ones leave at their moments while the warm-up's conversations still go on."""
    offsets = [5.0 * k for k in range(12)]
    talks = [talk(session, 3, think_ms=30, warm=session < 4) for session in range(12)]
    table = go(tmp_path, plan(talks, offsets_ms=offsets), Fake()).table
    first = table.turn == 0
    order = np.argsort(table.session[first])
    moments = table.intended_ns[first][order]
    assert ((moments - moments[0]) / MS).tolist() == offsets
    assert table.end_ns[~table.measured].max() > table.sent_ns[table.measured].min() + 20 * MS
    assert np.median(table.sent_ns[first][order] - moments) < 2 * MS


def test_the_arrivals_of_an_open_loop_are_first_turns(tmp_path: Path) -> None:
    talks = [talk(session, 2, think_ms=5, warm=session < 2) for session in range(10)]
    ran = go(tmp_path, plan(talks, offsets_ms=[4.0 * k for k in range(10)]), Fake())
    span_ms = (ran.facts["last_due_ns"] - ran.facts["first_due_ns"]) / MS
    assert (ran.facts["due"], span_ms, ran.facts["sent"], ran.facts["not_sent"]) == (8, 28, 20, 0)


def test_with_a_cap_all_wait_in_the_order_of_their_moments(tmp_path: Path) -> None:
    talks = [talk(session, 4, think_ms=[0, 3, 11][session % 3]) for session in range(9)]
    fake = Fake(lambda request: (0.004, 200, says("so")))
    table = go(tmp_path, plan(talks, concurrency=2, offsets_ms=[2.0 * k for k in range(9)]), fake).table
    assert len(table) == 36
    assert fake.most == 2
    order = np.argsort(table.sent_ns)
    assert (np.diff(table.intended_ns[order]) >= 0).all()
    waited = table.ready_ns > table.intended_ns
    assert (waited & (table.turn > 0)).sum() > 5
    assert (waited & (table.turn == 0)).sum() > 3
    assert (table.ready_ns >= table.intended_ns).all()


def failing(*indices: int) -> Callable[[Request], Reply]:
    return lambda request: (0.004, 500 if request.index in indices else 200, says("so"))


@pytest.mark.parametrize("offsets_ms", [None, [0.0] * 5])
def test_a_turn_that_fails_breaks_its_conversation(tmp_path: Path, offsets_ms: list[float] | None) -> None:
    """Of five, number 1 fails at its second turn and number 2 at its last, where nothing is left to break."""
    talks = [talk(session, 3, think_ms=1, warm=session == 0) for session in range(5)]
    ran = go(tmp_path, plan(talks, concurrency=2, offsets_ms=offsets_ms), Fake(failing(1, 101, 202)))
    counts = {session: len(turns_of(ran.table, session)) for session in range(5)}
    assert counts == {0: 2, 1: 2, 2: 3, 3: 3, 4: 3}
    assert ran.table.outcome.count("http_error") == 3
    assert ran.facts["conversations_broken"] == 1  # the warm-up's is in no number
    assert ran.facts["conversations_cut"] == 0
    assert ran.engine.error is None


def test_a_refused_connection_breaks_a_conversation_and_frees_its_slot(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]  # nobody listens there from here on
    ran = go(tmp_path, plan([talk(session, 2) for session in range(4)], concurrency=2), wire(port))
    assert ran.table.outcome == ["connect_error"] * 4
    assert ran.facts["conversations_broken"] == 4


def test_when_time_is_up_no_further_turn_is_sent(tmp_path: Path) -> None:
    """At 600 ms two think for 10 s more, one is in flight until 800 ms; both kinds are cut, none has failed."""
    talks = [talk(0, 2, think_ms=10_000), talk(1, 2, think_ms=10_000), talk(2, 3), talk(3, 1)]
    fake = Fake(lambda request: (0.4 if request.sample.session == 2 else 0.01, 200, says("so")))
    ran = go(tmp_path, plan(talks, concurrency=3, duration_s=0.6), fake)
    assert ran.seconds < 5
    assert sorted(ran.table.index.tolist()) == [0, 100, 200, 201]
    assert set(ran.table.outcome) == {"ok"}
    assert (ran.facts["conversations_cut"], ran.facts["conversations_broken"]) == (3, 0)
    assert ran.facts["not_sent"] == 0


def test_turns_that_wait_for_the_cap_at_the_end_are_cut_and_arrivals_not_sent(tmp_path: Path) -> None:
    talks = [talk(session, 2) for session in range(4)]
    fake = Fake(lambda request: (0.1, 200, says("so")))
    # 0 ends at 100 ms: its second turn waits behind 1, 2 and 3; 1 is in flight at 150 ms, 2 and 3 never leave
    ran = go(tmp_path, plan(talks, concurrency=1, offsets_ms=[0, 1, 2, 3], duration_s=0.15), fake)
    assert [request.index for request in fake.order] == [0, 100]
    assert (ran.facts["conversations_cut"], ran.facts["not_sent"], ran.facts["due"]) == (2, 2, 4)


def test_an_interrupt_drops_who_thinks(tmp_path: Path) -> None:
    talks = [talk(0, 2, think_ms=10_000), talk(1, 2), talk(2, 1)]
    fake = Fake(lambda request: (0.01 if request.sample.session == 0 else 5, 200, says("so")))

    def before(engine: Engine) -> None:
        fake.on_end = lambda index: engine.interrupt() if index == 0 else None

    ran = go(tmp_path, plan(talks, concurrency=3), fake, before=before)
    assert ran.seconds < 1
    assert ran.table.outcome == ["ok", "cancelled", "cancelled"]
    assert ran.facts["conversations_cut"] == 2


def test_too_many_failures_stop_the_conversations(tmp_path: Path) -> None:
    talks = [talk(session, 50) for session in range(20)]
    rules = Rules(most_failed=3)
    ran = go(tmp_path, plan(talks, concurrency=2), Fake(failing(*(100 * k + 2 for k in range(20)))), rules=rules)
    assert "requests had failed" in ran.engine.stopped_early
    assert 3 <= ran.table.outcome.count("http_error") <= 5
    assert ran.facts["conversations_broken"] + ran.facts["conversations_cut"] <= 7


@pytest.mark.parametrize("offsets_ms", [None, [0.0] * 6])
def test_a_next_turn_that_cannot_be_made_ends_the_run_in_order(tmp_path: Path, offsets_ms: list[float] | None) -> None:
    def body(turn: int, text: str) -> bytes:
        if text == "answer to 201":
            raise OSError("the input is gone")
        return b"{}"

    talks = [talk(session, 3, body=body) for session in range(6)]
    ran = go(tmp_path, plan(talks, concurrency=3, offsets_ms=offsets_ms), Fake())
    assert str(ran.engine.error) == "the input is gone"
    assert ran.engine.interrupted
    assert ran.table.outcome[ran.row(201)] == "ok"
    assert set(ran.table.outcome) <= {"ok", "cancelled"}
    assert ran.facts["sent"] == len(ran.table)
    assert ran.facts["conversations_cut"] >= 1


@pytest.mark.parametrize("platform", ["linux", "elsewhere"])
def test_who_thinks_long_does_not_hold_up_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: str
) -> None:
    """The clock is set to 500 ms from now when somebody comes who is due in 5 ms."""
    monkeypatch.setattr(sys, "platform", platform)
    talks = [talk(0, 2, think_ms=500), talk(1, 6, think_ms=5)]
    fake = Fake(lambda request: (0.005 + 0.01 * request.sample.session, 200, says("so")))
    table = go(tmp_path, plan(talks, concurrency=2), fake).table
    assert table.end_ns[turns_of(table, 1)[-1]] < table.sent_ns[turns_of(table, 0)[1]]


def test_without_a_timerfd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "elsewhere")
    talks = [talk(session, 4, think_ms=4 + session) for session in range(6)]
    ran = go(tmp_path, plan(talks, concurrency=3), Fake())
    assert ran.facts["pacing"] == "loop timer and spin"
    assert len(ran.table) == 24
    assert (ran.table.sent_ns >= ran.table.intended_ns).all()


@pytest.mark.parametrize(("total_turns", "total"), [(None, None), (14, 12)])
def test_the_watcher_is_told_a_total_only_where_it_is_known(
    tmp_path: Path, total_turns: int | None, total: int | None
) -> None:
    """Seven conversations of two turns, one of them warm-up."""
    talks = [talk(session, 2, warm=session == 0) for session in range(7)]
    ran = go(tmp_path, plan(talks, concurrency=1, total_turns=total_turns), Fake())
    assert (ran.seen[-1].done, ran.seen[-1].total) == (12, total)


# -- over sockets ------------------------------------------------------------------------------------------------------


def wire(port: int, name: str = "wire") -> Callable[[asyncio.AbstractEventLoop, Poller], Transport]:
    """One of the three transports to a port of this machine."""
    address = side_by_side.address(f"http://127.0.0.1:{port}")

    def make(loop: asyncio.AbstractEventLoop, poller: Poller) -> Transport:
        if name == "wire":
            return WireTransport(loop, poller, [address], Timeouts(5_000 * MS, 5_000 * MS), retry=True)
        made, unused = side_by_side.make(name, address)
        unused.close()
        return made

    return make


def asks(ttft_ms: float, itl_ms: float, tokens: int, heard: list[str] | None = None) -> Callable[[int, str], bytes]:
    """A streamed chat request to the simulator that repeats the answer before it, and keeps it in `heard`."""

    def body(turn: int, text: str) -> bytes:
        if turn and heard is not None:
            heard.append(text)
        said = [{"role": "assistant", "content": text}, {"role": "user", "content": "and then?"}] if turn else []
        return json.dumps(
            {
                "stream": True,
                "messages": [{"role": "user", "content": "tell me"}, *said],
                "simulate": {"ttft_ms": ttft_ms, "itl_ms": itl_ms, "tokens": tokens},
            }
        ).encode()

    return body


@pytest.mark.parametrize("name", side_by_side.NAMES)
def test_over_each_transport(tmp_path: Path, simulator: Simulator, name: str) -> None:
    heard: list[str] = []
    talks = [talk(session, 3, think_ms=2, body=asks(4, 1, 5, heard)) for session in range(6)]
    table = go(tmp_path, plan(talks, concurrency=3), wire(simulator.port, name)).table
    assert table.outcome == ["ok"] * 18
    assert [len(text.split()) for text in heard] == [5] * 12
    for session in range(6):
        rows = turns_of(table, session)
        assert (table.intended_ns[rows[1:]] - table.end_ns[rows[:-1]]).tolist() == [2 * MS, 2 * MS]
        assert table.request_bytes[rows[1:]].min() > table.request_bytes[rows[0]]


def test_littles_law_holds_with_conversations(tmp_path: Path, simulator: Simulator) -> None:
    """Answers of 100 ms: what the loop is late to see of their ends is far below 1 %, on a busy machine below 5 %."""
    talks = [talk(session, 2, think_ms=30, body=asks(80, 4, 6), warm=session < 8) for session in range(40)]
    ran = go(tmp_path, plan(talks, concurrency=8), wire(simulator.port))
    header = {"config": {"load": {"concurrency": 8}}, "health": ran.facts}
    summary = summarise(ran.table, header)
    assert summary.run["little_pct"].value < 5
    assert 5 < summary.run["concurrency_mean"].value < 7.8  # the rest of the time they think
    assert "steady" not in {finding.check for finding in summary.findings}
    assert "steady_duration" in summary.run


def test_a_conversation_keeps_its_own_connection(tmp_path: Path, simulator: Simulator) -> None:
    """Users think for different times: without a connection of their own they would swap them."""
    talks = [talk(session, 4, think_ms=1 + session % 4, body=asks(3, 1, 3)) for session in range(12)]
    rules = Rules(session_connection=True)
    ran = go(tmp_path, plan(talks, concurrency=4), wire(simulator.port), rules=rules)
    table = ran.table
    assert table.outcome == ["ok"] * 48
    assert ran.facts["session_connections_lost"] == 0
    assert ran.facts["connections_opened"] == 4  # a conversation's goes to the next one
    used: list[tuple[int, int, int]] = []
    for session in range(12):
        rows = turns_of(table, session)
        (connection,) = set(table.connection[rows].tolist())
        used.append((connection, int(table.sent_ns[rows[0]]), int(table.end_ns[rows[-1]])))
    for connection, begun, _ in used:
        ends = [end for other, start, end in used if other == connection and start < begun]
        assert all(end <= begun for end in ends)  # nobody else in between


def test_without_the_rule_connections_are_shared(tmp_path: Path, simulator: Simulator) -> None:
    talks = [talk(session, 4, think_ms=1 + 3 * session, body=asks(3, 1, 3)) for session in range(4)]
    table = go(tmp_path, plan(talks, concurrency=4), wire(simulator.port)).table
    assert any(len(set(table.connection[turns_of(table, session)].tolist())) > 1 for session in range(4))


@pytest.mark.parametrize("think_ms", [0.0, 0.1, 20.0])
def test_a_connection_that_closed_meanwhile_is_replaced_and_counted(tmp_path: Path, think_ms: float) -> None:
    """At once it is found out by sending, later by looking."""

    def once(sock: socket.socket) -> None:
        read_request(sock)
        answer = says("so")
        sock.sendall(CONTENT_LENGTH % (len(answer), answer))  # keep-alive, it says, and closes

    talks = [talk(session, 3, think_ms=think_ms) for session in range(2)]
    with RawServer(once) as server:
        ran = go(tmp_path, plan(talks, concurrency=2), wire(server.port), rules=Rules(session_connection=True))
    assert ran.table.outcome == ["ok"] * 6
    assert ran.facts["session_connections_lost"] == 4  # every turn but the first
    assert len(set(ran.table.connection.tolist())) == 6


def test_a_broken_conversations_connection_is_free_again(tmp_path: Path) -> None:
    def refusing(sock: socket.socket) -> None:
        while read_request(sock):
            sock.sendall(b"HTTP/1.1 500 Not Now\r\nContent-Length: 0\r\n\r\n")

    talks = [talk(session, 2) for session in range(12)]
    with RawServer(refusing) as server:
        ran = go(tmp_path, plan(talks, concurrency=1), wire(server.port), rules=Rules(session_connection=True))
    assert ran.facts["conversations_broken"] == 12
    assert ran.facts["connections_opened"] <= 2  # the one at hand, and the one just let go
    assert ran.facts["session_connections_lost"] == 0
