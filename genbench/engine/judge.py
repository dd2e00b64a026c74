"""What may end a run by what it sees of it, before the plan does."""

from typing import NamedTuple, Protocol

from genbench.types import Record


class Stop(NamedTuple):
    """Why a judge ends a run; `at_once`: what is in flight is given up, else it gets the run's time to end."""

    text: str
    at_once: bool = False


class Judge(Protocol):
    """Called on the loop: a look takes less than a millisecond."""

    def add(self, record: Record) -> None:
        """A measured request has ended, whatever became of it."""

    def look(self, now_ns: int, in_flight: int) -> Stop | None:
        """Twice a second, from the first measured send on; `in_flight` with those that wait for a cap."""
