"""The whole table: every metric with every statistic, its intervals and counts, and the definition of each."""

from collections.abc import Sequence

from genbench.block import FEW_MARK, number
from genbench.metrics.definitions import METRICS, RUN_METRICS, MetricDef, RunDef, by_key
from genbench.metrics.summary import Run
from genbench.report.markup import Html, e, join, row, table
from genbench.report.top import bounds
from genbench.stats import STATISTICS, samples_needed
from genbench.types import Distribution, Summary

ORDER = ("mean", "std", "min", *(name for name in STATISTICS if name.startswith("p")), "max")
BETTER = {"low": "lower is better", "high": "higher is better", "": ""}


def tables(run: Run, prefix: str) -> Html:
    """Distributions and figures of the run; `prefix` keeps the names of several runs apart."""
    summary = run.summary
    found = [_distributions(summary, prefix), _figures(summary)]
    if not any(found):
        found = [e("p", "The run has no numbers: the log has no request that was sent.", class_="nothing")]
    return e("section", e("h2", "All numbers"), found, id=f"{prefix}numbers")


def _distributions(summary: Summary, prefix: str) -> Html | None:
    if not summary.metrics:
        return None
    shown = [row_.key for row_ in METRICS if row_.key in summary.metrics]
    rows = [_metric(key, summary.metrics[key]) for key in shown]
    box = f"{prefix}intervals"
    few = any(found.few for found in summary.metrics.values())
    marked = f" {FEW_MARK} marks a percentile with too few requests behind it: {_needed()}." if few else ""
    how = sorted({method for key in shown for method in summary.metrics[key].ci_method.values()})
    return join(
        (
            e("input", type="checkbox", id=box, class_="intervals"),
            e("label", "Show 95 % intervals", for_=box),
            table("Metrics of requests", ("", "count", *ORDER), rows, class_="wide"),
            e("p", f"Intervals: two-sided, 95 %, by {' or '.join(how)}." if how else "", marked, class_="note"),
        )
    )


def _needed() -> str:
    wants = (("p90", 90.0), ("p95", 95.0), ("p99", 99.0), ("p99.9", 99.9))
    return ", ".join(f"{name} wants {samples_needed(percent):,}" for name, percent in wants)


def _metric(key: str, found: Distribution) -> Html:
    cells = [_cell(found, name) for name in ORDER]
    return row(_name(key, found.unit), f"{found.count:,}", *cells)


def _name(key: str, unit: str) -> Html:
    return join((e("a", by_key()[key].label, href=f"#def-{key}"), e("span", f" {unit}", class_="unit")))


def _cell(found: Distribution, name: str) -> Html:
    value = found.stats.get(name)
    few = FEW_MARK if name in found.few and found.stats["max"] > found.stats["min"] else ""
    interval = bounds(found.ci95.get(name), found.unit)
    return join((number(value, found.unit), few, e("span", interval, class_="ci") if interval else None))


def _figures(summary: Summary) -> Html | None:
    if not summary.run:
        return None
    rows = [
        e(
            "tr",
            e("th", _name(key, figure.unit), scope="row"),
            e("td", number(figure.value, figure.unit), class_="n"),
            e("td", bounds(figure.ci95, figure.unit), class_="n"),
            e("td", by_key()[key].formula, class_="note"),
        )
        for key, figure in summary.run.items()
    ]
    head = ("Figure of the run", "Value", "95 % interval", "Formula")
    return table("Figures of the run", head, rows, class_="run")


def definitions(runs: Sequence[Run]) -> Html | None:
    """Formula, population and unit of every metric that the page shows."""
    shown = {key for run in runs for key in (*run.summary.metrics, *run.summary.run)}
    if not shown:
        return None
    rows = [_definition(one, one.eligible) for one in METRICS if one.key in shown]
    rows += [_definition(one, "the measured phase") for one in RUN_METRICS if one.key in shown]
    head = ("Metric", "Unit", "Formula", "Who is in it", "")
    said = (
        "A value that a request does not have is absent, never 0. Times are those of one monotonic clock; warm-up "
        "requests are in no number. The latencies on top are p95 where requests are streamed: nineteen of twenty were "
        "at least that quick, and a run of 100 requests is enough to know it."
    )
    return e(
        "section",
        e("h2", "Definitions"),
        e("p", said, class_="prose"),
        table("Definitions of the metrics on this page", head, rows, class_="definitions"),
        id="definitions",
    )


def _definition(one: MetricDef | RunDef, who: str) -> Html:
    return e(
        "tr",
        e("th", one.label, e("code", one.key), scope="row"),
        e("td", one.unit),
        e("td", one.formula),
        e("td", who),
        e("td", BETTER[one.better]),
        id=f"def-{one.key}",
    )
