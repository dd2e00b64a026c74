"""server_metrics.csv: what servers and GPUs said, a row for each scrape (and GPU), on the run's clock.

`t_ns` counts from the first intended moment, like the clock points of requests.csv, `t_s` from the first measured send,
like figures. Of histograms there are the sum (s) and the count so far; their buckets are in server_metrics.jsonl.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from genbench.metrics.summary import Run
from genbench.telemetry.figures import Server
from genbench.telemetry.vocabulary import MEASURES

HEAD = ("t_ns", "t_s", "source", "gpu", "error")


def write(run: Run, out: Path) -> list[Path]:
    """Write `server_metrics.csv` into the folder `out`; nothing where nobody was asked."""
    path = out / "server_metrics.csv"
    if run.server is None:
        path.unlink(missing_ok=True)
        return []
    known = run.table.intended_ns[run.table.intended_ns >= 0]
    rows = list(_rows(run.server, int(known.min()) if known.size else 0))
    names = list(dict.fromkeys(name for measure in MEASURES for name in _names(measure.key, measure.kind)))
    present = {name for row in rows for name in row}
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*HEAD, *(name for name in names if name in present)], restval="")
        writer.writeheader()
        writer.writerows(rows)
    return [path]


def _names(key: str, kind: str) -> tuple[str, ...]:
    return (f"{key}_sum", f"{key}_count") if kind == "histogram" else (key,)


def _rows(server: Server, zero_ns: int) -> Iterator[dict[str, object]]:
    start_ns = server.window.start_ns
    for one in server.told:
        for scrape in one.scrapes:
            t_s = f"{(scrape.t_ns - start_ns) / 1e9:.6f}"
            at = {"t_ns": scrape.t_ns - zero_ns, "t_s": t_s, "source": one.url}
            plain: dict[str, object] = dict(scrape.values)
            for key, histogram in scrape.histograms.items():
                plain |= {f"{key}_sum": histogram.total, f"{key}_count": histogram.count}
            if plain or scrape.error or not scrape.gpus:
                yield {**at, "gpu": "", "error": scrape.error, **plain}
            for gpu, told in scrape.gpus.items():
                yield {**at, "gpu": gpu, "error": "", **told}
