"""TLS over bytes: `ssl.MemoryBIO` on both sides, no socket here, so the caller keeps the kernel's stamps.

Rules: after every `feed`, drain `plaintext()` (one SSLObject.read returns one record) and then send `outgoing()`
(alerts, key updates, the handshake). All that one read brought belongs to that read's stamp. An end of the connection
without close_notify is the caller's to judge: with complete HTTP framing it is harmless, else it is `truncated`.
"""

import contextlib
import ssl

RECORD_BYTES = 1 << 14  # the most that one record holds; a larger buffer is a page fault for each read


class TlsSession:
    """One TLS connection, client or server side.

    `handshake()` must return True before `write` is used. `closed` is set when the peer sent close_notify.
    """

    __slots__ = ("_in", "_out", "_ssl", "closed", "ready")

    def __init__(
        self, context: ssl.SSLContext, *, server_side: bool = False, server_hostname: str | None = None
    ) -> None:
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._ssl = context.wrap_bio(self._in, self._out, server_side=server_side, server_hostname=server_hostname)
        self.ready = False
        self.closed = False

    def handshake(self) -> bool:
        """Go on with the handshake; True when it is done. Raises ssl.SSLError (a bad certificate, say)."""
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self.ready = True
        return True

    def feed(self, data: bytes) -> None:
        """Take what the socket brought."""
        self._in.write(data)

    def plaintext(self) -> list[bytes]:
        """All records that are complete by now. Raises ssl.SSLError on a broken record."""
        found: list[bytes] = []
        # The exception that says "no more" would cost as much as the record: it is left for half a record.
        while self._in.pending or self._ssl.pending():
            try:
                data = self._ssl.read(RECORD_BYTES)
            except ssl.SSLWantReadError:
                return found
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                self.closed = True
                return found
            if not data:
                self.closed = True
                return found
            found.append(data)
        return found

    def write(self, data: bytes) -> None:
        """Encrypt; the result is in `outgoing()`."""
        view = memoryview(data)
        while view:
            view = view[self._ssl.write(view) :]

    def close(self) -> bytes:
        """Say that nothing more comes (close_notify); the bytes to send. The peer's answer is not waited for."""
        with contextlib.suppress(ssl.SSLError):  # wants to read that answer, or the session had failed before
            self._ssl.unwrap()
        return self.outgoing()

    def outgoing(self) -> bytes:
        """What has to go to the socket now; empty when there is nothing."""
        return self._out.read() if self._out.pending else b""
