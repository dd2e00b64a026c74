"""One run, end to end: config -> plan -> run -> records -> metrics -> files. Reads like the idea it draws."""

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from genbench import config, loads
from genbench.decode import ResponseDecoder
from genbench.engine.decoding import Decoding
from genbench.engine.judge import Judge
from genbench.engine.live import Live, Snapshot
from genbench.engine.loop import Engine, Rules
from genbench.engine.preflight import explain
from genbench.engine.until import Until
from genbench.errors import ConfigError, GenbenchError, RecordError
from genbench.metrics import slo
from genbench.metrics.summary import Run
from genbench.plan.requests import BuiltRequests
from genbench.records import RecordWriter, write_header
from genbench.resolve import error_limit, resolve, until
from genbench.studies import amend, calibration, export, limits, simulated
from genbench.studies.header import header
from genbench.studies.observe import Observed
from genbench.studies.plan import planned
from genbench.studies.prepare import Prepared, announce, prepare
from genbench.studies.report import rebuild
from genbench.studies.scrub import Scrubber
from genbench.transport.exchange import Timeouts, Transport
from genbench.transport.poller import Poller
from genbench.transport.wire import WireTransport
from genbench.types import Record


@dataclass(frozen=True, slots=True)
class Screen:
    """Where a run says things: `say` whole lines, `watch` a snapshot four times a second while the load runs."""

    say: Callable[[str], None]
    watch: Callable[[Snapshot], None] | None


def profile(given: config.Given, command: list[str], screen: Screen, judge: Judge | None = None) -> Run:
    """Run what was asked for and write its folder; returns what it says. A `judge` may end it early.

    Raises ConfigError, DatasetError or TargetError before any load is sent. An interrupted run is written and returned.
    """
    given = slo.promised(planned(given))
    resolved, ends = resolve(given)
    exporters = export.load(resolved.output.export)
    scrub = Scrubber(resolved.target)
    signal.signal(signal.SIGTERM, _as_ctrl_c)
    with (
        simulated.engine() if not resolved.target.url else contextlib.nullcontext(None) as demo_url,
        contextlib.closing(Observed(resolved)) as observed,
    ):
        try:
            prepared = prepare(resolved, ends, demo_url, given.named, screen.say)
            observed.look((demo_url,) if demo_url else resolved.target.url, prepared.endpoint.PATH)
        except GenbenchError as error:
            raise type(error)(scrub(str(explain(error, "url" in given.named)))) from error
        wanted = limits.connections(prepared, screen.say)
        folder = _folder(prepared)
        for line in announce(prepared):
            screen.say(line)
        head = header(prepared, command)
        write_header(folder / "run.json", head)
        with contextlib.closing(RecordWriter(folder / "requests.jsonl")) as writer:
            observed.begin(folder)
            facts, texts, stopped = run_loop(_run(prepared, wanted, writer, screen, scrub, judge))
            observed.close()
            facts["notes"] += [scrub(said) for said in observed.past(head["clock"]["zero_unix_ns"])]
            write_header(folder / "run.json", head | facts)
            if prepared.tokenizer is not None and not amend.count_tokens(writer, prepared.tokenizer, texts):
                said = f"the tokenizer {prepared.tokenizer.name} failed after the run: output tokens are the server's"
                write_header(folder / "run.json", head | facts | {"notes": [*facts["notes"], said]})
    run = rebuild(folder)
    for said in export.write(exporters, run, folder):
        screen.say(said)
    if stopped is not None:
        raise GenbenchError(
            f"the run ended early: {scrub(str(stopped))}; what was measured is in {folder}"
        ) from stopped
    return run


def _as_ctrl_c(number: int, frame: object) -> None:
    """SIGTERM before and after the load; during it the engine has its own handler."""
    raise KeyboardInterrupt


def _folder(prepared: Prepared) -> Path:
    output, load = prepared.config.output, prepared.config.load
    if output.name is not None:
        name = output.name
        if Path(name).name != name:
            raise ConfigError(f"--name {name} is a path; give a plain name, and the folder with --artifact-dir")
    else:
        how = loads.short(asdict(load))
        model = "".join(c if c.isalnum() or c in "-._" else "-" for c in prepared.found.facts.model).strip("-.")
        kind = Path(prepared.config.target.endpoint_type).stem
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        name = "-".join([*(["SIMULATED"] if prepared.simulated else []), model or "model", kind, how, stamp])
    if prepared.simulated and "SIMULATED" not in name:
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


def run_loop(main: Any) -> Any:
    """Run a coroutine on uvloop where it imports, else on asyncio (GENBENCH_LOOP=asyncio asks for that)."""
    factory = asyncio.new_event_loop
    if os.environ.get("GENBENCH_LOOP") != "asyncio":
        with contextlib.suppress(ImportError):
            import uvloop

            factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(main)


async def _run(
    prepared: Prepared, wanted: int, writer: RecordWriter, screen: Screen, scrub: Scrubber, judge: Judge | None
) -> tuple[dict[str, Any], dict[int, Any], Exception | None]:
    """Open so many connections, send, stamp, append.

    Returns what the header gains, the answers' texts when wanted, and what ended the run.
    """
    settings = prepared.config
    loop = asyncio.get_running_loop()
    poller = Poller(loop)
    transport = _transport(loop, poller, prepared)
    live = Live()
    texts: dict[int, Any] = {}
    saver = amend.TextSaver(writer.path.parent, settings.output, prepared.plan)
    counted = prepared.tokenizer is not None and settings.target.endpoint_type != "embeddings"  # they answer no text

    def sink(record: Record, decoder: ResponseDecoder) -> None:
        if record.error:
            record.error = scrub(record.error)
        live.add(record)
        saver.answer(record, decoder)
        if counted:
            texts[record.index] = decoder.texts

    keep = counted or settings.output.save_outputs
    decoding = Decoding(loop, poller, prepared.endpoint, writer, sink, keep_text=keep)
    engine = Engine(loop, poller, transport, decoding, live, prepared.plan, screen.watch, _rules(prepared, judge))
    presses = _interrupts(loop, engine)
    connect_ns = await transport.open(wanted)
    try:
        facts = await engine.run()
    finally:
        await transport.close()
        poller.close()
        saver.close()
        for number in presses:
            loop.remove_signal_handler(number)
            if engine.interrupted:  # the files are still to be written: a second press leaves at once there, too
                signal.signal(number, lambda *_: os._exit(130))
    health = facts | transport.facts() | {"loop": type(loop).__module__.partition(".")[0]}
    assert isinstance(prepared.plan.requests, BuiltRequests)
    here = calibration.environment(health["loop"], settings.target.transport)
    known = calibration.load(here)
    events_per_s = decoding.content_events / health["watched_s"]
    gained = {
        "interrupted": engine.interrupted,
        "stopped_early": engine.stopped_early,
        "stopped_at": engine.stopped_at,
        "error": None if engine.error is None else scrub(f"{type(engine.error).__name__}: {engine.error}"),
        "health": health,
        "calibration": known.quote(events_per_s) if known else {"stale": calibration.stale(here)},
        "not_sent": facts["not_sent"],
        "bodies_sha256": prepared.plan.requests.sha256(),
        "notes": list(dict.fromkeys((*prepared.notes, *prepared.plan.notes()))),
        "preopened_connect_ns": connect_ns,
    }
    return gained, texts, engine.error


def _transport(loop: asyncio.AbstractEventLoop, poller: Poller, prepared: Prepared) -> Transport:
    """The transport that was asked for; the libraries of the others load only here."""
    settings = prepared.config
    timeouts = Timeouts(round(settings.limits.connect_timeout_s * 1e9), round(settings.limits.idle_timeout_s * 1e9))
    if settings.target.transport == "aiohttp":
        from genbench.transport.aiohttp import AiohttpTransport

        return AiohttpTransport(loop, prepared.addresses, timeouts)
    if settings.target.transport == "openai":
        from genbench.transport.openai import OpenaiTransport

        return OpenaiTransport(loop, prepared.addresses, timeouts)
    return WireTransport(loop, poller, prepared.addresses, timeouts, retry=settings.limits.retry)


def _rules(prepared: Prepared, judge: Judge | None) -> Rules:
    given, load = prepared.config.limits, prepared.config.load
    count, percent = error_limit(given.stop_after_errors) if given.stop_after_errors else (None, None)
    return Rules(
        targets=len(prepared.addresses),
        first_token_ns=None if given.timeout_first_token_s is None else round(given.timeout_first_token_s * 1e9),
        total_ns=None if given.timeout_total_s is None else round(given.timeout_total_s * 1e9),
        most_failed=count,
        most_failed_pct=percent,
        until=None if load.until_ci is None else Until(*until(load.until_ci)),
        judge=judge,
        session_connection=prepared.config.workload.session_connection,
    )


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
