"""How fast and how punctual the embedded engine is, so that a benchmark against it measures the client.

    python benchmarks/simulator_speed.py [--streams 50] [--tokens 2000]

Starts the simulator on one core (`taskset`, where there is one) and drains it from the other with bare sockets and an
epoll, no parsing: `data:` is counted, nothing else. Two figures: events per second when all are due at once, and how
late the events of 200 paced streams leave, from the engine's own truth.
"""

import argparse
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import time
import urllib.request


def start() -> tuple["subprocess.Popen[str]", str, int]:
    """The simulator, pinned to the last core; this process to the first."""
    pin = []
    cores = sorted(os.sched_getaffinity(0))
    if shutil.which("taskset") and len(cores) > 1:
        pin = ["taskset", "-c", str(cores[-1])]
        os.sched_setaffinity(0, cores[:1])
    command = [*pin, sys.executable, "-m", "genbench.simulator"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    url = process.stdout.readline().split()[-1]
    return process, url, int(url.rpartition(":")[2])


def drain(port: int, streams: int, body: dict[str, object], gap_s: float = 0.0) -> tuple[int, float]:
    """Send `body` on `streams` connections, `gap_s` apart; events, and the seconds from the first to the last."""
    data = json.dumps(body).encode()
    request = b"POST /v1/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(data)
    poll, open_socks = select.epoll(), {}
    for _ in range(streams):
        sock = socket.create_connection(("127.0.0.1", port))
        open_socks[sock.fileno()] = sock
        poll.register(sock, select.EPOLLIN)
    events, first, waiting = 0, 0.0, list(open_socks.values())
    next_send = time.perf_counter()
    while open_socks:
        while waiting and time.perf_counter() >= next_send:
            waiting.pop().sendall(request + data)
            next_send += gap_s
        for fd, _ in poll.poll(0.001 if waiting else 5):
            found = open_socks[fd].recv(1 << 18)
            if not found:
                poll.unregister(fd)
                open_socks.pop(fd).close()
            first = first or time.perf_counter()
            events += found.count(b"data:")
    return events, time.perf_counter() - first


def lateness(url: str, ttft_ns: int, itl_ns: int) -> list[int]:
    """How late each content event left, in ns, sorted."""
    with urllib.request.urlopen(url + "/truth") as answer:
        truth = json.load(answer)
    late = []
    for one in truth["requests"]:
        times = [t_ns for kind, t_ns, _ in one["events"] if kind == "content"]
        late += [t_ns - (one["received_ns"] + ttft_ns + k * itl_ns) for k, t_ns in enumerate(times)]
    return sorted(late)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--tokens", type=int, default=2000)
    given = parser.parse_args()
    process, url, port = start()
    try:
        flood = {"prompt": "a", "stream": True, "max_tokens": given.tokens, "simulate": {"ttft_ms": 0, "itl_ms": 0}}
        drain(port, 4, flood)
        events, spent = drain(port, given.streams, flood)
        print(f"flood:  {events} events in {spent:.2f} s = {events / spent:,.0f} events/s, one write each")
        urllib.request.urlopen(urllib.request.Request(url + "/truth", method="DELETE")).close()
        paced = {"prompt": "a", "stream": True, "max_tokens": 100, "simulate": {"ttft_ms": 50, "itl_ms": 20}}
        events, spent = drain(port, 200, paced, gap_s=0.0037)
        late = lateness(url, 50_000_000, 20_000_000)
        quantiles = ", ".join(f"p{q} {late[len(late) * q // 100] / 1e3:.0f} us" for q in (50, 90, 99))
        print(f"paced:  200 streams x 50 events/s, {events / spent:,.0f} events/s; events leave late by {quantiles}")
    finally:
        assert process.stdin
        process.stdin.close()
        process.wait(5)


if __name__ == "__main__":
    main()
