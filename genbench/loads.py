"""A load in words, from the `load` section of a header; every key of it is optional."""

import math
from collections.abc import Mapping
from typing import Any

PROCESSES = {"constant": "constant gaps", "gamma": "gamma arrivals", "poisson": "Poisson arrivals"}


def scheduled(load: Mapping[str, Any]) -> bool:
    """Whether requests have moments of their own, one after the other: an open loop, and not all at once."""
    rate = load.get("request_rate")
    finite = isinstance(rate, int | float) and math.isfinite(rate)
    return finite or any(load.get(name) for name in ("ramp", "stages")) or load.get("arrival") == "trace"


def even(load: Mapping[str, Any]) -> bool:
    """Whether the load is meant to stay the same; a ramp, stages and a trace are not."""
    return not (load.get("ramp") or load.get("stages") or load.get("arrival") == "trace")


def short(load: Mapping[str, Any]) -> str:
    """For a folder's name: c8, r4, ramp-1-50-60s."""
    for name in ("ramp", "stages"):
        if load.get(name):
            return name + "-" + "".join(c if c.isalnum() or c == "." else "-" for c in str(load[name]))[:40]
    if load.get("arrival") == "trace":
        return f"trace-x{load.get('speed') or 1:g}"
    rate = load.get("request_rate")
    return f"c{load.get('concurrency')}" if rate is None else f"r{rate}" if isinstance(rate, str) else f"r{rate:g}"


def title(load: Mapping[str, Any]) -> list[str]:
    """For one line: what sets the pace, and the cap."""
    rate, cap = load.get("request_rate"), load.get("concurrency")
    words = []
    if load.get("ramp"):
        words.append(f"ramp {load['ramp']}")
    elif load.get("stages"):
        words.append(f"stages {load['stages']}")
    elif load.get("arrival") == "trace":
        words.append(f"trace at {load.get('speed') or 1:g} x")
    elif rate is not None:
        finite = isinstance(rate, int | float) and math.isfinite(rate)
        words.append(f"{rate:g} req/s" if finite else "all at once")
    if cap is not None:
        words.append(f"at most {cap} at a time" if words else f"concurrency {cap}")
    return words


def sentence(load: Mapping[str, Any]) -> str:
    """For a reader: arrivals by their process, or how many at a time."""
    cap = load.get("concurrency")
    words = title({**load, "concurrency": None})
    if not words:
        opened = f", opened over {load['ramp_up_s']:g} s" if load.get("ramp_up_s") else ""
        return "" if cap is None else f"{cap} at a time{opened}"
    arrival = str(load.get("arrival") or "poisson")
    if words[0].endswith(" x"):
        said = "the data's own times" + ("" if load.get("speed") in (None, 1) else f", {load['speed']:g} times as fast")
    elif words[0] == "all at once":
        said = words[0]
    else:
        shape = f" (burstiness {load['burstiness']:g})" if load.get("burstiness") else ""
        kind, _, rest = words[0].partition(" ")
        over = f"in a ramp {rest}" if kind == "ramp" else f"in stages {rest}" if kind == "stages" else f"at {words[0]}"
        said = f"{PROCESSES.get(arrival, f'arrivals by {arrival}')}{shape} {over}"
    return said + (f", at most {cap} at a time" if cap is not None else "")
