"""genbench as a library: one run, its numbers as Python values. `python examples/library.py [URL]`."""

import sys
from typing import Any

from genbench import config
from genbench.studies.profile import Screen, profile


def main(url: str | None = None, **options: Any) -> None:
    """Measure `url` (None: the embedded engine); `options` are a profile's, with `_` for `-`."""
    named: dict[str, Any] = {
        "concurrency": "4",
        "request_count": "40",
        "osl": "32",
        "slo": ("ttft.p95<500ms",),
        **options,
    }
    if url is not None:
        named["url"] = url
    given = config.load(named)  # raises ConfigError for what the command line would refuse
    run = profile(given, config.command_line(named, ()), Screen(say=lambda line: None, watch=None))

    ttft = run.summary.metrics["ttft"]
    low, high = ttft.ci95["p95"]
    print(f"TTFT p95 {ttft.stats['p95']:.1f} {ttft.unit} from {ttft.count} requests, 95 % interval {low} .. {high}")
    print(
        f"{run.summary.run['output_token_throughput'].value:.0f} output token/s, outcomes {dict(run.summary.outcomes)}"
    )
    for promise in run.summary.slo:
        print(promise.slo.text, "kept" if promise.passed else "missed")
    print("files:", run.folder)


if __name__ == "__main__":
    main(*sys.argv[1:2])
