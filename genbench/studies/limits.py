"""What the machine allows, looked at before the load: open files, local ports, memory. Too little is one sentence."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genbench.errors import ConfigError
from genbench.plan.requests import BuiltRequests
from genbench.studies.prepare import Prepared

if TYPE_CHECKING:
    import numpy as np

MAX_PREOPENED = 256
SPARE_FILES = 64
MACOS_FILES = 10_240  # OPEN_MAX: the most that setrlimit takes there, whatever the hard limit says
SMALL_BYTES = 64 << 20  # what any run needs; a machine without that would not have come so far
PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")
MEMORY = Path("/proc/meminfo")
CGROUP = Path("/sys/fs/cgroup")
RECLAIMED = ("inactive_file", "active_file", "slab_reclaimable")
CONNECTION_BYTES = 96 << 10  # a socket, its parser and what an answer under way holds (measured: 60 KiB)
REQUEST_BYTES = 1_200  # columns of a record in the report, more than measured


def connections(prepared: Prepared, say: Callable[[str], None]) -> int:
    """How many to open ahead: all of a closed loop's, a guess for an open one; with files, ports and memory enough.

    Raises ConfigError where the machine does not allow what was asked for; where only an open loop's worst case is
    above it, that is said.
    """
    load = prepared.config.load
    total = len(prepared.plan.requests)
    most = min(load.concurrency or total, total)
    files = _raise_file_limit(most + SPARE_FILES) - SPARE_FILES
    far = {address.sockaddr for address in prepared.addresses}
    over_tcp = all(not isinstance(sockaddr, str) for sockaddr in far)
    ports = _ports() * len(far) if over_tcp else files  # a unix socket needs none
    offsets = prepared.plan.schedule.offset_ns
    if offsets is None:
        wanted = min(load.concurrency or 1, total)
    else:
        guess = 2 * _rate(offsets) * prepared.found.facts.latency_s
        wanted = int(max(1, min(load.concurrency or MAX_PREOPENED, guess, MAX_PREOPENED, total, files, ports)))
    if files < wanted:
        raise ConfigError(f"{wanted} connections need as many open files; give ulimit -n {wanted + SPARE_FILES}")
    if ports < wanted:
        raise ConfigError(
            f"{wanted} connections need as many local ports and there are {ports}: widen net.ipv4.ip_local_port_range"
        )
    if min(files, ports) < most:
        which, see = ("open files", "ulimit -n") if files < ports else ("local ports", "net.ipv4.ip_local_port_range")
        say(f"note: more than {min(files, ports)} requests at once would fail here for want of {which}; see {see}")
    _check_memory(prepared, wanted)
    return wanted


def _raise_file_limit(wanted: int) -> int:
    """Raise RLIMIT_NOFILE towards `wanted`; returns what holds now."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        for higher in (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), MACOS_FILES):
            with contextlib.suppress(ValueError, OSError):  # the kernel may know a limit that getrlimit does not
                resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, higher), hard))
                return max(soft, higher)
    return soft


def _ports() -> int:
    """Local ports to one address; 28,232 is what Linux gives unless told otherwise."""
    try:
        low, high = map(int, PORTS.read_text().split())
    except (OSError, ValueError):
        return 28_232
    return high - low + 1


def _rate(offset_ns: "np.ndarray[Any, np.dtype[np.int64]]") -> float:
    """Arrivals per second over the whole schedule; many where they all come at once."""
    span = int(offset_ns[-1] - offset_ns[0]) if offset_ns.size else 0
    return (offset_ns.size - 1) * 1e9 / span if span else float("inf")


def _check_memory(prepared: Prepared, wanted: int) -> None:
    """Raises ConfigError where connections and bodies alone would need more than there is."""
    requests = prepared.plan.requests
    assert isinstance(requests, BuiltRequests)
    built = requests.peek()
    body = max((len(one.body) for one in built), default=0)
    known = len(requests) if len(requests) < 1 << 40 else 0
    needs = wanted * (CONNECTION_BYTES + body) + len(built) * body + known * REQUEST_BYTES
    free = min(_free_memory(), default=None)
    if free is not None and needs > max(free, SMALL_BYTES):
        raise ConfigError(
            f"this load needs about {needs >> 20} MiB of memory and {free >> 20} MiB are free; "
            "lower --concurrency, --request-count or the input length"
        )


def _free_memory() -> Iterator[int]:
    """Bytes that can still be had, by the system and by the control group, where they say."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        line = next(row for row in MEMORY.read_text().splitlines() if row.startswith("MemAvailable"))
        yield int(line.split()[1]) << 10
    with contextlib.suppress(OSError, ValueError):
        most = int((CGROUP / "memory.max").read_text())  # "max" is no number: no limit
        used = int((CGROUP / "memory.current").read_text())
        rows = (line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        # What files left in the cache counts as used, and is given up when somebody wants it.
        yield max(0, most - used + sum(int(value) for name, value in rows if name in RECLAIMED))
