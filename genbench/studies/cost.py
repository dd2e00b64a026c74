"""`genbench cost`: dollars per million tokens, of figures given or of runs; the document that screen and JSON show.

Rules
- A row is a load with its price. All of the price is put on the output tokens; the split between input and output by a
  stated ratio stands beside it.
- A throughput's interval gives the interval of what a token costs; the price has none.
- Where a price does not fit its instance or its number of GPUs, that is said, and nothing is corrected.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from genbench import __version__, costing
from genbench.costing import Cost
from genbench.errors import ConfigError, RecordError
from genbench.hardware import Catalogue
from genbench.studies import cost_words
from genbench.studies.cost_read import SWEEP, Paid, Row, Subject, Terms, check_names, paid

SCHEMA, KIND, NAME = 1, "cost", "cost.json"


def cost(
    subjects: Sequence[Subject], terms: Terms, catalogue: Catalogue, *, ratio: float, command: str
) -> dict[str, Any]:
    """The document of docs/cost.md. Raises ConfigError without a price, RecordError without a throughput."""
    check_names(terms, [one.name for one in subjects])
    bills = {one.name: paid(one.name, one.hardware, terms, catalogue) for one in subjects}
    rows = [_row(one, row, bills[one.name], ratio) for one in subjects for row in one.rows]
    _relative(rows)
    said = costing.doubts([bill.priced for bill in bills.values()], catalogue.listed())
    document = {
        "schema": SCHEMA,
        "kind": KIND,
        "genbench": __version__,
        "command": command,
        "ratio": ratio,
        "simulated": any(one.simulated for one in subjects),
        "rows": rows,
        "cheapest": _cheapest(rows),
        "doubts": [{"name": name, "text": text} for name, text in said],
        "sentences": [],
    }
    document["sentences"] = cost_words.sentences(document)
    return document


def _row(subject: Subject, row: Row, bill: Paid, ratio: float) -> dict[str, Any]:
    """One row of the document."""
    price, gpus = bill.priced.price_per_hour, bill.priced.gpus
    if not row.output_tps and not row.input_tps:
        raise RecordError(f"{subject.name} has no tokens per second ({_why(row)}); there is nothing to divide $ by")
    try:
        found: Cost | None = costing.cost(price, row.output_tps, gpus) if row.output_tps else None
        usd_in, usd_out = _split(price, row, ratio)
    except ValueError as error:
        raise ConfigError(f"{subject.name}: {error}") from error
    figures = asdict(found) if found else {"price_per_hour": price, "output_tps": None, "gpus": gpus}
    return {
        "name": row.name,
        "kind": subject.kind,
        "source": subject.source,
        "load": row.load,
        "series": row.series,
        "instance": bill.priced.instance,
        "gpu": bill.priced.gpu,
        "price_from": bill.source,
        **{name: figures.get(name) for name in Cost.__dataclass_fields__},
        "usd_per_gpu_hour": price / gpus if gpus else None,
        "usd_per_1m_output_ci95": _ends(price, row) if found else None,
        "input_tps": row.input_tps,
        "split": None if usd_in is None else {"usd_per_1m_input": usd_in, "usd_per_1m_output": usd_out},
        "usd_per_1k_requests": price / costing.HOUR_S / row.requests_ps * 1000 if row.requests_ps else None,
        "latency_ms": dict(row.latencies),
        "kept": row.kept,
        "verdict": row.verdict,
        "saturated": row.saturated,
        "probe": row.probe,
        "scaled": row.scaled,
        "doubt": row.doubt,
        "below": _below(row, figures),
    }


def _below(row: Row, figures: Mapping[str, Any]) -> dict[str, Any] | None:
    """What a million tokens cost where the answer of a search is the lower end of its interval."""
    usd = figures.get("usd_per_1m_output")
    return {"load": row.below[0], "usd_per_1m_output": usd / row.below[1]} if row.below and usd else None


def _why(row: Row) -> str:
    return "no request was ok" if row.requests_ps == 0 else "its answers were not counted in tokens"


def _split(price: float, row: Row, ratio: float) -> tuple[float | None, float | None]:
    """Dollars per million of input and of output tokens; neither where the input is not known."""
    if not row.input_tps:
        return None, None
    usd_in, usd_out = costing.split(price, row.input_tps, row.output_tps or 0.0, ratio if row.output_tps else 1.0)
    return usd_in, usd_out if row.output_tps else None


def _ends(price: float, row: Row) -> list[float] | None:
    """The interval of dollars per million output tokens: the upper end is that of the lowest throughput."""
    if row.ci95 is None or min(row.ci95) <= 0:
        return None
    low, high = row.ci95
    return [costing.cost(price, end).usd_per_1m_output for end in (high, low)]


def _relative(rows: Sequence[dict[str, Any]]) -> None:
    """Add to each row how it stands to the first: throughput, price, throughput for a dollar."""
    base = rows[0]
    for row in rows:
        known = row["output_tps"] and base["output_tps"]
        one = known and costing.value(*(costing.cost(x["price_per_hour"], x["output_tps"]) for x in (row, base)))
        names = ("ratio_throughput", "ratio_cost", "ratio_per_usd")
        values = (one.throughput, one.price, one.per_usd) if one else (None, None, None)
        row |= dict(zip(names, values, strict=True))


def _cheapest(rows: Sequence[Mapping[str, Any]]) -> dict[str, int | None]:
    """Indices of the row of least dollars per million output tokens, and of the least that keeps its promises.

    A load that was saturated, or a run that is INVALID, is neither: its figures do not last.
    """
    lasting = [
        (row["usd_per_1m_output"], k)
        for k, row in enumerate(rows)
        if row["usd_per_1m_output"] is not None and not row["saturated"] and row["verdict"] != "INVALID"
    ]
    kept = [(usd, k) for usd, k in lasting if rows[k]["kept"]]
    return {"of_all": min(lasting)[1] if lasting else None, "keeping": min(kept)[1] if kept else None}


def of_sweep(document: Mapping[str, Any]) -> bool:
    """Whether a row is a load of a sweep."""
    return any(row["kind"] == SWEEP for row in document["rows"])
