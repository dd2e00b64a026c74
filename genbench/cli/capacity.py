"""`genbench capacity`: the highest load that keeps a promise."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from genbench import config
from genbench.cli import options, screen, study, upload
from genbench.errors import ConfigError
from genbench.studies.ranges import HIGHEST

if TYPE_CHECKING:
    from genbench.studies.capacity import Answer
    from genbench.studies.capacity_asked import Wanted

RATE = "request-rate"
PROMISES = ("slo", "goodput", "attainment")
BUDGET, COOL_DOWN, PRECISION, ATTAINMENT = "30m", "30s", "5%", "95%"
EXAMPLES = """\
Examples:
  genbench capacity --url http://localhost:8000 --slo "ttft.p95<500ms"
  genbench capacity --url http://localhost:8000 --slo chat --budget 15m
  genbench capacity --url http://localhost:8000 --goodput "ttft:500 tpot:50" --by concurrency
"""
OWN = ("by", "low", "high", "precision", "cool_down")


class CapacityCommand(options.Profile):
    """The options of a run but for its load and length, and those of the search."""

    HIDDEN = frozenset(
        {"request_rate", "request_count", "duration_s", "until_ci", "ramp", "stages", "speed", "plan", *PROMISES}
    )
    FIRST = (
        ("--slo RULE|NAME", "promise to keep, like 'ttft.p95<500ms', or a set of them, like chat; repeatable"),
        ("--goodput 'METRIC:MS ...'", "the same per request: a good one keeps all of them"),
        ("--attainment P%", f"with --goodput: the share of requests that has to be good [{ATTAINMENT}]"),
        ("--by LOAD", f"what is raised: request-rate or concurrency [{RATE}]"),
        ("--low X, --high Y", "look between these loads only"),
        ("--precision P%", f"how narrow the answer's interval is to be [{PRECISION}]"),
        ("--budget TIME", f"how long all of it may take [{BUDGET}]"),
        ("--resume DIR", "go on with a search's folder: what is in it is not measured again"),
        ("--cool-down TIME", f"wait at most so long until the server is quiet again [{COOL_DOWN}]"),
    )

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Three lines that work when pasted."""
        formatter.write("\n" + EXAMPLES)


def run(budget: str | None, resume: str | None, **values: Any) -> int:
    """Find the highest load that keeps a promise: "holds 42.3 req/s (95 % CI 40.9-44.0) with TTFT p95 < 500 ms".

    It is looked for with short runs at rising and falling loads, each judged while it goes on; the longest ones confirm
    the answer. Every one is a run of its own, in the folder `points`.
    """
    from genbench.metrics import slo
    from genbench.studies import capacity, capacity_asked, capacity_files
    from genbench.studies.folder import study_folder
    from genbench.studies.profile import Screen

    own = {key: str(values[key]) for key in OWN if values.get(key) is not None}
    named, profiles, before = options.named(values), values["config"], None
    if resume is not None:
        before = capacity_files.read(Path(resume))
        named, own, budget = _continued(before, named, own, budget, resume)
    given = slo.promised(study.demo(config.load(named, profiles)))
    wanted = _wanted(own, budget or BUDGET)
    promises = capacity_asked.check(given, wanted)
    upload.ready(given, resume)
    output = given.config.output
    screens = study.Screens(output)
    folder = Path(resume) if resume is not None else study_folder(given, "capacity", screens.say)
    promises_as_given = {name: named[name] for name in PROMISES if name in named}
    options_kept = study.kept(given, *PROMISES) | promises_as_given
    kept = {"own": own, "budget": budget or BUDGET, "named": options_kept}
    command = _command(named, profiles, own, budget)
    document = capacity_files.begin(given, wanted, command, kept, before)
    search = capacity.Capacity(given, wanted, folder, Screen(screens.say, screens.watch), promises, document)
    try:
        done = search.run()
    finally:
        if not document["probes"] and document["alone"] is None and not document["interrupted"] and resume is None:
            study.take_back(folder, capacity_files.NAME)
    drawn = _drawn(folder, quiet=output.quiet) if output.plots and document["probes"] else ("", "")
    _show(done, folder, drawn, as_json=output.json, quiet=output.quiet)
    if done.error is not None:
        sys.stderr.write(f"genbench: {done.error}\n")
    return upload.after(folder, output, exit_code(done, strict=output.strict))


def exit_code(done: "Answer", *, strict: bool) -> int:
    """130 when interrupted; an error's own; 1 where no load keeps the promises; 4 with --strict where the run that
    confirms the answer is INVALID; else 0.
    """
    if done.document["interrupted"]:
        return 130
    if done.error is not None:
        return done.error.exit_code
    answer = done.document["answer"]
    if answer is None or answer["value"] is None:
        return 1
    return 4 if strict and done.confirmation is not None and done.confirmation.summary.verdict == "INVALID" else 0


def report(folder: Path, formats: Sequence[str], *, no_plots: bool, as_json: bool) -> int:
    """`genbench report` of a search: its answer and its probes shown, its figures and its page made anew."""
    from genbench.studies import capacity, capacity_files

    done = capacity.Answer(capacity_files.read(folder))
    kinds = [kind for kind in ("png", "svg") if kind in formats or (not formats and kind == "png")]
    wanted = not no_plots and done.document["probes"]
    drawn = _drawn(folder, kinds, page=not formats or "html" in formats) if wanted else ("", "")
    _show(done, folder, drawn, as_json=as_json, quiet=False)
    return exit_code(done, strict=False)


def _drawn(folder: Path, kinds: Sequence[str] = ("png",), *, page: bool = True, quiet: bool = False) -> tuple[str, str]:
    from genbench.cli import sweep

    said, begin = sweep.draw(folder, kinds, page=page, quiet=quiet)
    return said, begin if begin == "report.html" else ""


def _show(done: "Answer", folder: Path, drawn: tuple[str, str], *, as_json: bool, quiet: bool) -> None:
    """The answer and the run that confirms it on stdout, the probes on stderr."""
    from genbench.studies import capacity_files, verdicts

    if not quiet and done.document["probes"]:
        sys.stderr.write("\n" + "\n".join(verdicts.table(done.document)) + "\n\n")
    with screen._readable():
        if as_json:
            sys.stdout.write((folder / capacity_files.NAME).read_text())
        else:
            answer, *more = done.document["sentences"]
            sys.stdout.write("".join(f"{line}\n" for line in (answer, *(f"- {one}" for one in more))))
        sys.stdout.flush()
    if as_json:
        return
    if done.confirmation is not None:
        with screen._readable():
            sys.stdout.write("\n")
            sys.stdout.flush()
        screen.show(done.confirmation, as_json=False)
    ended = done.document["ended"]
    again = done.document["command"] if ended else f"genbench capacity --resume {shlex.quote(str(folder))}"
    said, begin = drawn
    files = f"files: {folder}/{f' (begin with {begin})' if begin else ''}"
    screen.last_lines([*([said] if said else []), files, f"{'again' if ended else 'go on'}: {again}"])


# -- what was asked for ------------------------------------------------------------------------------------------------


def _wanted(own: Mapping[str, str], budget: str) -> "Wanted":
    from genbench.metrics import slo
    from genbench.studies.capacity_asked import Wanted

    by = own.get("by", RATE).replace("_", "-")
    if by not in (RATE, "concurrency"):
        raise ConfigError(f"--by {by}: must be {RATE} or concurrency")
    whole = by == "concurrency"
    return Wanted(
        by=by.replace("-", "_"),
        low=_load("--low", own["low"], whole=whole) if "low" in own else None,
        high=_load("--high", own["high"], whole=whole) if "high" in own else None,
        precision=slo.percent("--precision", own.get("precision", PRECISION)) / 100,
        budget_s=study.time_s("--budget", budget, above=0),
        cool_down_s=study.time_s("--cool-down", own.get("cool_down", COOL_DOWN)),
    )


def _load(flag: str, text: str, *, whole: bool) -> float:
    try:
        value = float(int(text)) if whole else float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= HIGHEST:
        kind = "a whole number from 1 on" if whole else "a number above 0"
        raise ConfigError(f"{flag} {text}: must be {kind}, up to {HIGHEST:,.0f}")
    return value


# -- going on with a search --------------------------------------------------------------------------------------------


def _continued(
    before: Mapping[str, Any], named: dict[str, Any], own: dict[str, str], budget: str | None, resume: str
) -> tuple[dict[str, Any], dict[str, str], str | None]:
    """The options of the search that is resumed, with those given now in their place. Raises ConfigError."""
    study.stays(named, resume)
    kept = before.get("options") or {}
    return {**kept.get("named", {}), **named}, {**kept.get("own", {}), **own}, budget or kept.get("budget")


def _command(named: Mapping[str, Any], profiles: Sequence[str], own: Mapping[str, str], budget: str | None) -> str:
    """The command line that repeats the search, secrets left out."""
    plain = {name: f"{value:g}" if isinstance(value, float) else value for name, value in named.items()}
    words = config.command_line(plain, profiles)
    words[1] = "capacity"
    for name, text in (*own.items(), *([("budget", budget)] if budget else [])):
        words += [f"--{name.replace('_', '-')}", text]
    return " ".join(config.quoted(words))


FLAGS = ("--by", "--low", "--high", "--precision", "--budget", "--resume", "--cool-down")

command = CapacityCommand(
    "capacity",
    callback=run,
    params=[*(click.Option([flag], type=str) for flag in FLAGS), *options.make()],
    help=run.__doc__,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
