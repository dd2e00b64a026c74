"""`genbench compare`: is B really faster than A?"""

import math
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from genbench.cli import screen
from genbench.errors import ConfigError

if TYPE_CHECKING:
    from genbench.studies.compare import Wanted
    from genbench.studies.compare_read import Side

MIN_EFFECT = "2%"
EXAMPLES = """\
Examples:
  genbench compare artifacts/old artifacts/new
  genbench compare --baseline baseline.json artifacts/new --fail-if "ttft.p99 worse 5%" --markdown
  genbench compare artifacts/new --save-baseline baseline.json
"""


class CompareCommand(click.Command):
    """Adds the examples."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Three lines that work when pasted."""
        formatter.write("\n" + EXAMPLES)


@click.command(cls=CompareCommand, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("sides", metavar="[NAME=]RUN...", nargs=-1, type=str)
@click.option("--baseline", metavar="FILE", help="the base: a file of --save-baseline, or a run")
@click.option("--save-baseline", metavar="FILE", help="write the one RUN as a baseline, small enough for a repository")
@click.option(
    "--fail-if",
    "rules",
    multiple=True,
    metavar="RULE",
    help="exit with 1 where this is so and significant, like 'ttft.p99 worse 5%'; repeatable",
)
@click.option("--repeats", is_flag=True, help="runs in the same folder are repeats, one side; so are those of one NAME")
@click.option("--min-effect", default=MIN_EFFECT, metavar="P%", help=f"call no smaller difference one [{MIN_EFFECT}]")
@click.option("--normalize-to", metavar="NAME", help="the side that the others are compared with [the first]")
@click.option(
    "--price", "prices", multiple=True, metavar="NAME=X", help="dollars per hour of a side, like B=2.50; repeatable"
)
@click.option("--force", is_flag=True, help="compare although a run is INVALID")
@click.option("--out", type=click.Path(path_type=Path), help="folder to write to [artifacts/compare-TIME]")
@click.option("--no-plots", is_flag=True, help="no figures and no report.html")
@click.option("--markdown", "as_markdown", is_flag=True, help="print Markdown for a pull request and nothing else")
@click.option("--json", "as_json", is_flag=True, help="print compare.json and nothing else")
def command(
    sides: tuple[str, ...],
    baseline: str | None,
    save_baseline: str | None,
    rules: tuple[str, ...],
    repeats: bool,
    min_effect: str,
    normalize_to: str | None,
    prices: tuple[str, ...],
    force: bool,
    out: Path | None,
    no_plots: bool,
    as_markdown: bool,
    as_json: bool,
) -> int:
    """Say whether runs differ, metric by metric, with intervals and p-values; first what makes it unfair.

    RUN is the folder of a run, of a sweep, of a capacity search, a folder that holds repeats of one load, a
    baseline, or another tool's result file. Every other one is compared with the first. Runs of one NAME are
    repeats: old=r1 old=r2 new=r3 new=r4.
    """
    from genbench.studies import compare, compare_files, compare_markdown, compare_read, compare_words

    if as_json and as_markdown:
        raise ConfigError("--json and --markdown both want the screen; give one of them, both files are written")
    wanted = _wanted(min_effect, rules, prices, normalize_to, force=force)
    given = _given(sides, baseline, save_baseline)
    if out is not None and out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out} is a file; name a folder")
    read = compare_read.sides(given, grouped=repeats, base=baseline is not None, force=force)
    if len(read) < 2 and save_baseline is not None:
        _save(read[-1], save_baseline, force=force)
        return 0
    document = compare.compare(read, wanted, _command())
    to = out or compare_files.folder()
    with screen.waiting("drawing the figures ...", quiet=False):
        said = compare_files.write(to, document, _ordered(read, document), plots=not no_plots)
    with screen._readable():
        if as_json:
            sys.stdout.write(compare_files.as_json(document).decode())
        elif as_markdown:
            sys.stdout.write(compare_markdown.markdown(document))
        else:
            sys.stdout.write(compare_words.screen(document))
        sys.stdout.flush()
    broken = any(not gate["passed"] for gate in document["gates"])
    if save_baseline is not None and not broken:
        _save(read[-1], save_baseline, force=force, quiet=as_json or as_markdown)
    if not (as_json or as_markdown):
        screen.last_lines([*([said] if said else []), f"files: {to}/"])
    elif said:
        sys.stderr.write(f"{said}\n")
    return 1 if broken else 0


def _given(sides: tuple[str, ...], baseline: str | None, save_baseline: str | None) -> list[str]:
    """The arguments, the baseline first. Raises ConfigError where they are too few, or too many to save one."""
    from genbench.studies import run_ab_files

    if save_baseline is not None and len(sides) != 1:
        raise ConfigError(f"--save-baseline {save_baseline} writes one side; name one RUN, not {len(sides)}")
    given = [*([baseline] if baseline is not None else []), *sides]
    both = len(given) == 1 and run_ab_files.is_one(Path(given[0]))
    if len(given) < 2 and not both and not (save_baseline is not None and sides):
        raise ConfigError(
            f"compare needs two runs or more, and got {len(given)}; name another one, or a --baseline FILE"
        )
    if baseline is not None and not Path(baseline).exists():
        raise ConfigError(
            f"--baseline {baseline}: there is no such file; write one with genbench compare RUN --save-baseline"
            f" {shlex.quote(baseline)}"
        )
    return given


def _save(side: "Side", file: str, *, force: bool, quiet: bool = False) -> None:
    from genbench.studies import compare_files

    size = compare_files.save_baseline(side, Path(file), force=force)
    if not quiet:
        click.echo(f"baseline: {file} ({size / 1000:,.0f} kB, {side.name})")


def _ordered(read: "list[Side]", document: "dict[str, Any]") -> "list[Side]":
    """The sides as the document has them, the base first."""
    by_name = {side.name: side for side in read}
    return [by_name[one["name"]] for one in document["subjects"]]


# -- what was asked for ------------------------------------------------------------------------------------------------


def _wanted(
    min_effect: str, rules: tuple[str, ...], prices: tuple[str, ...], base: str | None, *, force: bool
) -> "Wanted":
    from genbench.studies import gate
    from genbench.studies.compare import Wanted

    return Wanted(
        min_effect=_percent("--min-effect", min_effect) / 100,
        rules=tuple(gate.parse(text) for text in dict.fromkeys(rules)),
        prices=dict(map(_price, prices)),
        base=base or "",
        force=force,
    )


def _percent(flag: str, text: str) -> float:
    try:
        value = float(text.strip().removesuffix("%"))
    except ValueError:
        value = math.nan
    if not 0 <= value < 100:
        raise ConfigError(f"{flag} {text}: must be a percentage from 0 to below 100, like 2%")
    if 0 < value < 1 and "%" not in text:
        raise ConfigError(f"{flag} {text}: is that {100 * value:g}% or {value:g}%? write it with the percent sign")
    return value


def _price(text: str) -> tuple[str, float]:
    name, equals, amount = text.rpartition("=")
    try:
        value = float(amount.strip().removeprefix("$"))
    except ValueError:
        value = math.nan
    if not equals or not name:
        raise ConfigError(f"--price {text}: write it like NAME=2.50, in dollars per hour")
    if not 0 < value < math.inf:
        raise ConfigError(f"--price {text}: a price must be a number above zero, in dollars per hour")
    return name, value


def _command() -> str:
    """The command line as it was given."""
    return shlex.join(["genbench", *sys.argv[1:]]) if sys.argv[1:2] == ["compare"] else "genbench compare"
