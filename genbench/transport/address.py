"""From what the user gave as --url to where the bytes go: base path, query, TLS context, request head.

`http://host:8000`, `http://host:8000/v1` and `http://host:8000/v1/chat/completions` all mean the same server; a query
string is kept and goes with every request. A name is resolved once and the address that answers is pinned.
`unix:///run/server.sock` is HTTP over that socket. What the environment says of proxies is read here, too.
"""

import base64
import contextlib
import ipaddress
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from genbench import __version__
from genbench.config import public_url
from genbench.errors import ConfigError, TargetError
from genbench.transport.exchange import Proxy

PORTS = {"http": 80, "https": 443}
TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Url:
    """A server's address taken apart; `base` is the path before /v1, without a slash at its end.

    `socket` is the file of a unix socket, empty for an address with host and port.
    """

    scheme: str
    host: str
    port: int
    base: str
    query: str
    socket: str = ""

    def path(self, endpoint: str) -> str:
        """The request target of a path like /v1/models on this server."""
        return self.base + endpoint + (f"?{self.query}" if self.query else "")

    @property
    def netloc(self) -> str:
        """host:port as in a Host header, the port left out where it is the scheme's own."""
        if self.socket:
            return self.host
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def where(self) -> str:
        """The server in a message."""
        return str(self) if self.socket else self.netloc

    def full(self, endpoint: str) -> str:
        """What a library takes as the URL of a path like /v1/models."""
        return f"{self.scheme}://{self.netloc}{self.path(endpoint)}"

    def __str__(self) -> str:
        return f"unix://{self.socket}" if self.socket else f"{self.scheme}://{self.netloc}{self.base}"


def parse_url(text: str, endpoint: str) -> Url:
    """Take a URL apart; `endpoint` is the kind's own path (/v1/...), cut off where the user gave it too.

    Raises ConfigError when it is no http(s) URL with a host and a valid port.
    """
    full = text if "://" in text else f"http://{text}"
    text = public_url(text)
    try:
        parts = urlsplit(full)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"--url {text}: {error}; give something like http://localhost:8000") from error
    if not text.strip():
        raise ConfigError("--url is empty; give something like http://localhost:8000")
    if parts.scheme == "unix":
        if parts.netloc or not parts.path:
            raise ConfigError(f"--url {text} names no socket file; give three slashes, like unix:///run/server.sock")
        return Url("http", "localhost", PORTS["http"], "", parts.query, unquote(parts.path))
    if parts.scheme not in PORTS or not parts.hostname:
        raise ConfigError(f"--url {text} is no http or https address; give something like http://localhost:8000")
    if parts.username or parts.password:
        raise ConfigError("--url has a user name or password in it; give it with --header 'Authorization: ...'")
    base = parts.path.rstrip("/")
    for tail in (endpoint, endpoint.removeprefix("/v1"), "/v1"):
        if tail and base.endswith(tail):
            base = base.removesuffix(tail)
            break
    base = base.removesuffix("/v1")
    return Url(parts.scheme, parts.hostname, port or PORTS[parts.scheme], base, parts.query)


def tls_context(url: Url, ca_cert: str | None, *, insecure: bool) -> ssl.SSLContext | None:
    """The TLS settings for https, None for http. Raises ConfigError when the CA file cannot be used."""
    if url.scheme != "https":
        return None
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif ca_cert is not None:
        try:
            context.load_verify_locations(cafile=ca_cert)
        except OSError as error:
            why = "no certificate in it" if isinstance(error, ssl.SSLError) else (error.strerror or str(error)).lower()
            raise ConfigError(f"--ca-cert {ca_cert}: {why}; give a PEM file") from error
    return context


def parse_headers(lines: tuple[str, ...]) -> dict[str, str]:
    """'Name: value' lines as given with --header. Raises ConfigError on anything else (the value is not repeated)."""
    headers = {}
    for number, line in enumerate(lines, 1):
        name, colon, value = line.partition(":")
        if not colon or not TOKEN.fullmatch(name.strip()) or CONTROL.search(line):
            raise ConfigError(f"--header number {number} does not look like 'Name: value'; correct it")
        headers[name.strip()] = value.strip()
    return headers


def request_headers(url: Url, api_key: str | None, extra: Mapping[str, str]) -> dict[str, str]:
    """The headers every request carries; `extra` wins. Not in it: Content-Length."""
    headers = {
        "Host": url.netloc,
        "User-Agent": f"genbench/{__version__}",
        "Content-Type": "application/json",
        "Accept-Encoding": "identity",
    }
    if api_key:
        if CONTROL.search(api_key):
            raise ConfigError("the API key holds a control character; look at --api-key or OPENAI_API_KEY")
        headers["Authorization"] = f"Bearer {api_key}"
    lower = {name.lower() for name in extra}
    return {name: value for name, value in headers.items() if name.lower() not in lower} | dict(extra)


def request_head(path: str, headers: Mapping[str, str]) -> bytes:
    """The head of a POST up to where the number of body bytes goes."""
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "Content-Length: "]
    try:
        return "\r\n".join(lines).encode("latin-1")
    except UnicodeEncodeError as error:
        raise ConfigError(
            "a header or the API key holds characters that HTTP cannot carry; use latin-1 only"
        ) from error


def proxy_of(url: Url) -> str:
    """The proxy that the environment names for this server (http_proxy, https_proxy, no_proxy); empty for none."""
    if url.socket or proxy_bypass(url.netloc) or proxy_bypass(url.host):
        return ""
    return getproxies().get(url.scheme, "")


def parse_proxy(text: str) -> Proxy:
    """A proxy's address taken apart. Raises ConfigError when it is no http address."""
    try:
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host, port = parts.hostname, parts.port or PORTS["http"]
    except ValueError:
        host = None
    if not host or parts.scheme != "http":
        raise ConfigError(f"the proxy {public_url(text)} is no http://host:port; look at http_proxy and https_proxy")
    if parts.username is None:
        return Proxy(host, port)
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return Proxy(host, port, f"Basic {base64.b64encode(pair.encode()).decode()}")


def secrets_of_proxies() -> set[str]:
    """Every form in which the environment's proxy passwords may come back in a message."""
    found = set()
    for text in getproxies().values():
        with contextlib.suppress(ValueError, ConfigError):
            parts = urlsplit(text if "://" in text else f"http://{text}")
            if parts.password:
                found |= {parts.password, unquote(parts.password), parse_proxy(text).authorization.split()[1]}
    return found


def pin(url: Url, timeout_s: float, proxy: Proxy | None = None) -> tuple[int, Any]:
    """The first of the name's (or the proxy's) addresses that accepts a connection, as (family, sockaddr).

    Raises TargetError when the name is unknown or nobody answers. For localhost
    ::1 is tried before 127.0.0.1.
    """
    host, port = (proxy.host, proxy.port) if proxy else (url.host, url.port)
    if url.socket:
        found: list[tuple[int, Any]] = [(socket.AF_UNIX, url.socket)]
    else:
        check = "check http_proxy and https_proxy" if proxy else "check --url"
        try:
            names = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise TargetError(f"the name {host} cannot be resolved; {check}") from error
        found = [(family, sockaddr) for family, _, _, _, sockaddr in names]
    if host == "localhost":
        found.sort(key=lambda entry: entry[0] != socket.AF_INET6)
    last: OSError | None = None
    for family, sockaddr in found:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.settimeout(timeout_s)
            try:
                probe.connect(sockaddr)
            except OSError as error:
                last = error
                continue
            return family, sockaddr
    why = (last.strerror or str(last)).lower() if last is not None else "no address"
    if proxy:
        raise TargetError(f"no proxy at {host}:{port} ({why}); start it, or unset http_proxy and https_proxy")
    raise TargetError(f"no server at {url.where} ({why}); start it or check --url")


def is_public(sockaddr: Any) -> bool:
    """Whether an address is neither loopback nor private; a unix socket is not."""
    if isinstance(sockaddr, str):
        return False
    address = ipaddress.ip_address(str(sockaddr[0]).partition("%")[0])
    return not (address.is_loopback or address.is_private or address.is_link_local)
