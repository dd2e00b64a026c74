"""Where metrics are asked for: an address, what goes with the question, and one blocking call. Standard library only.

Rules
- The run's own key and headers go to the run's own hosts and to nobody else, and never from https to http.
- A question has a deadline from its connection to its last byte, so that an answer that comes a byte now and then,
  its header too, is given up. (Looking a name up is the system's, with the system's own limit.)
- What cannot be had is `Unavailable`, with a reason in a few words; no secret is in it.
"""

import http.client
import io
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from genbench.config import public_url
from genbench.errors import ConfigError

Role = Literal["server", "gpu", "prometheus"]
DEFAULT_PATHS = ("/metrics", "/prometheus/metrics", "/v1/metrics")
TIMEOUT_S = 2.0
MOST_BYTES = 16 << 20


class Unavailable(Exception):
    """No answer, or none that can be used; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Source:
    """One address to be scraped. `asked`: the user named it, so it has to be there; `option` is the flag then.

    `paths` are tried in order until one has metrics. `headers` are secret. `socket` is a unix socket's file.
    """

    url: str
    role: Role
    option: str = ""
    paths: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    ca_cert: str | None = None
    insecure: bool = False
    socket: str = ""

    @property
    def asked(self) -> bool:
        """Whether the user named it."""
        return bool(self.option)

    @property
    def shown(self) -> str:
        """Its address without what may be secret."""
        return f"unix://{self.socket}" if self.socket else public_url(self.url)

    def packed(self) -> dict[str, Any]:
        """As JSON for the process that asks."""
        return asdict(self) | {"headers": dict(self.headers)}


def unpacked(told: Mapping[str, Any]) -> Source:
    """The other way."""
    return Source(**{**told, "paths": tuple(told["paths"])})


def parsed(text: str, option: str, path: str = "/metrics") -> str:
    """A user's address made whole: a scheme in front, `path` where it has none. Raises ConfigError."""
    full = text.strip() if "://" in text else f"http://{text.strip()}"
    try:
        parts = urlsplit(full)
        parts.port  # noqa: B018 - raises for one that is none
    except ValueError as error:
        raise ConfigError(
            f"{option} {public_url(text)}: {error}; give something like http://localhost:8000{path}"
        ) from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(
            f"{option} {public_url(text)} is no http or https address; give something like http://localhost:8000{path}"
        )
    if parts.username or parts.password:
        raise ConfigError(
            f"{option}: the address has a user name or password in it, and genbench sends keys only to the run's own "
            "hosts; put a proxy without a password in front"
        )
    return full if parts.path not in ("", "/") else parts._replace(path=path).geturl()


class Line:
    """A connection that is kept from one question to the next."""

    def __init__(self, source: Source, timeout_s: float = TIMEOUT_S) -> None:
        self._source = source
        self._timeout_s = timeout_s
        self._parts = urlsplit(source.url)
        self._connection: http.client.HTTPConnection | None = None

    def get(self, path: str = "") -> bytes:
        """The body of a 200. Raises Unavailable. A kept connection that was closed meanwhile is opened anew once."""
        target = path or (self._parts.path + (f"?{self._parts.query}" if self._parts.query else ""))
        kept = self._connection is not None
        until_s = time.monotonic() + self._timeout_s
        try:
            try:
                return self._get(target, until_s)
            except (http.client.BadStatusLine, ConnectionError):
                self.close()
                if not kept:
                    raise
                return self._get(target, until_s)
        except Unavailable:
            self.close()
            raise
        except TimeoutError as error:
            self.close()
            raise Unavailable(f"no answer in {self._timeout_s:g} s") from error
        except ssl.SSLError as error:
            self.close()
            raise Unavailable(f"no TLS: {str(error.reason or error).lower()}") from error
        except socket.gaierror as error:
            self.close()
            raise Unavailable("the name is not known") from error
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            raise Unavailable(_reason(error)) from error

    def _get(self, target: str, until_s: float) -> bytes:
        if self._connection is None or self._connection.sock is None:  # None: the last answer asked for its close
            self._connection = self._open(until_s)
        connection = self._connection
        connection.sock.settimeout(_left_s(until_s))
        connection.response_class = partial(_response, until_s)  # type: ignore[assignment]
        headers = {"Accept": "text/plain;version=0.0.4, application/json;q=0.5", **self._source.headers}
        connection.request("GET", target, headers=headers)
        response = connection.getresponse()
        found = bytearray()
        while data := response.read1(1 << 16):
            found += data
            if len(found) > MOST_BYTES:
                raise Unavailable("an answer without end")
        response.close()  # read1 leaves it open at its end, and the connection with it
        if response.status != 200:
            raise Unavailable(f"HTTP {response.status}")
        return bytes(found)

    def _open(self, until_s: float) -> http.client.HTTPConnection:
        parts, source = self._parts, self._source
        if source.socket:
            made = http.client.HTTPConnection("localhost")
            made.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            made.sock.settimeout(_left_s(until_s))
            made.sock.connect(source.socket)
            return made
        assert parts.hostname is not None
        if parts.scheme == "http":
            made = http.client.HTTPConnection(parts.hostname, parts.port)
            made.sock = socket.create_connection((made.host, made.port), _left_s(until_s))
            return made
        context = ssl.create_default_context(cafile=source.ca_cert)
        if source.insecure:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        made = http.client.HTTPSConnection(parts.hostname, parts.port, context=context)
        plain = socket.create_connection((made.host, made.port), _left_s(until_s))
        plain.settimeout(max(1e-3, until_s - time.monotonic()))  # of the whole handshake
        made.sock = context.wrap_socket(plain, server_hostname=made.host)
        return made

    def close(self) -> None:
        """Let the connection go."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Received(io.RawIOBase):
    """What a socket receives, each piece in what is left of the question's time: a timeout begins anew each time."""

    def __init__(self, sock: socket.socket, until_s: float) -> None:
        self._sock = sock
        self._until_s = until_s
        self._raw = sock.makefile("rb", buffering=0)  # holds the socket open until the answer is read

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(_left_s(self._until_s))
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()

    def makefile(self, _mode: str) -> io.BufferedReader:
        """As HTTPResponse asks a socket."""
        return io.BufferedReader(self)


def _response(until_s: float, sock: socket.socket, **more: Any) -> http.client.HTTPResponse:
    return http.client.HTTPResponse(_Received(sock, until_s), **more)  # type: ignore[arg-type]


def _left_s(until_s: float) -> float:
    left_s = until_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError
    return left_s


def _reason(error: Exception) -> str:
    if isinstance(error, http.client.RemoteDisconnected):
        return "it closed the connection"
    if isinstance(error, OSError):
        return (error.strerror or str(error) or "the connection broke").lower()
    return "no HTTP answer"


def unix_path(url: str) -> str:
    """The file of a unix:// address, "" for another."""
    return unquote(urlsplit(url).path) if url.startswith("unix://") else ""
