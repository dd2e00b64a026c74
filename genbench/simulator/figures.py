"""What `GET /metrics` shows, under vLLM's names, so that telemetry and a client's counts can be checked against it."""

from bisect import bisect_left
from itertools import accumulate

from genbench.simulator.scheduler import Scheduler

TTFT_BOUNDS = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
    160.0, 640.0, 2560.0,
)  # fmt: skip
ITL_BOUNDS = (
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
)  # fmt: skip
REQUEST_BOUNDS = (
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0,
    1920.0, 7680.0,
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
    """The server's counters; requests are those that were not refused.

    `running` and the token counts are those of the script: the scheduler has its own. The histograms of a request's
    parts have the requests that ended whole.
    """

    __slots__ = (
        "decode",
        "e2e",
        "generation_tokens",
        "itl",
        "prefill",
        "prompt_tokens",
        "queue",
        "running",
        "successes",
        "ttft",
    )

    def __init__(self) -> None:
        self.running = 0
        self.prompt_tokens = 0
        self.generation_tokens = 0
        self.successes = dict.fromkeys(REASONS, 0)
        self.ttft = Histogram(TTFT_BOUNDS)
        self.itl = Histogram(ITL_BOUNDS)
        self.e2e = Histogram(REQUEST_BOUNDS)
        self.queue = Histogram(REQUEST_BOUNDS)
        self.prefill = Histogram(REQUEST_BOUNDS)
        self.decode = Histogram(REQUEST_BOUNDS)

    def text(self, model: str, scheduler: Scheduler | None = None) -> str:
        """Prometheus text exposition; with the scheduler's state where there is one."""
        escaped = model.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        labels = f'engine="0",model_name="{escaped}"'
        lines: list[str] = []
        for name, kind, help_text, value in self._plain(scheduler):
            lines += [f"# HELP vllm:{name} {help_text}", f"# TYPE vllm:{name} {kind}"]
            lines.append(f"vllm:{name}{{{labels}}} {float(value)}")
        name = "vllm:request_success_total"
        lines += [f"# HELP {name} Count of successfully processed requests.", f"# TYPE {name} counter"]
        lines += [f'{name}{{{labels},finished_reason="{why}"}} {n}.0' for why, n in self.successes.items()]
        for histogram, name, help_text in (
            (self.ttft, "time_to_first_token", "time to first token in seconds"),
            (self.itl, "inter_token_latency", "inter-token latency in seconds"),
            (self.e2e, "e2e_request_latency", "e2e request latency in seconds"),
            (self.queue, "request_queue_time", "time spent in WAITING phase for request"),
            (self.prefill, "request_prefill_time", "time spent in PREFILL phase for request"),
            (self.decode, "request_decode_time", "time spent in DECODE phase for request"),
        ):
            lines += histogram.lines(f"vllm:{name}_seconds", f"Histogram of {help_text}.", labels)
        return "\n".join(lines) + "\n"

    def _plain(self, scheduler: Scheduler | None) -> list[tuple[str, str, str, float]]:
        """Name, type, help and value of what is one number."""
        running, prompts, answers = self.running, self.prompt_tokens, self.generation_tokens
        waiting = queries = hits = preemptions = 0
        kv_share = 0.0
        if scheduler:
            running += scheduler.running
            prompts += scheduler.prompt_tokens
            answers += scheduler.generation_tokens
            waiting, preemptions = len(scheduler.waiting), scheduler.preemptions
            queries, hits = scheduler.cache_queries, scheduler.cache_hits
            kv_share = scheduler.kv_used / scheduler.costs.kv_tokens
        in_tokens = "in terms of number of {} tokens."
        return [
            ("num_requests_running", "gauge", "Number of requests in model execution batches.", running),
            ("num_requests_waiting", "gauge", "Number of requests waiting to be processed.", waiting),
            ("kv_cache_usage_perc", "gauge", "KV-cache usage. 1 means 100 percent usage.", kv_share),
            ("prefix_cache_queries_total", "counter", f"Prefix cache queries, {in_tokens.format('queried')}", queries),
            ("prefix_cache_hits_total", "counter", f"Prefix cache hits, {in_tokens.format('cached')}", hits),
            ("num_preemptions_total", "counter", "Cumulative number of preemption from the engine.", preemptions),
            ("prompt_tokens_total", "counter", "Number of prefill tokens processed.", prompts),
            ("generation_tokens_total", "counter", "Number of generation tokens processed.", answers),
        ]
