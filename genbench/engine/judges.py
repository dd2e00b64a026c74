"""Judges that every study needs: several as one, the clock, a server that is gone."""

import time

from genbench.engine.judge import Judge, Stop
from genbench.types import Outcome, Record

OUT_OF_TIME = "out of time: "
GONE = "the server went away: "
NOBODY = (Outcome.CONNECT_ERROR, Outcome.TIMEOUT_CONNECT)
GONE_COUNT, GONE_NS = 5, 2_000_000_000


class Deadline:
    """A judge: ends a point at a moment of `time.monotonic`, giving up what is in flight."""

    def __init__(self, until_s: float, why: str) -> None:
        self._until_s = until_s
        self._why = why

    def add(self, record: Record) -> None:
        """Nothing to learn from it."""

    def look(self, now_ns: int, in_flight: int) -> Stop | None:
        """See `judge.Judge`."""
        return Stop(OUT_OF_TIME + self._why, at_once=True) if time.monotonic() >= self._until_s else None


class Together:
    """Several judges as one; the first that says stop is heard."""

    def __init__(self, *judges: Judge | None) -> None:
        self._judges = tuple(judge for judge in judges if judge is not None)

    def add(self, record: Record) -> None:
        """Every one is told."""
        for judge in self._judges:
            judge.add(record)

    def look(self, now_ns: int, in_flight: int) -> Stop | None:
        """See `judge.Judge`; all of them look, so that none misses a moment."""
        said = [judge.look(now_ns, in_flight) for judge in self._judges]
        return next((stop for stop in said if stop is not None), None)


class Gone:
    """A judge: nobody answers a connection any more."""

    def __init__(self) -> None:
        self.in_a_row = 0
        self.stopped = False
        self._since_ns = 0

    def add(self, record: Record) -> None:
        """Count failed connections since the last request that had one."""
        if record.outcome not in NOBODY:
            self.in_a_row = 0
            return
        self.in_a_row += 1
        if self.in_a_row == 1:
            self._since_ns = record.end_ns

    def look(self, now_ns: int, in_flight: int) -> Stop | None:
        """See `judge.Judge`."""
        if self.in_a_row < GONE_COUNT or now_ns - self._since_ns < GONE_NS:
            return None
        self.stopped = True
        return Stop(f"{GONE}{self.in_a_row} connections in a row failed", at_once=True)
