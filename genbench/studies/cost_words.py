"""What `genbench cost` says: the answer, a table in plain ASCII, and the arithmetic of one row, line by line."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from genbench.block import number
from genbench.metrics.levels import TOKENS

__all__ = ["TOKENS", "money", "screen", "sentences"]

WIDTH = 100
OF_LOADS = ("sweep", "capacity")  # a row of these is one load of many
MARKS = "slo: a promise is missed; sat: in flight grew without bound"


def money(value: float | None) -> str:
    """Dollars: to the cent from 10 on, to a hundredth of a cent below; smaller than a cent four digits."""
    if value is None:
        return "-"
    return f"{value:,.2f}" if value >= 10 else f"{value:.4f}" if value >= 0.01 else f"{value:.4g}"


def sentences(document: Mapping[str, Any]) -> list[str]:
    """The answer first, then what has to be known of it."""
    rows, cheapest = document["rows"], document["cheapest"]
    said = list(_answer(rows, cheapest))
    said += [text for row in rows for text in _of_search(row)]
    if document["simulated"]:
        said.append("SIMULATED: the embedded engine has no price; this shows the arithmetic")
    doubtful = list(dict.fromkeys(row["name"] for row in rows if row["verdict"] == "INVALID"))
    if doubtful:
        said.append(f"INVALID, so its figures do not count: {', '.join(doubtful)}; see its report")
    return said


def _answer(rows: Sequence[Mapping[str, Any]], cheapest: Mapping[str, int | None]) -> Iterator[str]:
    best, keeping = (None if k is None else rows[k] for k in (cheapest["of_all"], cheapest["keeping"]))
    if len(rows) == 1:
        yield _one(rows[0])
        return
    if best is None:
        yield "no row has a cost that would last: each is saturated, INVALID, or has no output tokens"
        return
    if keeping is not None:
        yield f"cheapest that keeps every promise: {_where(keeping)}, {_dollars(keeping)}{_latency(keeping)}"
        if keeping is not best:
            yield f"cheapest of all: {_where(best)}, {_dollars(best)}{_latency(best)}"
        return
    none = " (none keeps every promise)" if any(row["kept"] is False for row in rows) else ""
    most = max((row for row in rows if row["usd_per_1m_output"]), key=lambda row: row["usd_per_1m_output"])
    yield f"cheapest: {_where(best)}, {_dollars(best)}{_latency(best)}{none}"
    if most is not best:
        times = most["usd_per_1m_output"] / best["usd_per_1m_output"]
        yield f"dearest: {_where(most)}, ${money(most['usd_per_1m_output'])}, {times:.3g} times as much"


def _one(row: Mapping[str, Any]) -> str:
    if row["usd_per_1m_output"] is None:
        return f"${money(row['split']['usd_per_1m_input'])} per million input tokens; there is no output"
    ends = row["usd_per_1m_output_ci95"]
    interval = f" (95 % CI {money(ends[0])}-{money(ends[1])})" if ends else ""
    at = f" at {row['load']}" if row["kind"] in OF_LOADS else ""
    return (
        f"{_dollars(row)}{at}{interval}, {number(row['minutes_per_1m'])} minutes for them,"
        f" {row['tokens_per_usd']:,.0f} tokens for a dollar"
    )


def _of_search(row: Mapping[str, Any]) -> Iterator[str]:
    """What has to be known of the answer of a capacity search: where its throughput is from, and how sure it is."""
    if row["probe"]:
        how = f", times {row['scaled']:.4g}" if row["scaled"] != 1 else ""
        yield f"{row['name']}: the throughput at {row['load']} is that of the nearest probe, at {row['probe']}{how}"
    if row["doubt"]:
        said, below = f"{row['name']}: {row['doubt']}", row["below"]
        if below:
            said += f"; at the lower end of its interval, {below['load']}: ${money(below['usd_per_1m_output'])}"
        yield said


def _where(row: Mapping[str, Any]) -> str:
    words = [row["name"] if not row["series"] else row["series"], row["load"] if row["kind"] in OF_LOADS else ""]
    return " at ".join(word for word in words if word)


def _dollars(row: Mapping[str, Any]) -> str:
    return f"${money(row['usd_per_1m_output'])} per million output tokens"


def _latency(row: Mapping[str, Any]) -> str:
    found = row["latency_ms"].get("ttft.p95")
    return f", TTFT p95 {number(found, 'ms')} ms" if found is not None else ""


# -- the screen --------------------------------------------------------------------------------------------------------


def screen(document: Mapping[str, Any]) -> str:
    """The answer, a table where there are several rows, the arithmetic of the row that answers, what is doubtful."""
    rows = document["rows"]
    lines = list(document["sentences"])
    doubted: dict[str, list[str]] = {}
    for one in document["doubts"]:
        doubted.setdefault(one["text"], []).append(one["name"])
    lines += [f"check: {', '.join(names)}: {text}" for text, names in doubted.items()]
    lines = [line for text in lines for line in textwrap.wrap(text, WIDTH, subsequent_indent="  ")]
    if len(rows) > 1:
        swept = any(row["kind"] == "sweep" for row in rows)
        lines += ["", *(_loads(rows) if swept else _table(rows))]
    chosen = next((k for k in (document["cheapest"]["keeping"], document["cheapest"]["of_all"]) if k is not None), 0)
    lines += ["", *_arithmetic(rows[chosen], document["ratio"], several=len(rows) > 1)]
    text = "\n".join(line.rstrip() for line in lines) + "\n"
    return text.encode("ascii", "replace").decode("ascii")


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    head = ("", "GPUs", "$/h", "token/s", "$/1M out", "min/1M", "token/$", "$/GPU-h", "token/s/GPU", "token/$ x")
    cells = [
        (
            row["name"], "-" if row["gpus"] is None else str(row["gpus"]), money(row["price_per_hour"]),
            number(row["output_tps"]), money(row["usd_per_1m_output"]), _two(row["minutes_per_1m"]),
            _whole(row["tokens_per_usd"]), money(row["usd_per_gpu_hour"]), number(row["output_tps_per_gpu"]),
            "-" if row["ratio_per_usd"] is None else f"{row['ratio_per_usd']:.4f}",
        )
        for row in rows
    ]  # fmt: skip
    lines = [head, *cells]
    if any(row["kind"] in OF_LOADS for row in rows):
        at = ("load", *(row["load"] if row["kind"] in OF_LOADS else "-" for row in rows))
        return _aligned([(line[0], load, *line[1:]) for load, line in zip(at, lines, strict=True)])
    return _aligned(lines)


def _loads(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A line for each load: what it costs, how long it takes."""
    head = ["", "load", "token/s", "$/1M out", "95 % CI", "TTFT p95", "TPOT p95", "latency p95", ""]
    cells: list[list[str]] = []
    for row in rows:
        ends, ms = row["usd_per_1m_output_ci95"], row["latency_ms"]
        marks = [word for word in (row["verdict"],) if word not in ("", "VALID")]
        marks += ["slo"] * (row["kept"] is False) + ["sat"] * bool(row["saturated"])
        cells.append([
            row["series"] or row["name"], row["load"], number(row["output_tps"]), money(row["usd_per_1m_output"]),
            f"{money(ends[0])}-{money(ends[1])}" if ends else "-",
            *(number(ms.get(key), "ms") for key in ("ttft.p95", "tpot.p95", "request_latency.p95")), " ".join(marks),
        ])  # fmt: skip
    if len({cell[0] for cell in cells}) == 1:
        head, cells = head[1:], [cell[1:] for cell in cells]
    lines = _aligned([head, *cells], last_left=True)
    marked = any(row["kept"] is False or row["saturated"] for row in rows)
    return [*lines, *([MARKS] if marked else [])]


def _arithmetic(row: Mapping[str, Any], ratio: float, *, several: bool) -> Iterator[str]:
    """How the figures of a row come about."""
    price, tps, gpus = row["price_per_hour"], row["output_tps"], row["gpus"]
    if several:
        yield f"{_where(row)}:"
    steps = [("price", f"{price:g} $/h", row["price_from"])]
    if tps:
        hourly = tps * 3600
        if row["scaled"] != 1:
            how = f"{tps / row['scaled']:,.6g} at {row['probe']} x {row['scaled']:.4g}"
            steps.append(("token/s", how, f"{tps:,.6g}"))
        steps += [
            ("token/h", f"{tps:,.6g} token/s x 3600 s", f"{hourly:,.0f}"),
            ("$/1M output", f"{price:g} / {hourly:,.0f} x 1,000,000", money(row["usd_per_1m_output"])),
            ("min/1M output", f"1,000,000 / ({tps:,.6g} x 60)", _two(row["minutes_per_1m"])),
            ("token/$", f"{hourly:,.0f} / {price:g}", _whole(row["tokens_per_usd"])),
        ]
    if gpus:
        kind = f" ({row['gpu']})" if row["gpu"] else ""
        steps.append(("$/GPU-hour", f"{price:g} / {gpus}{kind}", money(row["usd_per_gpu_hour"])))
    if row["usd_per_1k_requests"]:
        steps.append(("$/1,000 requests", "price / (req/s x 3600) x 1,000", money(row["usd_per_1k_requests"])))
    if row["split"]:
        yield from _steps(steps)
        yield from _shares(row, ratio)
        return
    yield from _steps(steps)


def _shares(row: Mapping[str, Any], ratio: float) -> Iterator[str]:
    """The same price shared between input and output."""
    split, price, into = row["split"], row["price_per_hour"], row["input_tps"]
    if not row["output_tps"]:
        yield f"all of it is input: {price:g} / ({into:,.6g} x 3600) x 1,000,000 = {money(split['usd_per_1m_input'])}"
        return
    yield f"shared, an output token counting as {ratio:g} input tokens (--ratio):"
    base = f"{price:g} / 3600 / ({into:,.6g} / {ratio:g} + {row['output_tps']:,.6g}) x 1,000,000"
    yield from _steps([
        ("$/1M output", base, money(split["usd_per_1m_output"])),
        ("$/1M input", f"that / {ratio:g}", money(split["usd_per_1m_input"])),
    ])  # fmt: skip


def _steps(steps: Sequence[tuple[str, str, str]]) -> Iterator[str]:
    wide = [max(len(step[k]) for step in steps) for k in (0, 1)]
    for name, how, result in steps:
        if name == "price":  # who says so may be long
            yield from textwrap.wrap(f"{name}: {how}, {result}", WIDTH, initial_indent="  ", subsequent_indent="    ")
        else:
            yield f"  {name:<{wide[0]}}  {how:<{wide[1]}} = {result}"


def _aligned(rows: Sequence[Sequence[str]], *, last_left: bool = False) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    left = {0, len(widths) - 1} if last_left else {0}
    put = [str.ljust if i in left else str.rjust for i in range(len(widths))]
    return ["  ".join(place(cell, w) for place, cell, w in zip(put, row, widths, strict=True)) for row in rows]


def _two(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"


def _whole(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"
