"""What really happened: for each generative request its receive stamp and the moment before each event's send.

Kept in arrays, 13 bytes an event, and bounded: what does not fit is dropped and counted. Times are monotonic ns, the
same clock as the client's on this machine.
"""

from array import array

from genbench.types import EventKind

OPEN = "open"
COMPLETE = "complete"
CLIENT_CLOSED = "client_closed"


class Entry:
    """One request. `outcome` is `open` while it runs, then complete, client_closed, refused or a fault's name."""

    __slots__ = (
        "_kinds",
        "_times",
        "_tokens",
        "_truth",
        "connection",
        "faults",
        "outcome",
        "received_ns",
        "request_id",
        "sent_bytes",
        "stamp",
    )

    def __init__(self, truth: "Truth", request_id: str, connection: int, received_ns: int, stamp: str) -> None:
        self._truth = truth
        self.request_id = request_id
        self.connection = connection
        self.received_ns = received_ns
        self.stamp = stamp
        self.sent_bytes = 0
        self.outcome = OPEN
        self.faults: tuple[str, ...] = ()
        self._kinds = array("b")
        self._times = array("q")
        self._tokens = array("i")

    def add(self, kind: int, t_ns: int, tokens: int) -> None:
        """Keep one event, while there is room."""
        if self._truth.take_room():
            self._kinds.append(kind)
            self._times.append(t_ns)
            self._tokens.append(tokens)

    def as_dict(self, names: list[str]) -> dict[str, object]:
        """The entry as JSON shows it; events are [kind, ns, tokens]."""
        return {
            "id": self.request_id,
            "connection": self.connection,
            "received_ns": self.received_ns,
            "stamp": self.stamp,
            "events": [
                (names[kind], t_ns, tokens)
                for kind, t_ns, tokens in zip(self._kinds, self._times, self._tokens, strict=True)
            ],
            "sent_bytes": self.sent_bytes,
            "faults": self.faults,
            "outcome": self.outcome,
        }


class Truth:
    """All entries; a request costs as much room as an event."""

    __slots__ = ("_entries", "_limit", "_room", "dropped")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.clear()

    def clear(self) -> None:
        """Forget everything, requests under way included."""
        self._entries: list[Entry] = []
        self._room = self._limit
        self.dropped = 0

    def take_room(self) -> bool:
        """True when one more thing may be kept; else it is counted as dropped."""
        if self._room > 0:
            self._room -= 1
            return True
        self.dropped += 1
        return False

    def open(self, request_id: str, connection: int, received_ns: int, stamp: str) -> Entry:
        """A new entry, listed if there is room."""
        entry = Entry(self, request_id, connection, received_ns, stamp)
        if self.take_room():
            self._entries.append(entry)
        return entry

    def as_dict(self) -> dict[str, object]:
        """Everything kept, in the order of arrival, and how much was `dropped`."""
        names = [kind.name.lower() for kind in EventKind]
        return {"dropped": self.dropped, "requests": [entry.as_dict(names) for entry in self._entries]}
