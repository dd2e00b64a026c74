"""Small questions to one server before the load: plain blocking calls (http.client) over the pinned address.

Nothing asked here is in the log. A server that is not ready yet is asked again for as long as the user said.
"""

import http.client
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from genbench.clock import now_ns
from genbench.decode import ResponseDecoder
from genbench.errors import ConfigError, TargetError
from genbench.transport.address import Url, pin
from genbench.transport.connection import tls_message
from genbench.transport.exchange import Proxy
from genbench.types import Endpoint, Outcome, Record, Reply, Sample

TIMEOUT_S = 10.0
EVENTS = 16
RETRIED = (429, 503)
GATEWAY = (502, 504)  # what stands before a server that is still loading says this
PROXY_REFUSES = "the proxy wants a name and a password (407); put user:password@ into http_proxy or https_proxy"
POLL_S = 0.5
TELL_S = 10.0
UNANSWERED = 3


class Prober:
    """Asks one server; keeps the address that answered."""

    def __init__(
        self,
        url: Url,
        headers: Mapping[str, str],
        tls: ssl.SSLContext | None,
        wait_s: float,
        *,
        patient: bool,
        proxy: Proxy | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`patient`: a refused connection, too, is asked again (the user said how long to wait); `say` hears of it."""
        self.url = url
        self._headers = dict(headers)
        self._proxy_headers = {"Proxy-Authorization": proxy.authorization} if proxy and proxy.authorization else {}
        if tls is None:
            self._headers |= self._proxy_headers
        self._tls = tls
        self._proxy = proxy
        self._say = say
        self._patient = patient
        self._wait_s = wait_s
        self._began = self._told = time.monotonic()
        self._until = self._began + wait_s
        while True:
            try:
                self.family, self.sockaddr = pin(url, TIMEOUT_S, proxy)
                break
            except TargetError as error:
                if not patient or time.monotonic() > self._until:
                    raise
                self._pause(str(error).partition(";")[0])

    def _pause(self, why: str) -> None:
        """Wait a moment before the next try; say so at the first time and every `TELL_S` from then on."""
        now = time.monotonic()
        if self._told == self._began or now - self._told > TELL_S:
            self._told = now
            self._say(f"waiting for the server, up to {self._wait_s:g} s: {why}")
        time.sleep(POLL_S)

    def get(self, path: str) -> Any:
        """Decoded answer of a GET, None for anything but a 200 with JSON."""
        try:
            status, body = self._call("GET", path, None)
            return orjson.loads(body) if status == 200 else None
        except (OSError, http.client.HTTPException, orjson.JSONDecodeError):
            return None  # optional questions: a server need not know them

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Decoded answer of a POST. Raises OSError or ValueError."""
        status, answer = self._call("POST", path, body)
        if status != 200:
            raise ValueError(f"HTTP {status}")
        found = orjson.loads(answer)
        if not isinstance(found, dict):
            raise ValueError("no JSON object")
        return found

    def _call(self, method: str, path: str, body: dict[str, Any] | None) -> tuple[int, bytes]:
        connection = self._connect()
        try:
            data = None if body is None else orjson.dumps(body)
            connection.request(method, self._request_target(path), data, self._headers)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def _request_target(self, path: str) -> str:
        """What stands behind POST: a proxy for http is told the whole address."""
        through = self._proxy is not None and self._tls is None
        return self.url.full(path) if through else self.url.path(path)

    def _connect(self) -> http.client.HTTPConnection:
        if self._proxy is not None and self._tls is not None:
            tunnel = http.client.HTTPSConnection(
                self._proxy.host, self._proxy.port, timeout=TIMEOUT_S, context=self._tls
            )
            tunnel.set_tunnel(self.url.host, self.url.port, self._proxy_headers)
            return tunnel
        connection = http.client.HTTPConnection(self.url.host, self.url.port, timeout=TIMEOUT_S)
        plain = socket.socket(self.family, socket.SOCK_STREAM)
        try:
            plain.settimeout(TIMEOUT_S)
            plain.connect(self.sockaddr)
            connection.sock = (
                plain if self._tls is None else self._tls.wrap_socket(plain, server_hostname=self.url.host)
            )
        except OSError:
            plain.close()
            raise
        return connection

    def ask(
        self, path: str, endpoint: Endpoint, sample: Sample, options: Mapping[str, Any], *, once: bool = False
    ) -> tuple[Record, float]:
        """One request through the same decoder as the run's; answers 429 and 503 are asked again until ready.

        `once`: a slow answer is not asked for again.

        Returns the record and the seconds it took. Raises TargetError when nothing usable comes back in time.
        """
        unanswered = 0
        while True:
            try:
                record, seconds = self._ask_once(path, endpoint, sample, options)
            except ssl.SSLError as error:
                raise TargetError(
                    f"no TLS with {self.url.where}: {tls_message(error)}; see --ca-cert and --insecure-tls"
                ) from error
            except TimeoutError as error:
                if once or time.monotonic() > self._until:
                    raise TargetError(f"{self.url.where} did not answer a small request in {TIMEOUT_S:g} s") from error
                continue
            except (OSError, http.client.HTTPException) as error:
                unanswered += 1
                if self._proxy is not None and "407" in str(error):
                    raise ConfigError(PROXY_REFUSES) from error
                if unanswered >= UNANSWERED and (not self._patient or time.monotonic() > self._until):
                    raise TargetError(f"{self.url.where} gives no HTTP answer ({error}); check the port") from error
                self._pause(str(error))
                continue
            if self._proxy is not None and record.status == 407:
                raise ConfigError(PROXY_REFUSES)
            if record.status not in (*RETRIED, *(GATEWAY if self._patient else ())):
                return record, seconds
            if time.monotonic() > self._until:
                raise TargetError(f"{self.url.where} is not ready: {record.error}; wait longer with --wait-ready 10m")
            self._pause(record.error)

    def _ask_once(
        self, path: str, endpoint: Endpoint, sample: Sample, options: Mapping[str, Any]
    ) -> tuple[Record, float]:
        record, reply = Record(inputs=max(1, len(sample.texts))), Reply()
        decoder = ResponseDecoder(record, endpoint)
        connection = self._connect()
        try:
            began = now_ns()
            connection.request(
                "POST", self._request_target(path), orjson.dumps(endpoint.build(sample, options)), self._headers
            )
            response = connection.getresponse()
            reply.status = response.status
            reply.content_type = response.getheader("content-type", "")
            try:
                while data := response.read1(1 << 16):
                    reply.chunks.append((now_ns(), data))
                    decoder.feed(reply)
                    if len(record.event_ns) >= EVENTS:  # a server that ignores our limit would go on for ever
                        reply.outcome = Outcome.CANCELLED
                        break
            except (http.client.HTTPException, ConnectionError) as error:  # the run itself will say how often
                reply.outcome, reply.error = Outcome.TRUNCATED, str(error)
            decoder.finish(reply)
            return record, (now_ns() - began) / 1e9
        finally:
            connection.close()

    @property
    def waited_s(self) -> float:
        """Seconds since the first try."""
        return time.monotonic() - self._began
