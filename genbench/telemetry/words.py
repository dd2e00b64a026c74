"""The few lines of the final block on the server's side."""

from collections.abc import Iterator

from genbench.telemetry.figures import Server

GIB = 2.0**30


def lines(server: Server) -> tuple[str, ...]:
    """At most five lines, ASCII; what nobody told is left out."""
    said = [", ".join(_load(server)), *_ttft(server), ", ".join(_cache(server)), ", ".join(_gpu(server))]
    found = [line for line in said if line]
    speak = ", ".join(dict.fromkeys(one.dialect for one in server.told if one.dialect))
    head = f"server ({speak})" if speak else "server"
    return (f"{head}: {found[0]}", *(f"  {line}" for line in found[1:])) if found else ()


def _load(server: Server) -> Iterator[str]:
    for key, name, unit in (
        ("kv_cache_pct", "KV cache", " %"),
        ("running", "running", ""),
        ("waiting", "waiting", ""),
        ("slots_used_pct", "slots", " %"),
    ):
        one = server.metrics.get(key)
        if one is not None:
            yield f"{name} mean {one['mean']:.3g}{unit} max {one['max']:.4g}{unit}"


def _ttft(server: Server) -> Iterator[str]:
    """Its own beside the client's, and what lies between the two."""
    own, client = server.metrics.get("ttft"), server.window.ttft_ms
    if own is not None and own.get("p50") is not None and client:
        p95 = "-" if own["p95"] is None else f"{own['p95']:.4g}"
        told = f"server {own['p50']:.4g} / {p95} ms (from buckets)"
        yield f"TTFT p50 / p95: {told}, client {client['p50']:.4g} / {client['p95']:.4g} ms"
    outside, queue = server.derived.get("ttft_outside"), server.derived.get("ttft_in_queue")
    shares = [f"{outside['share_pct']:.1f} % outside the engine (network, its front)"] if outside else []
    shares += [f"{queue['share_pct']:.1f} % in its queue"] if queue else []
    if shares:
        yield f"of the client's mean TTFT: {', '.join(shares)}"


def _cache(server: Server) -> Iterator[str]:
    hit, lost = server.derived.get("prefix_hit_pct"), server.metrics.get("preemptions")
    if hit is not None and hit["value"] > 0:
        yield f"prefix hits {hit['value']:.3g} %"
    if lost is not None and lost["delta"] > 0:
        yield f"{lost['delta']:,.0f} preemptions"


def _gpu(server: Server) -> Iterator[str]:
    metrics, derived = server.metrics, server.derived
    busy = metrics.get("gpu_sm_active_pct") or metrics.get("gpu_util_pct")
    if busy is not None:
        what = "SMs active" if "gpu_sm_active_pct" in metrics else "GPU utilisation"
        yield f"{what} mean {busy['mean']:.3g} %"
    if "gpu_memory_used" in metrics:
        yield f"GPU memory max {metrics['gpu_memory_used']['max'] / GIB:.3g} GiB"
    if "gpu_power" in metrics:
        yield f"power mean {metrics['gpu_power']['mean']:.4g} W"
    if "energy_per_output_token" in derived:
        yield f"{derived['energy_per_output_token']['value']:.3g} J per output token"
