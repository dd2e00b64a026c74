"""What a capacity search says, in words, from the content of `capacity.json`."""

from collections.abc import Mapping, Sequence
from typing import Any

from genbench.metrics import slo
from genbench.metrics.definitions import by_key
from genbench.studies.point import REQUEST_RATE
from genbench.types import Slo

SHORT = {
    "ttft": "TTFT", "ttft_intended": "TTFT from intended", "tpot": "TPOT", "itl": "ITL", "icl": "ICL",
    "request_latency": "latency", "slo_attainment": "requests that keep all",
}  # fmt: skip
WORDS = {"kept": "kept", "missed": "missed", "close": "undecided"}


def sentences(document: Mapping[str, Any]) -> list[str]:
    """The answer first, then what to know of it."""
    return [first(document), *_more(document), *document["notes"]]


def first(document: Mapping[str, Any]) -> str:
    """The answer in one line."""
    promises = [slo.parse(text) for text in document["slo"]]
    promised = ", ".join(promise(one) for one in promises)
    answer, by = document["answer"], str(document["by"])
    if document["hopeless"]:
        return f"holds no load with {promised}: {document['hopeless']}"
    if answer is None or (answer["value"] is None and not document["probes"]):
        return "no answer: no probe came to its end"
    if answer["value"] is None:
        lowest = min(document["probes"], key=lambda entry: float(entry["value"]))
        return f"holds no load with {promised}: at {_number(lowest['value'])} {_evidence(lowest, promises)}"
    said = f"holds {'at least ' if answer['at_least'] else ''}{load(by, answer['value'])}"
    beside = _interval(answer) + ([] if answer["confirmed"] else ["not confirmed"])
    said += f" ({', '.join(beside)})" if beside else ""
    said += f" with {promised}"
    missed = [
        entry for entry in document["probes"] if entry["verdict"] == "missed" and entry["value"] > answer["value"]
    ]
    if missed:
        lowest = min(missed, key=lambda entry: float(entry["value"]))
        said += f"; at {_number(lowest['value'])} {_evidence(lowest, promises)}"
    return said


def _interval(answer: Mapping[str, Any]) -> list[str]:
    """The interval of an estimate; of a mere bracket its two ends, which are no confidence interval."""
    if answer["ci95"] is None or answer["ci95"][1] is None:
        return []
    low, high = (_number(end) for end in answer["ci95"])
    return [f"95 % CI {low}-{high}" if answer["fitted"] else f"{low} for sure, {high} is too much"]


def _more(document: Mapping[str, Any]) -> list[str]:
    answer = document["answer"]
    if document["hopeless"] or answer is None or answer["value"] is None:
        return []
    said = []
    last = document["probes"][-1]
    if answer["confirmed"] is False:
        said.append(
            f"the confirmation at {_number(last['value'])} did not keep the promise ({last['why'] or 'see its run'}): "
            "the answer was lowered to what all probes together say"
        )
    elif answer["confirmed"] is None:
        said.append("not confirmed by a run of its own")
    if answer["ci95"] is not None and answer["ci95"][1] is None:
        upto = "up to the highest allowed" if answer["highest_allowed"] else "before the search ended"
        said.append(f"no load was found that misses it, {upto}")
    elif answer["wide"]:
        said.append(
            f"the interval is wider than the {100 * document['precision']:g} % that were asked for; a longer --budget "
            "makes it narrower"
        )
    return said + _of_the_client(document)


def _of_the_client(document: Mapping[str, Any]) -> list[str]:
    """Where the client itself was late at a load that bounds the answer."""
    value, probes = document["answer"]["value"], document["probes"]
    above = min((one["value"] for one in probes if one["verdict"] == "missed" and one["value"] > value), default=None)
    late = [one for one in probes if one["client"] and (one["value"] == above or one["confirmation"])]
    if not late:
        return []
    last = late[-1]
    return [
        f"at {_number(last['value'])} genbench itself was late ({last['client'][0]}): the limit may be the client's; "
        "give it a core of its own (taskset)"
    ]


def load(by: str, value: float) -> str:
    """42.3 req/s, or concurrency 24."""
    return f"{_number(value)} req/s" if by == REQUEST_RATE else f"concurrency {value:g}"


def promise(one: Slo) -> str:
    """TTFT p95 < 500 ms."""
    row = by_key()[one.metric]
    name = SHORT.get(one.metric, row.label.lower())
    return f"{name}{' ' + one.stat if one.stat else ''} {one.op} {one.bound:g} {row.unit}"


def measured(one: Slo, entry: Mapping[str, Any]) -> str:
    """What a run has for a promise: TTFT p95 was 612 ms; the share that kept it, where its own figure would do."""
    row = by_key()[one.metric]
    name = f"{SHORT.get(one.metric, row.label.lower())}{' ' + one.stat if one.stat else ''}"
    held = next((rule for rule in entry["slo"] if rule["rule"] == one.text), None)
    if held is None or held["value"] is None:
        return f"there was no {name}"
    if held["passed"] and held.get("attainment_pct") is not None:
        return f"{name} was kept by {held['attainment_pct']:.4g} % of the requests"
    return f"{name} was {held['value']:.4g} {row.unit}"


def _evidence(entry: Mapping[str, Any], promises: Sequence[Slo]) -> str:
    """Why a load is too high."""
    if entry["saturated"]:
        return "the number in flight grew without bound"
    texts = {rule["rule"] for rule in entry["slo"] if not rule["passed"]}
    missed = [one for one in promises if one.text in texts] or list(promises)
    said = measured(missed[0], entry)
    _, was, rest = said.partition(" was ")
    return f"it was {rest}" if len(promises) == 1 and was else said


def _number(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def table(document: Mapping[str, Any]) -> list[str]:
    """One line for each probe."""
    head = f"{'load':>10}  {'verdict':<18}{'seconds':>8}{'requests':>10}  promise"
    lines = [head]
    for entry in document["probes"]:
        verdict = WORDS[entry["verdict"]] + (" *" if entry["confirmation"] else "")
        promises = "; ".join(measured(slo.parse(rule["rule"]), entry) for rule in entry["slo"])
        count = sum(entry["outcomes"].values())
        if entry["saturated"]:
            promises = f"in flight grew; {promises}"
        lines.append(f"{_number(entry['value']):>10}  {verdict:<18}{entry['seconds']:>8.0f}{count:>10,}  {promises}")
    return [*lines, "* confirmation"] if any(entry["confirmation"] for entry in document["probes"]) else lines
