"""`genbench cost`: dollars and minutes for a million tokens."""

import shlex
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from genbench.cli import screen
from genbench.errors import ConfigError
from genbench.studies.cost_numbers import number, pairs, whole

if TYPE_CHECKING:
    from genbench.studies.cost_read import Subject, Terms

RATIO = "4"
ROW = ("price", "throughput", "input", "requests", "gpus", "gpu", "instance")
EXAMPLES = """\
Examples:
  genbench cost --price 1.212 --throughput 161.3
  genbench cost artifacts/my-run --instance g5.2xlarge
  genbench cost small=artifacts/sweep-1 large=artifacts/sweep-2 --price small=1.21 --price large=5.67
"""
T = TypeVar("T")


class CostCommand(click.Command):
    """Adds the examples."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Three lines that work when pasted."""
        formatter.write("\n" + EXAMPLES)


@click.command(cls=CostCommand, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("runs", metavar="[NAME=]RUN...", nargs=-1, type=str)
@click.option("--price", "prices", multiple=True, metavar="[NAME=]X", help="dollars per hour of what was measured")
@click.option("--throughput", metavar="X", help="without a RUN: output tokens per second")
@click.option("--input-throughput", metavar="X", help="without a RUN: input tokens per second, for the split")
@click.option(
    "--instance", "instances", multiple=True, metavar="[NAME=]I", help="machine, for price and GPUs by the list"
)
@click.option("--gpu", "kinds", multiple=True, metavar="[NAME=]GPU", help="kind of GPU [the run's, the instance's]")
@click.option("--gpus", "counts", multiple=True, metavar="[NAME=]N", help="GPUs that the price is for [the same]")
@click.option(
    "--row",
    "given",
    multiple=True,
    metavar="NAME:K=V,...",
    help=f"a row of figures: {', '.join(ROW)}; repeatable",
)
@click.option("--ratio", default=RATIO, metavar="X", help=f"input tokens that an output token counts as [{RATIO}]")
@click.option("--hardware", metavar="FILE", help="GPUs and instances of yours, written like profiles/hardware.yaml")
@click.option("--out", type=click.Path(path_type=Path), help="folder to write to [a single sweep's own, else none]")
@click.option("--no-plots", is_flag=True, help="no figure")
@click.option("--json", "as_json", is_flag=True, help="print cost.json and nothing else")
def command(
    runs: tuple[str, ...],
    prices: tuple[str, ...],
    throughput: str | None,
    input_throughput: str | None,
    instances: tuple[str, ...],
    kinds: tuple[str, ...],
    counts: tuple[str, ...],
    given: tuple[str, ...],
    ratio: str,
    hardware: str | None,
    out: Path | None,
    no_plots: bool,
    as_json: bool,
) -> int:
    """Say what a million tokens cost, and how long they take: of figures given, of runs, of every load of a sweep.

    RUN is the folder of a run, a sweep or a capacity search. The price is that of --price, else of the run's own
    --price-per-hour, else the list price of its instance. The first row is what the others are held against.
    """
    from genbench import hardware as known
    from genbench.studies import cost, cost_read, cost_words

    if out is not None and out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out} is a file; name a folder")
    catalogue = known.read(hardware)
    shared = _terms(prices, instances, kinds, counts)
    subjects = [cost_read.read(text) for text in runs]
    rows = [_row(text) for text in given]
    subjects += [subject for subject, _ in rows]
    if throughput is not None or input_throughput is not None:
        if runs or given:
            raise ConfigError("--throughput is for a price alone; leave it out where there is a RUN or a --row")
        subjects.append(_alone(throughput, input_throughput))
    if not subjects:
        raise ConfigError("cost needs a throughput: give --throughput (token/s) with --price, or a RUN")
    terms = _merged(shared, [terms for _, terms in rows])
    subjects = cost_read.renamed(subjects)
    document = cost.cost(subjects, terms, catalogue, ratio=number("--ratio", ratio, "ratio"), command=_command())
    swept = [one for one in subjects if one.kind == cost_read.SWEEP]
    to = out or (Path(swept[0].source) if len(swept) == 1 else None)
    if to is None and swept:
        to = Path("artifacts") / f"cost-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    said = _write(document, to, plots=bool(swept) and not no_plots) if to is not None else ""
    with screen._readable():
        sys.stdout.write(_json(document) if as_json else cost_words.screen(document))
        sys.stdout.flush()
    if not as_json and to is not None:
        screen.last_lines([*([said] if said else []), f"files: {to}/"])
    elif said:
        sys.stderr.write(f"{said}\n")
    return 0


def _write(document: "Mapping[str, Any]", to: Path, *, plots: bool) -> str:
    """cost.json, and the figure of the sweeps; what went wrong with that, in a sentence."""
    from genbench.studies import cost, cost_figure

    to.mkdir(parents=True, exist_ok=True)
    (to / cost.NAME).write_text(_json(document))
    if not plots:
        return ""
    with screen.waiting("drawing the figure ...", quiet=False):
        return cost_figure.draw(cost_figure.prices(document), to)


def _json(document: "Mapping[str, Any]") -> str:
    import orjson

    return orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()


# -- what was asked for ------------------------------------------------------------------------------------------------


def _alone(throughput: str | None, into: str | None) -> "Subject":
    from genbench.studies.cost_read import GIVEN, Row, Subject

    output_tps = None if throughput is None else number("--throughput", throughput, "throughput")
    input_tps = None if into is None else number("--input-throughput", into, "input-throughput")
    return Subject("the throughput", GIVEN, "", (Row("the throughput", output_tps=output_tps, input_tps=input_tps),))


def _row(text: str) -> "tuple[Subject, Terms]":
    """NAME:key=value,... as a subject, and what it says of its price."""
    from genbench.studies.cost_read import GIVEN, Row, Subject, Terms

    name, colon, rest = text.partition(":")
    said = dict(pairs(rest))
    unknown = [key for key in said if key not in ROW]
    if not colon or not name or not said or unknown:
        what = f"there is no {unknown[0]}" if unknown else "write it like 7b:price=1.21,throughput=161.3"
        raise ConfigError(f"--row {text}: {what}; it takes {', '.join(ROW)}")
    figures = {key: number(f"--row {name}: {key}", said[key], key)
               for key in ("throughput", "input", "requests", "price") if key in said}  # fmt: skip
    row = Row(name, output_tps=figures.get("throughput"), input_tps=figures.get("input"),
              requests_ps=figures.get("requests"))  # fmt: skip
    terms = Terms(
        {name: figures["price"]} if "price" in figures else {},
        {name: said["instance"]} if "instance" in said else {},
        {name: said["gpu"]} if "gpu" in said else {},
        {name: whole(f"--row {name}: gpus", said["gpus"])} if "gpus" in said else {},
    )
    return Subject(name, GIVEN, "", (row,)), terms


def _terms(
    prices: tuple[str, ...], instances: tuple[str, ...], kinds: tuple[str, ...], counts: tuple[str, ...]
) -> "Terms":
    from genbench.studies.cost_read import Terms

    return Terms(
        _named("--price", prices, lambda flag, text: number(flag, text, "price")),
        _named("--instance", instances, lambda _, text: text),
        _named("--gpu", kinds, lambda _, text: text),
        _named("--gpus", counts, whole),
    )


def _named(flag: str, texts: tuple[str, ...], read: Callable[[str, str], T]) -> dict[str, T]:
    """Values by name, "" where one is for all."""
    found: dict[str, T] = {}
    for text in texts:
        name, equals, value = text.rpartition("=")
        if name in found:
            raise ConfigError(f"{flag} {text}: given twice{f' for {name}' if name else ''}; give it once")
        found[name] = read(f"{flag} {name}{equals}" if name else flag, value)
    return found


def _merged(shared: "Terms", rows: "list[Terms]") -> "Terms":
    """What is said for all or by name, and what the rows say of themselves."""
    from dataclasses import fields

    from genbench.studies.cost_read import Terms

    merged = {}
    for one in fields(Terms):
        merged[one.name] = dict(getattr(shared, one.name))
        for row in rows:
            merged[one.name].update(getattr(row, one.name))
    return Terms(**merged)


def _command() -> str:
    """The command line as it was given."""
    return shlex.join(["genbench", *sys.argv[1:]]) if sys.argv[1:2] == ["cost"] else "genbench cost"
