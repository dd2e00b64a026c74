"""What the user asked of a run besides its plan: when a request or the whole run is given up or known well enough."""

from dataclasses import dataclass

from genbench.engine.judge import Judge
from genbench.engine.until import Until

SOME_ENDED = 20  # before a share of them means anything


@dataclass(frozen=True, slots=True)
class Rules:
    """How many targets take turns, and when a request or the run is given up; None: never.

    `until` ends the run when a statistic is known well enough, `judge` for reasons of its own. `session_connection`:
    every conversation has a connection of its own (the wire transport only).
    """

    targets: int = 1
    first_token_ns: int | None = None
    total_ns: int | None = None
    most_failed: int | None = None
    most_failed_pct: float | None = None
    until: Until | None = None
    judge: Judge | None = None
    session_connection: bool = False

    def too_many(self, failed: int, ended: int, total: int) -> bool:
        """Whether so many failures end a run of `total` requests."""
        many = self.most_failed is not None and failed >= self.most_failed
        told = ended >= min(SOME_ENDED, total)
        share = told and self.most_failed_pct is not None and 100 * failed >= self.most_failed_pct * ended
        return bool(failed) and (many or share)
