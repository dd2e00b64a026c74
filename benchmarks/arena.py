"""Where the measurements take place: cores, the embedded engine and a client as processes apart, CPU by the kernel.

Rules
- The server side has the last core to itself, the client side all the others; on one core both share it and say so.
- A client's CPU time is what the kernel booked for its process and the children it waited for (`os.wait4`). While it
  runs, its first thread's own account (`/proc/PID/schedstat`, ns) is read every 5 ms: CPU between two moments.
- Loopback only. Every process started here is ended here, by its own process group.
"""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
ACCOUNT_S = 0.005
LOG_TAIL = 400  # characters of a failed client's last words


def cores() -> tuple[list[int], list[int]]:
    """(client's, server's) cores; the same list twice where there is only one, or no `taskset`."""
    found = sorted(os.sched_getaffinity(0))
    if len(found) < 2 or shutil.which("taskset") is None:
        return found, found
    return found[:-1], found[-1:]


def placement() -> str:
    """One sentence on who runs where."""
    client, server = cores()
    if client == server:
        return f"{len(client)} core(s), not pinned: client and server share them, so every figure is worse than it is"
    others = f"{len(client)} core" + ("s" if len(client) > 1 else "")
    return f"the server is pinned to one core, the client with all its processes to the other {others}"


def pinned(side: list[int]) -> list[str]:
    """The start of a command line that keeps a process on these cores."""
    client, server = cores()
    return [] if client == server else ["taskset", "-c", ",".join(map(str, side))]


@dataclass(frozen=True)
class Cost:
    """What a finished client took.

    `rss_bytes` is the peak of its first process, as last seen; `account` has (perf_counter_ns, CPU ns so far) of its
    first thread.
    """

    wall_s: float
    cpu_s: float
    rss_bytes: int
    code: int
    output: str
    account: tuple[tuple[int, int], ...] = ()

    def cpu_between_s(self, begin_ns: int, end_ns: int) -> float:
        """CPU of the first thread between two moments, interpolated; 0 where the system keeps no account."""
        if not self.account:
            return 0.0
        times, spent = zip(*self.account, strict=True)
        begin, end = np.interp([begin_ns, end_ns], times, spent)
        return float(end - begin) / 1e9


def run_client(command: Sequence[str], limit_s: float, env: Mapping[str, str] | None = None) -> Cost:
    """Run a client on its cores to its end; killed with its children after `limit_s` (then `code` is negative)."""
    client, _ = cores()
    log = os.memfd_create("output")
    began = time.perf_counter()
    process = subprocess.Popen(
        [*pinned(client), *command],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
        env=dict(os.environ) | dict(env or {}),
    )
    account: list[tuple[int, int]] = []
    code, used, peak = _wait(process.pid, began + limit_s, account)
    wall = time.perf_counter() - began
    process.returncode = code  # Popen shall not wait for what wait4 has taken
    output = os.pread(log, os.fstat(log).st_size, 0).decode("utf-8", "replace")
    os.close(log)
    return Cost(wall, used.ru_utime + used.ru_stime, peak, code, output, tuple(account))


def _wait(pid: int, until: float, account: list[tuple[int, int]]) -> tuple[int, resource.struct_rusage, int]:
    path, peak = Path(f"/proc/{pid}/schedstat"), 0
    while True:
        with suppress(OSError, ValueError, IndexError):  # not Linux, or it has just ended
            account.append((time.perf_counter_ns(), int(path.read_bytes().split()[0])))
            # Not ru_maxrss: that begins with what this process had when it forked.
            peak = int(path.with_name("status").read_bytes().partition(b"VmHWM:")[2].split()[0]) * 1024
        found, status, used = os.wait4(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status), used, peak
        if time.perf_counter() > until:
            os.killpg(pid, signal.SIGKILL)
            until = float("inf")
        time.sleep(ACCOUNT_S)


def complaint(cost: Cost, limit_s: float) -> str:
    """Why a client gave nothing, in one line; empty when it did."""
    if cost.code == 0:
        return ""
    if cost.wall_s >= limit_s:
        return f"not done within {limit_s:g} s"
    return f"exit code {cost.code}: {' '.join(cost.output.split())[-LOG_TAIL:]}"


@contextmanager
def serving(command: Sequence[str]) -> Iterator[str]:
    """A server of ours on its core; its address is the last word of its first line. It ends when its stdin closes."""
    _, server = cores()
    process = subprocess.Popen(
        [*pinned(server), *command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdin
    assert process.stdout
    try:
        words = process.stdout.readline().split()
        if not words:
            raise RuntimeError(f"{' '.join(command)} did not start")
        yield words[-1]
    finally:
        process.stdin.close()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


@dataclass(frozen=True)
class Scenario:
    """What every client is asked to do: `streams` at a time, `requests` in all, `tokens` each."""

    url: str
    model: str
    streams: int
    requests: int
    tokens: int
    ca: Path | None
    tokenizer: Path
    limit_s: float


def engine_command(ttft_ms: float, itl_ms: float, certificate: Path | None) -> list[str]:
    """The embedded engine with these times."""
    command = [sys.executable, "-m", "genbench.simulator", "--ttft", f"{ttft_ms}ms", "--itl", f"{itl_ms}ms"]
    return command if certificate is None else [*command, "--tls-cert", str(certificate)]


def ask(url: str, ca: Path | None, method: str = "GET") -> Any:
    """JSON from the server."""
    context = None
    if ca is not None:
        import ssl

        context = ssl.create_default_context(cafile=str(ca))
    with urllib.request.urlopen(urllib.request.Request(url, method=method), context=context) as answer:
        return json.load(answer)


def make_certificate(path: Path) -> Path:
    """A self-signed certificate for 127.0.0.1 and localhost with its key, in one PEM file that is its own authority."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + private)
    return path


def make_tokenizer(folder: Path) -> Path:
    """A byte-level tokenizer in the hub's format, for the peers that do not start without one; no network."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([], trainer)
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    facts = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(facts))
    return folder
