"""`genbench size`: instances, GPUs, servers and dollars for a load; the document that screen and JSON show.

Rules
- Instances are the load over what one instance takes within its promise, rounded up; users and rate both: the larger.
- Memory of an instance is that at its load: given, or weights + engine + the cache of as many sequences.
- Without a number of GPUs an instance gets the smallest power of two whose usable memory holds it.
- Where memory holds fewer sequences than the promise allows, an instance takes no more than memory holds.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from genbench import __version__, sizing
from genbench.errors import ConfigError
from genbench.sizing import Kind, Packed
from genbench.studies import size_words
from genbench.studies.size_read import Need

SCHEMA, KIND = 1, "size"
PER_SERVER = 8
DTYPE = "bf16"
OF_CACHE = ("layers", "kv_heads", "head_dim", "tokens")
TIME_PER_TOKEN = ("tpot", "itl")
NO_CACHE = ", without a cache"


@dataclass(frozen=True, slots=True)
class Machine:
    """What the instances run on: GB of a GPU and the share of it that may be used, GPUs in a server, its price."""

    gpu: str
    gpu_gb: float
    headroom: float = 0.0
    bandwidth_gbs: float | None = None
    per_server: int = PER_SERVER
    assumed: bool = False  # per_server
    price_per_hour: float | None = None
    price_from: str = ""
    hours: float = sizing.MONTH_H

    @property
    def usable_gb(self) -> float:
        """GB of each GPU that instances may take."""
        return self.gpu_gb * (1 - self.headroom)


@dataclass(frozen=True, slots=True)
class Placed:
    """A need worked out: its instances, why so many, where one's memory comes from. `split`: more GPUs for memory."""

    need: Need
    kind: Kind
    why: str
    memory: str
    split: bool = False
    capped: str = ""


def size(needs: Sequence[Need], machine: Machine, *, rule: str, overhead_gb: float, command: str) -> dict[str, Any]:
    """The document of docs/size.md. Raises ConfigError for what cannot be sized."""
    placed, packed = _packed(needs, machine, rule, overhead_gb)
    kinds = [one.kind for one in placed]
    servers = len(packed.servers)
    document = {
        "schema": SCHEMA,
        "kind": KIND,
        "genbench": __version__,
        "command": command,
        "machine": asdict(machine) | {"usable_gb": machine.usable_gb},
        "needs": [_need(one, machine) for one in placed],
        "instances": {one.kind.name: one.kind.count for one in placed},
        "total_gb": packed.total_gb,
        "gpus_naive": packed.naive_gpus,
        "gpus_packed": packed.gpus,
        "servers": servers,
        "gpus_in_servers": servers * machine.per_server,
        "memory_used": packed.total_gb / (servers * machine.per_server * machine.gpu_gb),
        "layout": _layout(packed, kinds),
        "usd_per_month": _month(servers, machine),
        "lower": _lower(needs, machine, rule, overhead_gb),
        "binds": _binds(placed, packed, machine),
        "warnings": list(_warnings(placed, packed, machine)),
    }
    document["sentences"] = size_words.sentences(document)
    return document


def _packed(needs: Sequence[Need], machine: Machine, rule: str, overhead_gb: float) -> tuple[list[Placed], Packed]:
    try:
        placed = [_placed(need, machine, rule, overhead_gb) for need in needs]
        return placed, sizing.pack([one.kind for one in placed], machine.usable_gb, machine.per_server)
    except sizing.Unfit as error:
        raise ConfigError(f"{error}; take larger GPUs, more of them, or a smaller dtype") from error


def _month(servers: int, machine: Machine) -> float | None:
    return None if machine.price_per_hour is None else servers * machine.price_per_hour * machine.hours


def _lower(needs: Sequence[Need], machine: Machine, rule: str, overhead_gb: float) -> dict[str, Any] | None:
    """The answer where what each search found is the lower end of its interval; None where no search has one."""
    if not any(one.least for one in needs):
        return None
    placed, packed = _packed([one.least or one for one in needs], machine, rule, overhead_gb)
    return {
        "at": {one.name: one.below for one in needs if one.least},
        "instances": {one.kind.name: one.kind.count for one in placed},
        "gpus_packed": packed.gpus,
        "servers": len(packed.servers),
        "usd_per_month": _month(len(packed.servers), machine),
    }


# -- one model ---------------------------------------------------------------------------------------------------------


def _placed(need: Need, machine: Machine, rule: str, overhead_gb: float) -> Placed:
    cached = [getattr(need, name) for name in OF_CACHE]
    if any(cached) and not all(cached):
        lacking = [name.replace("_", "-") for name, value in zip(OF_CACHE, cached, strict=True) if not value]
        raise ConfigError(f"{need.name}: the cache needs {', '.join(lacking)} as well, or give mem")
    if need.mem is not None:
        return _with(need, machine, need.mem, "as given, at its load", need.concurrency, "")
    if need.params is None:
        raise ConfigError(f"{need.name} has no memory; give mem (GB of one instance at its load), or params (billions)")
    dtype = need.dtype or DTYPE
    weights = sizing.weights_gb(need.params, dtype)
    if rule == "dell":
        fixed = sizing.DELL_GB_PER_BILLION * need.params
        return _with(need, machine, fixed, f"2.1 GB x {need.params:g} billion parameters", need.concurrency, "")
    fixed = weights + overhead_gb
    said = f"{need.params:g} billion x {sizing.BYTES[dtype]:g} bytes ({dtype}) + {overhead_gb:g} GB for the engine"
    if not all(cached):
        return _with(need, machine, fixed, said + NO_CACHE, need.concurrency, "")
    assert need.layers and need.kv_heads and need.head_dim  # noqa: PT018
    assert need.tokens
    each = sizing.kv_bytes_per_token(need.layers, need.kv_heads, need.head_dim, need.kv_dtype or DTYPE)
    sequence = each * need.tokens / sizing.GB
    if need.concurrency is None:
        raise ConfigError(f"{need.name}: the cache grows with the sequences of an instance; give concurrency, or mem")
    wanted = need.concurrency
    most = (need.gpus or _largest(machine.per_server)) * machine.usable_gb
    holds = math.floor((most - fixed) / sequence + sizing.SLACK)
    takes = min(wanted, float(max(1, holds)))
    several, tokens = (size_words.counted(one, what) for one, what in ((takes, "sequence"), (need.tokens, "token")))
    said += f" + {several} x {tokens} x {each / 1e6:.4g} MB"
    capped = "" if takes >= wanted else f"memory holds {several} of {need.name}, the promise allows {wanted:g}"
    return _with(need, machine, fixed + takes * sequence, said, takes, capped)


def _largest(per_server: int) -> int:
    return int(2 ** math.floor(math.log2(per_server)))


def _with(
    need: Need, machine: Machine, memory_gb: float, memory: str, concurrency: float | None, capped: str
) -> Placed:
    """The need with the memory of an instance and the requests in flight that one takes."""
    fewest = sizing.gpus_to_hold(memory_gb, machine.usable_gb, powers=True)
    gpus = need.gpus or fewest
    count, why = _instances(need, concurrency, capped)
    kind = Kind(need.name, count, memory_gb, gpus, need.share)
    if gpus < fewest <= machine.per_server:
        raise ConfigError(
            f"{need.name} needs {memory_gb:.4g} GB, and {gpus} x {machine.usable_gb:.4g} GB are usable; give it"
            f" gpus={fewest}"
        )
    return Placed(need, kind, why, memory, split=need.gpus is None and gpus > 1, capped=capped)


def _instances(need: Need, concurrency: float | None, capped: str) -> tuple[int, str]:
    """How many, and the division."""
    found = []
    scale = concurrency / need.concurrency if capped and concurrency and need.concurrency else 1.0
    if need.users is not None:
        if concurrency is None:
            raise ConfigError(f"{need.name} has users, but no concurrency of an instance; give it, or --from-sweep DIR")
        count, users = sizing.at_least(need.users, concurrency), size_words.counted(need.users, "user")
        found.append((count, f"{users} / {concurrency:g} at a time = {need.users / concurrency:.4g}"))
    if need.rate is not None:
        if need.capacity is None:
            raise ConfigError(
                f"{need.name} has a rate, but no capacity (req/s) of an instance; give it, or --from-sweep"
            )
        each = need.capacity * scale
        found.append(
            (sizing.at_least(need.rate, each), f"{need.rate:g} req/s / {each:.4g} req/s = {need.rate / each:.4g}")
        )
    if not found:
        raise ConfigError(f"{need.name} has no load; give users (requests in flight) or rate (requests per second)")
    return max(found)


def _need(one: Placed, machine: Machine) -> dict[str, Any]:
    need, kind = one.need, one.kind
    floor = _floor(one, machine)
    return {
        "name": need.name,
        "users": need.users,
        "rate": need.rate,
        "concurrency": need.concurrency,
        "capacity": need.capacity,
        "instances": kind.count,
        "instances_from": one.why,
        "memory_gb": kind.memory_gb,
        "memory_from": one.memory,
        "gpus": kind.gpus,
        "share": kind.share,
        "source": need.source,
        "doubt": need.doubt,
        "weights_gb": None if need.params is None else sizing.weights_gb(need.params, need.dtype or DTYPE),
        "decode_floor_ms": floor,
        "tpot_ms": need.tpot,
        "tpot_over_floor": need.tpot / floor if need.tpot and floor else None,
    }


def _floor(one: Placed, machine: Machine) -> float | None:
    read = one.need.active or one.need.params
    if read is None or machine.bandwidth_gbs is None:
        return None
    weights = sizing.weights_gb(read, one.need.dtype or DTYPE)
    return sizing.decode_floor_ms(weights, machine.bandwidth_gbs, one.kind.gpus)


# -- all of them -------------------------------------------------------------------------------------------------------


def _layout(packed: Packed, kinds: Sequence[Kind]) -> list[dict[str, Any]]:
    """GPUs that hold the same, how many there are, and the GB they use."""
    each = {kind.name: kind.memory_gb / kind.gpus for kind in kinds}
    found = Counter(tuple(sorted(Counter(gpu).items())) for server in packed.servers for gpu in server)
    rows = [
        {"gpus": count, "holds": dict(names), "used_gb": math.fsum(each[name] * k for name, k in names)}
        for names, count in found.items()
    ]
    return sorted(rows, key=lambda row: (-row["used_gb"], -row["gpus"]))


def _binds(placed: Sequence[Placed], packed: Packed, machine: Machine) -> list[dict[str, str]]:
    """What keeps the answer from being smaller: GPUs per server, memory, compute; the tightest first.

    GPUs per server: GPUs are paid for on which nothing runs. Memory: with more of it fewer GPUs would do, or an
    instance would take more. Compute: neither; instances take what their promise allows, each on GPUs of its own.
    """
    found = []
    bought = len(packed.servers) * machine.per_server
    if bought > packed.gpus:
        found.append(("GPUs per server", f"{bought - packed.gpus} of the {size_words.counted(bought, 'GPU')} in"
                      f" {size_words.counted(len(packed.servers), 'server')} would be idle"))  # fmt: skip
    found += [("memory", one.capped) for one in placed if one.capped]
    found += [
        ("memory", f"an instance of {one.kind.name} needs {one.kind.gpus} GPUs to fit") for one in placed if one.split
    ]
    free = [
        Kind(one.kind.name, one.kind.count, 0.0, 1 if one.split else one.kind.gpus, one.kind.share) for one in placed
    ]
    if not any(what == "memory" for what, _ in found) and sizing.pack(free, 1.0, machine.per_server).gpus < packed.gpus:
        found.append(("memory", _full(packed, placed, machine)))
    if not any(what == "memory" for what, _ in found):
        found.append(("compute", "each instance takes what its promise allows, on GPUs of its own"))
    return [{"what": what, "why": why} for what, why in found]


def _full(packed: Packed, placed: Sequence[Placed], machine: Machine) -> str:
    row = max(_layout(packed, [one.kind for one in placed]), key=lambda one: (one["gpus"], one["used_gb"]))
    smallest = min(one.kind.memory_gb for one in placed if one.kind.gpus == 1)
    left = machine.usable_gb - row["used_gb"]
    return (
        f"a GPU with {size_words.held(row)} has {left:.4g} GB left, and the smallest instance needs {smallest:.4g} GB"
        if left < smallest
        else "with more memory on each GPU fewer would do"
    )


def _warnings(placed: Sequence[Placed], packed: Packed, machine: Machine) -> Iterator[str]:
    """What a reader has to know before buying."""
    yield from _division(placed, packed, machine)
    together = [row for row in _layout(packed, [one.kind for one in placed]) if sum(row["holds"].values()) > 1]
    if together:
        yield (
            f"{size_words.held(together[0])} share a GPU: memory allows it, but they slow each other down unless their"
            " concurrency was measured together; share=1 gives each a GPU"
        )
    for one in placed:
        yield from _of_one(one, machine)
    if machine.assumed:
        yield f"{size_words.counted(machine.per_server, 'GPU')} in a server is assumed; say it with --gpus-per-server"


def _of_one(one: Placed, machine: Machine) -> Iterator[str]:
    """What is doubtful of one model."""
    floor, name, measured_on = _floor(one, machine), one.need.name, one.need.hardware.get("gpu")
    if measured_on and measured_on != machine.gpu:
        yield f"{name} was measured on {measured_on}: what an instance takes on {machine.gpu} is another number"
    if one.memory.endswith(NO_CACHE):
        yield f"{name}: no room for the cache is in its memory; give {', '.join(OF_CACHE).replace('_', '-')}, or mem"
    if floor is not None:
        if one.need.tpot is not None and one.need.tpot < floor:
            yield (
                f"{name}: a measured TPOT of {one.need.tpot:.4g} ms is below the {floor:.4g} ms that reading the"
                " weights takes; check dtype, GPU and GPUs (or active parameters, or speculative decoding)"
            )
        for rule in one.need.rules:
            if rule.metric in TIME_PER_TOKEN and rule.op in ("<", "<=") and rule.bound < floor:
                yield f"{name}: {rule.text} cannot be kept on {machine.gpu}, whose memory allows {floor:.4g} ms at best"


def _division(placed: Sequence[Placed], packed: Packed, machine: Machine) -> Iterator[str]:
    """Where dividing all memory by that of a GPU would give too few, and why."""
    if packed.naive_gpus >= packed.gpus:
        return
    large = [one.kind for one in placed if one.kind.gpus == 1 and 2 * one.kind.memory_gb > machine.usable_gb]
    why = "instances do not split"
    if large:
        kind = max(large, key=lambda one: one.count)
        why += f": two of {kind.name} ({2 * kind.memory_gb:.4g} GB) are not on one GPU of {machine.usable_gb:.4g} GB"
    elif any(one.kind.gpus > 1 for one in placed):
        why = "an instance of several GPUs has them for itself"
    elif any(one.kind.share for one in placed):
        why = "an instance has its GPU for itself"
    yield (
        f"plain division is wrong here: {packed.total_gb:.6g} GB / {machine.usable_gb:.4g} GB ="
        f" {packed.total_gb / machine.usable_gb:.4g}, so {size_words.counted(packed.naive_gpus, 'GPU')}, but {why}"
    )
