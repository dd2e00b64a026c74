"""What `genbench cost` is given, read: runs, sweeps, capacity searches, figures of other tools; and their prices.

A sweep gives a row for each load, everything else one. What is not known stays None; a price that is not known is an
error, since nothing can be said without it.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson

from genbench import loads
from genbench.costing import Priced
from genbench.curves._source import Curve, curves
from genbench.errors import ConfigError, RecordError
from genbench.exporters.json import as_dict
from genbench.hardware import Catalogue
from genbench.metrics.levels import REQUESTS, TOKENS, AveragedLevel, level_of, value_of, words
from genbench.records import HEADER_NAME, read_header
from genbench.studies import capacity_files, importing, size_answer, sweep_files

INPUT = "input_token_throughput"
LATENCIES = ("ttft.p95", "tpot.p95", "request_latency.p95")
THEIRS = {
    TOKENS: ("output_throughput", "output_token_throughput"),
    INPUT: ("input_throughput", "input_token_throughput"),
    REQUESTS: ("request_throughput",),
}
RUN, SWEEP, CAPACITY, GIVEN = "run", "sweep", "capacity", "options"


@dataclass(frozen=True, slots=True)
class Row:
    """One load: throughputs per second with the interval of the output's, latencies in ms, whether it keeps its
    promises (None: there are none). `series` is the sweep's group, "" where there is one.

    Of a capacity search: `probe` is the load that was measured, where it is not the answer's, and `scaled` by how much
    its throughputs were multiplied; `doubt` says why the answer is not sure; `below` is the lower end of its interval
    in words, and as a share of the answer.
    """

    name: str
    load: str = ""
    series: str = ""
    output_tps: float | None = None
    ci95: tuple[float, float] | None = None
    input_tps: float | None = None
    requests_ps: float | None = None
    latencies: Mapping[str, float] = field(default_factory=dict)
    kept: bool | None = None
    verdict: str = ""
    saturated: bool = False
    probe: str = ""
    scaled: float = 1.0
    doubt: str = ""
    below: tuple[str, float] | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """One argument: its rows, what its run says of the hardware, and a sweep's curves for the figure."""

    name: str
    kind: str
    source: str
    rows: tuple[Row, ...]
    hardware: Mapping[str, Any] = field(default_factory=dict)
    simulated: bool = False
    curves: tuple[tuple[str, Curve], ...] = ()


# -- folders -----------------------------------------------------------------------------------------------------------


def read(text: str) -> Subject:
    """`NAME=PATH` or a path. Raises RecordError or ConfigError."""
    name, equals, rest = text.partition("=")
    named = bool(equals and name and "/" not in name and not Path(text).exists())
    path = Path(rest if named else text)
    shown = name if named else path.resolve().name
    if path.is_file():
        raise RecordError(f"{path} is a file, cost takes folders; genbench import makes one of another tool's result")
    if (path / sweep_files.NAME).is_file():
        return _sweep(path, shown)
    if (path / capacity_files.NAME).is_file():
        return _capacity(path, shown)
    if not (path / HEADER_NAME).is_file():
        raise RecordError(f"{path} is no folder of a run, a sweep or a capacity search; look in artifacts/")
    return _run(path, shown)


def _run(folder: Path, name: str) -> Subject:
    header = read_header(folder)
    if (folder / importing.FIGURES).is_file():
        entry = _figures(orjson.loads((folder / importing.FIGURES).read_bytes()))
    else:
        run = importing.read(folder)
        entry, header = as_dict(run.summary), dict(run.header)
    load = loads.sentence(header.get("config", {}).get("load", {}))
    return Subject(name, RUN, str(folder), (_row(name, load, entry),), _hardware(header), bool(header.get("simulated")))


def _figures(said: Mapping[str, Any]) -> dict[str, Any]:
    """What another tool's file says of the whole run, by our names where its own mean the same."""
    own = {key.rpartition(".")[2]: figure for key, figure in said["run"].items()}
    found = {ours: own[theirs] for ours, names in THEIRS.items() for theirs in names if theirs in own}
    return {"metrics": {}, "run": found}


def _row(name: str, load: str, entry: Mapping[str, Any], verdict: str = "verdict") -> Row:
    """A row of a summary, or of what has the same parts."""
    metrics, run, slo = entry["metrics"], entry["run"], entry.get("slo") or ()
    found = run.get(TOKENS) or {}
    ends = found.get("ci95")
    latencies = {key: metrics.get(key.partition(".")[0], {}).get(key.partition(".")[2]) for key in LATENCIES}
    return Row(
        name=name,
        load=load,
        output_tps=found.get("value"),
        ci95=(float(ends[0]), float(ends[1])) if ends else None,
        input_tps=run.get(INPUT, {}).get("value"),
        requests_ps=run.get(REQUESTS, {}).get("value"),
        latencies={key: float(value) for key, value in latencies.items() if value is not None},
        kept=all(one["passed"] for one in slo) if slo else None,
        verdict=str(entry.get(verdict) or ""),
    )


def _hardware(header: Mapping[str, Any]) -> Mapping[str, Any]:
    known = header.get("hardware")
    return known if isinstance(known, Mapping) else {}


def _capacity(folder: Path, name: str) -> Subject:
    """The answer, at the throughput of the probe nearest to it; that of a rate is in proportion to it."""
    document = capacity_files.read(folder)
    answer = size_answer.of(document)
    if answer is None:
        raise RecordError(f"{folder} found no load that keeps its promises, so there is none to be paid for")
    row = _row(name, answer.load, answer.probe, "run_verdict")
    probed, below = float(answer.probe["value"]), answer.below
    by = answer.value / probed if answer.by == "request_rate" else 1.0
    row = replace(
        row,
        output_tps=_times(row.output_tps, by),
        ci95=None if row.ci95 is None else (row.ci95[0] * by, row.ci95[1] * by),
        input_tps=_times(row.input_tps, by),
        requests_ps=_times(row.requests_ps, by),
        probe="" if probed == answer.value else size_answer.at(answer.by, probed),
        scaled=by,
        doubt=answer.doubt,
        below=(size_answer.at(answer.by, below), below / answer.value)
        if below and answer.by == "request_rate"
        else None,
    )
    return Subject(name, CAPACITY, str(folder), (row,), _about(document), bool(document["simulated"]))


def _times(value: float | None, by: float) -> float | None:
    return None if value is None else value * by


def _about(document: Mapping[str, Any]) -> dict[str, Any]:
    """The hardware of a study, as its options had it; --gpus of a sweep is a number of GPUs, too."""
    known = document.get("config", {}).get("about") or {}
    found = {key: value for key, value in known.items() if key != "metadata" and value is not None}
    return ({"gpu_count": document["gpus"]} if document.get("gpus") else {}) | found


def _sweep(folder: Path, name: str) -> Subject:
    document = sweep_files.read(folder)
    found = curves([(name, document)])
    rows = [row for series, curve in found for row in _levels(name, series, curve, document)]
    if not rows:
        raise RecordError(f"{folder} has no load at which a request was ok, so there is nothing to be paid for")
    return Subject(
        name, SWEEP, str(folder), tuple(rows), _about(document), bool(document.get("simulated")), tuple(found)
    )


def _levels(name: str, series: str, curve: Curve, document: Mapping[str, Any]) -> Iterator[Row]:
    kept_by_all = curve.found.get("kept_by_all")
    for level in curve.levels:
        if not (value_of(level, REQUESTS) or 0.0) > 0:
            continue
        figure = level["figures"].get(TOKENS) or {}
        latencies = {key: value_of(level, key) for key in LATENCIES}
        of_repeats = figure.get("interval") != "ci95"  # from the smallest to the largest: no confidence interval
        ends = (None, None) if of_repeats else (figure.get("low"), figure.get("high"))
        yield Row(
            name=name,
            load=words(curve.by, level["value"]),
            series=series,
            output_tps=figure.get("value"),
            ci95=None if None in ends or not ends else (float(ends[0] or 0), float(ends[1] or 0)),
            input_tps=_input(level, curve, document),
            requests_ps=value_of(level, REQUESTS),
            latencies={key: value for key, value in latencies.items() if value is not None},
            kept=level["value"] <= (kept_by_all or 0) if curve.found.get("promises") else None,
            verdict=str(level["verdict"]),
            saturated=bool(level["saturated"]),
        )


def _input(level: AveragedLevel, curve: Curve, document: Mapping[str, Any]) -> float | None:
    """Input tokens per second at a level: the mean of its repeats, in the window that the level's output is of."""
    points = [one for one in document["points"] if (level_of(one).value, level_of(one).group) == _place(level, curve)]
    known = [one["run"][INPUT]["value"] for one in points if INPUT in one["run"]]
    return sum(known) / len(known) * (level["steady_over_whole"] or 1.0) if known else None


def _place(level: AveragedLevel, curve: Curve) -> tuple[float, str]:
    return float(level["value"]), str(curve.found.get("group") or "")


# -- prices ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Terms:
    """Options by subject's name, "" for all: what is said of price and hardware on the command line."""

    price: Mapping[str, float] = field(default_factory=dict)
    instance: Mapping[str, str] = field(default_factory=dict)
    gpu: Mapping[str, str] = field(default_factory=dict)
    gpus: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Paid:
    """What a subject costs, and who says so."""

    priced: Priced
    source: str


def check_names(terms: Terms, names: Sequence[str]) -> None:
    """Raises ConfigError for an option about something that is not there."""
    for flag, said in (("--price", terms.price), ("--instance", terms.instance), ("--gpu", terms.gpu),
                       ("--gpus", terms.gpus)):  # fmt: skip
        for name in said:
            if name and name not in names:
                near = difflib.get_close_matches(name, names, 2, 0.3) or names
                raise ConfigError(f"{flag} {name}=...: nothing here has that name; use {' or '.join(near)}")


def paid(name: str, hardware: Mapping[str, Any], terms: Terms, catalogue: Catalogue) -> Paid:
    """The price of a subject: from the options, else its run's own, else the list. Raises ConfigError without one."""
    asked = _of(terms.instance, name)
    price = _of(terms.price, name)
    source = "--price"
    if price is None and asked is None and hardware.get("price_per_hour"):
        price, source = float(hardware["price_per_hour"]), "the run's price-per-hour"
    instance = asked or str(hardware.get("instance") or "")
    known = None
    if instance and (price is None or asked is not None or _known(instance, catalogue)):
        known = catalogue.instance(instance, "--instance" if asked else f"{name}: instance")
    if price is None and known is not None:
        if known.price_per_hour is None:
            raise ConfigError(f"{known.name} has no list price in profiles/hardware.yaml; give --price, in $ per hour")
        price, source = known.price_per_hour, f"list price of {known.name}, {known.source}, {known.date}"
    if price is None:
        raise ConfigError(f"{name} has no price; give --price (dollars per hour) or --instance (genbench knows some)")
    gpu = _of(terms.gpu, name) or str(hardware.get("gpu") or (known.gpu if known else ""))
    gpus = _of(terms.gpus, name) or hardware.get("gpu_count") or (known.gpus if known else None)
    priced = Priced(name, price, gpus, _canonical(gpu, catalogue, asked=_of(terms.gpu, name) is not None),
                    known.name if known else instance)  # fmt: skip
    return Paid(priced, source)


def _of(said: Mapping[str, Any], name: str) -> Any:
    return said.get(name, said.get(""))


def _known(instance: str, catalogue: Catalogue) -> bool:
    """Whether the list has it: where the price is given, a run may have been on an instance of any name."""
    return instance.lower() in {one.lower() for one in catalogue.instances}


def _canonical(gpu: str, catalogue: Catalogue, *, asked: bool) -> str:
    """The list's name of a GPU; one that a run names and the list does not know stays as it is."""
    if not gpu:
        return ""
    try:
        return catalogue.gpu(gpu).name
    except ConfigError:
        if asked:
            raise
        return gpu


def renamed(found: Sequence[Subject]) -> list[Subject]:
    """Each with a name of its own."""
    taken: dict[str, int] = {}
    result = []
    for one in found:
        taken[one.name] = taken.get(one.name, 0) + 1
        name = one.name if taken[one.name] == 1 else f"{one.name} ({taken[one.name]})"
        result.append(replace(one, name=name, rows=tuple(replace(row, name=name) for row in one.rows)))
    return result
