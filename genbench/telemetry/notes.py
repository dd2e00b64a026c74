"""What went wrong while servers and GPUs were watched, a sentence each; the run itself went on."""

import itertools
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from genbench.telemetry.log import Scrape, Told
from genbench.telemetry.vocabulary import BY_KEY

if TYPE_CHECKING:
    from genbench.telemetry.figures import Client

NS = 1e9
STALE_S = 2.0  # GPU figures that are renewed less often
LATE_S = 2.0  # from the last answer to the end of the window
LEAST_SCRAPES = 8  # before anything is said of that
WATCHED = ("running", "waiting", "kv_cache_pct", "prompt_tokens", "generation_tokens")


def of(told: Sequence[Told], client: "Client") -> tuple[str, ...]:
    """All sentences, source by source."""
    return tuple(said for one in told for said in _of_source(one, client))


def _of_source(one: Told, client: "Client") -> Iterator[str]:
    yield from _silent(one, client)
    good = one.good
    if not good:
        return
    inside = [scrape for scrape in good if client.start_ns <= scrape.t_ns <= client.end_ns]
    if not inside:
        yield f"no scrape of {one.url} fell into the measured time: it was too short, or nobody answered"
    if good[0].t_ns < client.start_ns and one.role == "server":
        before = good[0].values.get("running", 0) + good[0].values.get("waiting", 0)
        if before >= 1:
            yield f"{one.url} had {before:.0f} requests before the load: its figures are not this run's alone"
    if _fell(good):
        yield f"counters of {one.url} fell during the run: it was started anew; deltas have both parts"
    gone = [key for key in WATCHED if key in good[0].values and key not in good[-1].values]
    if gone:
        yield f"{one.url} stopped telling {', '.join(BY_KEY[key].label for key in gone)} during the run"
    if one.role == "gpu":
        yield from _stale(one, inside)
    elif one.role == "server" and not one.dialect:
        yield f"{one.url} has metrics, but none by a name of an engine that is known; see docs/telemetry.md"


def _silent(one: Told, client: "Client") -> Iterator[str]:
    failed = [scrape for scrape in one.scrapes if scrape.error]
    if not one.scrapes:
        yield f"nothing was heard of {one.url} in the run"
        return
    last_good = max((scrape.t_ns for scrape in one.good), default=0)
    if failed and last_good < client.end_ns and one.scrapes[-1].error:
        first = next(scrape for scrape in failed if scrape.t_ns > last_good)
        at_s = (first.t_ns - client.start_ns) / NS
        yield f"{one.url} fell silent {at_s:.1f} s into the run ({first.error}); its figures end there"
        return
    if failed:
        yield f"{len(failed)} of {len(one.scrapes)} scrapes of {one.url} failed ({failed[-1].error})"
    late_s = (client.end_ns - last_good) / NS
    if late_s > LATE_S:
        yield f"the last answer of {one.url} came {late_s:.1f} s before the end of the run: its deltas are partial"


def _fell(good: Sequence[Scrape]) -> bool:
    for key in (key for key in good[0].values if BY_KEY[key].kind == "counter"):
        values = [scrape.values[key] for scrape in good if key in scrape.values]
        if any(b < a for a, b in itertools.pairwise(values)):
            return True
    return False


def _stale(one: Told, inside: Sequence[Scrape]) -> Iterator[str]:
    """An exporter that renews its figures less often than it is asked."""
    if len(inside) < LEAST_SCRAPES:
        return
    said = [
        tuple(gpu.get(key, -1.0) for gpu in scrape.gpus.values() for key in ("gpu_power", "gpu_energy"))
        for scrape in inside
    ]
    moved = sum(a != b for a, b in itertools.pairwise(said))
    span_s = (inside[-1].t_ns - inside[0].t_ns) / NS
    if span_s / (moved + 1) > STALE_S:
        every = f"about every {span_s / moved:.0f} s" if moved else f"not once in {span_s:.0f} s"
        yield f"{one.url} renewed its figures {every}: shorten its interval (DCGM_EXPORTER_INTERVAL, in ms)"
