"""The embedded engine's process: listening, accepting, the loop, its end. Everything runs on one loop, no threads.

It ends with SIGTERM or when standard input ends; it ignores SIGINT, because the terminal sends that to the whole group
when somebody stops a benchmark, which then still wants its last answers and the truth.
"""

import asyncio
import gc
import os
import resource
import signal
import socket
import ssl
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path

from genbench.clock import Offset, drift_ns, now_ns, take_offset
from genbench.errors import ConfigError
from genbench.simulator.brain import Batch
from genbench.simulator.clockwork import Clockwork
from genbench.simulator.connection import SO_TIMESTAMPNS, Connection
from genbench.simulator.costs import Costs, resolve
from genbench.simulator.options import SimulatorOptions, check
from genbench.simulator.play import Play
from genbench.simulator.prefix import PrefixCache
from genbench.simulator.scheduler import Scheduler
from genbench.simulator.service import Service
from genbench.simulator.work import Call

BACKLOG = 4096
ACCEPTS = 64  # per turn of the loop
CHECK_S = 1.0
CHECK_BRACKETS = 50


class Server:
    """The listening socket, its connections and the wall clock's offset; what connections need (`connection.House`)."""

    def __init__(
        self,
        options: SimulatorOptions,
        costs: Costs | None,
        loop: asyncio.AbstractEventLoop,
        context: ssl.SSLContext | None,
    ) -> None:
        self._loop = loop
        self._context = context
        self._offset: Offset = take_offset()
        self._clockwork = Clockwork(loop)
        self._steps = Clockwork(loop, at_once=1)  # a step is many writes: in between requests are read
        batch = Batch(_scheduler(costs, options.seed), self._steps) if costs else None
        self._service = Service(options, batch, int(time.time()), now_ns())
        self._listener = _listen_here(options.uds) if options.uds else _listen(options.host, options.port)
        self._uds = options.uds
        self._connections: set[Connection] = set()
        self._accepted = 0
        scheme, host = "https" if context else "http", options.host
        if options.uds:
            self.url = f"unix://{options.uds}"
        else:
            port = self._listener.getsockname()[1]
            self.url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    def start(self) -> None:
        """Accept from now on."""
        self._loop.add_reader(self._listener.fileno(), self._accept)
        self._loop.call_later(CHECK_S, self._check_clock)

    def close(self) -> None:
        """Close everything."""
        self._loop.remove_reader(self._listener.fileno())
        self._listener.close()
        if self._uds:
            Path(self._uds).unlink(missing_ok=True)
        for connection in list(self._connections):
            connection.close()
        self._clockwork.close()
        self._steps.close()

    def to_monotonic(self, wall_ns: int) -> int:
        """See `connection.House`."""
        return self._offset.to_monotonic(wall_ns)

    def handle(self, connection: Connection, call: Call) -> Play:
        """See `connection.House`."""
        script, account = self._service.respond(call)
        return Play(script, call.received_ns, connection, self._clockwork, account)

    def watch(self, connection: Connection, *, write: bool) -> None:
        """See `connection.House`."""
        if write:
            self._loop.add_writer(connection.sock.fileno(), connection.writable)
        else:
            self._loop.remove_writer(connection.sock.fileno())

    def soon(self, callback: Callable[[], None]) -> None:
        """See `connection.House`."""
        self._loop.call_soon(callback)

    def forget(self, connection: Connection) -> None:
        """See `connection.House`."""
        self._loop.remove_reader(connection.sock.fileno())
        self._loop.remove_writer(connection.sock.fileno())
        self._connections.discard(connection)

    def _accept(self) -> None:
        for _ in range(ACCEPTS):
            try:
                sock, _address = self._listener.accept()
            except OSError:  # nobody there any more, or out of file descriptors: the next turn tries again
                return
            sock.setblocking(False)
            if not self._uds:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _stamp(sock)
            self._accepted += 1
            connection = Connection(self, sock, self._accepted, self._context)
            self._connections.add(connection)
            self._loop.add_reader(sock.fileno(), connection.readable)

    def _check_clock(self) -> None:
        """Follow a step of the wall clock; collect garbage while nobody is there to be held up by it."""
        if drift_ns(self._offset, take_offset(CHECK_BRACKETS)):
            self._offset = take_offset()
        if not self._connections:
            gc.collect()
        self._loop.call_later(CHECK_S, self._check_clock)


def serve(options: SimulatorOptions) -> None:
    """Serve until SIGTERM or the end of standard input. Prints one line with the address.

    Raises ConfigError for a wrong option, preset or combination, an unknown fault, an unreadable certificate or an
    address that is taken.
    """
    check(options)
    options, costs = resolve(options)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    loop = _new_loop(options.loop)
    asyncio.set_event_loop(loop)
    _raise_file_limit()
    server = Server(options, costs, loop, _tls(options))
    loop.add_signal_handler(signal.SIGTERM, loop.stop)
    if options.stdin_watch:
        _watch_stdin(loop)
    gc.collect()
    gc.freeze()
    gc.disable()
    server.start()
    sys.stdout.write(f"genbench simulate: listening on {server.url}\n")
    sys.stdout.flush()
    if options.stdin_watch and sys.stdin is not None and sys.stdin.isatty():
        sys.stderr.write("Ctrl-D ends it\n")
    try:
        loop.run_forever()
    finally:
        server.close()
        loop.close()


def _scheduler(costs: Costs, seed: int) -> Scheduler:
    return Scheduler(costs, seed, PrefixCache(costs.kv_tokens) if costs.prefix_cache else None)


def _new_loop(name: str) -> asyncio.AbstractEventLoop:
    if name == "asyncio":
        return asyncio.new_event_loop()
    try:
        import uvloop
    except ImportError as error:
        if name == "uvloop":
            raise ConfigError("--loop uvloop, but uvloop is not installed; install it or leave --loop out") from error
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}:{port} ({error.strerror}); give another --host or --port"
        ) from error
    _stamp(listener)  # accepted sockets inherit it, so that even the first segment has its stamp
    listener.setblocking(False)
    listener.listen(BACKLOG)
    return listener


def _listen_here(path: str) -> socket.socket:
    """On a unix socket; what an earlier process left of it is removed."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if Path(path).is_socket():
            Path(path).unlink()
        listener.bind(path)
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen on {path} ({error.strerror}); give another --uds") from error
    listener.setblocking(False)
    listener.listen(BACKLOG)
    return listener


def _stamp(sock: socket.socket) -> None:
    """Ask for kernel stamps; where there are none (not Linux, some sandboxes) the truth says `clock`."""
    if sys.platform == "linux":
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        except OSError:
            return


def _tls(options: SimulatorOptions) -> ssl.SSLContext | None:
    if not options.tls_cert:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(options.tls_cert, options.tls_key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"cannot use certificate {options.tls_cert} ({error}); give PEM files that fit") from error
    return context


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _watch_stdin(loop: asyncio.AbstractEventLoop) -> None:
    """Stop at the end of standard input; a file or the null device has no end worth waiting for."""
    try:
        mode = os.fstat(0).st_mode
    except OSError:  # closed from the start
        return
    if not (stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(0)):
        return
    os.set_blocking(0, False)

    def read() -> None:
        try:
            if os.read(0, 4096):
                return
        except BlockingIOError:
            return
        except OSError:  # a terminal that went away
            loop.stop()
            return
        loop.stop()

    loop.add_reader(0, read)
