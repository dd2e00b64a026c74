"""One run, end to end: config -> plan -> run -> records -> metrics -> files. Reads like the idea it draws."""

import asyncio
import contextlib
import os
import platform
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from genbench import __version__, config, registry
from genbench.decode import ResponseDecoder
from genbench.engine.decoding import Decoding
from genbench.engine.live import Live, Snapshot
from genbench.engine.loop import Engine
from genbench.engine.preflight import Found, Prober, explain, preflight
from genbench.errors import ConfigError, GenbenchError, RecordError
from genbench.metrics import slo
from genbench.metrics.summary import Run
from genbench.options import RunConfig
from genbench.plan import BuiltRequests, build
from genbench.records import RecordWriter, write_header
from genbench.studies import amend, simulated
from genbench.studies.report import rebuild
from genbench.tokens import Tokenizer
from genbench.tokens import load as load_tokenizer
from genbench.transport.address import is_public, parse_headers, parse_url, request_head, request_headers, tls_context
from genbench.transport.poller import Poller
from genbench.transport.wire import Address, Timeouts, WireTransport, raise_file_limit
from genbench.types import OPEN_ENDED, Endpoint, Plan, Record

LARGE_TOKENS = 1_000_000
MAX_PREOPENED = 256
SPARE_FILES = 64
PACKAGES = ("httptools", "numpy", "orjson", "scipy", "tokenizers", "uvloop")


@dataclass(frozen=True, slots=True)
class Screen:
    """Where a run says things: `say` whole lines, `watch` a snapshot four times a second while the load runs."""

    say: Callable[[str], None]
    watch: Callable[[Snapshot], None] | None


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that is fixed before the clock starts."""

    config: RunConfig
    endpoint: Endpoint
    address: Address
    found: Found
    tokenizer: Tokenizer | None
    plan: Plan
    notes: tuple[str, ...]


def profile(given: config.Given, command: list[str], screen: Screen) -> Run:
    """Run what was asked for and write its folder; returns what it says.

    Raises ConfigError, DatasetError or TargetError before any load is sent. An interrupted run is written and returned.
    """
    resolved, ends = config.resolve(given)
    for text in resolved.slo:
        slo.parse(text)
    with simulated.engine() if resolved.target.url is None else contextlib.nullcontext(None) as demo_url:
        try:
            prepared = prepare(resolved, demo_url, given.named)
        except GenbenchError as error:
            raise explain(error, "url" in given.named) from error
        folder = _folder(prepared, simulated=demo_url is not None)
        for line in announce(prepared, ends, simulated=demo_url is not None):
            screen.say(line)
        header = _header(prepared, command, simulated=demo_url is not None)
        write_header(folder / "run.json", header)
        with contextlib.closing(RecordWriter(folder / "requests.jsonl")) as writer:
            facts, texts = run_loop(_run(prepared, writer, screen))
            if prepared.tokenizer is not None:
                amend.count_tokens(writer, prepared.tokenizer, texts)
    write_header(folder / "run.json", header | facts)
    return rebuild(folder)


# -- before the clock starts ------------------------------------------------------------------------------------------


def prepare(resolved: RunConfig, demo_url: str | None, named: frozenset[str]) -> Prepared:
    """Look at everything that can be wrong, ask the server, build the plan."""
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
    return Prepared(resolved, endpoint, address, found, tokenizer, plan, notes)


def announce(prepared: Prepared, ends: str, *, simulated: bool) -> Iterator[str]:
    """What will be sent, in a few lines, before it is."""
    load, target = prepared.config.load, prepared.config.target
    who = (
        "the embedded engine (SIMULATED)"
        if simulated
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
    yield f"{how}; {ends}; {warmup}"
    inputs, outputs, count = expected_tokens(prepared.plan)
    sizes = (
        [f"up to {_short(inputs)} input tokens" if load.duration_s else f"~{_short(inputs)} input tokens"]
        if inputs
        else []
    )
    sizes += [f"up to {_short(outputs)} output tokens"] if outputs else []
    if count and sizes:
        yield f"will send {' and ask for '.join(sizes)} in {count} requests"
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


def _folder(prepared: Prepared, *, simulated: bool) -> Path:
    output, load = prepared.config.output, prepared.config.load
    if output.name is not None:
        name = output.name
    else:
        how = f"c{load.concurrency}" if load.request_rate is None else f"r{load.request_rate:g}"
        model = "".join(c if c.isalnum() or c in "-._" else "-" for c in prepared.found.facts.model).strip("-.")
        kind = Path(prepared.config.target.endpoint_type).stem
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        name = "-".join([*(["SIMULATED"] if simulated else []), model or "model", kind, how, stamp])
    if simulated and "SIMULATED" not in name:
        name = f"SIMULATED-{name}"
    base = Path(output.artifact_dir) / name
    folder = base
    for k in range(2, 1000):
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            if output.name is not None:
                raise ConfigError(f"--name {output.name}: {folder} is there already; choose another name") from None
            folder = base.with_name(f"{base.name}-{k}")
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise ConfigError(f"--artifact-dir {output.artifact_dir}: {why}; choose another folder") from error
    raise RecordError(f"{base} and its numbered neighbours are all there; choose another --artifact-dir")


# -- the run ----------------------------------------------------------------------------------------------------------


def run_loop(main: Any) -> Any:
    """Run a coroutine on uvloop where it imports, else on asyncio (GENBENCH_LOOP=asyncio asks for that)."""
    factory = asyncio.new_event_loop
    if os.environ.get("GENBENCH_LOOP") != "asyncio":
        with contextlib.suppress(ImportError):
            import uvloop

            factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


async def _run(prepared: Prepared, writer: RecordWriter, screen: Screen) -> tuple[dict[str, Any], dict[int, Any]]:
    """Open, send, stamp, append; returns what the header gains, and the answers' texts when they are wanted."""
    settings = prepared.config
    loop = asyncio.get_running_loop()
    poller = Poller(loop)
    timeouts = Timeouts(round(settings.limits.connect_timeout_s * 1e9), round(settings.limits.idle_timeout_s * 1e9))
    wanted = _connections(prepared)
    most = wanted if settings.load.concurrency is not None else len(prepared.plan.requests)
    if raise_file_limit(most + SPARE_FILES) < wanted + SPARE_FILES:
        raise ConfigError(
            f"{wanted} connections need as many open files; raise the limit with ulimit -n {wanted + SPARE_FILES}"
        )
    transport = WireTransport(loop, poller, prepared.address, timeouts, retry=settings.limits.retry)
    live = Live()
    texts: dict[int, Any] = {}
    saver = amend.TextSaver(writer.path.parent, settings.output, prepared.plan)

    def sink(record: Record, decoder: ResponseDecoder) -> None:
        live.add(record)
        saver.answer(record, decoder)
        if prepared.tokenizer is not None:
            texts[record.index] = decoder.texts

    keep = prepared.tokenizer is not None or settings.output.save_outputs
    decoding = Decoding(loop, poller, prepared.endpoint, writer, sink, keep_text=keep)
    connect_ns = await transport.open(wanted)
    engine = Engine(loop, poller, transport, decoding, live, prepared.plan, screen.watch)
    presses = _interrupts(loop, engine)
    cpu = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    try:
        facts = await engine.run()
    finally:
        transport.close()
        poller.close()
        saver.close()
        for number in presses:
            loop.remove_signal_handler(number)
    used = resource.getrusage(resource.RUSAGE_SELF)
    health = (
        facts
        | transport.facts()
        | {
            "cpu_pct": 100
            * (used.ru_utime + used.ru_stime - cpu.ru_utime - cpu.ru_stime)
            / (time.perf_counter() - began),
            "peak_rss_bytes": used.ru_maxrss * 1024,
            "loop": type(loop).__module__.partition(".")[0],
        }
    )
    assert isinstance(prepared.plan.requests, BuiltRequests)
    return {
        "interrupted": engine.interrupted,
        "health": health,
        "not_sent": facts["not_sent"],
        "bodies_sha256": prepared.plan.requests.sha256(facts["sent"] + facts["not_sent"]),
        "preopened_connect_ns": connect_ns,
    }, texts


def _connections(prepared: Prepared) -> int:
    """How many to open ahead: all of a closed loop's, a guess for an open one."""
    load = prepared.config.load
    total = len(prepared.plan.requests)
    if load.request_rate is None:
        return min(load.concurrency or 1, total)
    guess = 2 * load.request_rate * prepared.found.facts.latency_s
    return int(max(1, min(load.concurrency or MAX_PREOPENED, guess, MAX_PREOPENED, total)))


def _interrupts(loop: asyncio.AbstractEventLoop, engine: Engine) -> tuple[signal.Signals, ...]:
    """Ctrl-C or SIGTERM once: stop and write what there is; twice: out at once."""
    pressed = False

    def press() -> None:
        nonlocal pressed
        if pressed:
            os._exit(130)
        pressed = True
        sys.stderr.write("\nstopping; writing what there is (again to leave at once)\n")
        engine.interrupt()

    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, press)
    return numbers


def _header(prepared: Prepared, command: list[str], *, simulated: bool) -> dict[str, Any]:
    """run.json as it stands before the first request."""
    facts, plan = prepared.found.facts, prepared.plan
    return {
        "genbench": __version__,
        "config": config.public(prepared.config),
        "command": " ".join(config.quoted(command)),
        "endpoint_type": prepared.config.target.endpoint_type,
        "model": facts.model,
        "simulated": simulated,
        "interrupted": True,  # until the end says otherwise: a killed run must not look whole
        "seed": plan.seed,
        "salt": plan.salt,
        "dataset_sha256": plan.dataset_sha256,
        "clock": {"zero_unix_ns": time.time_ns() - time.perf_counter_ns(), "unit": "ns", "name": "CLOCK_MONOTONIC"},
        "preflight": {
            "models": list(prepared.found.models),
            "version": prepared.found.version,
            "template_tokens": prepared.found.template_tokens,
            "tokens_per_word": facts.tokens_per_word,
            "max_tokens_field": facts.max_tokens_field,
            "ignore_eos": facts.ignore_eos,
            "latency_s": facts.latency_s,
            "time_to_ready_s": prepared.found.time_to_ready_s,
            "address": str(prepared.found.sockaddr[0]),
            "port": prepared.found.sockaddr[1],
        },
        "tokenizer": prepared.tokenizer.name if prepared.tokenizer is not None else None,
        "notes": list(prepared.notes),
        "environment": {
            "host": platform.node(),
            "system": platform.platform(),
            "cpus": os.cpu_count(),
            "python": platform.python_version(),
            "packages": {name: _version(name) for name in PACKAGES},
        },
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
