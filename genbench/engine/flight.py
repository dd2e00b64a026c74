"""The exchanges under way, and how many there were over time: the other side of Little's law."""

from collections.abc import Iterator

from genbench.clock import now_ns
from genbench.transport.exchange import Exchange


class Flight:
    """A set of exchanges with the integral of its size; `peak` is the largest size since `begin`."""

    def __init__(self) -> None:
        self._exchanges: set[Exchange] = set()
        self._area = self._begun_ns = self._changed_ns = self._size = self.peak = 0

    def __len__(self) -> int:
        return len(self._exchanges)

    def __iter__(self) -> Iterator[Exchange]:
        return iter(list(self._exchanges))

    def begin(self, t_ns: int) -> None:
        """The mean and the peak are those from here on."""
        self._begun_ns = self._changed_ns = t_ns
        self._area = self.peak = 0

    def add(self, exchange: Exchange) -> None:
        """One more; it is in the integral from the next `count` on: preparing a send is not being in flight."""
        self._exchanges.add(exchange)

    def remove(self, exchange: Exchange) -> None:
        """One less."""
        self._exchanges.discard(exchange)
        self.count()

    def count(self) -> None:
        """Keep the integral; called right after every change."""
        now = now_ns()
        self._area += self._size * (now - self._changed_ns)
        self._changed_ns = now
        self._size = len(self._exchanges)
        if self._size > self.peak:
            self.peak = self._size

    @property
    def mean(self) -> float:
        """Time-weighted, from `begin` to the last change."""
        return self._area / max(1, self._changed_ns - self._begun_ns)
