"""Everything that is fixed before the clock starts: options looked at, the server asked, the plan built."""

from collections.abc import Iterator
from dataclasses import dataclass

from genbench import registry
from genbench.engine.preflight import Found, Prober, preflight
from genbench.errors import ConfigError
from genbench.metrics import slo
from genbench.options import RunConfig
from genbench.plan import BuiltRequests, build
from genbench.tokens import Tokenizer
from genbench.tokens import load as load_tokenizer
from genbench.transport.address import is_public, parse_headers, parse_url, request_head, request_headers, tls_context
from genbench.transport.wire import Address
from genbench.types import OPEN_ENDED, Endpoint, Plan

LARGE_TOKENS = 1_000_000


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that a run needs. `simulated`: the target is the embedded engine that came with the command."""

    config: RunConfig
    ends: str
    endpoint: Endpoint
    address: Address
    found: Found
    tokenizer: Tokenizer | None
    plan: Plan
    notes: tuple[str, ...]
    simulated: bool


def prepare(resolved: RunConfig, ends: str, demo_url: str | None, named: frozenset[str]) -> Prepared:
    """Look at everything that can be wrong, ask the server, build the plan.

    Raises ConfigError, DatasetError or TargetError; no load has been sent then.
    """
    for text in resolved.slo:
        slo.parse(text)
    target = resolved.target
    endpoint = registry.load("endpoints", target.endpoint_type)
    url = parse_url(demo_url or target.url or "", endpoint.PATH)
    path = endpoint.PATH
    if target.endpoint:
        path = "/" + target.endpoint.lstrip("/")
    headers = request_headers(url, target.api_key, parse_headers(target.header))
    head = request_head(url.path(path), headers)
    tls = tls_context(url, target.ca_cert, insecure=target.insecure_tls)
    prober = Prober(url, headers, tls, target.wait_ready_s, patient="wait_ready_s" in named)
    tokenizer, missing = None, ""
    if target.tokenizer is not None:
        tokenizer, missing = load_tokenizer(
            target.tokenizer, download=target.download, post=lambda p, body: prober.post(p, body)
        )
    count = tokenizer.count if tokenizer is not None and tokenizer.local else None
    found = preflight(resolved, prober, path, endpoint, count)
    plan = build(resolved, found.facts, endpoint, tokenizer)
    _ask_before_a_large_load(resolved, plan, found)
    address = Address(url.host, found.family, found.sockaddr, head, tls)
    notes = tuple(note for note in (missing, *found.notes, *plan.notes) if note)
    return Prepared(resolved, ends, endpoint, address, found, tokenizer, plan, notes, demo_url is not None)


def announce(prepared: Prepared) -> Iterator[str]:
    """What will be sent, in a few lines, before it is."""
    load, target = prepared.config.load, prepared.config.target
    who = (
        "the embedded engine (SIMULATED)"
        if prepared.simulated
        else prepared.address.head.split(b"Host: ")[1].split(b"\r")[0].decode()
    )
    yield f"{target.endpoint_type} on {who}, model {prepared.found.facts.model}"
    if load.request_rate is None:
        how = f"{load.concurrency} at a time"
    else:
        how = "all at once" if load.request_rate == float("inf") else f"Poisson arrivals at {load.request_rate:g} req/s"
        if load.concurrency is not None:
            how += f", at most {load.concurrency} at a time"
    warmup = f"{load.warmup} warm-up requests first" if load.warmup else "no warm-up"
    yield f"{how}; {prepared.ends}; {warmup}"
    inputs, outputs, count = expected_tokens(prepared.plan)
    sizes = (
        [f"up to {_short(inputs)} input tokens" if load.duration_s else f"~{_short(inputs)} input tokens"]
        if inputs
        else []
    )
    sizes += [f"up to {_short(outputs)} output tokens"] if outputs else []
    if count and sizes:
        all_in = f"in all {count} requests" if load.warmup else f"in {count} requests"
        yield f"will send {' and ask for '.join(sizes)} {all_in}"
    yield from (f"note: {note}" for note in prepared.notes)


def expected_tokens(plan: Plan) -> tuple[int, int, int]:
    """(input, output tokens, requests) the plan comes to, from what is built so far; 0 where not known."""
    assert isinstance(plan.requests, BuiltRequests)
    built = plan.requests.peek()
    if not built or len(plan.requests) == OPEN_ENDED:
        return 0, 0, 0
    scale = len(plan.requests) / len(built)
    inputs = sum(max(0, request.sample.isl) or len(request.body) // 4 for request in built)
    outputs = sum(request.max_tokens or 0 for request in built)
    return round(inputs * scale), round(outputs * scale), len(plan.requests)


def _ask_before_a_large_load(resolved: RunConfig, plan: Plan, found: Found) -> None:
    if resolved.output.yes or not is_public(found.sockaddr):
        return
    inputs, outputs, _ = expected_tokens(plan)
    open_ended = len(plan.requests) == OPEN_ENDED
    if open_ended or inputs + outputs > LARGE_TOKENS:
        size = "an unknown number of" if open_ended else f"up to {_short(inputs + outputs)}"
        raise ConfigError(f"this sends {size} tokens to the public address {found.sockaddr[0]}; add --yes to do it")


def _short(number: int) -> str:
    for bound, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= bound:
            return f"{number / bound:.3g}{unit}"
    return str(number)
