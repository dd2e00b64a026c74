"""Where metrics are asked for: an address, what goes with the question, and one blocking call. Standard library only.

Rules
- The run's own key and headers go to the run's own hosts and to nobody else, and never from https to http.
- A question has a deadline, so that an answer that comes a byte now and then is given up.
- What cannot be had is `Unavailable`, with a reason in a few words; no secret is in it.
"""

import http.client
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
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
        raise ConfigError(f"{option}: the address has a user name or password in it; give it with --header")
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
        if self._connection is None:
            self._connection = self._open()
        connection = self._connection
        headers = {"Accept": "text/plain;version=0.0.4, application/json;q=0.5", **self._source.headers}
        connection.request("GET", target, headers=headers)
        response = connection.getresponse()
        found = bytearray()
        while data := response.read1(1 << 16):
            found += data
            if time.monotonic() > until_s:
                raise TimeoutError
            if len(found) > MOST_BYTES:
                raise Unavailable("an answer without end")
        response.close()  # read1 leaves it open at its end, and the connection with it
        if response.status != 200:
            raise Unavailable(f"HTTP {response.status}")
        return bytes(found)

    def _open(self) -> http.client.HTTPConnection:
        parts, source = self._parts, self._source
        if source.socket:
            made = http.client.HTTPConnection("localhost", timeout=self._timeout_s)
            made.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            made.sock.settimeout(self._timeout_s)
            made.sock.connect(source.socket)
            return made
        assert parts.hostname is not None
        if parts.scheme == "http":
            return http.client.HTTPConnection(parts.hostname, parts.port, timeout=self._timeout_s)
        context = ssl.create_default_context(cafile=source.ca_cert)
        if source.insecure:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection(parts.hostname, parts.port, timeout=self._timeout_s, context=context)

    def close(self) -> None:
        """Let the connection go."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _reason(error: Exception) -> str:
    if isinstance(error, http.client.RemoteDisconnected):
        return "it closed the connection"
    if isinstance(error, OSError):
        return (error.strerror or str(error) or "the connection broke").lower()
    return "no HTTP answer"


def unix_path(url: str) -> str:
    """The file of a unix:// address, "" for another."""
    return unquote(urlsplit(url).path) if url.startswith("unix://") else ""
