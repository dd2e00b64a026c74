"""The embedded engine's options, each declared once: the flags of `genbench simulate` follow from these fields."""

from dataclasses import dataclass
from typing import Annotated, get_type_hints

from genbench.errors import ConfigError
from genbench.options import Opt


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
    for name, hint in get_type_hints(SimulatorOptions, include_extras=True).items():
        opt, value = hint.__metadata__[0], getattr(options, name)
        if opt.choices and value not in opt.choices:
            raise ConfigError(f"{flag(name)} is '{value}'; use one of {', '.join(opt.choices)}")
        if opt.at_least is not None and not value >= opt.at_least:
            raise ConfigError(f"{flag(name)} is {value}; give {opt.at_least:g} or more")
        if opt.at_most is not None and not value <= opt.at_most:
            raise ConfigError(f"{flag(name)} is {value}; give {opt.at_most:g} or less")
    if options.tls_key and not options.tls_cert:
        raise ConfigError("--tls-key was given without --tls-cert; give both")


def flag(name: str) -> str:
    """The long flag of a field: `ttft_s` is --ttft."""
    return "--" + name.removesuffix("_s").replace("_", "-")
