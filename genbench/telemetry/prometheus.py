"""What one answer of an exporter says, in the words of `vocabulary`: Prometheus text, or the JSON of `trtllm-serve`.

Rules
- Lines are parsed by prometheus_client; those whose name is not in `names` are left out, hundreds in some answers.
- Series that differ in labels are one value: added up, or averaged where the measure says so; of tensor-parallel ranks
  only rank 0 counts. GPUs are kept apart.
- What is no number (NaN) is not there.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import orjson

from genbench.telemetry import names
from genbench.telemetry.names import Dialect, Row
from genbench.telemetry.vocabulary import BY_KEY, OF_GPU

MOST_SEEN = 50_000
TAILS = ("", "_bucket", "_sum", "_count")
ALONE = "0"  # the GPU of an exporter that does not say which
Labelled = tuple[Mapping[str, str], float]
Series = Mapping[str, Sequence[Labelled]]


class NotMetrics(ValueError):
    """An answer that no exporter gives; the message says what it is, to stand after 'answers with'."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Values seen so far: their sum, how many, and how many were at most each of `bounds` (s); no bounds: not told."""

    total: float
    count: float
    bounds: tuple[float, ...] = ()
    counts: tuple[float, ...] = ()


@dataclass(slots=True)
class Reading:
    """One answer: gauges and counters by key, histograms by key, and by GPU what is told of each."""

    values: dict[str, float] = field(default_factory=dict)
    histograms: dict[str, Histogram] = field(default_factory=dict)
    gpus: dict[str, dict[str, float]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether it has anything."""
        return bool(self.values or self.histograms or self.gpus)


def read(body: bytes) -> tuple[str, Reading]:
    """(dialects spoken, like "vllm" or "triton, dcgm"; what is said in them). Raises NotMetrics.

    An exporter of names that nobody here knows is one all the same: ("", an empty reading).
    """
    return Reader().read(body)


class Reader:
    """Reads the answers of one exporter, one after the other.

    prometheus_client parses a line once: a later one with the same name and labels, up to its last space, differs in
    its value only. That makes 0.6 ms of 6 for vLLM's 50 kB.
    """

    def __init__(self) -> None:
        self._seen: dict[str, Seen] = {}  # by the line without its value
        self._names: set[str] = set()
        self._spoken: list[Dialect] = []

    def read(self, body: bytes) -> tuple[str, Reading]:
        """See `read`."""
        text = body.decode("utf-8", "replace")
        start = text.lstrip()[:1]
        if start in ("{", "[") and '="' not in text.partition("\n")[0]:
            return names.TENSORRT_LLM.name, iterations(body)
        if start == "<":
            raise NotMetrics("an HTML page")
        if not start:
            raise NotMetrics("no metric at all")
        found: set[str] = set()
        try:
            series = grouped(self._samples(text, found))
            if not found:
                raise NotMetrics("something that is no metrics")
            if found != self._names:
                self._names, self._spoken = found, dialects(found)
            reading = translated(series, self._spoken)
        except (ValueError, IndexError, KeyError) as error:
            raise NotMetrics("something that is no metrics") from error
        spoken = ", ".join(dict.fromkeys(one.name for one in self._spoken if one.name != names.HOST.name))
        return spoken, reading

    def _samples(self, text: str, found: set[str]) -> Iterator[tuple[str, Mapping[str, str], float]]:
        """What has a known name; all names there are go into `found`, with `_` for `:`."""
        for line in text.splitlines():
            if not line or line[0] == "#":
                continue
            head, _, value = line.rpartition(" ")
            seen = self._seen.get(head)
            if seen is None:
                try:
                    name, labels, number, plain = _parsed(line)
                except (ValueError, IndexError):
                    if line.partition("{")[0].partition(" ")[0].replace(":", "_") in _known():
                        raise
                    continue  # a name that nobody asks for
                seen = Seen(name, labels if name in _known() else None)
                if plain and len(self._seen) < MOST_SEEN:
                    self._seen[head] = seen
            else:
                number = float(value)
            found.add(seen.name)
            if seen.labels is not None:
                yield seen.name, seen.labels, number


class Seen(NamedTuple):
    """The name of a line, `_` for `:`, and its labels where the name is known."""

    name: str
    labels: Mapping[str, str] | None


def _parsed(line: str) -> tuple[str, Mapping[str, str], float, bool]:
    """Name, labels and value of a line, and whether there is nothing else in it. Raises ValueError."""
    from prometheus_client.parser import text_string_to_metric_families  # 0.08 s, paid by who scrapes

    for family in text_string_to_metric_families(line + "\n"):
        for one in family.samples:
            plain = one.timestamp is None and one.exemplar is None
            return one.name.replace(":", "_"), one.labels, float(one.value), plain
    raise ValueError(line)


@cache
def _known() -> frozenset[str]:
    """Every name that some row reads."""
    found = set()
    for dialect in (*names.ENGINES, *names.MACHINES):
        found |= set(dialect.names)
        for row in dialect.rows:
            found |= {name + tail for name in (*row.names, *(row.parts or ())) for tail in TAILS}
    return frozenset(found)


def grouped(samples: Iterable[tuple[str, Mapping[str, str], float]]) -> dict[str, list[Labelled]]:
    """Samples by name, `_` for `:`, without what is no number and without all but the first rank."""
    found: dict[str, list[Labelled]] = {}
    for name, labels, value in samples:
        if math.isfinite(value) and all(labels.get(rank, "0") == "0" for rank in names.ONE_RANK):
            found.setdefault(name.replace(":", "_"), []).append((labels, value))
    return found


def dialects(found: Iterable[str]) -> list[Dialect]:
    """Who speaks: one engine at most, and exporters of machines."""
    have = set(found)
    engine = next((one for one in names.ENGINES if _spoken(one, have)), None)
    return ([engine] if engine else []) + [one for one in names.MACHINES if _spoken(one, have)]


def _spoken(one: Dialect, have: set[str]) -> bool:
    return any(name.startswith(one.prefixes) for name in have) if one.prefixes else have >= set(one.names)


def translated(series: Series, spoken: Sequence[Dialect]) -> Reading:
    """The rows of these dialects, applied; of two rows for one word the first that finds something counts."""
    found = Reading()
    for dialect in spoken:
        for row in dialect.rows:
            measure = BY_KEY[row.key]
            if measure.of == OF_GPU:
                for gpu, value in _by_gpu(series, row).items():
                    found.gpus.setdefault(gpu, {}).setdefault(row.key, value)
            elif measure.kind == "histogram":
                if row.key not in found.histograms and (histogram := _histogram(series, row)) is not None:
                    found.histograms[row.key] = histogram
            elif row.key not in found.values and (values := _values(series, row)):
                mean = measure.several == "mean"
                found.values[row.key] = row.scale * sum(values) / (len(values) if mean else 1)
    _completed(found)
    return found


def _values(series: Series, row: Row) -> list[float]:
    """The numbers of the first name that is there, or of all of them."""
    found: list[float] = []
    for name in row.names:
        found += [value for labels, value in series.get(name, ()) if row.where.items() <= labels.items()]
        if found and not row.together:
            break
    return found


def _by_gpu(series: Series, row: Row) -> dict[str, float]:
    found: dict[str, float] = {}
    for name in row.names:
        for labels, value in series.get(name, ()):
            gpu = next((labels[label] for label in names.GPU_LABELS if labels.get(label)), ALONE)
            found[gpu] = max(found.get(gpu, -math.inf), row.scale * value)  # shared by pods it is told for each
        if found:
            break
    return found


def _histogram(series: Series, row: Row) -> Histogram | None:
    if row.parts is not None:
        sums, number = (series.get(name, ()) for name in row.parts)
        return Histogram(row.scale * _added(sums), _added(number)) if sums and number else None
    for name in row.names:
        counts = series.get(f"{name}_count", ())
        if not counts:
            continue
        by_bound: dict[float, float] = {}
        for labels, value in series.get(f"{name}_bucket", ()):
            bound = float(labels.get("le", "nan"))
            if math.isfinite(bound):
                by_bound[row.scale * bound] = by_bound.get(row.scale * bound, 0.0) + value
        bounds = tuple(sorted(by_bound))
        total = row.scale * _added(series.get(f"{name}_sum", ()))
        return Histogram(total, _added(counts), bounds, tuple(by_bound[bound] for bound in bounds))
    return None


def _added(series: Sequence[Labelled]) -> float:
    return sum(value for _, value in series)


def _completed(found: Reading) -> None:
    """What follows from what is told: the KV share from blocks, a GPU's memory from what is used and free."""
    values = found.values
    if "kv_cache_pct" not in values and values.get("kv_blocks_max", 0) > 0 and "kv_blocks_used" in values:
        values["kv_cache_pct"] = 100 * values["kv_blocks_used"] / values["kv_blocks_max"]
    if "host_memory_used" not in values and {"host_memory_total", "host_memory_free"} <= values.keys():
        values["host_memory_used"] = values["host_memory_total"] - values["host_memory_free"]
    for told in found.gpus.values():
        if "gpu_memory_total" not in told and {"gpu_memory_used", "gpu_memory_free"} <= told.keys():
            told["gpu_memory_total"] = told["gpu_memory_used"] + told["gpu_memory_free"]


def iterations(body: bytes) -> Reading:
    """The last of the iterations that `trtllm-serve` tells; nothing where there was none. Raises NotMetrics."""
    try:
        told: Any = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NotMetrics("something that is no metrics") from error
    found = Reading()
    if told == []:
        return found
    last = told[-1] if isinstance(told, list) else told
    for key, path in names.ITERATION.items():
        value: Any = last
        for word in path:
            value = value.get(word) if isinstance(value, dict) else None
        if isinstance(value, int | float) and math.isfinite(value):
            if BY_KEY[key].of == OF_GPU:
                found.gpus.setdefault(ALONE, {})[key] = float(value)
            else:
                found.values[key] = float(value)
    if not found:
        raise NotMetrics("JSON that is not trtllm-serve's")
    _completed(found)
    return found
