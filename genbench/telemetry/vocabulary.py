"""The words for what servers and GPUs tell, whatever they call it themselves. Data only; docs/telemetry.md has it, too.

Rules
- Values are kept in the unit given here: times in seconds, memory in bytes, shares in percent.
- A gauge is a state at a moment, a counter only grows (until its process restarts), a histogram counts per bucket.
- `several` says how the values of several engines, servers or GPUs become one.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["gauge", "counter", "histogram"]
OF_ENGINE, OF_GPU, OF_HOST = "engine", "gpu", "host"


@dataclass(frozen=True, slots=True)
class Measure:
    """One word: `of` is what it is told of, an engine, a GPU or the machine."""

    key: str
    kind: Kind
    unit: str
    label: str
    meaning: str
    of: str = OF_ENGINE
    several: Literal["sum", "mean"] = "sum"


MEASURES = (
    Measure("running", "gauge", "requests", "Running", "requests in the engine's batch"),
    Measure("waiting", "gauge", "requests", "Waiting", "requests that the engine holds back"),
    Measure("kv_cache_pct", "gauge", "%", "KV cache", "of the room for keys and values in use", several="mean"),
    Measure("slots_used_pct", "gauge", "%", "Slots used", "of the decoding slots in use", several="mean"),
    Measure("kv_blocks_used", "gauge", "blocks", "KV blocks used", "where the engine tells blocks, not a share"),
    Measure("kv_blocks_max", "gauge", "blocks", "KV blocks", "all it has"),
    Measure("prefix_hit_pct", "gauge", "%", "Prefix hit rate", "as the engine itself averages it", several="mean"),
    Measure("prefix_queries", "counter", "token", "Prefix queries", "prompt tokens looked for in the prefix cache"),
    Measure("prefix_hits", "counter", "token", "Prefix hits", "prompt tokens found there"),
    Measure("preemptions", "counter", "requests", "Preemptions", "requests put back because the KV cache was full"),
    Measure("prompt_tokens", "counter", "token", "Prompt tokens", "computed or found in the cache"),
    Measure("generation_tokens", "counter", "token", "Generated tokens", "of all requests, failed ones too"),
    Measure("requests_done", "counter", "requests", "Requests done", "that the engine ended well"),
    Measure("ttft", "histogram", "s", "TTFT", "from the request's arrival at the engine to its first token"),
    Measure("itl", "histogram", "s", "Inter-token latency", "between two tokens of a request, in the engine"),
    Measure("tpot", "histogram", "s", "Time per output token", "one value per request, in the engine"),
    Measure("queue", "histogram", "s", "Time in the queue", "from arrival to the first step that computes it"),
    Measure("prefill", "histogram", "s", "Prefill", "from there to the first token"),
    Measure("decode", "histogram", "s", "Decode", "from the first token to the last"),
    Measure("e2e", "histogram", "s", "Request latency", "from arrival to the last token, in the engine"),
    Measure("process_memory", "gauge", "bytes", "Server's memory", "resident memory of its process", OF_HOST),
    Measure("host_memory_used", "gauge", "bytes", "Host memory", "in use on the machine", OF_HOST),
    Measure("host_memory_free", "gauge", "bytes", "Host memory free", "still to be had", OF_HOST),
    Measure("host_memory_total", "gauge", "bytes", "Host memory, all", "of the machine", OF_HOST),
    Measure("gpu_util_pct", "gauge", "%", "GPU utilisation", "time in which some kernel ran", OF_GPU, "mean"),
    Measure("gpu_sm_active_pct", "gauge", "%", "SMs active", "multiprocessors with work, averaged", OF_GPU, "mean"),
    Measure("gpu_memory_used", "gauge", "bytes", "GPU memory", "in use", OF_GPU),
    Measure("gpu_memory_free", "gauge", "bytes", "GPU memory free", "still to be had", OF_GPU),
    Measure("gpu_memory_total", "gauge", "bytes", "GPU memory, all", "of the GPU", OF_GPU),
    Measure("gpu_power", "gauge", "W", "GPU power", "drawn", OF_GPU),
    Measure("gpu_sm_clock", "gauge", "MHz", "SM clock", "of the multiprocessors", OF_GPU, "mean"),
    Measure("gpu_memory_clock", "gauge", "MHz", "Memory clock", "of the GPU's memory", OF_GPU, "mean"),
    Measure("gpu_temperature", "gauge", "degC", "GPU temperature", "of the chip", OF_GPU, "mean"),
    Measure("gpu_energy", "counter", "J", "GPU energy", "used", OF_GPU),
)  # fmt: skip
BY_KEY = {measure.key: measure for measure in MEASURES}
