"""The embedded engine's options, each declared once: the flags of `genbench simulate` follow from these fields."""

import math
from dataclasses import dataclass
from types import NoneType
from typing import Annotated, Any, get_args, get_type_hints

from genbench.errors import ConfigError
from genbench.options import Opt

MAX_MODEL_LEN = 131_072
PRESETS = "the preset's"


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorOptions:
    """What the process does unless a request's own `simulate` object says otherwise. Times are in seconds."""

    host: Annotated[str, Opt("address to listen on", metavar="ADDRESS")] = "127.0.0.1"
    port: Annotated[int, Opt("port to listen on; 0: any free one", metavar="PORT", at_least=0, at_most=65535)] = 0
    uds: Annotated[str | None, Opt("listen on this unix socket instead", metavar="PATH", default="none")] = None
    model: Annotated[str, Opt("name of the one model it serves", metavar="NAME")] = "simulated-model"
    ttft_s: Annotated[float, Opt("from the request's last byte to the first token", unit="s", at_least=0)] = 0.05
    itl_s: Annotated[float, Opt("between two tokens", unit="s", at_least=0)] = 0.02
    output_tokens: Annotated[
        int, Opt("answer length of a request without max_tokens", unit="tokens", metavar="N", at_least=0)
    ] = 128
    jitter: Annotated[
        float,
        Opt(
            "move every later token by up to this share of the gap, either way",
            metavar="SHARE",
            at_least=0,
            at_most=0.5,
        ),
    ] = 0.0
    brain: Annotated[
        str | None,
        Opt(
            "who says when a token leaves: the script or a model of continuous batching",
            choices=("script", "scheduler"),
            default="scheduler with a preset or one of its numbers, else script",
        ),
    ] = None
    preset: Annotated[
        str | None, Opt("the scheduler's numbers, by name or from a YAML file", metavar="NAME", default="small")
    ] = None
    prefill_tps: Annotated[
        float | None, Opt("prompt tokens computed in a second", metavar="N", above=0, default=PRESETS)
    ] = None
    step_base_s: Annotated[float | None, Opt("a step at least", unit="s", at_least=0, default=PRESETS)] = None
    step_per_sequence_s: Annotated[
        float | None, Opt("a step longer for each sequence that decodes", unit="s", at_least=0, default=PRESETS)
    ] = None
    step_per_kv_token_s: Annotated[
        float | None, Opt("a step longer for each token those have", unit="s", at_least=0, default=PRESETS)
    ] = None
    max_batch: Annotated[int | None, Opt("sequences at a time", metavar="N", at_least=1, default=PRESETS)] = None
    kv_tokens: Annotated[
        int | None, Opt("tokens of running sequences that there is room for", metavar="N", at_least=2, default=PRESETS)
    ] = None
    max_step_tokens: Annotated[
        int | None, Opt("tokens of a step, prompts and decoding together", metavar="N", at_least=1, default=PRESETS)
    ] = None
    chunked_prefill: Annotated[
        bool | None,
        Opt(
            "split long prompts over steps that they share with decoding",
            negative="--no-chunked-prefill",
            default=PRESETS,
        ),
    ] = None
    prefix_cache: Annotated[
        bool | None,
        Opt("compute a known beginning of a prompt only once", negative="--no-prefix-cache", default=PRESETS),
    ] = None
    step_noise: Annotated[
        float | None,
        Opt(
            "a step longer or shorter by up to this share of it, drawn anew for each",
            metavar="SHARE",
            at_least=0,
            at_most=0.5,
            default=PRESETS,
        ),
    ] = None
    seed: Annotated[int, Opt("of that draw", metavar="N", at_least=0)] = 0
    max_model_len: Annotated[
        int | None,
        Opt(
            "longest prompt and answer together; a longer request is refused",
            unit="tokens",
            metavar="N",
            at_least=2,
            default=f"{MAX_MODEL_LEN}, or the preset's",
        ),
    ] = None
    fault: Annotated[
        tuple[str, ...], Opt("do this wrong, NAME or NAME:ARGUMENT; repeatable", metavar="FAULT", default="none")
    ] = ()
    fault_share: Annotated[
        float, Opt("share of the requests that get the faults, evenly spread", metavar="SHARE", at_least=0, at_most=1)
    ] = 1.0
    api_key: Annotated[str | None, Opt("bearer token to insist on", metavar="KEY", default="none", secret=True)] = None
    tls_cert: Annotated[
        str | None, Opt("PEM file of the certificate; serves https", metavar="FILE", default="none")
    ] = None
    tls_key: Annotated[str | None, Opt("PEM file of its key", metavar="FILE", default="in the certificate's")] = None
    truth_limit: Annotated[int, Opt("events and requests kept for GET /truth", metavar="N", at_least=0)] = 1_000_000
    loop: Annotated[str, Opt("event loop", choices=("auto", "uvloop", "asyncio"))] = "auto"
    stdin_watch: Annotated[
        bool, Opt("end when standard input ends, so that a dead parent leaves nothing", negative="--no-stdin-watch")
    ] = True


def check(options: SimulatorOptions) -> None:
    """Raises ConfigError for a value out of its range; faults are checked where they are parsed."""
    for name in get_type_hints(SimulatorOptions):
        check_value(name, getattr(options, name))
    if options.tls_key and not options.tls_cert:
        raise ConfigError("--tls-key was given without --tls-cert; give both")


def check_value(name: str, value: Any) -> None:
    """Raises ConfigError for a value that this field does not take; None is left out."""
    opt: Opt = get_type_hints(SimulatorOptions, include_extras=True)[name].__metadata__[0]
    if value is None:
        return
    if opt.choices and value not in opt.choices:
        raise ConfigError(f"{flag(name)} is '{value}'; use one of {', '.join(opt.choices)}")
    if opt.at_least is not None and not value >= opt.at_least:
        raise ConfigError(f"{flag(name)} is {value}; give {opt.at_least:g} or more")
    if opt.above is not None and not value > opt.above:
        raise ConfigError(f"{flag(name)} is {value}; give more than {opt.above:g}")
    if opt.at_most is not None and not value <= opt.at_most:
        raise ConfigError(f"{flag(name)} is {value}; give {opt.at_most:g} or less")
    if isinstance(value, float) and math.isinf(value):
        raise ConfigError(f"{flag(name)} is {value}; give a finite number")


def kind_of(name: str) -> Any:
    """A field's type without the None of those that have no default of their own."""
    hint = get_type_hints(SimulatorOptions)[name]
    return next((kind for kind in get_args(hint) if kind is not NoneType), hint) if NoneType in get_args(hint) else hint


def flag(name: str) -> str:
    """The long flag of a field: `ttft_s` is --ttft."""
    return "--" + name.removesuffix("_s").replace("_", "-")
