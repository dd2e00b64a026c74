"""What `genbench size` is told of one model, NAME:key=value,..., and what a sweep or a capacity search measured."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from genbench.block import number as shown
from genbench.errors import ConfigError, RecordError
from genbench.metrics import slo
from genbench.metrics.levels import REQUESTS, words
from genbench.sizing import BYTES
from genbench.studies import capacity_files, size_answer, sweep_files
from genbench.studies.cost_numbers import number, pairs, whole
from genbench.types import Slo

MEASURED = ("ttft.p95", "tpot.p50", "request_latency.p95")
COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<": lambda value, bound: value < bound,
    "<=": lambda value, bound: value <= bound,
    ">": lambda value, bound: value > bound,
    ">=": lambda value, bound: value >= bound,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """One model and its load; what was not said is None. The fields are the keys of --need, with dashes.

    `users` are requests in flight, `rate` and `capacity` are in requests per second, `mem` is GB of one instance at its
    load, `params` and `active` are in billions, `tokens` are those of one sequence, `tpot` is in ms.

    Of a capacity search: `doubt` says why its answer is not sure, and `least` is what an instance takes at the lower
    end of the answer's interval, `below` in words.
    """

    name: str
    users: float | None = None
    rate: float | None = None
    concurrency: float | None = None
    capacity: float | None = None
    mem: float | None = None
    gpus: int | None = None
    share: int | None = None
    params: float | None = None
    active: float | None = None
    dtype: str | None = None
    layers: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    kv_dtype: str | None = None
    tokens: int | None = None
    tpot: float | None = None
    source: str = ""
    rules: tuple[Slo, ...] = ()
    hardware: Mapping[str, Any] = field(default_factory=dict)
    doubt: str = ""
    below: str = ""
    least: "Need | None" = None


WHOLE = {"gpus", "share", "layers", "kv_heads", "head_dim", "tokens"}
WORDS = {"dtype", "kv_dtype"}
FOUND = ("source", "rules", "hardware", "doubt", "below", "least")  # what a folder says, and no key
NO_KEYS = ("name", *FOUND)
KEYS = tuple(one.name.replace("_", "-") for one in fields(Need) if one.name not in NO_KEYS)


def parse(text: str) -> Need:
    """NAME:key=value,... Raises ConfigError."""
    name, colon, rest = text.partition(":")
    said = pairs(rest)
    if not colon or not name or not said:
        raise ConfigError(f"--need {text}: write it like 5B:users=64,concurrency=4,mem=12.41")
    return of(name, dict(said), f"--need {name}: ")


def of(name: str, said: Mapping[str, str], flag: str) -> Need:
    """A need from texts by key; `flag` is what stands before a key in a message. Raises ConfigError."""
    found: dict[str, Any] = {}
    for key, text in said.items():
        if key not in KEYS:
            raise ConfigError(f"{flag}{key}: there is no such key; use {', '.join(KEYS)}")
        place = key.replace("-", "_")
        if place in WORDS:
            if text.lower() not in BYTES:
                raise ConfigError(f"{flag}{key} {text}: must be one of {', '.join(BYTES)}")
            found[place] = text.lower()
        else:
            found[place] = whole(f"{flag}{key}", text) if place in WHOLE else number(f"{flag}{key}", text, key)
    return Need(name=name, **found)


# -- what was measured -------------------------------------------------------------------------------------------------


def measured(need: Need, folder: Path, rules: Sequence[str]) -> Need:
    """The need with what one instance was measured to take: the highest load that keeps the promises.

    What the need says itself stays. An instance that was measured had its GPU for itself, so it shares it with no other
    unless `share` says so. Raises RecordError for a folder that is neither kind, ConfigError where no load keeps them.
    """
    if (folder / sweep_files.NAME).is_file():
        found = _of_sweep(folder, slo.expand(rules))
    elif (folder / capacity_files.NAME).is_file():
        if rules:
            raise ConfigError(f"--slo {rules[0]}: {folder} is a capacity search, which has its promises; leave it out")
        found = _of_capacity(folder)
    else:
        raise RecordError(f"--from-sweep {folder}: neither a sweep nor a capacity search is there; check the path")
    own = {one.name: getattr(need, one.name) for one in fields(Need) if getattr(need, one.name) is not None}
    kept = {name: value for name, value in own.items() if name not in FOUND}
    if (need.users is None or need.concurrency) and (need.rate is None or need.capacity):
        found = replace(found, doubt="", below="", least=None)  # no load is divided by what it says
    return replace(found, least=replace(found.least, **kept) if found.least else None, **kept)


def _of_sweep(folder: Path, texts: Sequence[str]) -> Need:
    document = sweep_files.read(folder)
    rules = [slo.parse(text) for text in texts or _promises(document)]
    if not rules:
        raise ConfigError(f"--from-sweep {folder}: the sweep has no promises; give --slo, like 'ttft.p95<500ms'")
    groups = list(dict.fromkeys(str(one["group"]) for one in document["points"]))
    if len(groups) > 1:
        raise ConfigError(
            f"--from-sweep {folder}: it has {len(groups)} curves ({', '.join(groups)}); sweep one of them"
        )
    kept, broken = _highest(document["points"], rules)
    by = str(document["by"])
    if not kept:
        at = f"at {words(by, broken[0]['value'])} {_said(broken, rules)}" if broken else "it has no point"
        raise ConfigError(f"--from-sweep {folder}: no load keeps the promises, {at}; more instances do not help")
    value = float(kept[0]["value"])
    promise = " and ".join(rule.text for rule in rules)
    doubt = " (SUSPECT)" if any(one["verdict"] == "SUSPECT" for one in kept) else ""
    source = f"{folder}: {words(by, value)}{doubt} keeps {promise} ({_said(kept, rules)})"
    if broken:
        source += f", {words(by, broken[0]['value'], bare=True)} does not ({_said(broken, rules)})"
    else:
        source += ", the highest load of the sweep: more may be possible"
    return _need(by, value, kept, source, rules, _about(document), document)


def _need(
    by: str, value: float, entries: Sequence[Mapping[str, Any]], source: str, rules: Sequence[Slo],
    hardware: Mapping[str, Any], document: Mapping[str, Any], share: float = 1.0,
) -> Need:  # fmt: skip
    """What `entries` took at the load `value`; where theirs was higher, `share` of it."""
    flying, throughput = (None if one is None else one * share for one in
                          (_run(entries, "concurrency_mean"), _run(entries, REQUESTS)))  # fmt: skip
    return Need(
        name="",
        concurrency=value if by == "concurrency" else max(1.0, math.floor(flying)) if flying else None,
        capacity=throughput if by == "concurrency" else value,
        gpus=hardware.get("gpu_count") or None,
        share=1,
        tpot=_mean([one["metrics"].get("tpot", {}).get("p50") for one in entries]),
        source=source + (" SIMULATED" if document.get("simulated") else ""),
        rules=tuple(rules),
        hardware=hardware,
    )


def _promises(document: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys(str(one["rule"]) for point in document["points"] for one in point["slo"]))


def _highest(
    points: Sequence[Mapping[str, Any]], rules: Sequence[Slo]
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """The runs of the highest load up to which all keep the rules, and those of the next one."""
    kept: list[Mapping[str, Any]] = []
    for value in sorted({float(one["value"]) for one in points}):
        mine = [one for one in points if float(one["value"]) == value]
        if not all(_keeps(one, rules) for one in mine):
            return kept, mine
        kept = mine
    return kept, []


def _keeps(entry: Mapping[str, Any], rules: Sequence[Slo]) -> bool:
    if entry["saturated"] or entry["verdict"] == "INVALID":
        return False
    values = [_value(entry, rule) for rule in rules]
    return all(v is not None and COMPARE[rule.op](v, rule.bound) for v, rule in zip(values, rules, strict=True))


def _value(entry: Mapping[str, Any], rule: Slo) -> float | None:
    """A figure of a run; a share that the rule itself defined stands among its results."""
    found = entry["metrics"].get(rule.metric, {}).get(rule.stat) if rule.stat else None
    found = entry["run"].get(rule.metric, {}).get("value") if not rule.stat else found
    told = next((one["value"] for one in entry["slo"] if one["rule"] == rule.text), None)
    return told if found is None else float(found)


def _said(entries: Sequence[Mapping[str, Any]], rules: Sequence[Slo]) -> str:
    """What the first rule that is missed, or the first, was measured at."""
    missed = [rule for rule in rules for one in entries if not _keeps({**one, "saturated": "", "verdict": ""}, [rule])]
    if not missed and any(one["saturated"] for one in entries):
        return "its queue grew without bound"
    if not missed and any(one["verdict"] == "INVALID" for one in entries):
        return "its run is INVALID"
    rule = (missed or list(rules))[0]
    value = _mean([_value(one, rule) for one in entries])
    unit = "ms" if any(one["metrics"].get(rule.metric, {}).get("unit") == "ms" for one in entries) else ""
    name = f"{rule.metric}.{rule.stat}".strip(".")
    return f"{name} {shown(value, unit)} {unit}".rstrip() if value is not None else f"it has no {name}"


def _about(document: Mapping[str, Any]) -> dict[str, Any]:
    known = document.get("config", {}).get("about") or {}
    found = {key: value for key, value in known.items() if key != "metadata" and value is not None}
    return ({"gpu_count": document["gpus"]} if document.get("gpus") else {}) | found


def _of_capacity(folder: Path) -> Need:
    document = capacity_files.read(folder)
    answer = size_answer.of(document)
    if answer is None:
        why = document["hopeless"] or "it came to no answer"
        raise ConfigError(f"--from-sweep {folder}: {why}; more instances do not help")
    source = f"{folder}: {answer.load}{answer.interval} keeps {' and '.join(document['slo'])}"
    source += f"; {answer.doubt}" if answer.doubt else ""
    rules = [slo.parse(text) for text in document["slo"]]

    def taken(value: float, probe: Mapping[str, Any]) -> Need:
        share = min(1.0, value / float(probe["value"]))
        return _need(answer.by, value, [probe], source, rules, _about(document), document, share)

    need, below = replace(taken(answer.value, answer.probe), doubt=answer.doubt), answer.below
    if below is None:
        return need
    least = taken(below, size_answer.nearest(document, below))
    return replace(need, below=size_answer.at(answer.by, below), least=least)


def _run(entries: Sequence[Mapping[str, Any]], key: str) -> float | None:
    return _mean([one["run"].get(key, {}).get("value") for one in entries])


def _mean(values: Sequence[Any]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return sum(known) / len(known) if known else None
