"""Is a run to be believed? Bounds on what the run itself shows, each with its number and the next step.

INVALID: do not use the figures. SUSPECT: read the finding first. VALID: no bound was passed. Pure, like `summary`: what
the header does not say is not judged. The bounds are in docs/metrics.md.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from genbench.metrics import steady
from genbench.metrics.definitions import Values
from genbench.records import RecordTable
from genbench.types import Distribution, Finding, Outcome, RunValue

VALID, SUSPECT, INVALID = "VALID", "SUSPECT", "INVALID"
DELIVERED_PCT = (99.0, 90.0)  # (suspect, invalid)
ERROR_PCT = (1.0, 10.0)
SHARED_PCT = (2.0, 20.0)
CANCELLED_PCT = 1.0
NO_OUTPUT_PCT = 1.0
LAG_SHARE = 0.10
LAG_FLOOR_MS = 0.5  # a step of a server's scheduler takes several ms
CPU_PCT = 85.0
LENGTH_PCT = 10.0
COUNTS_PCT = 2.0
SEVERAL_MESSAGES_PCT = 20.0
CACHED_PCT = 1.0
LITTLE_PCT = 1.0
LITTLE_MS = 1.0  # between the kernel's stamp of an answer's end and the loop that sees it; loop lag is judged apart
STEADY_PCT = 100 * steady.UNSTEADY
WAITS_PCT = 1.0  # what a machine with other work always shows
NO_SALT = "none"
OWN_CORE = "give the client a core of its own (taskset), or lower the load"


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a verdict is made from; `values` are the per-request metrics, `unsteady` why there are no steady figures."""

    table: RecordTable
    header: Mapping[str, Any]
    values: Mapping[str, Values]
    metrics: Mapping[str, Distribution]
    run: Mapping[str, RunValue]
    unsteady: steady.Unsteady | None = None

    def part(self, *path: str) -> Mapping[str, Any]:
        """A part of the header; empty where it is not there."""
        found: Any = self.header
        for key in path:
            found = found.get(key) if isinstance(found, Mapping) else None
        return found if isinstance(found, Mapping) else {}

    def stat(self, metric: str, name: str) -> float | None:
        """A statistic of a per-request metric; None where the run has none."""
        return self.metrics[metric].stats[name] if metric in self.metrics else None


def judge(evidence: Evidence) -> tuple[str, tuple[Finding, ...]]:
    """The verdict and its reasons, the gravest first."""
    found = [finding for check in CHECKS for finding in check(evidence)]
    found.sort(key=lambda finding: finding.level != INVALID)
    waited = _waited(evidence)
    once = [k for k, finding in enumerate(found) if waited and finding.text.endswith(waited)][1:]
    for k in once:  # said with the first finding it explains
        found[k] = replace(found[k], text=found[k].text.removesuffix(waited))
    return (found[0].level if found else VALID), tuple(found)


def _answers(on: Evidence) -> Iterator[Finding]:
    if not on.table.ok.any():
        none = "not one request was ok" if on.table.measured.any() else "no request was measured"
        yield Finding(INVALID, "ok", 0, 1, "requests", none, "look at the outcomes")
    rate = on.run.get("error_rate") if on.table.ok.any() else None
    level = _level(rate.value, *ERROR_PCT) if rate is not None else None
    if rate is not None and level is not None:
        bound = ERROR_PCT[level == INVALID]
        text = f"{rate.value:.3g} % of the requests failed: the figures are those of the survivors"
        yield Finding(level, "error_rate", rate.value, bound, "%", text, "look at the outcomes, lower the load")
    count = Counter(on.table.outcome[i] for i in np.flatnonzero(on.table.measured))
    share = 100 * count[Outcome.CANCELLED] / max(1, count.total())
    if share > CANCELLED_PCT:
        text = f"{share:.3g} % of the requests were cancelled at the end: long answers are missing"
        stopped = "the run was interrupted: let it come to its end"
        advice = stopped if on.header.get("interrupted") else "give them time with --grace, or run longer"
        yield _suspect("cancelled", share, CANCELLED_PCT, "%", text, advice)
    share = 100 * count[Outcome.NO_OUTPUT] / max(1, count.total())
    if share > NO_OUTPUT_PCT:
        text = f"{share:.3g} % of the answers had a finish_reason and no token: they are in no figure"
        yield _suspect("no_output", share, NO_OUTPUT_PCT, "%", text, "look at the prompts and at --osl")


def _rate(on: Evidence) -> Iterator[Finding]:
    """Was the asked load delivered? One send that is a little late at the end of a short run is no finding."""
    asked, delivered = on.run.get("requested_rate"), on.run.get("delivered_rate")
    if asked is None or delivered is None or asked.value <= 0:
        return
    share = 100 * delivered.value / asked.value
    due = int(on.part("health").get("due") or np.count_nonzero(on.table.measured & (on.table.turn == 0)))
    level = _level(-share, *(-bound for bound in DELIVERED_PCT))
    if level is None or (1 - share / 100) * (due - 1) < 1.5:
        return
    bound = DELIVERED_PCT[level == INVALID]
    capped = (on.stat("cap_wait", "mean") or 0) > (on.stat("client_lag", "mean") or 0)
    why = "the cap was reached" if capped else "the client was late"
    advice = "raise --concurrency or lower --request-rate" if capped else OWN_CORE
    text = f"{delivered.value:.4g} of {asked.value:.4g} req/s were delivered, {share:.3g} %: {why}"
    yield Finding(level, "delivered_rate", share, bound, "%", text, advice)


def _lateness(on: Evidence) -> Iterator[Finding]:
    """Send lag against what it could blur, loop lag against the gaps it is to measure, CPU against one core."""
    lag, asked = on.stat("client_lag", "p99"), on.run.get("requested_rate")
    latency = on.stat("ttft", "p50") or on.stat("request_latency", "p50") or 0.0
    if lag is not None and asked is not None and asked.value > 0:
        bound = max(LAG_SHARE * max(1000 / asked.value, latency), LAG_FLOOR_MS)
        if lag > bound:
            text = (
                f"client lag p99 {lag:.3g} ms is over a tenth of the gap between arrivals and of latency{_waited(on)}"
            )
            yield _suspect("client_lag", lag, bound, "ms", text, OWN_CORE)
    loop = on.part("health", "loop_lag_ns").get("p99")
    gap = on.stat("icl", "p50")
    if isinstance(loop, int | float) and gap is not None and loop / 1e6 > gap:
        text = f"loop lag p99 {loop / 1e6:.3g} ms is above the median inter-chunk latency{_waited(on)}"
        yield _suspect("loop_lag", loop / 1e6, gap, "ms", text, OWN_CORE)
    cpu = on.part("health").get("cpu_pct")
    if isinstance(cpu, int | float) and cpu > CPU_PCT:
        text = f"the client used {cpu:.3g} % of a core: it may be what limits"
        yield _suspect("cpu", cpu, CPU_PCT, "%", text, "lower the load, or split it over several clients")


def _waited(on: Evidence) -> str:
    """Where the system says it: how long the client stood in line for a core."""
    waited = on.part("health").get("cpu_wait_pct")
    waits = isinstance(waited, int | float) and waited > WAITS_PCT
    return f"; the client waited {waited:.3g} % of the time for a core" if waits else ""


def shared_reads_pct(table: RecordTable) -> float | None:
    """Content events of measured requests whose read held an earlier one of the same answer, in percent.

    Only a content event before it counts: the kernel's one stamp is the last segment's, so what a role event shares its
    read with is stamped right. None where nothing was streamed.
    """
    content = table.content
    among = table.measured[content.row] & table.streamed[content.row]
    if not among.any():
        return None
    stamps, shared = table.event_ns[content.position], table.event_shared[content.position]
    together = np.zeros(content.row.size, dtype=np.bool_)
    together[1:] = (content.row[1:] == content.row[:-1]) & (stamps[1:] == stamps[:-1]) & shared[1:]
    return 100 * float(together[among].mean())


def _shared(on: Evidence) -> Iterator[Finding]:
    share = shared_reads_pct(on.table)
    level = _level(share, *SHARED_PCT) if share is not None else None
    if share is None or level is None:
        return
    bound = SHARED_PCT[level == INVALID]
    loop, gap = on.part("health", "loop_lag_ns").get("p99"), on.stat("icl", "p50") or 0.0
    late = not isinstance(loop, int | float) or loop / 1e6 > LAG_SHARE * gap
    text = f"{share:.3g} % of the tokens shared a read with one before them: those gaps are not known{_waited(on)}"
    advice = OWN_CORE if late else "the client was in time, the server writes several at once: judge by tpot, not itl"
    yield Finding(level, "shared_reads", share, bound, "%", text, advice)


def _lengths(on: Evidence) -> Iterator[Finding]:
    table, wanted = on.table, on.part("config", "workload").get("osl")
    forced = on.part("preflight").get("ignore_eos") or "osl" in (on.header.get("named") or ())
    length = on.values["osl"]
    asked = table.osl_wanted[length.rows]
    if wanted is not None and forced and (asked > 0).any():
        off = 100 * float(np.median(length.values[asked > 0] / asked[asked > 0])) - 100
        if abs(off) > LENGTH_PCT:
            text = f"the median answer is {off:+.3g} % off the length asked for"
            advice = "it ends early, see --ignore-eos" if off < 0 else "the server ignores the limit, see --extra"
            yield _suspect("output_length", off, LENGTH_PCT, "%", text, advice)
    if on.header.get("simulated"):
        return  # its tokens are words: any tokenizer counts otherwise
    single = np.where(table.turn == 0, table.isl_usage - _template(on), -1)
    for name, usage, own, bound in (
        ("input", single, table.isl_tokenizer, SEVERAL_MESSAGES_PCT if _several_messages(on) else COUNTS_PCT),
        ("output", table.osl_usage, table.osl_tokenizer, COUNTS_PCT),
    ):
        both = table.ok & (usage > 0) & (own >= 0)
        off = 100 * float(np.median((own[both] - usage[both]) / usage[both])) if both.any() else 0.0
        if abs(off) > bound:
            text = f"{name} tokens: the tokenizer counts {off:+.1f} % against the server's usage"
            yield _suspect(f"{name}_tokens", off, bound, "%", text, "name the model's own --tokenizer")


def _several_messages(on: Evidence) -> bool:
    """Whether an input may have several messages, each with a template of its own that nothing here knows."""
    workload = on.part("config", "workload")
    chats = on.header.get("endpoint_type") not in ("completions", "embeddings")
    return bool(chats and (workload.get("system_prompt") or ":" in str(workload.get("dataset") or "")))


def _template(on: Evidence) -> int:
    """Tokens that the server's template adds to an input; 0 where that is not known."""
    found = on.part("preflight").get("template_tokens")
    return found if isinstance(found, int) else 0


def _cache(on: Evidence) -> Iterator[Finding]:
    """Prompts with a salt of their own have nothing to find in a prefix cache but what was asked to be shared.

    That is the template before them, a shared prefix, and the turns before in a conversation.
    """
    table, workload = on.table, on.part("config", "workload")
    known = table.ok & (table.cached_tokens >= 0) & (table.isl_usage > 0) & (table.turn == 0)
    if workload.get("salt") == NO_SALT or not known.any():
        return
    shared = workload.get("shared_prefix_tokens")
    expected = _template(on) + (shared if isinstance(shared, int) else 0)
    cached = np.maximum(table.cached_tokens[known] - expected, 0)
    share = 100 * float(cached.sum() / table.isl_usage[known].sum())
    if share > CACHED_PCT:
        text = f"{share:.3g} % of the input came from the server's prefix cache, which was not asked for"
        advice = "switch it off, or say --salt none when it is what you measure"
        yield _suspect("cached_tokens", share, CACHED_PCT, "%", text, advice)


def _agreement(on: Evidence) -> Iterator[Finding]:
    """Little's law; what the system calls of a send and a read take (`LITTLE_MS`) is no disagreement.

    A library takes a request up some time before it sends it, so its runs are not judged by this.
    """
    own = on.part("health").get("transport", "wire") == "wire"
    little, mean, rate = on.run.get("little_pct"), on.run.get("concurrency_mean"), on.run.get("request_throughput")
    each_ms = 1000 * mean.value / rate.value if mean is not None and rate is not None and rate.value else 0.0
    if own and little is not None and little.value > LITTLE_PCT and little.value / 100 * each_ms > LITTLE_MS:
        text = f"requests in flight, as counted and by the records, differ by {little.value:.3g} %"
        advice = f"the client took that long around its sends: {OWN_CORE}"
        yield _suspect("little", little.value, LITTLE_PCT, "%", text, advice)
    if on.unsteady is not None:
        advice = "run longer, or with more warm-up; at a load the server cannot hold it never is"
        yield _suspect("steady", on.unsteady.differ_pct, STEADY_PCT, "%", f"not steady: {on.unsteady.text}", advice)


def _ceiling(on: Evidence) -> Iterator[Finding]:
    """Against what `genbench calibrate` found this client able to do here."""
    known = on.part("calibration")
    duration = on.run.get("duration")
    if not known or duration is None:
        return
    rows = on.table.measured
    events = float(np.diff(on.table.event_start)[rows].sum())
    loads = (("events_per_s_ceiling", events, "events"), ("requests_per_s_ceiling", float(rows.sum()), "requests"))
    for key, amount, unit in loads:
        ceiling, rate = known.get(key), amount / duration.value
        if isinstance(ceiling, int | float) and 0 < ceiling < rate:
            text = f"{rate:,.0f} {unit}/s are above what this client was calibrated for"
            yield _suspect(key, rate, ceiling, f"{unit}/s", text, "lower the load, or run genbench calibrate again")


def _suspect(check: str, value: float, bound: float, unit: str, text: str, advice: str) -> Finding:
    return Finding(SUSPECT, check, value, bound, unit, text, advice)


def _level(value: float, suspect: float, invalid: float) -> str | None:
    return INVALID if value > invalid else SUSPECT if value > suspect else None


CHECKS = (_answers, _rate, _lateness, _shared, _lengths, _cache, _agreement, _ceiling)
