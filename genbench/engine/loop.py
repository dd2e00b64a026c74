"""Sends a plan and waits for what comes back: closed loop (exactly N under way) and open loop (absolute arrivals).

Invariants
- Every request of the plan that is taken up ends in exactly one record; what was due and never taken up is `not_sent`.
- Closed loop: a request leaves in the loop turn in which the one before it ended; its `intended_ns` is that end. With
  a ramp-up slot j of N opens j/N of its time after the start, and that moment is the `intended_ns` of its first.
- Open loop: `intended_ns` is the plan's offset from the start, however late the send. With a cap, those that wait do so
  in the order of their moments and `ready_ns` says until when.
- The plan hands over the first turns of conversations. A later turn is due its think time after the end of the one
  before (`turns`). In a closed loop a conversation keeps its slot from its first turn to the end of its last; in an
  open loop the arrivals are those of first turns, and the cap counts requests in flight.
- The engine decodes only the answers that a conversation goes on from; ended exchanges go to `Decoding`.
- Conversation (or request) k of the plan goes to target k modulo their number, with all its turns.
- Whatever is raised in a callback (the disk is full, a plug-in's `build` fails) ends the run in order: nothing more is
  sent, what is in flight is given up with what had arrived, every record is written, and `error` says why.
"""

import asyncio
import gc
import heapq
from collections.abc import Callable
from typing import Any

from genbench.clock import now_ns
from genbench.engine.deadlines import Deadlines
from genbench.engine.decoding import SLICE_NS, Decoding
from genbench.engine.flight import Flight
from genbench.engine.health import Watch
from genbench.engine.live import Live, Snapshot
from genbench.engine.pacing import NEVER, Alarm
from genbench.engine.rules import Rules
from genbench.engine.slots import Slots
from genbench.engine.turns import Due, Turns
from genbench.engine.until import Precision
from genbench.transport.exchange import Exchange, Transport
from genbench.transport.poller import Poller
from genbench.types import MISSING, OPEN_ENDED, Outcome, Phase, Plan, Request

__all__ = ["Engine", "Rules", "Watcher"]

TICK_S = 0.25
JUDGE_TICKS = 2
REFILL_PAUSE_S = 0.002
CONNECT_PAUSE_S = 0.05  # a refused connection frees its slot at once: without a pause a dead server means a busy loop

Watcher = Callable[[Snapshot], None]


class Engine:
    """One run of one plan."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        poller: Poller,
        transport: Transport,
        decoding: Decoding,
        live: Live,
        plan: Plan,
        watch: Watcher | None = None,
        rules: Rules | None = None,
    ) -> None:
        self._loop = loop
        self._poller = poller
        self._transport = transport
        self._decoding = decoding
        self._live = live
        self._plan = plan
        self._watch = watch
        self._rules = rules = rules or Rules()
        self._health = Watch(loop, poller)
        self._deadlines = Deadlines(
            loop, rules.first_token_ns, rules.total_ns, decoding.first_token_ns, transport.cancel, self._guarded
        )
        self._schedule = plan.schedule
        self._total = len(plan.requests)
        self._next = 0  # place in the plan
        self._flight = Flight()
        self._turns = Turns(decoding)
        self._waiting: list[Due] = []  # a heap: those whose moment has come, for room below the cap
        self._slots = Slots(plan.schedule)
        self._stopped = False
        self._over: asyncio.Future[None] = loop.create_future()
        self._start_ns = self._measured_ns = MISSING
        self._sent = self._not_sent = self._dry = self._resting = self._ticks = self._warm = 0
        self._room_ns = MISSING  # when there was last room again below a cap that had been reached
        self._refilling = self._conversations = False
        self._timers: list[asyncio.TimerHandle] = []
        self._alarm = Alarm(loop, poller, lambda: self._guarded(self._due))
        self._known = None if rules.until is None else Precision(rules.until)
        live.judges = tuple(judge for judge in (self._known, rules.judge) if judge is not None)
        self.interrupted = False
        self.stopped_early = ""  # why, when too many requests had failed
        self.stopped_at = ""  # what is known and how well, when that ended the run
        self.error: Exception | None = None
        decoding.fail = self._fail

    # -- the run ------------------------------------------------------------------------------------------------------

    async def run(self) -> dict[str, Any]:
        """Send everything, wait for everything; returns what the header keeps of it."""
        gc.collect()
        gc.freeze()
        gc.disable()
        try:
            self._health.start()
            self._start_ns = now_ns()
            self._flight.begin(self._start_ns)
            self._later(TICK_S, self._tick)
            self._guarded(self._begin)
            self._maybe_over()
            await self._over
        finally:
            for timer in self._timers:
                timer.cancel()
            self._deadlines.close()
            self._alarm.close()
            self._health.stop()
            gc.enable()
            gc.unfreeze()
            if self._watch is not None:  # however the run ended: who drew on a terminal leaves it clean
                self._watch(self._snapshot(over=True))
        self._decoding.finish()
        return self._facts()

    def interrupt(self) -> None:
        """Ctrl-C: nothing more is sent, what is in flight is given up with what had arrived."""
        self.interrupted = True
        self._stop()
        self._cancel_rest()

    def _fail(self, error: Exception) -> None:
        """Something that is no outcome of a request: end the run in order."""
        if self.error is None:
            self.error = error
            self.interrupt()

    def _guarded(self, call: Callable[..., None], *arguments: Any) -> None:
        """Call, and end the run if it raises: the event loop would only print the error and go on."""
        try:
            call(*arguments)
        except Exception as error:
            self._fail(error)

    def _later(self, seconds: float, call: Callable[..., None], *arguments: Any) -> None:
        self._timers.append(self._loop.call_later(seconds, self._guarded, call, *arguments))

    def _facts(self) -> dict[str, Any]:
        return {
            "start_ns": self._start_ns,
            "measured_ns": self._measured_ns,
            "sent": self._sent,
            "not_sent": self._not_sent,
            **self._due_facts(),
            "conversations_broken": self._turns.broken,
            "conversations_cut": self._turns.cut,
            "in_flight_mean": self._flight.mean,
            "in_flight_max": self._flight.peak,
            "plan_ran_dry": self._dry,
            "raw_records": self._decoding.raw,
            "pacing": self._alarm.source or "closed loop",
            "until_off_pct": None if self._known is None else self._known.off_pct,
            **self._health.facts(),
        }

    def _due_facts(self) -> dict[str, int]:
        """Open loop: how many measured arrivals were due before the end, sent or not, and the first and the last."""
        offsets = self._schedule.offset_ns
        count = self._next - self._schedule.warmup
        if offsets is None or count < 1:
            return {}
        first, last = int(offsets[self._schedule.warmup]), int(offsets[self._next - 1])
        return {"due": count, "first_due_ns": self._start_ns + first, "last_due_ns": self._start_ns + last}

    # -- sending ------------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        self._slots.begin()
        self._fill(self._start_ns)
        self._due()

    def _from_plan(self, at_ns: int) -> Due:
        self._next += 1
        return Due(at_ns, 0, self._next - 1, (self._next - 1) % self._rules.targets)

    def _built(self, number: int) -> Request:
        if not self._plan.requests.is_made(number):
            self._dry += 1
        try:
            return self._plan.requests[number]
        except Exception:
            self._not_sent += 1
            raise

    def _launch(self, due: Due, ready_ns: int) -> None:
        request = due.request or self._built(due.number)
        record = due.record(request, ready_ns)
        goes_on = request.then is not None
        session = record.session if self._rules.session_connection else MISSING
        exchange = Exchange(request, record, self._decoding.arrived, self._done, session=session, last=not goes_on)
        self._sent += 1
        self._conversations = self._conversations or goes_on
        if request.phase == Phase.WARMUP:
            self._warm += 1
        elif self._measured_ns == MISSING:
            self._begin_measuring()
        self._flight.add(exchange)
        self._transport.send(exchange)
        self._flight.count()
        self._deadlines.add(exchange)

    def _begin_measuring(self) -> None:
        self._measured_ns = now_ns()
        self._flight.begin(self._measured_ns)
        self._slots.measuring()
        if self._schedule.duration_ns is not None:
            self._later(self._schedule.duration_ns / 1e9, self._time_is_up)

    def _fill(self, since_ns: int) -> None:
        """Closed loop: as many under way, those that think included, as slots are open."""
        while not self._stopped and self._next < self._total:
            if len(self._flight) + self._resting + len(self._turns) >= self._slots.open:
                return
            self._launch(self._from_plan(since_ns), since_ns)

    def _room(self) -> int:
        """Open loop: how many may leave before the cap is reached."""
        cap = self._schedule.concurrency
        return OPEN_ENDED if cap is None else cap - len(self._flight) - self._resting

    def _first_ns(self) -> int:
        """When the clock calls for something from the plan: the next arrival, or the next slot of a ramp-up."""
        offsets = self._schedule.offset_ns
        if self._next >= self._total:
            return NEVER
        if offsets is None:
            return self._slots.next_ns(self._start_ns)
        return self._start_ns + int(offsets[self._next])

    def _due(self) -> None:
        """Everything whose moment has come leaves, or waits for the cap of an open loop."""
        while not self._stopped:
            first_ns, turn_ns = self._first_ns(), self._turns.next_ns
            at_ns = min(first_ns, turn_ns)
            if at_ns > now_ns():
                self._alarm.at(at_ns)
                return
            if turn_ns <= first_ns:
                self._take(self._turns.pop())
            elif self._schedule.offset_ns is not None:
                self._take(self._from_plan(at_ns))
            else:
                self._slots.open += 1
                self._fill(at_ns)

    def _take(self, due: Due) -> None:
        if self._schedule.offset_ns is not None and (self._waiting or self._room() <= 0):
            heapq.heappush(self._waiting, due)
        else:  # with a cap that is not reached, being late is the client's own doing: no wait for the cap
            self._launch(due, max(due.at_ns, self._room_ns))

    def _done(self, exchange: Exchange) -> None:
        """An exchange has ended; the slot is free from its last byte on, or its conversation's from now on."""
        exchange.ended = True
        self._flight.remove(exchange)
        self._deadlines.remove(exchange)
        record = exchange.record
        if record.phase == Phase.MEASURED:
            self._live.done += 1
        if exchange.request.then is not None:
            self._guarded(self._turns.after, exchange, self._stopped)
        self._decoding.arrived(exchange)
        if not self._stopped:
            if exchange.reply.outcome in (Outcome.CONNECT_ERROR, Outcome.TLS_ERROR):
                self._resting += 1
                self._later(CONNECT_PAUSE_S, self._rested)
            else:
                self._guarded(self._slot_free, record.end_ns)
        self._maybe_over()

    def _rested(self) -> None:
        self._resting -= 1
        self._slot_free(now_ns())
        self._maybe_over()

    def _slot_free(self, since_ns: int) -> None:
        self._look_at_failures()
        if self._stopped:
            return
        if self._schedule.offset_ns is None:
            if self._turns:
                self._due()
            self._fill(since_ns)
            return
        if not self._waiting and self._room() == 1:
            self._room_ns = since_ns
        if self._turns:  # one that is due by now may be before those that wait
            self._due()
        while self._waiting and self._room() > 0:
            due = heapq.heappop(self._waiting)
            self._launch(due, max(due.at_ns, since_ns))

    # -- ending -------------------------------------------------------------------------------------------------------

    def _time_is_up(self) -> None:
        self._stop()
        self._later(self._schedule.grace_ns / 1e9, self._cancel_rest)
        self._maybe_over()

    def _look_at_failures(self) -> None:
        """End the run when too many requests have failed; what is in flight gets its time to end."""
        failed, ended = self._live.failed_at_all, self._live.ended_at_all
        if not self._stopped and self._rules.too_many(failed, ended, self._total):
            self.stopped_early = f"{failed} of {ended} requests had failed"
            self._time_is_up()

    def _look_at_judges(self) -> None:
        """End the run when one of them says so."""
        for judge in () if self._stopped or self._measured_ns == MISSING else self._live.judges:
            stop = judge.look(now_ns(), len(self._flight) + len(self._waiting))
            if stop is not None and not self._stopped:
                self.stopped_at = stop.text
                self._time_is_up()
                if stop.at_once:
                    self._cancel_rest()

    def _stop(self) -> None:
        if self._stopped:
            return
        self._stopped = True
        self._not_sent += sum(due.request is None for due in self._waiting)
        self._turns.drop(self._waiting)
        self._waiting.clear()
        offsets = self._schedule.offset_ns
        if offsets is not None and not self.interrupted:  # arrivals the clock had already called for
            passed = now_ns() - self._start_ns
            while self._next < self._total and offsets[self._next] <= passed:
                self._next += 1
                self._not_sent += 1

    def _cancel_rest(self) -> None:
        for exchange in self._flight:
            self._transport.cancel(exchange)
        self._maybe_over()

    def _maybe_over(self) -> None:
        if self._flight or self._over.done():
            return
        if self._stopped or not (self._next < self._total or self._waiting or self._turns or self._resting):
            self._over.set_result(None)

    # -- beside the run -----------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._timers = [timer for timer in self._timers if not timer.cancelled() and timer.when() > self._loop.time()]
        self._later(TICK_S, self._tick)
        self._decoding.flush()
        self._health.collect_if_grown()
        self._look_at_failures()
        self._ticks += 1
        if self._ticks % JUDGE_TICKS == 0:
            self._look_at_judges()
        if not self._refilling:
            self._refill()
        if self._watch is not None:
            self._watch(self._snapshot())

    def _refill(self) -> None:
        """Build bodies ahead in slices, with room for readers between them."""
        self._refilling = not self._over.done() and not self._plan.requests.refill(self._next, SLICE_NS)
        if self._refilling:
            self._later(REFILL_PAUSE_S, self._refill)

    def _snapshot(self, *, over: bool = False) -> Snapshot:
        schedule = self._schedule
        return self._live.snapshot(
            now_ns(),
            measured_ns=self._measured_ns,
            duration_ns=schedule.duration_ns,
            total=self._measured_total(),
            in_flight=len(self._flight),
            waiting=None if schedule.offset_ns is None or schedule.concurrency is None else len(self._waiting),
            content_events=self._decoding.content_events,
            series=self._health.series,
            over=over,
        )

    def _measured_total(self) -> int | None:
        """Requests that will be measured; with conversations only where the plan knows how many turns they have."""
        if not self._conversations:
            return self._total - self._schedule.warmup if self._total < OPEN_ENDED else None
        turns: int | None = getattr(self._plan.requests, "total_turns", None)
        return None if turns is None else turns - self._warm
