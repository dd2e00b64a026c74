"""Where a run may go: several servers in turn, unix sockets, and what the machine must have for it."""

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from genbench.errors import ConfigError
from genbench.studies import limits
from genbench.transport.address import parse_proxy, parse_url, proxy_of
from tests.certificates import Certificate
from tests.runs import Runner
from tests.simulator.process import Simulator
from tests.transport.raw_server import RawServer, read_request

SMALL = ("--isl", "20", "--osl", "6", "-n", "12", "-c", "4", "--warmup", "2", "-q")
Start = Callable[..., Simulator]


def test_two_servers_take_turns(run: Runner, start_simulator: Start) -> None:
    fast = start_simulator("--ttft", "5ms", "--itl", "1ms")
    slow = start_simulator("--ttft", "60ms", "--itl", "1ms")
    ran = run("profile", "--url", fast.url, "--url", slow.url, *SMALL)
    assert ran.code == 0
    assert {record["index"] % 2 == record.get("target", 0) for record in ran.records} == {True}
    assert len(fast.truth()) - len(slow.truth()) in range(1, 6)  # a first server answers the preflight's questions
    one, other = ran.summary["targets"]
    assert (one["url"], other["url"]) == (fast.url, slow.url)
    assert (one["requests"], one["ok"], other["requests"], other["ok"]) == (6, 6, 6, 6)
    assert one["metrics"]["ttft"]["max"] < 60 <= other["metrics"]["ttft"]["min"]
    assert one["request_throughput"] + other["request_throughput"] == pytest.approx(
        ran.summary["run"]["request_throughput"]["value"]
    )
    assert re.search(rf"^{fast.url} +6 +6 ", ran.out, re.M)
    assert re.search(r"^ +requests +ok +req/s +TTFT p50 +TTFT p99 +latency p50 +latency p99$", ran.out, re.M)
    assert len(ran.header["preflight"]["addresses"]) == 2


def test_one_server_has_no_such_table(run: Runner, simulator: Simulator) -> None:
    assert "targets" not in run("profile", "--url", simulator.url, *SMALL).summary


def test_every_server_is_asked_before_the_load(run: Runner, start_simulator: Start) -> None:
    fine = start_simulator("--ttft", "5ms")
    other = start_simulator("--model", "another", "--fault", "status:404")
    ran = run("profile", "--url", fine.url, "--url", other.url, *SMALL)
    assert ran.code == 2
    assert str(other.port) in ran.err
    assert ran.err.count("\n") == 1
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    gone = run("profile", "--url", fine.url, "--url", f"http://127.0.0.1:{port}", *SMALL)
    assert gone.code == 3
    assert f"no server at 127.0.0.1:{port}" in gone.err


def test_a_unix_socket(run: Runner, start_simulator: Start, tmp_path: Path) -> None:
    server = start_simulator("--uds", str(tmp_path / "engine.sock"), "--ttft", "5ms", "--itl", "1ms")
    ran = run("profile", "--url", server.url, *SMALL)
    assert ran.code == 0, ran.err
    assert ran.summary["outcomes"] == {"ok": 12}
    assert ran.summary["metrics"]["ttft"]["min"] >= 5
    assert ran.header["health"]["stamp_source"] == "the read clock"
    assert "times by the read clock" in ran.out
    assert ran.header["preflight"]["addresses"] == [str(tmp_path / "engine.sock")]


@pytest.mark.parametrize(
    ("url", "code", "says"),
    [
        ("unix:///nowhere/at/all.sock", 3, "no server at unix:///nowhere/at/all.sock (no such file or directory)"),
        ("unix://relative.sock", 2, "give three slashes, like unix:///run/server.sock"),
        ("ftp://x", 2, "is no http or https address"),
    ],
)
def test_addresses_that_do_not_work(run: Runner, url: str, code: int, says: str) -> None:
    ran = run("profile", "--url", url, *SMALL)
    assert ran.code == code
    assert says in ran.err
    assert ran.err.count("\n") == 1


def test_waiting_says_so(run: Runner, start_simulator: Start) -> None:
    loading = start_simulator("--fault", "loading:1", "--ttft", "5ms", "--itl", "1ms")
    ran = run("profile", "--url", loading.url, "--wait-ready", "1m", *SMALL[:-1])
    assert ran.code == 0
    assert "waiting for the server, up to 60 s: HTTP 503" in ran.err
    assert ran.header["preflight"]["time_to_ready_s"] > 0.3


def test_waiting_for_a_server_that_comes_up(run: Runner, start_simulator: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    def later() -> None:
        time.sleep(0.3)
        start_simulator("--port", str(port), "--ttft", "5ms", "--itl", "1ms")

    threading.Thread(target=later).start()
    ran = run("profile", "--url", f"http://127.0.0.1:{port}", "--wait-ready", "20s", *SMALL[:-1])
    assert ran.code == 0, ran.err
    assert f"no server at 127.0.0.1:{port} (connection refused)" in ran.err


def test_the_wire_transport_says_once_that_it_passes_a_proxy_by(
    run: Runner, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://user:geheimnis@127.0.0.1:9")
    ran = run("profile", "--url", simulator.url, *SMALL[:-1])
    assert ran.code == 0
    assert ran.out.count("names a proxy") == 1
    assert "--transport aiohttp goes through it" in ran.out
    assert "geheimnis" not in ran.out + ran.err
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert "proxy" not in run("profile", "--url", simulator.url, *SMALL[:-1]).out


@pytest.mark.parametrize("transport", ["aiohttp", "openai"])
def test_a_proxy_that_is_not_there(run: Runner, transport: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://user:geheimnis@127.0.0.1:9")
    ran = run("profile", "--url", "http://far.example:8000", "--transport", transport, *SMALL)
    assert ran.code == 3
    assert "no proxy at 127.0.0.1:9 (connection refused); start it, or unset http_proxy and https_proxy" in ran.err
    assert ran.err.count("\n") == 1
    assert "geheimnis" not in ran.err


def test_proxies_as_the_environment_names_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://plain:3128")
    monkeypatch.setenv("https_proxy", "secure:3129")
    monkeypatch.setenv("no_proxy", "near.example")

    def proxy(url: str) -> str:
        return proxy_of(parse_url(url, "/v1/chat/completions"))

    assert proxy("http://far.example") == "http://plain:3128"
    assert proxy("https://far.example") == "secure:3129"
    assert proxy("http://near.example:8000") == ""
    assert proxy("unix:///run/x.sock") == ""
    assert parse_proxy("secure:3129").url == "http://secure:3129"
    with pytest.raises(ConfigError, match=r"the proxy socks5://\*\*\*@x:1 is no http://host:port"):
        parse_proxy("socks5://a:b@x:1")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("_ports", lambda: 3, "4 connections need as many local ports and there are 3"),
        ("CONNECTION_BYTES", 1 << 50, "this load needs about 4294967296 MiB of memory and "),
        ("_raise_file_limit", lambda wanted: 64 + 3, "4 connections need as many open files; give ulimit -n 68"),
    ],
)
def test_a_machine_too_small(
    run: Runner, simulator: Simulator, monkeypatch: pytest.MonkeyPatch, name: str, value: Any, says: str
) -> None:
    monkeypatch.setattr(limits, name, value)
    ran = run("profile", "--url", simulator.url, *SMALL)
    assert ran.code == 2
    assert says in ran.err
    assert ran.err.count("\n") == 1
    assert not ran.folder.exists()


def test_an_open_loop_may_want_more_than_there_is(
    run: Runner, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "_ports", lambda: 7)
    ran = run("profile", "--url", simulator.url, "-r", "100", "-n", "12", "--isl", "20", "--osl", "2", "--warmup", "0")
    assert ran.code == 0
    assert "more than 7 requests at once would fail here for want of local ports" in ran.err


def test_free_memory_is_known_here() -> None:
    assert all(free > 1 << 20 for free in limits._free_memory())
    assert limits._ports() > 1000


@pytest.mark.parametrize("transport", ["aiohttp", "openai"])
@pytest.mark.parametrize("secure", [False, True])
def test_a_proxy_that_refuses_leaves_no_password(
    run: Runner,
    start_simulator: Start,
    certificate: Certificate,
    monkeypatch: pytest.MonkeyPatch,
    transport: str,
    secure: bool,
) -> None:
    """At the preflight it is one sentence; during the load it is data, with the password nowhere in it."""
    tls = ("--tls-cert", str(certificate.cert), "--tls-key", str(certificate.key)) if secure else ()
    trust = ("--ca-cert", str(certificate.ca)) if secure else ()
    server = start_simulator("--ttft", "5ms", "--itl", "1ms", *tls)
    for most, code in ((0, 2), (8, 1)):
        proxy = Proxy(most)
        monkeypatch.setenv("https_proxy" if secure else "http_proxy", proxy.url)
        ran = run("profile", "--url", server.url, "--transport", transport, *trust, *SMALL, "--warmup", "0")
        assert ran.code in (code, 0), ran.err
        files = b"".join(path.read_bytes() for path in ran.folder.iterdir()) if ran.folder.exists() else b""
        said = files + ran.out.encode() + ran.err.encode()
        assert b"geheimnis" not in said
        assert b"dXNlcjpnZWhlaW1uaXM" not in said
        if code == 2:
            assert "the proxy wants a name and a password (407)" in ran.err
            assert ran.err.count("\n") == 1


def relay(source: socket.socket, target: socket.socket) -> None:
    """Bytes from one to the other until either ends."""
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


class Proxy:
    """A forward proxy that wants a password: whole addresses for http, CONNECT for https."""

    def __init__(self, most: int = 1 << 30) -> None:
        self.lines: list[bytes] = []
        self._most = most  # requests before it no longer knows anybody
        self.server = RawServer(self._serve)
        self.url = f"http://user:geheimnis@127.0.0.1:{self.server.port}"

    def _serve(self, sock: socket.socket) -> None:
        while request := read_request(sock):
            line, _, rest = request.partition(b"\r\n")
            self.lines.append(line)
            method, where, _ = line.split()
            if len(self.lines) > self._most or b"Proxy-Authorization: Basic dXNlcjpnZWhlaW1uaXM=" not in rest.replace(
                b"authorization", b"Authorization"
            ):
                sock.sendall(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n")
                continue
            tunnel = method == b"CONNECT"
            host, _, path = where.removeprefix(b"http://").partition(b"/")
            name, _, port = host.partition(b":")
            with socket.create_connection((name.decode(), int(port))) as far:
                if tunnel:
                    sock.sendall(b"HTTP/1.1 200 go on\r\n\r\n")
                else:
                    head = (
                        method
                        + b" /"
                        + path
                        + b" HTTP/1.1\r\n"
                        + rest.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)
                    )
                    far.sendall(head)
                back = threading.Thread(target=relay, args=(far, sock), daemon=True)
                back.start()
                relay(sock, far)
                back.join()


@pytest.mark.parametrize("transport", ["aiohttp", "openai"])
@pytest.mark.parametrize("secure", [False, True])
def test_through_a_proxy(
    run: Runner,
    start_simulator: Start,
    certificate: Certificate,
    monkeypatch: pytest.MonkeyPatch,
    transport: str,
    secure: bool,
) -> None:
    tls = ("--tls-cert", str(certificate.cert), "--tls-key", str(certificate.key)) if secure else ()
    server = start_simulator("--ttft", "5ms", "--itl", "1ms", *tls)
    proxy = Proxy()
    # A common form is the one without a scheme.
    monkeypatch.setenv(*(("https_proxy", proxy.url) if secure else ("http_proxy", proxy.url.removeprefix("http://"))))
    trust = ("--ca-cert", str(certificate.ca)) if secure else ()
    ran = run("profile", "--url", server.url, "--transport", transport, *trust, *SMALL)
    assert ran.code == 0, ran.err
    assert ran.summary["outcomes"] == {"ok": 12}
    asked = b"CONNECT 127.0.0.1:" if secure else b"POST http://127.0.0.1:"
    assert any(line.startswith(asked) for line in proxy.lines)
    written = b"".join(path.read_bytes() for path in ran.folder.iterdir())
    assert b"geheimnis" not in written + ran.out.encode() + ran.err.encode()


@pytest.mark.parametrize("transport", ["wire", "aiohttp", "openai"])
@pytest.mark.parametrize(
    ("host", "trust", "says"),
    [
        ("127.0.0.2", True, "IP address mismatch, certificate is not valid for '127.0.0.2'"),
        ("127.0.0.1", False, "unable to get local issuer certificate"),
    ],
)
def test_a_certificate_that_does_not_fit(
    run: Runner,
    start_simulator: Start,
    certificate: Certificate,
    host: str,
    trust: bool,
    says: str,
    transport: str,
) -> None:
    server = start_simulator(
        "--host", "0.0.0.0", "--tls-cert", str(certificate.cert), "--tls-key", str(certificate.key)
    )
    ca = ("--ca-cert", str(certificate.ca)) if trust else ()
    ran = run("profile", "--url", f"https://{host}:{server.port}", "--transport", transport, *ca, *SMALL)
    assert ran.code == 3
    assert ran.err.count("\n") == 1
    assert says in ran.err
    assert ran.err.rstrip().endswith("see --ca-cert and --insecure-tls")
