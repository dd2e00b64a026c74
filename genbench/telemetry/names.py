"""What each engine and exporter calls the words of `vocabulary`. Data only.

Rules
- A row gives names in the order in which they are looked for: the first one that is there counts, so a new name stands
  before the one it replaced. `together`: all of them are added up.
- Names are written with `_` where the wire has `:`, because some exporters turn one into the other.
- Counters are named as on the wire, with `_total` where the engine has it. A histogram is named without `_bucket`; one
  that is told only as a sum and a count (Triton's microseconds) has both names in `parts`.
- `scale` makes the vocabulary's unit of the engine's; `where` keeps only series with these labels.

Sources: the engines' own documentation and code; the renames of vLLM: pull requests 18354, 24110 and 29330 there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

MIB = 1024.0**2


@dataclass(frozen=True, slots=True)
class Row:
    """One word, and where to read it."""

    key: str
    names: tuple[str, ...]
    scale: float = 1.0
    where: Mapping[str, str] = field(default_factory=dict)
    together: bool = False
    parts: tuple[str, str] | None = None  # names of the sum and of the count; `scale` is the sum's


@dataclass(frozen=True, slots=True)
class Dialect:
    """The rows of one engine. It is spoken where a name begins with one of `prefixes`, or all of `names` are there."""

    name: str
    rows: tuple[Row, ...]
    prefixes: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


def _one(key: str, *names: str, scale: float = 1.0, where: Mapping[str, str] | None = None) -> Row:
    return Row(key, names, scale, where or {})


VLLM = Dialect(
    "vllm",
    (
        _one("running", "vllm_num_requests_running"),
        _one("waiting", "vllm_num_requests_waiting"),
        _one("kv_cache_pct", "vllm_kv_cache_usage_perc", "vllm_gpu_cache_usage_perc", scale=100),
        _one("prefix_hit_pct", "vllm_gpu_prefix_cache_hit_rate", scale=100),
        _one("prefix_queries", "vllm_prefix_cache_queries_total", "vllm_gpu_prefix_cache_queries_total"),
        _one("prefix_hits", "vllm_prefix_cache_hits_total", "vllm_gpu_prefix_cache_hits_total"),
        _one("preemptions", "vllm_num_preemptions_total"),
        _one("prompt_tokens", "vllm_prompt_tokens_total"),
        _one("generation_tokens", "vllm_generation_tokens_total"),
        _one("requests_done", "vllm_request_success_total"),
        _one("ttft", "vllm_time_to_first_token_seconds"),
        _one("itl", "vllm_inter_token_latency_seconds", "vllm_time_per_output_token_seconds"),
        _one("tpot", "vllm_request_time_per_output_token_seconds"),
        _one("queue", "vllm_request_queue_time_seconds"),
        _one("prefill", "vllm_request_prefill_time_seconds"),
        _one("decode", "vllm_request_decode_time_seconds"),
        _one("e2e", "vllm_e2e_request_latency_seconds"),
    ),
    prefixes=("vllm_",),
)
SGLANG = Dialect(
    "sglang",
    (
        _one("running", "sglang_num_running_reqs"),
        _one("waiting", "sglang_num_queue_reqs"),
        _one("kv_cache_pct", "sglang_token_usage", scale=100),
        _one("prefix_hit_pct", "sglang_cache_hit_rate", scale=100),
        _one("prefix_hits", "sglang_cached_tokens_total"),
        _one("preemptions", "sglang_num_retracted_requests_total", "sglang_num_retracted_reqs"),
        _one("prompt_tokens", "sglang_prompt_tokens_total"),
        _one("generation_tokens", "sglang_generation_tokens_total"),
        _one("requests_done", "sglang_num_requests_total"),
        _one("ttft", "sglang_time_to_first_token_seconds"),
        _one("itl", "sglang_inter_token_latency_seconds", "sglang_time_per_output_token_seconds"),
        _one("queue", "sglang_queue_time_seconds"),
        _one("e2e", "sglang_e2e_request_latency_seconds"),
    ),
    prefixes=("sglang_",),
)
TGI = Dialect(
    "tgi",
    (
        _one("running", "tgi_batch_current_size"),
        _one("waiting", "tgi_queue_size"),
        _one("prompt_tokens", "tgi_request_input_length_sum"),
        _one("generation_tokens", "tgi_request_generated_tokens_sum"),
        _one("requests_done", "tgi_request_success", "tgi_request_success_total"),
        _one("tpot", "tgi_request_mean_time_per_token_duration"),
        _one("queue", "tgi_request_queue_duration"),
        _one("e2e", "tgi_request_duration"),
    ),
    prefixes=("tgi_",),
)
TENSORRT_LLM = Dialect(
    "tensorrt-llm",
    (
        _one("running", "trtllm_num_requests_running"),
        _one("waiting", "trtllm_num_requests_waiting"),
        _one("kv_cache_pct", "trtllm_kv_cache_utilization", scale=100),
        _one("prefix_hit_pct", "trtllm_kv_cache_hit_rate", scale=100),
        _one("prompt_tokens", "trtllm_prompt_tokens_total"),
        _one("generation_tokens", "trtllm_generation_tokens_total"),
        _one("requests_done", "trtllm_request_success_total", "trtllm_num_requests_completed_total"),
        _one("ttft", "trtllm_time_to_first_token_seconds"),
        _one("tpot", "trtllm_time_per_output_token_seconds"),
        _one("queue", "trtllm_request_queue_time_seconds"),
        _one("e2e", "trtllm_e2e_request_latency_seconds"),
    ),
    prefixes=("trtllm_",),
)
KV_BLOCKS = "nv_trt_llm_kv_cache_block_metrics"
REQUESTS = "nv_trt_llm_request_metrics"
TRITON = Dialect(
    "triton",
    (
        _one("running", REQUESTS, where={"request_type": "scheduled"}),
        _one("running", REQUESTS, where={"request_type": "active"}),
        _one("waiting", REQUESTS, where={"request_type": "waiting"}),
        _one("waiting", "nv_inference_pending_request_count"),
        _one("kv_cache_pct", KV_BLOCKS, scale=100, where={"kv_cache_block_type": "fraction"}),
        _one("kv_blocks_used", KV_BLOCKS, where={"kv_cache_block_type": "used"}),
        _one("kv_blocks_max", KV_BLOCKS, where={"kv_cache_block_type": "max"}),
        _one("generation_tokens", "nv_trt_llm_v1_metrics", where={"v1_specific_metric": "total_generation_tokens"}),
        _one("requests_done", "nv_inference_request_success"),
        _one("ttft", "nv_inference_first_response_histogram_ms", scale=1e-3),
        Row("queue", (), 1e-6, parts=("nv_inference_queue_duration_us", "nv_inference_request_success")),
        Row("e2e", (), 1e-6, parts=("nv_inference_request_duration_us", "nv_inference_request_success")),
    ),
    prefixes=("nv_trt_llm_", "nv_inference_"),
)
NIM = Dialect(
    "nim",
    (
        _one("running", "num_requests_running"),
        _one("waiting", "num_requests_waiting"),
        _one("kv_cache_pct", "gpu_cache_usage_perc", scale=100),
        _one("prompt_tokens", "prompt_tokens_total"),
        _one("generation_tokens", "generation_tokens_total"),
        _one("requests_done", "request_success_total"),
        _one("ttft", "time_to_first_token_seconds"),
        _one("itl", "time_per_output_token_seconds"),
        _one("e2e", "e2e_request_latency_seconds"),
    ),
    names=("num_request_max", "gpu_cache_usage_perc"),
)
BACKLOGS = ("jetstream_prefill_backlog_size", "jetstream_transfer_backlog_size", "jetstream_generate_backlog_size")
JETSTREAM = Dialect(
    "jetstream",
    (
        _one("slots_used_pct", "jetstream_slots_used_percentage", scale=100),
        Row("waiting", BACKLOGS, together=True),
        _one("kv_cache_pct", "kv_cache_utilization_perc", scale=100),
        _one("prompt_tokens", "jetstream_request_input_length_sum"),
        _one("generation_tokens", "jetstream_request_output_length_sum"),
        _one("requests_done", "jetstream_request_success_count_total"),
        _one("ttft", "jetstream_time_to_first_token"),
        _one("tpot", "jetstream_time_per_output_token"),
        _one("queue", "jetstream_queue_duration", "jetstream_wait_time_per_request"),
        _one("e2e", "jetstream_time_per_request"),
    ),
    prefixes=("jetstream_",),
)
LLAMA_CPP = Dialect(
    "llama.cpp",
    (
        _one("running", "llamacpp_requests_processing"),
        _one("waiting", "llamacpp_requests_deferred"),
        _one("kv_cache_pct", "llamacpp_kv_cache_usage_ratio", scale=100),
        _one("prompt_tokens", "llamacpp_prompt_tokens_total"),
        _one("generation_tokens", "llamacpp_tokens_predicted_total"),
    ),
    prefixes=("llamacpp_",),
)
DCGM = Dialect(
    "dcgm",
    (
        _one("gpu_util_pct", "DCGM_FI_DEV_GPU_UTIL"),
        _one("gpu_sm_active_pct", "DCGM_FI_PROF_SM_ACTIVE", scale=100),
        _one("gpu_memory_used", "DCGM_FI_DEV_FB_USED", scale=MIB),
        _one("gpu_memory_free", "DCGM_FI_DEV_FB_FREE", scale=MIB),
        _one("gpu_memory_total", "DCGM_FI_DEV_FB_TOTAL", scale=MIB),
        _one("gpu_power", "DCGM_FI_DEV_POWER_USAGE"),
        _one("gpu_sm_clock", "DCGM_FI_DEV_SM_CLOCK"),
        _one("gpu_memory_clock", "DCGM_FI_DEV_MEM_CLOCK"),
        _one("gpu_temperature", "DCGM_FI_DEV_GPU_TEMP"),
        _one("gpu_energy", "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", scale=1e-3),
    ),
    prefixes=("DCGM_FI_",),
)
TRITON_GPU = Dialect(
    "triton",
    (
        _one("gpu_util_pct", "nv_gpu_utilization", scale=100),
        _one("gpu_memory_used", "nv_gpu_memory_used_bytes"),
        _one("gpu_memory_total", "nv_gpu_memory_total_bytes"),
        _one("gpu_power", "nv_gpu_power_usage"),
        _one("gpu_energy", "nv_energy_consumption"),
        _one("host_memory_used", "nv_cpu_memory_used_bytes"),
        _one("host_memory_total", "nv_cpu_memory_total_bytes"),
    ),
    prefixes=("nv_gpu_", "nv_energy_", "nv_cpu_"),
)
HOST = Dialect(
    "host",
    (
        _one("process_memory", "process_resident_memory_bytes"),
        _one("host_memory_free", "node_memory_MemAvailable_bytes"),
        _one("host_memory_total", "node_memory_MemTotal_bytes"),
    ),
    prefixes=("node_memory_", "process_resident_"),
)

ENGINES = (VLLM, SGLANG, TGI, TENSORRT_LLM, TRITON, JETSTREAM, LLAMA_CPP, NIM)  # the one without a prefix last
MACHINES = (DCGM, TRITON_GPU, HOST)
GPU_LABELS = ("UUID", "gpu_uuid", "gpu", "device")  # what tells GPUs apart, the first that a series has
ONE_RANK = ("tp_rank", "pp_rank")  # ranks that tell the same thing each: rank 0 counts

# `trtllm-serve` has JSON at /metrics: one object for each iteration since it was last asked. The last one counts.
ITERATION: Mapping[str, tuple[str, ...]] = {
    "running": ("numActiveRequests",),
    "waiting": ("numQueuedRequests",),
    "kv_blocks_used": ("kvCacheStats", "usedNumBlocks"),
    "kv_blocks_max": ("kvCacheStats", "maxNumBlocks"),
    "gpu_memory_used": ("gpuMemUsage",),
    "host_memory_used": ("cpuMemUsage",),
}
