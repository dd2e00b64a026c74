"""What `GET /metrics` shows, under vLLM's names, so that telemetry and a client's counts can be checked against it."""

from bisect import bisect_left
from itertools import accumulate

TTFT_BOUNDS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
    160.0, 640.0, 2560.0,
)  # fmt: skip
ITL_BOUNDS = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
REASONS = ("stop", "length", "abort", "error")


class Histogram:
    """Counts per bucket; `observe` takes seconds."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.total += seconds

    def lines(self, name: str, help_text: str, labels: str) -> list[str]:
        """Text exposition; bucket counts are cumulative."""
        lines = [f"# HELP {name} {help_text}", f"# TYPE {name} histogram"]
        edges = [*map(str, self.bounds), "+Inf"]
        for edge, counted in zip(edges, accumulate(self.counts), strict=True):
            lines.append(f'{name}_bucket{{{labels},le="{edge}"}} {counted}.0')
        return [*lines, f"{name}_count{{{labels}}} {sum(self.counts)}.0", f"{name}_sum{{{labels}}} {self.total}"]


class Figures:
    """The server's counters; requests are those that were not refused."""

    __slots__ = ("generation_tokens", "itl", "prompt_tokens", "running", "successes", "ttft")

    def __init__(self) -> None:
        self.running = 0
        self.prompt_tokens = 0
        self.generation_tokens = 0
        self.successes = dict.fromkeys(REASONS, 0)
        self.ttft = Histogram(TTFT_BOUNDS)
        self.itl = Histogram(ITL_BOUNDS)

    def text(self, model: str) -> str:
        """Prometheus text exposition."""
        escaped = model.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        labels = f'engine="0",model_name="{escaped}"'
        lines: list[str] = []
        for name, kind, help_text, value in (
            ("num_requests_running", "gauge", "Number of requests in model execution batches.", self.running),
            ("num_requests_waiting", "gauge", "Number of requests waiting to be processed.", 0),
            ("prompt_tokens_total", "counter", "Number of prefill tokens processed.", self.prompt_tokens),
            ("generation_tokens_total", "counter", "Number of generation tokens processed.", self.generation_tokens),
        ):
            lines += [f"# HELP vllm:{name} {help_text}", f"# TYPE vllm:{name} {kind}"]
            lines.append(f"vllm:{name}{{{labels}}} {value}.0")
        name = "vllm:request_success_total"
        lines += [f"# HELP {name} Count of successfully processed requests.", f"# TYPE {name} counter"]
        lines += [f'{name}{{{labels},finished_reason="{why}"}} {n}.0' for why, n in self.successes.items()]
        seconds = "Histogram of {} in seconds."
        lines += self.ttft.lines("vllm:time_to_first_token_seconds", seconds.format("time to first token"), labels)
        lines += self.itl.lines("vllm:inter_token_latency_seconds", seconds.format("inter-token latency"), labels)
        return "\n".join(lines) + "\n"
