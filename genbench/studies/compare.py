"""`genbench compare`: sides held against a base, as the document that screen, page, Markdown and gates read.

Rules
- The base is the first side (or --normalize-to); every other one is compared with it.
- One run against one run is a statement about these two runs. Only where both sides have repeats, or rounds, it is one
  about the engines. A single run against repeats is compared with the repeat of median request latency.
- Sweeps are compared load by load, at the loads both have, and their capacities with each other.
- Runs of different endpoint kinds are refused, INVALID ones without `force`.
"""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from genbench import __version__, loads
from genbench.errors import ConfigError, RecordError
from genbench.metrics import contrast, fairness
from genbench.metrics.definitions import by_key
from genbench.metrics.levels import words
from genbench.metrics.subject import Subject
from genbench.metrics.verdict import INVALID
from genbench.studies import compare_capacity, compare_words, gate
from genbench.studies.compare_read import CAPACITY, FIGURES_ONLY, ROUNDS, RUN, Place, Side

SCHEMA, KIND, NAME = 1, "compare", "compare.json"
RUNS, ENGINES = "runs", "engines"
NOT_COMPARABLE = "not comparable"
TOKENS = "output_token_throughput"
REQUESTS = "request_throughput"
OF_REPEATS = {"dataset": "dataset_sha256", "seed": "seed", "arrivals": "offsets_sha256"}  # differ within a side, too
OF_A_PROBE = {"verdict", "interrupted", "load", "warmup", "cached"}  # of the first one's few requests
STATS = ("mean", "p50", "p95", "p99", "value")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a comparison: `min_effect` a share, `prices` in dollars per hour by name."""

    min_effect: float = 0.02
    rules: tuple[gate.Rule, ...] = ()
    prices: Mapping[str, float] = field(default_factory=dict)
    base: str = ""
    force: bool = False
    seed: int = 0


def compare(sides: Sequence[Side], wanted: Wanted, command: str) -> dict[str, Any]:
    """The document of a comparison, as docs/compare.md has it. Raises ConfigError or RecordError, in one sentence."""
    _comparable(sides, force=wanted.force)
    base = named(sides, wanted.base, "--normalize-to") if wanted.base else sides[0]
    prices = {named(sides, name, "--price").name: price for name, price in wanted.prices.items()}
    others = [side for side in sides if side is not base]
    comparisons, notes = [], []
    for other in others:
        found, said = _pair(base, other, wanted)
        comparisons += found
        notes += said
    capacities = [row for other in others for row in compare_capacity.rows(base, other)]
    if not comparisons and not capacities:
        raise ConfigError(notes[0] if notes else f"{base.name} and {others[0].name} have nothing in common to compare")
    document = {
        "schema": SCHEMA,
        "kind": KIND,
        "genbench": __version__,
        "command": command,
        "min_effect": wanted.min_effect,
        "base": base.name,
        "subjects": [_subject(side, prices.get(side.name)) for side in (base, *others)],
        "says": ENGINES if comparisons and all(one["says"] == ENGINES for one in comparisons) else RUNS,
        "comparisons": comparisons,
        "capacities": capacities,
        "value": _value(base, others, prices),
        "gates": gate.judge(wanted.rules, comparisons),
        "sentences": [],
    }
    document["sentences"] = [*compare_words.sentences(document), *notes, *_hint(sides)]
    return document


def _hint(sides: Sequence[Side]) -> Iterator[str]:
    """That runs of the same folders may have been meant as repeats."""
    above = [str(Path(side.sources[0]).resolve().parent) for side in sides if side.kind == RUN]
    if len(set(above)) > 1 and all(above.count(folder) > 1 for folder in above):
        yield "each run was compared by itself; with --repeats the runs of a folder are the repeats of one side"


def named(sides: Sequence[Side], name: str, flag: str) -> Side:
    """The side of a name, or of its letter A, B, ... Raises ConfigError with the nearest names."""
    letters = {chr(ord("A") + k): side for k, side in enumerate(sides[:26])}
    by_name = {side.name: side for side in sides}
    found = by_name.get(name) or letters.get(name)
    if found is None:
        near = difflib.get_close_matches(name, by_name, 2, 0.3) or list(by_name)
        raise ConfigError(f"{flag} {name}: no side has that name; use {' or '.join(near)}, or its letter A, B, ...")
    return found


# -- what can be compared ----------------------------------------------------------------------------------------------


def _comparable(sides: Sequence[Side], *, force: bool) -> None:
    if len(sides) < 2:
        raise ConfigError("a comparison needs two sides or more; name another run, or a --baseline")
    searched = [side for side in sides if side.kind == CAPACITY]
    if searched and len(searched) < len(sides):
        other = next(side for side in sides if side.kind != CAPACITY)
        raise ConfigError(
            f"{searched[0].name} is a capacity search and {other.name} is none; compare it with another search"
        )
    kinds: dict[str, str] = {}
    for side in sides:
        for one in side.subjects:
            if one.facts["endpoint_type"]:
                kinds.setdefault(str(one.facts["endpoint_type"]), side.name)
            if one.verdict == INVALID and not force and side.kind != CAPACITY:
                raise RecordError(f"{one.name} is INVALID{_why(one)}; run it again, or compare it anyway with --force")
    if len(kinds) > 1:
        (kind, name), (other_kind, other_name), *_ = kinds.items()
        raise ConfigError(f"{name} is a run of {kind}, {other_name} of {other_kind}: these cannot be compared")


def _why(one: Subject) -> str:
    findings = one.facts["findings"]
    return f" ({findings[0]})" if findings else ""


# -- a pair ------------------------------------------------------------------------------------------------------------


def _pair(a: Side, b: Side, wanted: Wanted) -> tuple[list[dict[str, Any]], list[str]]:
    """The comparisons of two sides, one for each load they share, and sentences on what is left out."""
    if CAPACITY in (a.kind, b.kind):
        return _searches(a, b), []
    if len(a.levels) == len(b.levels) == 1 and not (a.left_out or b.left_out):
        (ours,), (theirs,) = a.levels.values(), b.levels.values()
        return [_comparison(a, b, None, ours, theirs, wanted)], []
    shared = [at for at in a.levels if _at(b.levels, at)]
    found = [_comparison(a, b, at, a.levels[at], _at(b.levels, at), wanted) for at in shared]
    notes = []
    if not shared:
        notes.append(f"{a.name} ({_loads(a)}) and {b.name} ({_loads(b)}) share no load; sweep both over the same ones")
    for side, other in ((a, b), (b, a)):
        notes += [
            f"at {words(at.by, at.value)} {side.name} was {why}, {other.name} was not: no rows for it"
            for at, why in side.left_out.items()
            if _at(other.levels, at)
        ]
    alone = [at for side, other in ((a, b), (b, a)) for at in side.levels
             if not _at(other.levels, at) and at not in other.left_out]  # fmt: skip
    if alone and shared:
        loads_alone = ", ".join(dict.fromkeys(words(at.by, at.value) for at in alone))
        notes.append(f"measured on one side only, not compared: {loads_alone}")
    return found, notes


def _searches(a: Side, b: Side) -> list[dict[str, Any]]:
    """What makes two capacity searches unfair; they have no rows."""
    if not (a.subjects and b.subjects):
        return []
    one, other = a.subjects[0], b.subjects[0]
    found = fairness.lines(one.facts, other.facts, (a.name, b.name))
    unfair = [asdict(line) for line in found if line.key not in OF_A_PROBE]
    return [{"a": a.name, "b": b.name, "load": None, "runs": [0, 0], "requests": [0, 0], "says": RUNS,
             "unfair": unfair, "rows": []}]  # fmt: skip


def _at(levels: Mapping[Place, tuple[Subject, ...]], at: Place) -> tuple[Subject, ...]:
    """The runs at a load; a side without groups is compared with each group."""
    groups = {place.group for place in levels}
    group = at.group if at.group in groups or len(groups) > 1 else next(iter(groups), "")
    return levels.get(Place(at.by, at.value, group), ())


def _loads(side: Side) -> str:
    """`concurrency 1/2/4`, `4/8 req/s`."""
    kinds = {by: "/".join(f"{value:g}" for value in sorted({at.value for at in side.levels if at.by == by}))
             for by in dict.fromkeys(at.by for at in side.levels)}  # fmt: skip
    said = [f"concurrency {found}" if by == "concurrency" else f"{found} req/s" for by, found in kinds.items()]
    return ", ".join(said) or "no usable load"


def _comparison(
    a: Side, b: Side, at: Place | None, ours: Sequence[Subject], theirs: Sequence[Subject], wanted: Wanted
) -> dict[str, Any]:
    """One comparison: what is unfair first, then the rows."""
    rounds = a.kind == b.kind == ROUNDS
    one, other = _typical(ours), _typical(theirs)
    engines = len(ours) > 1 and len(theirs) > 1
    unfair = _of_rounds(a, b, ours, theirs) if rounds else _unfair(a, b, ours, theirs)
    barred = fairness.barred(unfair)
    settings: dict[str, Any] = {"min_effect": wanted.min_effect, "barred": barred, "seed": wanted.seed}
    if FIGURES_ONLY in (one.verdict, other.verdict):
        rows = list(_figures(one, other))
    elif rounds:
        rows = contrast.rounds(ours, theirs, **settings)
    elif engines:
        rows = contrast.repeats(ours, theirs, **settings)
    else:
        rows = contrast.runs(one, other, **settings)
    text = None if at is None else ", ".join(x for x in (at.group, words(at.by, at.value)) if x)
    return {
        "a": a.name,
        "b": b.name,
        "load": None if at is None else {"by": at.by, "value": at.value, "group": at.group, "text": text},
        "runs": [len(ours), len(theirs)],
        "requests": [sum(x.facts["requests"] for x in side) for side in (ours, theirs)],
        "says": ENGINES if engines or rounds else RUNS,
        "unfair": [asdict(line) for line in unfair],
        "rows": [asdict(row) for row in rows],
    }


def _unfair(a: Side, b: Side, ours: Sequence[Subject], theirs: Sequence[Subject]) -> list[fairness.Unfair]:
    """What two sides do not share; of repeats by the typical one of each."""
    one, other = _typical(ours), _typical(theirs)
    engines = len(ours) > 1 and len(theirs) > 1
    unfair = list(fairness.lines(one.facts, other.facts, (a.name, b.name)))
    unfair += [*fairness.of_side([x.facts for x in ours], a.name), *fairness.of_side([x.facts for x in theirs], b.name)]
    if engines:
        alike = {key for key, fact in OF_REPEATS.items() if _all(ours, fact) == _all(theirs, fact)}
        unfair = [line for line in unfair if line.key not in {"verdict", "interrupted", *alike}]
        unfair += _doubts(ours, a.name) + _doubts(theirs, b.name)
    elif len(ours) != len(theirs):
        many, side = (ours, a) if len(ours) > 1 else (theirs, b)
        typical = one if len(ours) > 1 else other
        unfair.append(
            fairness.Unfair(
                "one_of_repeats",
                f"{side.name} has {len(many)} runs and the other side one: {typical.name} stands for them, of median"
                " request latency",
            )
        )
    return unfair


def _all(runs: Sequence[Subject], fact: str) -> set[str]:
    return {str(one.facts[fact]) for one in runs}


def _of_rounds(a: Side, b: Side, ours: Sequence[Subject], theirs: Sequence[Subject]) -> list[fairness.Unfair]:
    """What the two sides of an A/B do not share: both blocks of a round had the same seed, so all of it counts."""
    found = fairness.lines(_mean_facts(ours), _mean_facts(theirs), (a.name, b.name))
    own = [line for line in found if line.key not in ("verdict", "interrupted")]
    left_out = str(a.document.get("rounds_left_out") or "")
    own += [fairness.Unfair("rounds", left_out)] if left_out else []
    return [*own, *_doubts(ours, a.name), *_doubts(theirs, b.name)]


def _mean_facts(rounds: Sequence[Subject]) -> dict[str, Any]:
    """The facts of the first round with the lengths of all: those of one block differ by chance."""
    facts = dict(rounds[0].facts)
    for key in ("isl", "osl"):
        known = [one.facts[key] for one in rounds if one.facts[key]]
        if known:
            facts[key] = {stat: sum(one[stat] for one in known) / len(known) for stat in known[0]}
    return facts


def _typical(runs: Sequence[Subject]) -> Subject:
    """Of repeats the one whose median request latency is the middle one."""
    ordered = sorted(runs, key=lambda one: one.stats.get("request_latency", {}).get("p50", 0.0))
    return ordered[(len(ordered) - 1) // 2]


def _doubts(runs: Sequence[Subject], name: str) -> list[fairness.Unfair]:
    """The repeats of a side that are not VALID, in one line."""
    bad = [one for one in runs if one.verdict != "VALID"]
    if not bad:
        return []
    kinds = " or ".join(sorted({one.verdict for one in bad}))
    text = f"{len(bad)} of {len(runs)} runs of {name} are {kinds}, like {bad[0].name}{_why(bad[0])}"
    return [fairness.Unfair("verdict", text)]


def _figures(a: Subject, b: Subject) -> Iterator[contrast.Row]:
    """Rows of what both say, where one has figures only: a ratio, and nothing tested."""
    known = by_key()
    for key, ours in a.stats.items():
        row = known.get(key)
        if row is not None and not row.better:
            continue
        label, unit, better = (row.label, row.unit, row.better) if row is not None else (key, "", "")
        for stat in (name for name in STATS if name in ours and name in b.stats.get(key, {})):
            one, other = float(ours[stat]), float(b.stats[key][stat])
            ratio = other / one if one > 0 and other > 0 and (unit or row is None) else None
            said = label if stat == "value" else f"{label} {stat}"
            yield contrast.Row(
                key, stat, said, unit, better, one, other, ratio, None, None, None, NOT_COMPARABLE, FIGURES_ONLY, ""
            )


# -- sides in words ----------------------------------------------------------------------------------------------------


def _subject(side: Side, price: float | None) -> dict[str, Any]:
    """A side as the document has it."""
    document = side.document
    runs = () if side.kind == CAPACITY else side.subjects
    target = document.get("config", {}).get("target", {})
    said = dict.fromkeys(loads.sentence(one.facts["load"]) for one in runs)
    if side.kind == CAPACITY:
        load = f"searched over the {document['by']}".replace("_", " ")
    elif len(said) > 1:
        load = _loads(side)
    else:
        load = next(iter(said), "")
    return {
        "name": side.name,
        "kind": side.kind,
        "sources": list(side.sources),
        "runs": len(runs),
        "requests": sum(one.facts["requests"] for one in runs),
        "verdicts": [one.verdict for one in runs],
        "model": next((one.facts["model"] for one in side.subjects if one.facts["model"]), target.get("model") or ""),
        "load": load,
        "simulated": any(one.facts["simulated"] for one in runs) or bool(document.get("simulated")),
        "price": price,
    }


def _value(base: Side, others: Sequence[Side], prices: Mapping[str, float]) -> list[dict[str, Any]]:
    """Throughput per dollar of the sides with a price, relative to the first of them; at the highest throughput."""
    found: list[dict[str, Any]] = []
    for side in (base, *others):
        if side.name not in prices:
            continue
        per_hour = {key: _highest(side, key) for key in (TOKENS, REQUESTS)}
        row: dict[str, Any] = {"name": side.name, "price": prices[side.name]}
        for key, what in ((TOKENS, "output_tokens_per_dollar"), (REQUESTS, "requests_per_dollar")):
            rate = per_hour[key]
            row[what] = None if rate is None else rate * 3600 / prices[side.name]
        tokens = row["output_tokens_per_dollar"]
        row["dollars_per_million_output_tokens"] = 1e6 / tokens if tokens else None
        found.append(row)
    key = "output_tokens_per_dollar"
    if any(not row[key] for row in found):
        key = "requests_per_dollar"
    for row in found:
        row["relative"] = row[key] / found[0][key] if row[key] and found[0][key] else None
    return found


def _highest(side: Side, key: str) -> float | None:
    """The throughput of a side: the mean of its repeats, of a sweep at the load where it is highest."""
    means = []
    for level in side.levels.values():
        known = [one.stats[key]["value"] for one in level if key in one.stats]
        if known:
            means.append(sum(known) / len(known))
    return max(means) if means else None
