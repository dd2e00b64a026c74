"""Everything that is fixed before the clock starts: options looked at, the server asked, the plan built."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from genbench import loads, registry
from genbench.engine.preflight import Found, check_too, preflight
from genbench.engine.prober import Prober
from genbench.errors import ConfigError
from genbench.options import RunConfig, Target
from genbench.plan.build import build
from genbench.plan.facts import Facts
from genbench.plan.file import read as read_plan
from genbench.plan.requests import BuiltRequests
from genbench.tokens import Tokenizer
from genbench.tokens import load as load_tokenizer
from genbench.transport.address import (
    is_public,
    parse_headers,
    parse_proxy,
    parse_url,
    proxy_of,
    request_head,
    request_headers,
    tls_context,
)
from genbench.transport.exchange import Address
from genbench.types import OPEN_ENDED, Endpoint, Plan

Say = Callable[[str], None]
LARGE_TOKENS = 1_000_000


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that a run needs.

    `simulated`: the target is the embedded engine that came with the command; `named`: options the user gave.
    """

    config: RunConfig
    ends: str
    endpoint: Endpoint
    addresses: tuple[Address, ...]
    found: Found
    tokenizer: Tokenizer | None
    plan: Plan
    notes: tuple[str, ...]
    simulated: bool
    named: frozenset[str]


def prepare(resolved: RunConfig, ends: str, demo_url: str | None, named: frozenset[str], say: Say) -> Prepared:
    """Look at everything that can be wrong, ask the servers, build the plan; `say` hears when one is waited for.

    Raises ConfigError, DatasetError or TargetError; no load has been sent then.
    """
    target = resolved.target
    endpoint = registry.load("endpoints", target.endpoint_type)
    path = "/" + (target.endpoint or endpoint.PATH).lstrip("/")
    wait = Waiting(demo_url, patient="wait_ready_s" in named, say=say)
    places = [place(text, endpoint, path, target, wait) for text in ([demo_url] if demo_url else target.url)]
    prober = places[0].prober
    tokenizer, missing = None, ""
    if target.tokenizer is not None:
        tokenizer, missing = load_tokenizer(
            target.tokenizer, download=target.download, post=lambda p, body: prober.post(p, body)
        )
    count = tokenizer.count if tokenizer is not None and tokenizer.local else None
    found = preflight(resolved, prober, path, endpoint, count)
    for other in places[1:]:
        check_too(resolved, other.prober, path, endpoint, found.facts)
    plan = _plan(resolved, found.facts, endpoint, tokenizer, say)
    addresses = tuple(one.address for one in places)
    _ask_before_a_large_load(resolved, plan, addresses)
    said = (missing, *(one.note for one in places), *found.notes, *plan.notes())
    notes = tuple(note for note in dict.fromkeys(said) if note)
    return Prepared(resolved, ends, endpoint, addresses, found, tokenizer, plan, notes, demo_url is not None, named)


def _plan(resolved: RunConfig, facts: Facts, endpoint: Endpoint, tokenizer: Tokenizer | None, say: Say) -> Plan:
    """From a file, or from the options."""
    if resolved.workload.plan is None:
        return build(resolved, facts, endpoint, tokenizer, say)
    return read_plan(Path(resolved.workload.plan), round(resolved.load.grace_s * 1e9), facts.model)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Whether a server that is not there yet is waited for, and who hears of it; the demo's own never has a proxy."""

    demo_url: str | None
    patient: bool
    say: Say


@dataclass(frozen=True, slots=True)
class Place:
    """One of the servers: how to ask it and how to send to it."""

    prober: Prober
    address: Address
    note: str


def place(text: str, endpoint: Endpoint, path: str, target: Target, wait: Waiting) -> Place:
    """Take a --url apart, find its address and the way to it. Raises ConfigError or TargetError."""
    url = parse_url(text, endpoint.PATH)
    headers = request_headers(url, target.api_key, parse_headers(target.header))
    head = request_head(url.path(path), headers)
    tls = tls_context(url, target.ca_cert, insecure=target.insecure_tls)
    named, proxy, note = "" if text == wait.demo_url else proxy_of(url), None, ""
    if named and target.transport != "wire":
        proxy = parse_proxy(named)
    elif named:
        note = (
            f"the environment names a proxy for {url.where}; the wire transport goes there directly, "
            "--transport aiohttp goes through it"
        )
    prober = Prober(
        url,
        headers,
        tls,
        target.wait_ready_s,
        patient=wait.patient,
        proxy=proxy,
        say=wait.say,
    )
    address = Address(url.host, prober.family, prober.sockaddr, head, tls, url.full(path), headers, proxy)
    return Place(prober, address, note)


def announce(prepared: Prepared) -> Iterator[str]:
    """What will be sent, in a few lines, before it is."""
    load, target = prepared.config.load, prepared.config.target
    who = (
        "the embedded engine (SIMULATED)"
        if prepared.simulated
        else ", ".join(_named(address) for address in prepared.addresses)
    )
    yield f"{target.endpoint_type} on {who}, model {prepared.found.facts.model}"
    how = loads.sentence(asdict(load))
    warmup = f"{load.warmup} warm-up request{'' if load.warmup == 1 else 's'} first" if load.warmup else "no warm-up"
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
    total = plan.requests.total_turns
    if total is None:  # conversations, as many as the time has: those that are built are like the rest
        total = round(len(plan.requests) * len(built) / max(1, plan.requests.made - plan.requests.handed_out))
    scale = total / len(built)
    inputs = sum(max(0, request.sample.isl) or len(request.body) // 4 for request in built)
    outputs = sum(request.max_tokens or 0 for request in built)
    return round(inputs * scale), round(outputs * scale), total


def _named(address: Address) -> str:
    return address.sockaddr if isinstance(address.sockaddr, str) else urlsplit(address.url).netloc


def _ask_before_a_large_load(resolved: RunConfig, plan: Plan, addresses: Sequence[Address]) -> None:
    public = [address.sockaddr[0] for address in addresses if is_public(address.sockaddr)]
    if resolved.output.yes or not public:
        return
    inputs, outputs, _ = expected_tokens(plan)
    open_ended = len(plan.requests) == OPEN_ENDED
    if open_ended or inputs + outputs > LARGE_TOKENS:
        size = "an unknown number of" if open_ended else f"up to {_short(inputs + outputs)}"
        raise ConfigError(f"this sends {size} tokens to the public address {public[0]}; add --yes to do it")


def _short(number: int) -> str:
    for bound, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if number >= bound:
            return f"{number / bound:.3g}{unit}"
    return str(number)
