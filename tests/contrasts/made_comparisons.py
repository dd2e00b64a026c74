"""Comparisons made by hand, as compare.json holds them."""

from collections.abc import Mapping, Sequence
from typing import Any

Effects = Mapping[str, float]

METRICS: tuple[tuple[str, str, str, str, str, float], ...] = (  # metric, stat, label, unit, better, the base's value
    ("ttft", "p50", "Time to first token p50", "ms", "low", 81.2),
    ("ttft", "p95", "Time to first token p95", "ms", "low", 140.0),
    ("ttft", "p99", "Time to first token p99", "ms", "low", 212.0),
    ("itl", "p50", "Inter-token latency p50", "ms", "low", 11.2),
    ("itl", "p99", "Inter-token latency p99", "ms", "low", 25.3),
    ("tpot", "p50", "Time per output token p50", "ms", "low", 11.6),
    ("request_latency", "p50", "Request latency p50", "ms", "low", 1512.0),
    ("request_latency", "p99", "Request latency p99", "ms", "low", 2410.0),
    ("output_token_throughput", "value", "Output throughput", "token/s", "high", 1742.0),
    ("request_throughput", "value", "Request throughput", "req/s", "high", 13.6),
)
USUAL: Effects = {"ttft": 0.91, "itl": 1.06, "tpot": 1.05, "request_latency": 1.01, "output_token_throughput": 0.955}
ALPHA, LEAST = 0.05, 0.02


def row(
    metric: str, stat: str, label: str, unit: str, better: str, a: float, ratio: float, width: float = 0.02
) -> dict[str, Any]:
    """A tested row: the interval is `width` on both sides of the ratio, p follows from it."""
    away = abs(ratio - 1) / width
    p = 0.0004 if away > 2 else 0.011 if away > 1.3 else 0.04 if away > 1 else 0.4
    holm = min(1.0, 5 * p)
    found = holm < ALPHA and abs(ratio - 1) >= LEAST
    good = (ratio > 1) is (better == "high")
    verdict = ("faster" if good else "slower") if found else "no difference seen"
    return {
        "metric": metric,
        "stat": stat,
        "label": label,
        "unit": unit,
        "better": better,
        "a": a,
        "b": a * ratio,
        "ratio": ratio,
        "ci95": [ratio - width, ratio + width],
        "p": p,
        "p_holm": holm,
        "verdict": verdict,
        "why": "" if found or holm >= ALPHA else f"the difference is below {100 * LEAST:g} %",
        "method": "block bootstrap over 25 blocks of time, paired",
    }


def errors(a: float = 0.0, b: float = 0.8) -> dict[str, Any]:
    """The row of the error rate: two shares in percent, no ratio."""
    return {
        "metric": "error_rate", "stat": "value", "label": "Error rate", "unit": "%", "better": "low", "a": a, "b": b,
        "ratio": None, "ci95": None, "p": 0.12, "p_holm": 0.6, "verdict": "no difference seen", "why": "",
        "method": "Fisher's exact test",
    }  # fmt: skip


def barred(made: Mapping[str, Any], why: str) -> dict[str, Any]:
    """The same row where it cannot be compared."""
    return dict(made) | dict.fromkeys(("ratio", "ci95", "p", "p_holm")) | {"verdict": "not comparable", "why": why}


def untested(made: Mapping[str, Any], why: str = "too few samples to test it") -> dict[str, Any]:
    """The same row where it has no verdict."""
    return dict(made) | {"p_holm": None, "verdict": "not tested", "why": why}


def rows(effects: Effects = USUAL, width: float = 0.02) -> list[dict[str, Any]]:
    """All metrics, with these ratios B / A (1.004 where none is named); tails have wider intervals."""
    made = []
    for metric in METRICS:
        wide = width * {"p95": 1.6, "p99": 2.6}.get(metric[1], 1.0)
        made.append(row(*metric, effects.get(metric[0], 1.004), wide))
    return [*made, errors()]


def comparison(
    a: str, b: str, effects: Effects = USUAL, *, load: float | None = None, by: str = "concurrency", **more: Any
) -> dict[str, Any]:
    """One pair."""
    asked = None if load is None else {"by": by, "value": load}
    return {"a": a, "b": b, "load": asked, "unfair": [], "rows": rows(effects), **more}


def unfair(text: str, key: str = "salt", *bars: str) -> dict[str, Any]:
    """A line of what is not the same."""
    return {"key": key, "text": text, "bars": list(bars)}


def subject(name: str, **more: Any) -> dict[str, Any]:
    """What was compared."""
    return {
        "name": name,
        "kind": "run",
        "sources": [f"runs/{name}"],
        "runs": 1,
        "verdicts": ["VALID"],
        "model": "llama-3.1-8b",
        "load": "16 at a time",
        "simulated": False,
        "price": None,
    } | more


def document(comparisons: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    """compare.json of some pairs."""
    names = list(dict.fromkeys(name for one in comparisons for name in (one["a"], one["b"])))
    command = f"genbench compare {' '.join(f'runs/{name}' for name in names)}"
    return {
        "schema": 1,
        "kind": "compare",
        "genbench": "0.1.0",
        "command": command,
        "min_effect": LEAST,
        "base": names[0] if names else "",
        "subjects": [subject(name) for name in names],
        "says": "runs",
        "comparisons": list(comparisons),
        "capacities": [],
        "value": [],
        "gates": [],
        "sentences": [f"{name} has a TTFT p50 that is 9.0 % shorter than that of {names[0]}." for name in names[1:]],
    } | more


def priced(names: Sequence[str], relative: Sequence[float]) -> list[dict[str, Any]]:
    """Throughput per dollar."""
    return [
        {"name": name, "output_tokens_per_dollar": 2.1e6 * one, "requests_per_dollar": 9_000 * one, "relative": one}
        for name, one in zip(names, relative, strict=True)
    ]


def gate(rule: str = "ttft.p99 worse 5%", *, passed: bool) -> dict[str, Any]:
    """A rule of --fail-if, held or broken."""
    seen = -8.9 if passed else 7.2
    return {
        "rule": rule, "metric": "ttft", "stat": "p99", "observed_pct": seen, "ci95_pct": [seen - 2, seen + 2],
        "passed": passed, "text": f"TTFT p99 is {abs(seen)} % {'shorter' if passed else 'longer'}",
    }  # fmt: skip


def capacity(a: str, b: str) -> dict[str, Any]:
    """Capacity against capacity."""
    return {
        "a": a, "b": b, "what": "capacity (req/s) with ttft.p95<400ms", "a_value": 8.2, "a_ci95": [7.9, 8.5],
        "b_value": 9.1, "b_ci95": [8.7, 9.4], "ratio": 1.11, "ci95": [1.05, 1.17], "p": 0.003,
        "verdict": "higher", "why": "",
    }  # fmt: skip


def scaled(by: float) -> Effects:
    """The usual effects, so many times as large."""
    return {key: 1 + (one - 1) * by for key, one in USUAL.items()}


LONG = "vllm-0.11.0-h200-tp4-chunked-prefill-8192-fp8-kv-cache"


def by_load(loads: Sequence[float] = (1, 4, 8, 16, 32, 64), names: Sequence[str] = ("a", "b")) -> dict[str, Any]:
    """Sweeps against the first at each load: the more in flight, the larger the difference."""
    made = []
    for at, name in enumerate(names[1:]):
        for step, load in enumerate(loads):
            push = (1 + 0.012 * step * (step - 1)) * (1 + 0.03 * at)
            effects = {"ttft": push, "itl": 1.03, "tpot": 1.025, "output_token_throughput": 1 / push}
            made.append(comparison(names[0], name, effects, load=load))
    return document(made, subjects=[subject(name, kind="sweep", load="concurrency 1 to 64") for name in names])


DOCUMENTS: dict[str, dict[str, Any]] = {
    "pair": document(
        [comparison("baseline", "candidate", unfair=[unfair("salt in front of prompts: new against none")])],
        value=priced(("baseline", "candidate"), (1.0, 1.18)),
        subjects=[subject("baseline", price=4.5), subject("candidate", price=3.9, verdicts=["SUSPECT"])],
        gates=[gate(passed=True), gate("itl.p50 worse 3%", passed=False)],
        capacities=[capacity("baseline", "candidate")],
    ),
    "three": document(
        [comparison("a", "b"), comparison("a", "c", {"ttft": 1.3, "itl": 0.9, "output_token_throughput": 1.1})],
        says="engines", value=priced("abc", (1, 0.8, 1.4)),
    ),
    "six": document(
        [comparison("a", name, scaled(i - 1.2)) for i, name in enumerate("bcdef")],
        value=priced("abcdef", (1, 0.8, 1.4, 1.1, 0.95, 2.1)),
    ),
    "long": document(
        [comparison(LONG, f"{LONG.replace('h200', 'b200')}-{i}") for i in (1, 2)],
        value=priced((LONG, f"{LONG}-1"), (1, 1.2)),
    ),
    "same": document([comparison("a", "b", dict.fromkeys(USUAL, 1.003))]),
    "barred": document(
        [
            comparison("a", "b")
            | {
                "rows": [barred(one, "different work was asked") for one in rows()],
                "unfair": [unfair("different requests were sent (dataset_sha256): 1a2b against 4d5e", "dataset", "*")],
            }
        ],
        sentences=["Nothing can be compared."],
    ),
    "loads": by_load(),
    "three sweeps": by_load(names=("a", "b", "c")),
    "empty": document([], sentences=[]),
}  # fmt: skip
