"""`genbench calibrate`: the client against the embedded engine, and where its ceiling on this machine is."""

import json
import sys
import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from genbench.errors import ConfigError, RecordError
from genbench.options import seconds

if TYPE_CHECKING:
    from genbench.studies.calibration import Calibration, Step

Columns = tuple[tuple[str, int, Callable[["Step"], str]], ...]  # head, width, cell

WIDTH = 100
LABEL = 13
LEAST_S, MOST_S = 0.2, 60.0
ERRORS = "times are errors against the engine's own log, ms; "
STREAMS_LEGEND = (
    ERRORS + "shared, CPU, engine: %, tokens that shared a read, the client's and the engine's share of a core; "
    "us: CPU time per event; lag: of the client's loop, p99 ms"
)
REQUESTS_LEGEND = ERRORS + "us: CPU time per request; lag: from a free slot to the send, p99 ms"


def _duration(ctx: click.Context, param: click.Parameter, value: str) -> float:
    try:
        found = seconds(value)
    except ValueError:
        found = 0.0
    if not LEAST_S <= found <= MOST_S:
        raise ConfigError(
            f"--seconds-per-step {value}: must be a time from {LEAST_S:g} to {MOST_S:g} s, like 5 or 500ms"
        )
    return found


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seconds-per-step", "step_s", default="5", show_default=True, metavar="TIME", callback=_duration,
              help="how long each load lasts")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="print the calibration as JSON and nothing else")
def command(step_s: float, as_json: bool) -> int:
    """Measure this client against the embedded engine, and store what it can do here for later runs to quote.

    Takes about a minute and a half and wants a quiet machine.
    """
    from genbench.studies import calibrate, calibration

    try:
        found = calibrate.calibrate(step_s, lambda line: click.echo(line, err=True), calibrate.LADDER)
    except KeyboardInterrupt:
        click.echo("interrupted: nothing was stored", err=True)
        return 130
    problem, end = None, ""
    try:
        end = f"\nstored in {calibration.write(found)}\n"
    except RecordError as error:  # the result is shown all the same: it took a minute and a half
        problem = error
    sys.stdout.write(json.dumps(found.as_json(), indent=2) + "\n" if as_json else table(found) + end)
    if problem is not None:
        raise problem
    return 0


def table(found: "Calibration") -> str:
    """The calibration as plain ASCII text: streams, small requests, the ceilings, what to know."""
    from genbench.studies.calibrate import ceiling, requests_ceiling, title
    from genbench.studies.calibration import REQUESTS, STREAMS

    def rows(kind: str, columns: Columns) -> list[str]:
        heads = "".join(head.rjust(width) for head, width, _ in columns)
        steps = [one for one in found.steps if one.kind == kind]
        cells = ["".join(cell(one).rjust(width) for _, width, cell in columns) for one in steps]
        return [" " * LABEL + heads, *(f"{title(one):<{LABEL}}{line}" for one, line in zip(steps, cells, strict=True))]

    def row(label: str, per_s: float, key: str, step: "Step | None") -> str:
        if step is None:
            return f"{label:<22}{'-':>16}  no load held"
        value = f"{'at least ' if found.at_least.get(key) else ''}{per_s:,.0f}"
        return f"{label:<22}{value:>16}  {title(step)} at a time"

    system = f"{found.host}, {found.cpu}, {found.cpus} CPUs, Python {found.python}, {found.loop}, {found.transport}"
    events, requests = ceiling(found.steps).step, requests_ceiling(found.steps).step
    lines = [
        *(f"genbench {found.genbench}  calibrated {found.made}", *_wrapped(system), ""),
        *(*rows(STREAMS, _streams()), *_wrapped(STREAMS_LEGEND), ""),
        *(*rows(REQUESTS, _requests()), *_wrapped(REQUESTS_LEGEND), ""),
        row("ceiling (events/s)", found.events_per_s_ceiling, "events_per_s", events),
        row("ceiling (req/s)", found.requests_per_s_ceiling, "requests_per_s", requests),
        f"{'CPU per event (us)':<22}{found.cpu_us_per_event:>16.1f}",
        "",
        *(line for note in found.notes for line in _wrapped(f"- {note}", "  ")),
    ]
    return "\n".join(lines).encode("ascii", "replace").decode("ascii") + "\n"


def _streams() -> Columns:
    from genbench.studies.calibrate import complaint

    return (
        ("events/s", 9, lambda step: f"{step.events_per_s:,.0f}"),
        ("TTFT p50", 10, _number("ttft_error_p50_ms")),
        ("p99", 7, _number("ttft_error_p99_ms")),
        ("gap p50", 9, _number("icl_error_p50_ms")),
        ("p99", 7, _number("icl_error_p99_ms")),
        ("shared", 8, _fixed("shared_pct", 2)),
        *_costs(),
        ("lag", 8, _number("loop_lag_p99_ms")),
        ("held", 6, lambda step: "no" if complaint(step) else "yes"),
    )


def _requests() -> Columns:
    return (
        ("req/s", 9, lambda step: f"{step.requests_per_s:,.0f}"),
        ("latency p50", 13, _number("ttft_error_p50_ms")),
        ("p99", 7, _number("ttft_error_p99_ms")),
        *_costs(),
        ("lag", 8, _number("client_lag_p99_ms")),
    )


def _costs() -> Columns:
    return (
        ("us", 7, _fixed("cpu_us_per_event", 1)),
        ("CPU", 5, _fixed("cpu_pct", 0)),
        ("engine", 8, _fixed("engine_cpu_pct", 0)),
    )


def _number(name: str) -> Callable[["Step"], str]:
    from genbench.block import number

    return lambda step: number(getattr(step, name))


def _fixed(name: str, decimals: int) -> Callable[["Step"], str]:
    def cell(step: "Step") -> str:
        value = getattr(step, name)
        return "-" if value is None else f"{value:.{decimals}f}"

    return cell


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent)
