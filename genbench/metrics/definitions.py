"""The table of metrics: one row each, with its unit, its formula and who is eligible. See docs/metrics.md.

Rules
- Latency and throughput look at `ok` requests of the measured phase; what tells about the client (`connect`, `upload`,
  `cap_wait`, `client_lag`) at every measured request that was sent.
- A value that a request does not have is absent: it is not in `Values`, and never 0.
- Everything is computed on whole columns; 1e5 requests with 128 events each take seconds.
- With several choices a request's events are taken in the order they came, whatever their choice.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from genbench.records import Bools, Ints, RecordTable
from genbench.stats import Floats
from genbench.types import MISSING, EventKind

NS_PER_MS = 1e6


@dataclass(frozen=True, slots=True)
class Values:
    """The values of one metric.

    `values` float64[k] in the metric's unit; `rows` int64[k], the table row each comes from (ascending); `weights`
    float64[k] where a value counts more than once, else None.
    """

    values: Floats
    rows: Ints
    weights: Floats | None = None


@dataclass(frozen=True, slots=True)
class MetricDef:
    """One per-request metric, or one pooled over requests (`pooled`: several values per request)."""

    key: str
    label: str
    unit: str
    formula: str
    eligible: str
    better: Literal["low", "high", ""]
    of: Callable[[RecordTable], Values]
    pooled: bool = False


@dataclass(frozen=True, slots=True)
class RunDef:
    """One figure of the whole run; computed in `summary` and `steady`."""

    key: str
    label: str
    unit: str
    formula: str
    better: Literal["low", "high", ""] = ""


def isl(table: RecordTable) -> Ints:
    """Input tokens of each row: usage, else tokenizer, else -1."""
    return np.where(table.isl_usage >= 0, table.isl_usage, table.isl_tokenizer)


def osl(table: RecordTable) -> Ints:
    """Output tokens of each row: usage, else tokenizer, else -1. A response of embeddings has none."""
    found = np.where(table.osl_usage >= 0, table.osl_usage, table.osl_tokenizer)
    return np.where(table.embeddings > 0, MISSING, found)


def osl_streamed(table: RecordTable) -> Ints:
    """Output tokens that were in the stream: osl less the reasoning tokens of a row without a reasoning event."""
    length = osl(table)
    content = table.content
    reasoned = np.zeros(len(table), dtype=np.bool_)
    reasoned[content.row[table.event_kind[content.position] == EventKind.REASONING]] = True
    hidden = (length >= 0) & (table.reasoning_tokens > 0) & ~reasoned
    return np.where(hidden, np.maximum(length - table.reasoning_tokens, 0), length)


def connect_ns(table: RecordTable) -> Ints:
    """Time each row spent on opening its connection before it was first sent; 0 where it did not open one.

    A connection opened for the retry is later than `sent_ns` and not part of the way to it.
    """
    opened = np.maximum(table.tcp_end_ns, table.tls_end_ns)
    counts = (table.tcp_end_ns >= 0) & (opened <= table.sent_ns)
    return np.where(counts, opened - table.start_ns, 0)


def _event_at(table: RecordTable, place: Ints) -> Ints:
    """Stamp of each row's content event number `place` (0 is the first); -1 where the row has fewer."""
    content = table.content
    has = (place >= 0) & (place < content.count)
    stamps = np.full(len(table), MISSING, dtype=np.int64)
    stamps[has] = table.event_ns[content.position[(content.start[:-1] + place)[has]]]
    return stamps


def _first(table: RecordTable) -> Ints:
    return _event_at(table, np.zeros(len(table), dtype=np.int64))


def _last(table: RecordTable) -> Ints:
    return _event_at(table, table.content.count - 1)


def _response_end(table: RecordTable) -> Ints:
    """Last content event of a stream; the end of the body otherwise."""
    return np.where(table.streamed, _last(table), table.end_ns)


def _span(later: Ints, earlier: Ints, among: Bools) -> Values:
    """later - earlier in ms for the rows of `among` that have both."""
    rows = np.flatnonzero(among & (later >= 0) & (earlier >= 0))
    return Values((later[rows] - earlier[rows]) / NS_PER_MS, rows)


def _sent(table: RecordTable) -> Bools:
    return table.measured & (table.sent_ns >= 0)


def _ttft(table: RecordTable) -> Values:
    return _span(_first(table), table.sent_ns, table.ok & table.streamed)


def _ttfo(table: RecordTable) -> Values:
    content = table.content
    visible = table.event_kind[content.position] != EventKind.REASONING
    rows, at = np.unique(content.row[visible], return_index=True)
    stamps = np.full(len(table), MISSING, dtype=np.int64)
    stamps[rows] = table.event_ns[content.position[visible][at]]
    return _span(stamps, table.sent_ns, table.ok & table.streamed)


def _ttft_turn(later: bool) -> Callable[[RecordTable], Values]:
    def values(table: RecordTable) -> Values:
        among = table.ok & table.streamed & (table.session >= 0) & ((table.turn > 0) == later)
        return _span(_first(table), table.sent_ns, among)

    return values


def _ttst(table: RecordTable) -> Values:
    second = _event_at(table, np.ones(len(table), dtype=np.int64))
    return _span(second, _first(table), table.ok & table.streamed)


def _request_latency(table: RecordTable) -> Values:
    return _span(_response_end(table), table.sent_ns, table.ok)


def _tpot(table: RecordTable) -> Values:
    length = osl_streamed(table)
    among = table.ok & table.streamed & (table.choices == 1) & (length >= 2) & (table.content.count >= 2)
    span = _span(_last(table), _first(table), among)
    return Values(span.values / (length[span.rows] - 1), span.rows)


def _output_tps_per_user(table: RecordTable) -> Values:
    tpot = _tpot(table)
    finite = tpot.values > 0
    return Values(1000 / tpot.values[finite], tpot.rows[finite])


def _ntpot(table: RecordTable) -> Values:
    length = osl(table)
    latency = _span(_response_end(table), table.sent_ns, table.ok & (length >= 1))
    return Values(latency.values / length[latency.rows], latency.rows)


def _prefill_tps(table: RecordTable) -> Values:
    ttft, length = _ttft(table), isl(table)
    has = (length[ttft.rows] >= 0) & (ttft.values > 0)
    return Values(1000 * length[ttft.rows[has]] / ttft.values[has], ttft.rows[has])


def _gaps(table: RecordTable, among: Bools) -> tuple[Values, Ints]:
    """Gaps between consecutive content events of one row, and the place of each gap's later event."""
    content = table.content
    later = np.flatnonzero((content.row[1:] == content.row[:-1]) & among[content.row[1:]]) + 1
    stamps = table.event_ns[content.position]
    return Values((stamps[later] - stamps[later - 1]) / NS_PER_MS, content.row[later]), content.position[later]


def _icl(table: RecordTable) -> Values:
    return _gaps(table, table.ok & table.streamed)[0]


def _itl(table: RecordTable) -> Values:
    gaps, later = _gaps(table, table.ok & table.streamed & (table.choices == 1))
    told = table.event_tokens[later]
    length, events = osl_streamed(table), table.content.count
    average = np.maximum(1.0, (length - 1) / np.maximum(events - 1, 1))
    k = np.where(told >= 0, np.maximum(told, 1), average[gaps.rows])
    unknown = np.zeros(len(table), dtype=np.bool_)
    unknown[gaps.rows[(told < 0) & (length[gaps.rows] < 0)]] = True
    kept = ~unknown[gaps.rows]
    return Values(gaps.values[kept] / k[kept], gaps.rows[kept], k[kept])


def tokens_per_event_source(table: RecordTable) -> str:
    """Where `k` of itl comes from: events, tokenizer, average, none, or several of them."""
    gaps, later = _gaps(table, table.ok & table.streamed & (table.choices == 1))
    told = table.event_tokens[later] >= 0
    amended = table.tokens_amended[gaps.rows]
    averaged = ~told & (osl_streamed(table)[gaps.rows] >= 0)
    found = {"events": told & ~amended, "tokenizer": told & amended, "average": averaged}
    return ", ".join(name for name, gap in found.items() if gap.any()) or "none"


def length_source(table: RecordTable, usage: Ints, tokenizer: Ints) -> str:
    """Where a length of the `ok` rows comes from: usage, tokenizer, both ("usage, tokenizer") or none."""
    found = {"usage": usage >= 0, "tokenizer": (usage < 0) & (tokenizer >= 0)}
    return ", ".join(name for name, has in found.items() if (has & table.ok).any()) or "none"


def _length(of: Callable[[RecordTable], Ints]) -> Callable[[RecordTable], Values]:
    def values(table: RecordTable) -> Values:
        length = of(table)
        rows = np.flatnonzero(table.ok & (length >= 0))
        return Values(length[rows].astype(np.float64), rows)

    return values


def _connect(table: RecordTable) -> Values:
    rows = np.flatnonzero(_sent(table) & (table.tcp_end_ns >= 0) & (table.tcp_end_ns <= table.sent_ns))
    return Values(connect_ns(table)[rows] / NS_PER_MS, rows)


def _client_lag(table: RecordTable) -> Values:
    return _span(table.sent_ns - connect_ns(table), table.ready_ns, _sent(table))


OK = "ok requests of the measured phase"
STREAMED = f"{OK} that were streamed"
OPENING, FOLLOWING = (f"{STREAMED}, of a conversation, {turn}" for turn in ("turn 0", "turn 1 or later"))
FIRST = "first content event - sent"
SENT = "every request of the measured phase that was sent"

METRICS: tuple[MetricDef, ...] = (
    MetricDef("ttft", "Time to first token", "ms", FIRST, STREAMED, "low", _ttft),
    MetricDef(
        "ttfo",
        "Time to first output token",
        "ms",
        "first content event that is not reasoning - sent",
        f"{STREAMED} and have such an event",
        "low",
        _ttfo,
    ),
    MetricDef("ttft_first_turn", "Time to first token, first turn", "ms", FIRST, OPENING, "low", _ttft_turn(False)),
    MetricDef("ttft_later_turns", "Time to first token, later turns", "ms", FIRST, FOLLOWING, "low", _ttft_turn(True)),
    MetricDef(
        "ttst",
        "Time to second token",
        "ms",
        "second content event - first content event",
        f"{STREAMED}, two content events",
        "low",
        _ttst,
    ),
    MetricDef(
        "request_latency",
        "Request latency",
        "ms",
        "last content event - sent; not streamed: end - sent",
        OK,
        "low",
        _request_latency,
    ),
    MetricDef(
        "tpot",
        "Time per output token",
        "ms",
        "(last - first content event) / (osl_streamed - 1)",
        f"{STREAMED}, one choice, at least two streamed tokens and two content events",
        "low",
        _tpot,
    ),
    MetricDef(
        "icl",
        "Inter-chunk latency",
        "ms",
        "gap between consecutive content events of a request, pooled over requests",
        f"{STREAMED}, two content events",
        "low",
        _icl,
        pooled=True,
    ),
    MetricDef(
        "itl",
        "Inter-token latency",
        "ms",
        "the same gap / k, counted k times; k = tokens that came with the gap's later event",
        f"{STREAMED}, one choice, two content events, k known or osl known",
        "low",
        _itl,
        pooled=True,
    ),
    MetricDef(
        "ntpot",
        "Normalised time per output token",
        "ms",
        "request_latency / osl",
        f"{OK} with osl of at least 1",
        "low",
        _ntpot,
    ),
    MetricDef(
        "output_tps_per_user",
        "Output speed per user",
        "token/s",
        "1000 / tpot",
        "as tpot, tpot above 0",
        "high",
        _output_tps_per_user,
    ),
    MetricDef("prefill_tps", "Prefill speed", "token/s", "isl / ttft", "as ttft, isl known", "high", _prefill_tps),
    MetricDef("isl", "Input length", "token", "usage, else tokenizer", f"{OK} with either", "", _length(isl)),
    MetricDef("osl", "Output length", "token", "usage, else tokenizer", f"{OK} with either", "", _length(osl)),
    MetricDef(
        "connect",
        "Connection",
        "ms",
        "last of tcp_end, tls_end - start",
        f"{SENT} over a connection it opened",
        "low",
        _connect,
    ),
    MetricDef(
        "upload",
        "Upload",
        "ms",
        "sent_end - sent",
        SENT,
        "low",
        lambda table: _span(table.sent_end_ns, table.sent_ns, _sent(table)),
    ),
    MetricDef(
        "cap_wait",
        "Wait for the cap",
        "ms",
        "ready - intended",
        SENT,
        "low",
        lambda table: _span(table.ready_ns, table.intended_ns, _sent(table)),
    ),
    MetricDef("client_lag", "Client lag", "ms", "sent - ready - connect", SENT, "low", _client_lag),
    MetricDef(
        "ttft_intended",
        "Time to first token from the intended moment",
        "ms",
        "first content event - intended",
        STREAMED,
        "low",
        lambda table: _span(_first(table), table.intended_ns, table.ok & table.streamed),
    ),
    MetricDef(
        "request_latency_intended",
        "Request latency from the intended moment",
        "ms",
        "last content event - intended; not streamed: end - intended",
        OK,
        "low",
        lambda table: _span(_response_end(table), table.intended_ns, table.ok),
    ),
)

RUN_METRICS: tuple[RunDef, ...] = (
    RunDef("duration", "Duration", "s", "last end - first sent"),
    RunDef("request_throughput", "Request throughput", "req/s", "ok requests / duration", "high"),
    RunDef("output_token_throughput", "Output throughput", "token/s", "sum of osl of ok requests / duration", "high"),
    RunDef("input_token_throughput", "Input throughput", "token/s", "sum of isl of ok requests / duration", "high"),
    RunDef("total_token_throughput", "Total throughput", "token/s", "output plus input token throughput", "high"),
    RunDef("embedding_throughput", "Embedding throughput", "input/s", "inputs of ok requests / duration", "high"),
    RunDef("cached_input_pct", "Cached input", "%", "sum of cached tokens / sum of isl, ok requests whose usage tells"),
    RunDef("requested_rate", "Requested rate", "req/s", "(n - 1) / (last - first intended)"),
    RunDef("delivered_rate", "Delivered rate", "req/s", "sends up to the last intended / (last - first intended)"),
    RunDef("concurrency_mean", "Concurrency, mean", "requests", "time-weighted number in flight"),
    RunDef("concurrency_max", "Concurrency, maximum", "requests", "largest number in flight"),
    RunDef("goodput", "Goodput", "req/s", "ok requests meeting every SLO / duration", "high"),
    RunDef("slo_attainment", "SLO attainment", "%", "requests meeting every SLO / requests due", "high"),
    RunDef("error_rate", "Error rate", "%", "failed / (ok + failed)", "low"),
    RunDef("little_pct", "Little's law", "%", "in-flight counter's mean against sum(end - sent) / duration"),
    RunDef("throughput_consistency_pct", "Throughput check", "%", "token throughput against req/s * mean osl"),
    RunDef("steady_duration", "Steady: window", "s", "all in flight (or first due) to last send (or last due)"),
    RunDef("steady_request_throughput", "Steady: requests", "req/s", "ok requests completed in it / window", "high"),
    RunDef("steady_output_token_throughput", "Steady: output", "token/s", "tokens that came in it / window", "high"),
    RunDef("steady_concurrency_mean", "Steady: concurrency", "requests", "time-weighted number in flight"),
)


def by_key() -> dict[str, MetricDef | RunDef]:
    """Every metric by its key."""
    rows: tuple[Any, ...] = (*METRICS, *RUN_METRICS)
    return {row.key: row for row in rows}
