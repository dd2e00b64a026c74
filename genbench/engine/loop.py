"""Sends a plan and waits for what comes back: closed loop (exactly N in flight) and open loop (absolute arrivals).

Invariants
- Every request of the plan that is taken up ends in exactly one record; what was due and never taken up is `not_sent`.
- Closed loop: a request leaves in the loop turn in which the one before it ended; its `intended_ns` is that end.
- Open loop: `intended_ns` is the plan's offset from the start, however late the send. With a cap, those that wait do so
  in arrival order and `ready_ns` says until when.
- The engine never decodes; ended exchanges go to `Decoding`.
- Request k goes to target k modulo their number.
- Whatever is raised in a callback (the disk is full, a plug-in's `build` fails) ends the run in order: nothing more is
  sent, what is in flight is given up with what had arrived, every record is written, and `error` says why.
"""

import asyncio
import gc
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from genbench.clock import now_ns
from genbench.engine.deadlines import Deadlines
from genbench.engine.decoding import SLICE_NS, Decoding
from genbench.engine.health import Watch
from genbench.engine.live import SHOWN, Live, Snapshot
from genbench.engine.pacing import Pacer
from genbench.transport.exchange import Exchange, Transport
from genbench.transport.poller import Poller
from genbench.types import MISSING, OPEN_ENDED, Outcome, Phase, Plan, Record

TICK_S = 0.25
REFILL_PAUSE_S = 0.002
SOME_ENDED = 20  # before a share of them means anything
CONNECT_PAUSE_S = 0.05  # a refused connection frees its slot at once: without a pause a dead server means a busy loop

Watcher = Callable[[Snapshot], None]


@dataclass(frozen=True, slots=True)
class Rules:
    """How many targets take turns, and when a request or the run is given up; None: never."""

    targets: int = 1
    first_token_ns: int | None = None
    total_ns: int | None = None
    most_failed: int | None = None
    most_failed_pct: float | None = None


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
        self._next = 0
        self._under_way: set[Exchange] = set()
        self._cap_queue: deque[tuple[int, int]] = deque()  # (index, intended_ns)
        self._stopped = False
        self._over: asyncio.Future[None] = loop.create_future()
        self._start_ns = self._measured_ns = MISSING
        self._area = self._changed_ns = self._last_flying = 0
        self._peak = self._not_sent = self._dry = self._resting = 0
        self._room_ns = MISSING  # when there was last room again below a cap that had been reached
        self._refilling = False
        self._timers: list[asyncio.TimerHandle] = []
        self._pacer: Pacer | None = None
        self.interrupted = False
        self.stopped_early = ""  # why, when the rules ended the run
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
            self._start_ns = self._changed_ns = now_ns()
            self._later(TICK_S, self._tick)
            if self._schedule.offset_ns is None:
                self._guarded(self._begin_closed)
            else:
                self._pacer = Pacer(self._loop, self._poller, lambda: self._guarded(self._due))
                self._guarded(self._due)
            self._maybe_over()
            await self._over
        finally:
            for timer in self._timers:
                timer.cancel()
            self._deadlines.close()
            if self._pacer is not None:
                self._pacer.close()
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
        span = max(1, self._changed_ns - (self._measured_ns if self._measured_ns != MISSING else self._start_ns))
        return {
            "start_ns": self._start_ns,
            "measured_ns": self._measured_ns,
            "sent": self._next - len(self._cap_queue) - self._not_sent,
            "not_sent": self._not_sent,
            **self._due_facts(),
            "in_flight_mean": self._area / span,
            "in_flight_max": self._peak,
            "plan_ran_dry": self._dry,
            "raw_records": self._decoding.raw,
            "pacing": self._pacer.source if self._pacer is not None else "closed loop",
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

    def _next_index(self) -> int:
        index = self._next
        self._next += 1
        return index

    def _launch(self, index: int, intended_ns: int, ready_ns: int) -> None:
        if not self._plan.requests.is_made(index):
            self._dry += 1
        try:
            request = self._plan.requests[index]
        except Exception:
            self._not_sent += 1
            raise
        record = Record(
            index=index,
            target=index % self._rules.targets,
            session=request.sample.session,
            turn=request.sample.turn,
            phase=request.phase,
            intended_ns=intended_ns,
            ready_ns=ready_ns,
            isl_wanted=request.sample.isl,
            isl_tokenizer=request.isl_tokenizer,
            osl_wanted=MISSING if request.max_tokens is None else request.max_tokens,
            inputs=max(1, len(request.sample.texts)),
            choices=request.choices,
        )
        exchange = Exchange(request, record, self._decoding.arrived, self._done)
        if self._measured_ns == MISSING and request.phase == Phase.MEASURED:
            self._begin_measuring()
        self._under_way.add(exchange)
        self._transport.send(exchange)
        self._count()  # only now: preparing a send is not being in flight
        self._deadlines.add(exchange)

    def _begin_measuring(self) -> None:
        self._measured_ns = now_ns()
        self._area = self._peak = 0
        self._changed_ns = self._measured_ns
        if self._schedule.duration_ns is not None:
            self._later(self._schedule.duration_ns / 1e9, self._time_is_up)

    def _begin_closed(self) -> None:
        """All slots at once, but warm-up requests alone first: the rest follows when the first measured one leaves."""
        slots = 0 if self._stopped else min(self._schedule.concurrency or 1, self._total)
        for _ in range(min(slots, self._schedule.warmup or slots)):
            self._launch(self._next_index(), self._start_ns, self._start_ns)

    def _fill(self, since_ns: int) -> None:
        """Closed loop: as many in flight as asked for."""
        slots = self._schedule.concurrency or 1
        while len(self._under_way) + self._resting < slots and self._next < self._total:
            self._launch(self._next_index(), since_ns, since_ns)

    def _count(self) -> None:
        """Keep the integral of the number in flight; called right after every change of it."""
        now = now_ns()
        flying = len(self._under_way)
        self._area += self._last_flying * (now - self._changed_ns)
        self._changed_ns = now
        self._last_flying = flying
        if flying > self._peak:
            self._peak = flying

    def _due(self) -> None:
        """Open loop: everything whose moment has come leaves, or waits for the cap."""
        offsets = self._schedule.offset_ns
        assert offsets is not None
        assert self._pacer is not None
        cap = self._schedule.concurrency
        while self._next < self._total and not self._stopped:
            intended = self._start_ns + int(offsets[self._next])
            now = now_ns()
            if intended > now:
                self._pacer.at(intended)
                return
            index = self._next_index()
            if cap is not None and (self._cap_queue or len(self._under_way) + self._resting >= cap):
                self._cap_queue.append((index, intended))
            else:  # with a cap that is not reached, being late is the client's own doing: no wait for the cap
                self._launch(index, intended, max(intended, self._room_ns))

    def _done(self, exchange: Exchange) -> None:
        """An exchange has ended; the slot is free from its last byte on."""
        exchange.ended = True
        self._under_way.discard(exchange)
        self._deadlines.remove(exchange)
        self._count()
        record = exchange.record
        if record.phase == Phase.MEASURED:
            self._live.done += 1
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
        if self._cap_queue:
            index, intended = self._cap_queue.popleft()
            self._launch(index, intended, max(intended, since_ns))
        elif self._schedule.offset_ns is not None:
            if len(self._under_way) + self._resting + 1 == self._schedule.concurrency:
                self._room_ns = since_ns
        elif self._next < self._total:
            self._launch(self._next_index(), since_ns, since_ns)
            if self._measured_ns != MISSING:
                self._fill(since_ns)

    # -- ending -------------------------------------------------------------------------------------------------------

    def _time_is_up(self) -> None:
        self._stop()
        self._later(self._schedule.grace_ns / 1e9, self._cancel_rest)
        self._maybe_over()

    def _look_at_failures(self) -> None:
        """End the run when too many requests have failed; what is in flight gets its time to end."""
        rules, failed, ended = self._rules, self._live.failed_at_all, self._live.ended_at_all
        many = rules.most_failed is not None and failed >= rules.most_failed
        told = ended >= min(SOME_ENDED, self._total)
        share = told and rules.most_failed_pct is not None and 100 * failed >= rules.most_failed_pct * ended
        if failed and (many or share) and not self._stopped:
            self.stopped_early = f"{failed} of {ended} requests had failed"
            self._time_is_up()

    def _stop(self) -> None:
        if self._stopped:
            return
        self._stopped = True
        self._not_sent += len(self._cap_queue)
        self._cap_queue.clear()
        offsets = self._schedule.offset_ns
        if offsets is not None and not self.interrupted:  # arrivals the clock had already called for
            passed = now_ns() - self._start_ns
            while self._next < self._total and offsets[self._next] <= passed:
                self._next += 1
                self._not_sent += 1

    def _cancel_rest(self) -> None:
        for exchange in list(self._under_way):
            self._transport.cancel(exchange)
        self._maybe_over()

    def _maybe_over(self) -> None:
        if self._under_way or self._over.done():
            return
        if self._stopped or (self._next >= self._total and not self._cap_queue and not self._resting):
            self._over.set_result(None)

    # -- beside the run -----------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._timers = [timer for timer in self._timers if not timer.cancelled() and timer.when() > self._loop.time()]
        self._later(TICK_S, self._tick)
        self._decoding.flush()
        self._health.collect_if_grown()
        self._look_at_failures()
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
        now, live, schedule, series = now_ns(), self._live, self._schedule, self._health.series
        measuring = self._measured_ns != MISSING
        elapsed = (now - self._measured_ns) / 1e9 if measuring else 0.0
        total = self._total - schedule.warmup if self._total < OPEN_ENDED else None
        duration = None if schedule.duration_ns is None else schedule.duration_ns / 1e9
        left = None if duration is None else max(0.0, duration - elapsed)
        if total and live.done and elapsed:
            by_count = (total - live.done) * elapsed / live.done
            left = by_count if left is None else min(left, by_count)
        lags, shares = series["loop_lag_max_ns"], series["cpu_pct"]
        return Snapshot(
            elapsed_s=elapsed,
            duration_s=duration,
            left_s=left,
            done=live.done,
            total=total,
            in_flight=len(self._under_way),
            waiting=None if schedule.offset_ns is None or schedule.concurrency is None else len(self._cap_queue),
            failures=dict(live.failures),
            warming_up=not measuring,
            streams=live.streams,
            tokens_per_s=live.look(now, self._decoding.content_events),
            ttft_ms=live.ttft.percentiles_ms(SHOWN),
            itl_ms=live.itl.percentiles_ms(SHOWN),
            latency_ms=live.latency.percentiles_ms(SHOWN),
            lag_ms=lags[-1] / 1e6 if lags else None,
            cpu_pct=shares[-1] if shares else None,
            over=over,
        )
