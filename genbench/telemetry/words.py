"""The few lines of the final block on the server's side; whoever calls hands over how numbers are written."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from genbench.telemetry.figures import Server

Number = Callable[..., str]
GIB = 2.0**30


def lines(server: Server, number: Number) -> tuple[str, ...]:
    """At most four lines, ASCII; what nobody told is left out."""
    found = [", ".join(part) for part in (list(_load(server, number)), list(_gpu(server, number))) if part]
    found[1:1] = [line for line in (_ttft(server, number), _tokens(server, number)) if line]
    if not found:
        return ()
    speak = ", ".join(dict.fromkeys(one.dialect for one in server.told if one.dialect))
    return (f"the server's side{f' ({speak})' if speak else ''}: {found[0]}", *(f"  {line}" for line in found[1:]))


def _load(server: Server, number: Number) -> Iterator[str]:
    for key, name, unit in (
        ("kv_cache_pct", "KV cache", " %"),
        ("running", "running", ""),
        ("waiting", "waiting", ""),
        ("slots_used_pct", "slots", " %"),
    ):
        one = server.metrics.get(key)
        if one is not None:
            yield f"{name} mean {number(one['mean'])}{unit} max {number(one['max'], 'requests')}{unit}"


def _ttft(server: Server, number: Number) -> str:
    own, client = server.metrics.get("ttft"), server.window.ttft_ms
    if own is None or not client:
        return ""
    outside, queue = server.derived.get("ttft_outside"), server.derived.get("ttft_in_queue")
    both = ", ".join(
        f"{name} {number(own[name])} of the client's {number(client[name])} ms"
        for name in ("p50", "p95")
        if own.get(name) is not None and name in client
    )
    shares = [f"{_share(outside)} of the mean outside the engine"] if outside else []
    shares += [f"{_share(queue)} in its queue"] if queue else []
    text = f"its TTFT {both}" if both else f"its TTFT mean {number(own['mean'])} ms"
    return f"{text}; {', '.join(shares)}" if shares else text


def _share(one: Mapping[str, Any]) -> str:
    return f"{one['share_pct']:.1f} %"


def _tokens(server: Server, number: Number) -> str:
    hit, lost = server.derived.get("prefix_hit_pct"), server.metrics.get("preemptions")
    found = [f"prefix hits {number(hit['value'])} %"] if hit and hit["value"] > 0 else []
    found += [f"{lost['delta']:,.0f} preemptions"] if lost and lost["delta"] > 0 else []
    return ", ".join(found)


def _gpu(server: Server, number: Number) -> Iterator[str]:
    metrics, derived = server.metrics, server.derived
    busy = metrics.get("gpu_sm_active_pct") or metrics.get("gpu_util_pct")
    if busy is not None:
        what = "SMs active" if "gpu_sm_active_pct" in metrics else "GPU utilisation"
        yield f"{what} mean {number(busy['mean'])} %"
    if "gpu_memory_used" in metrics:
        yield f"GPU memory max {number(metrics['gpu_memory_used']['max'] / GIB)} GiB"
    if "gpu_power" in metrics:
        yield f"power mean {number(metrics['gpu_power']['mean'])} W"
    if "energy_per_output_token" in derived:
        yield f"{number(derived['energy_per_output_token']['value'])} J per output token"
