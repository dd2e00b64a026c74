"""How many GPUs: memory of a model, instances for a load, instances packed whole. Pure arithmetic, standard library.

Rules
- GB are 10^9 bytes, as makers of GPUs and authors of tables count; a GPU's own tools count in GiB, 7 % more bytes.
- An instance on one GPU shares it with others as far as memory and its own `share` allow. One of several GPUs has them
  for itself, all in one server.
- Packing is first-fit decreasing: the largest instance first, each on the first GPU with room. It never needs more than
  11/9 of the fewest possible GPUs and one more (Dosa 2007). It is not monotone in general: with three sizes or more it
  may happen that leaving one out needs a GPU more.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

GB = 1e9
GIB = 2.0**30
RUNTIME_GB = 2.0  # what an engine needs beside weights and cache: 2.05 GB by the fit to the Dell guide's Table 9
DELL_GB_PER_BILLION = 2.1
MONTH_H = 730.0
BYTES: Mapping[str, float] = {
    "fp32": 4, "float32": 4, "bf16": 2, "fp16": 2, "bfloat16": 2, "float16": 2, "16": 2,
    "fp8": 1, "int8": 1, "8": 1, "fp4": 0.5, "int4": 0.5, "nf4": 0.5, "4": 0.5,
}  # fmt: skip
Piece: TypeAlias = tuple[int, list[tuple[str, ...]]]  # GPUs that stay together, what is on each
SLACK = 1e-9  # of a GPU: sums of decimals are not exact


class Unfit(ValueError):
    """An instance that fits no GPU or no server; the message says how much it lacks."""


def weights_gb(params_b: float, dtype: str = "bf16") -> float:
    """GB of the weights of a model of `params_b` billion parameters."""
    return params_b * BYTES[dtype]


def kv_bytes_per_token(layers: int, kv_heads: int, head_dim: int, dtype: str = "bf16") -> float:
    """Bytes of keys and values that a token leaves in the cache: two vectors in each layer and head."""
    return 2 * layers * kv_heads * head_dim * BYTES[dtype]


def decode_floor_ms(read_gb: float, bandwidth_gbs: float, gpus: int = 1) -> float:
    """The least time per output token, in ms: what a step must read from memory, over what the GPUs read per second."""
    return read_gb / (bandwidth_gbs * gpus) * 1000


def gpus_to_hold(memory_gb: float, gpu_gb: float, usable: float = 1.0, *, powers: bool = False) -> int:
    """GPUs whose usable share holds so much; `powers`: rounded up to a power of two, for tensor parallelism."""
    found = max(1, math.ceil(memory_gb / (gpu_gb * usable) - SLACK))
    return 2 ** math.ceil(math.log2(found)) if powers else found


def at_least(load: float, each: float) -> int:
    """Instances for a load of which one takes `each`; no fewer than one."""
    return max(1, math.ceil(load / each - SLACK))


@dataclass(frozen=True, slots=True)
class Kind:
    """Instances of one model: `count` of them, `memory_gb` each at its load, on `gpus` GPUs each.

    At most `share` of them, or of others, are on one GPU (None: as many as its memory holds).
    """

    name: str
    count: int
    memory_gb: float
    gpus: int = 1
    share: int | None = None


@dataclass(slots=True)
class Gpu:
    """One GPU: the names of its instances and the GB they take."""

    names: list[str]
    used_gb: float
    most: float


@dataclass(frozen=True, slots=True)
class Packed:
    """Where the instances are: `servers` are lists of GPUs, each a list of names. `gpus` counts GPUs in use."""

    gpus: int
    servers: tuple[tuple[tuple[str, ...], ...], ...]
    total_gb: float
    naive_gpus: int


def pack(kinds: Sequence[Kind], usable_gb: float, per_server: int) -> Packed:
    """Put instances on GPUs of `usable_gb` each, and these into servers of `per_server`. Raises Unfit."""
    for kind in kinds:
        check(kind, usable_gb, per_server)
    total = math.fsum(kind.count * kind.memory_gb for kind in kinds)
    shared = _shared([kind for kind in kinds if kind.gpus == 1], usable_gb)
    pieces: list[Piece] = [(1, [tuple(gpu.names)]) for gpu in shared]
    for kind in kinds:
        if kind.gpus > 1:
            pieces += [(kind.gpus, [(kind.name,)] * kind.gpus) for _ in range(kind.count)]
    naive = max(1, math.ceil(total / usable_gb - SLACK))
    return Packed(sum(size for size, _ in pieces), _servers(pieces, per_server), total, naive)


def check(kind: Kind, usable_gb: float, per_server: int) -> None:
    """Raises Unfit for an instance that cannot be placed anywhere."""
    if kind.memory_gb / kind.gpus > usable_gb * (1 + SLACK):
        where = "one GPU" if kind.gpus == 1 else f"each of {kind.gpus} GPUs"
        raise Unfit(
            f"{kind.name} needs {kind.memory_gb / kind.gpus:.4g} GB on {where}, and {usable_gb:.4g} GB are usable there"
        )
    if kind.gpus > per_server:
        raise Unfit(f"{kind.name} needs {kind.gpus} GPUs in one server, and a server has {per_server}")


def _shared(kinds: Sequence[Kind], usable_gb: float) -> list[Gpu]:
    """First-fit decreasing over the instances of one GPU."""
    found: list[Gpu] = []
    for kind in sorted(kinds, key=lambda one: -one.memory_gb):
        most = math.inf if kind.share is None else kind.share
        first = 0  # GPUs before this one had no room for the instance before, an equal one
        for _ in range(kind.count):
            while first < len(found) and not _has_room(found[first], kind.memory_gb, most, usable_gb):
                first += 1
            if first == len(found):
                found.append(Gpu([], 0.0, math.inf))
            gpu = found[first]
            gpu.names.append(kind.name)
            gpu.used_gb += kind.memory_gb
            gpu.most = min(gpu.most, most)
    return found


def _has_room(gpu: Gpu, memory_gb: float, most: float, usable_gb: float) -> bool:
    return len(gpu.names) < min(gpu.most, most) and gpu.used_gb + memory_gb <= usable_gb * (1 + SLACK)


def _servers(pieces: Sequence[Piece], per_server: int) -> tuple[tuple[tuple[str, ...], ...], ...]:
    """First-fit decreasing over whole GPUs."""
    found: list[list[tuple[str, ...]]] = []
    for size, gpus in sorted(pieces, key=lambda piece: -piece[0]):
        room = next((server for server in found if len(server) + size <= per_server), None)
        if room is None:
            room = []
            found.append(room)
        room += gpus
    return tuple(map(tuple, found))
