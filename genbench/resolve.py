"""Fills in what depends on the rest (request count, warm-up, ...), refuses what does not go together, says what ends
the run.
"""

import math
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from genbench import lengths, sources
from genbench.config import Given, public_metadata
from genbench.errors import ConfigError
from genbench.options import Limits, Load, RunConfig, Target, Workload
from genbench.plan import rates

DEMO_OSL = "64"
DEMO_STREAMS = 8
DEMO_REQUESTS = 64
LOCAL_DEFAULT = "http://localhost:8000"
MEANS_LOCAL = ("model", "tokenizer", "api_key", "service_kind")
UNTIL_CAP_S = 600.0
WARMUP_S = 3.0
STREAM_ONLY = ("ttft", "tpot")
UNTIL_METRICS = ("ttft", "request_latency", "tpot")
UNTIL_STATS: Mapping[str, float | None] = {
    "mean": None, "p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99,
}  # fmt: skip
SYNTHETIC_ONLY = ("isl", "isl_stddev", "isl_osl")
CONVERSATIONS_ONLY = ("history", "session_connection", "think_time_s", "think_time_stddev_s")
SAYS_LOAD = {
    "concurrency",
    "request_count",
    "request_rate",
    "ramp",
    "stages",
    "arrival",
    "speed",
    "until_ci",
    "duration_s",
}
CHATLESS = ("embeddings", "completions")


def resolve(given: Given) -> tuple[RunConfig, str]:
    """Fill in what was not named; returns the config and one sentence on what ends the run. Raises ConfigError."""
    config, named = given.config, given.named
    target = _target(config.target)
    _limits(config.limits, target)
    _metadata(config.about.metadata)
    load, ends = _load(config.load)
    # what a plan in a file was made from has been looked at then
    workload = config.workload if config.workload.plan else _workload(config.workload, named, target)
    if load.until_ci is not None and until(load.until_ci)[0] in STREAM_ONLY and not target.stream:
        raise ConfigError(f"--until-ci {load.until_ci} needs a stream; use request_latency")
    return replace(config, target=target, load=load, workload=workload), ends


def _target(target: Target) -> Target:
    url = target.url
    if not url and any(getattr(target, name) is not None for name in MEANS_LOCAL):
        url = (LOCAL_DEFAULT,)
    stream = target.stream
    if target.endpoint_type == "embeddings":
        stream = False
    elif stream is None:
        stream = True
    api_key = target.api_key
    if api_key is None and url:
        api_key = os.environ.get("OPENAI_API_KEY") or None
    if api_key is not None:
        api_key = api_key.strip()  # a key from a mounted file ends in a newline
    return replace(target, url=url, stream=stream, api_key=api_key)


def _limits(limits: Limits, target: Target) -> None:
    if limits.timeout_first_token_s is not None and not target.stream:
        raise ConfigError("--timeout-first-token needs a stream; use --timeout-total")
    if limits.stop_after_errors is not None:
        error_limit(limits.stop_after_errors)


def _metadata(items: tuple[str, ...]) -> None:
    names = [item.partition("=")[0].strip() for item in items]
    for name, item in zip(names, items, strict=True):
        if not name or "=" not in item:
            raise ConfigError(f"--metadata {public_metadata([item])[0]}: write it like team=search")
        if names.count(name) > 1:
            raise ConfigError(f"--metadata {name} is given twice; give each name once")


def error_limit(text: str) -> tuple[int | None, float | None]:
    """(count, percent) of '20' or '5%': one of them is None. Raises ConfigError."""
    number = text.strip().removesuffix("%")
    try:
        value = float(number) if text.strip().endswith("%") else int(number)
    except ValueError:
        value = -1
    if text.strip().endswith("%") and 0 < value <= 100:
        return None, value
    if isinstance(value, int) and value >= 1:
        return value, None
    raise ConfigError(f"--stop-after-errors {text}: must be a number of requests like 20 or a share like 5%")


def until(text: str) -> tuple[str, float | None, float]:
    """(metric, quantile or None for the mean, percent) of 'ttft.p95:5%'. Raises ConfigError."""
    name, _, share = text.strip().partition(":")
    metric, _, stat = name.partition(".")
    try:
        percent = float(share.strip().removesuffix("%"))
    except ValueError:
        percent = -1.0
    if metric not in UNTIL_METRICS or stat not in UNTIL_STATS:
        raise ConfigError(
            f"--until-ci {text}: takes {', '.join(UNTIL_METRICS)} with {', '.join(UNTIL_STATS)}, like ttft.p95:5%"
        )
    if not 0 < percent < 100:
        raise ConfigError(f"--until-ci {text}: the width is a share of the value, like ttft.p95:5%")
    return metric, UNTIL_STATS[stat], percent


# -- load --------------------------------------------------------------------------------------------------------------


def _load(load: Load) -> tuple[Load, str]:
    load = _arrival(load)
    shape = rates.shape(load)
    opened = shape is not None or load.arrival == "trace"
    if not opened:
        load = replace(load, concurrency=load.concurrency or 1)
    elif load.ramp_up_s:
        raise ConfigError("--ramp-up opens the slots of a closed loop; with a rate use --ramp")
    count, duration, ends = _end(load, None if shape is None else shape.seconds)
    warmup = load.warmup
    if warmup is None:
        burst = load.request_rate == math.inf  # there is no "before" when everything leaves at once
        if shape is not None and not burst and not load.request_rate:
            warmup = max(1, min(10, round(WARMUP_S * shape.warmup_rate)))  # a slow beginning is not waited out
        else:
            warmup = 0 if burst or load.arrival == "trace" else 10 if opened else min(load.concurrency or 1, 32)
    return replace(load, request_count=count, duration_s=duration, warmup=warmup), ends


def _arrival(load: Load) -> Load:
    """One kind of arrivals, by name where it is said otherwise."""
    if load.speed is not None and load.arrival not in (None, "trace"):
        raise ConfigError(f"--speed is for --arrival trace, not {load.arrival}; leave one of them out")
    arrival = "trace" if load.speed is not None else load.arrival
    if load.burstiness is not None and arrival in ("poisson", "constant", "burst", "trace"):
        raise ConfigError(f"--burstiness is for --arrival gamma, not {arrival}; leave one of them out")
    if arrival == "burst" and load.request_rate != math.inf:
        raise ConfigError("--arrival burst sends everything at once, which is --request-rate inf; say that instead")
    if arrival is None and load.burstiness is not None:
        arrival = "gamma"
    given = {"--request-rate": load.request_rate, "--ramp": load.ramp, "--stages": load.stages}
    named = [flag for flag, value in given.items() if value is not None]
    named += ["--arrival trace"] if arrival == "trace" else []
    if len(named) > 1:
        raise ConfigError(f"{' and '.join(named)} each say when requests arrive; give one of them")
    if arrival is not None and not named:
        raise ConfigError(f"--arrival {arrival} needs a rate; give --request-rate, --ramp or --stages")
    return replace(load, arrival=arrival)


def _end(load: Load, shape_s: float | None) -> tuple[int | None, float | None, str]:
    """(request count, duration, what ends the run)."""
    count, duration = load.request_count, load.duration_s
    if load.request_rate == math.inf:
        if duration is not None and count is None:
            raise ConfigError("--request-rate inf sends everything at once; say how much with --request-count")
        count = count or max(100, 10 * (load.concurrency or 1))
    elif count is None and duration is None:
        if load.arrival == "trace":
            return None, None, "the whole trace"
        if load.until_ci is not None:
            duration = UNTIL_CAP_S
        elif shape_s is not None:
            duration = shape_s
        else:
            count, duration = max(100, 10 * (load.concurrency or 1)), 60.0
    elif duration is None and shape_s is not None:
        duration = shape_s
    limits = [f"{count} requests" if count is not None else "", f"{duration:g} s" if duration is not None else ""]
    if load.until_ci is not None:
        limits.insert(0, f"{load.until_ci.partition(':')[0]} known to {load.until_ci.partition(':')[2]}")
    said = [one for one in limits if one]
    return count, duration, " or ".join(said) + (", whichever comes first" if len(said) > 1 else "")


# -- workload ----------------------------------------------------------------------------------------------------------


def _workload(workload: Workload, named: frozenset[str], target: Target) -> Workload:
    dataset = workload.dataset
    if workload.input_file is not None:
        if dataset is not None:
            raise ConfigError(f"--input-file is short for --dataset jsonl:{workload.input_file}; give one of the two")
        dataset = f"jsonl:{workload.input_file}"
    name, path = sources.dataset_of(dataset)
    synthetic = sources.synthetic_text(dataset)
    osl = workload.osl if (name in sources.DRAWN or "osl" in named) and target.endpoint_type != "embeddings" else None
    if path is not None and name in sources.DRAWN:
        raise ConfigError(f"--dataset {dataset}: {name} prompts are drawn, there is no file; leave out :{path}")
    _lengths(workload, named, drawn=name in sources.DRAWN)
    _bounds(workload, target, synthetic=synthetic)
    _prompts(workload, target, path)
    _conversations(workload, named, target, dataset)
    ignore_eos = workload.ignore_eos
    forced = synthetic or name in sources.DRAWN
    told = osl is not None or (synthetic and path is not None)  # a trace has its own
    if ignore_eos is None and not (forced and told and target.endpoint_type != "embeddings"):
        ignore_eos = False  # None is left for "try it in the preflight"
    if workload.ignore_eos and not told:
        raise ConfigError("--ignore-eos needs an output length; give --osl N")
    return replace(
        workload, dataset=dataset, osl=osl, ignore_eos=ignore_eos, system_prompt=_text(workload.system_prompt)
    )


def _lengths(workload: Workload, named: frozenset[str], *, drawn: bool) -> None:
    """Lengths that can be read, and that the data set takes."""
    for name in SYNTHETIC_ONLY:
        if name in named and not drawn:
            flag = "--" + name.replace("_", "-")
            raise ConfigError(f"{flag} is the length of synthetic prompts; leave it out with a data set of its own")
    if workload.isl_osl is not None and {"isl", "osl", "isl_stddev", "osl_stddev"} & named:
        raise ConfigError("--isl-osl gives both lengths; leave out --isl and --osl")
    readers: list[tuple[str, Any, str | None]] = [
        ("--isl", lambda text: lengths.parse(text, workload.isl_stddev), workload.isl),
        ("--osl", lambda text: lengths.parse(text, workload.osl_stddev), workload.osl),
        ("--isl-osl", lengths.parse_pairs, workload.isl_osl),
    ]
    for flag, read, text in readers:
        try:
            if text is not None:
                read(text)
        except ValueError as error:
            none = " or none" if flag == "--osl" and "not a length" in str(error) else ""
            raise ConfigError(f"{flag} {text}: {error}{none}") from error


def _bounds(workload: Workload, target: Target, *, synthetic: bool) -> None:
    low, high, zipf = workload.min_isl, workload.max_isl, workload.prefix_distribution == "zipf"
    if (low is not None or high is not None) and target.tokenizer is None and not synthetic:
        flag = f"--min-isl {low}" if low is not None else f"--max-isl {high}"
        raise ConfigError(f"{flag} needs the model's --tokenizer to count with")
    if low is not None and high is not None and low > high:
        raise ConfigError(f"--min-isl {low} is above --max-isl {high}; exchange them")
    if not workload.shared_prefix_tokens:
        for flag, given in (("--num-prefixes", workload.num_prefixes > 1), ("--prefix-distribution", zipf)):
            if given:
                raise ConfigError(f"{flag} needs the length of shared prefixes; give --shared-prefix-tokens N")
    if workload.max_osl is not None and target.endpoint_type == "embeddings":
        raise ConfigError(f"--max-osl {workload.max_osl}: embeddings have no output; leave it out")


def _prompts(workload: Workload, target: Target, path: str | None) -> None:
    sources.columns_of(workload.columns)
    if path is None and (workload.columns is not None or workload.sampling != "sequential"):
        flag = "--columns" if workload.columns is not None else f"--sampling {workload.sampling}"
        raise ConfigError(f"{flag} is about a file's rows; name the file with --dataset NAME:FILE")
    if workload.batch_size > 1 and target.endpoint_type != "embeddings":
        raise ConfigError(f"--batch-size {workload.batch_size} is for embeddings; use --endpoint-type embeddings")
    if workload.apply_chat_template and (target.endpoint_type != "completions" or target.tokenizer is None):
        raise ConfigError("--apply-chat-template is for --endpoint-type completions, with the model's --tokenizer")
    if workload.system_prompt and target.endpoint_type in CHATLESS and not workload.apply_chat_template:
        raise ConfigError(f"--system-prompt needs messages, which {target.endpoint_type} does not take; use chat")


def _conversations(workload: Workload, named: frozenset[str], target: Target, dataset: str | None) -> None:
    turns = workload.turns
    name, path = sources.dataset_of(dataset)
    if turns is not None:
        if name.isidentifier() and name not in sources.CONVERSING:
            raise ConfigError(f"--turns {turns}: {name.replace('_', '-')} has no conversations; leave it out")
        if turns == "all" and path is None:
            raise ConfigError("--turns all is for a file's conversations; name it with --dataset NAME:FILE, or give N")
        try:
            if turns != "all":
                found = lengths.parse(turns)
                if path is not None and not found.fixed:
                    raise ValueError("a file's conversations have their own length; give a number or all")
        except ValueError as error:
            raise ConfigError(f"--turns {turns}: {error}") from error
        if turns != "1" and target.endpoint_type in CHATLESS and not workload.apply_chat_template:
            raise ConfigError(f"--turns {turns} needs messages, which {target.endpoint_type} does not take; use chat")
    if not sources.may_converse(workload.dataset or (workload.input_file and "jsonl:"), turns):
        for name in sorted(named & set(CONVERSATIONS_ONLY)):
            flag = "--" + name.removesuffix("_s").replace("_", "-")
            raise ConfigError(f"{flag} is about conversations; give --turns N, or a data set with turns")
    if workload.session_connection and target.transport != "wire":
        raise ConfigError(f"--session-connection needs the wire transport; leave out --transport {target.transport}")


def _text(given: str | None) -> str | None:
    """A text, or what stands in the file behind an @."""
    if given is None or not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8 text"
        raise ConfigError(f"--system-prompt {given}: {str(why).lower()}; check the path") from error


def demo(given: Given) -> Given:
    """Without a server and without a load it is a demonstration: a quick look, some seconds long."""
    if resolve(given)[0].target.url or SAYS_LOAD & given.named:
        return given
    workload = given.config.workload
    if not {"osl", "isl_osl", "dataset", "input_file"} & given.named:
        workload = replace(workload, osl=DEMO_OSL)
    load = replace(given.config.load, concurrency=DEMO_STREAMS, request_count=DEMO_REQUESTS)
    return Given(replace(given.config, load=load, workload=workload), given.named)
