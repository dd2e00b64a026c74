"""`genbench sweep`: one load after the other; the curve."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from genbench import config
from genbench.cli import options, screen, study, upload
from genbench.errors import ConfigError
from genbench.studies import ranges

if TYPE_CHECKING:
    from genbench.studies.sweep import Wanted

SWEPT = {"request_rate": "--request-rate", "concurrency": "--concurrency"}
COOL_DOWN = "30s"
EXAMPLES = """\
Examples:
  genbench sweep --url http://localhost:8000
  genbench sweep --url http://localhost:8000 --request-rate 1,2,4,8 --slo "ttft.p95<500ms"
  genbench sweep --url http://localhost:8000 --concurrency 1:64:x2 --isl-osl 128:128,2048:256 --budget 15m
"""


class SweepCommand(options.Profile):
    """The options of a run, ranges in two of them, and the sweep's own."""

    FIRST = (
        ("--concurrency RANGE", "loads to measure: 1,2,4,8 or 1:32:x2 or 1:20:+1 or auto [auto]"),
        ("--request-rate RANGE", "the same in arrivals per second; --concurrency N is then the cap"),
        ("--repeats N", "measure every load so many times [1]"),
        ("--budget TIME", "start nothing that would end later than this [none]"),
        ("--resume DIR", "go on with a sweep's folder: what is in it is not measured again"),
        ("--cool-down TIME", f"wait at most so long until the server is quiet again [{COOL_DOWN}]"),
        ("--gpus N", "GPUs that the server has, for the throughput of each"),
    )

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Three lines that work when pasted."""
        formatter.write("\n" + EXAMPLES)


def run(
    repeats: str | None, budget: str | None, resume: str | None, cool_down: str | None, gpus: str | None, **values: Any
) -> int:
    """Measure one load after the other and show the curve: throughput, latency, where it bends, what it promises.

    Without a range the concurrency is doubled until that brings less than 5 % more throughput. Every load is a run of
    its own with the same requests, in the folder `points`.
    """
    from genbench.metrics import slo
    from genbench.studies import sweep_files
    from genbench.studies.folder import study_folder
    from genbench.studies.profile import Screen
    from genbench.studies.sweep import Sweep, check, exit_code

    given_now = {"repeats": repeats, "cool_down": cool_down, "gpus": gpus}
    own = {name: value for name, value in given_now.items() if value is not None}
    named, profiles, before = options.named(values), values["config"], None
    if resume is not None:
        before = sweep_files.read(Path(resume))
        named, own = _continued(before, named, own, resume)
    texts = {name: str(named.pop(name)) for name in SWEPT if name in named}
    by, text = swept(texts)
    if by == "request_rate" and "concurrency" in texts:
        named["concurrency"] = texts["concurrency"]
    given = slo.promised(study.demo(config.load(named, profiles)))
    wanted = _wanted(given, by, text, own, budget)
    given = wanted.at_first(given)
    check(given)
    upload.ready(given, resume)
    output = given.config.output
    screens = study.Screens(output)
    folder = Path(resume) if resume is not None else study_folder(given, "sweep", screens.say)
    kept = {"range": {by: text}, "own": own, "named": study.kept(given, *_swept(by))}
    lines = Table(by, grouped=len(wanted.groups) > 1)
    sweep = Sweep(
        given,
        wanted,
        folder,
        Screen(screens.say, screens.watch),
        command=_command(named, profiles, {by: text}, own, budget),
        options=kept,
        tell=(lambda _: None) if output.json else lines.add,
        before=before,
    )
    done = sweep.run()
    said, begin = draw(folder, quiet=output.quiet) if output.plots and done.document["points"] else ("", "sweep.md")
    if output.json:
        _print_json(folder)
    else:
        lines.end(done.document)
        screen.last_lines([*([said] if said else []), f"files: {folder}/ (begin with {begin})", _again(done, folder)])
    if done.error is not None:
        sys.stderr.write(f"genbench: {done.error}\n")
    return upload.after(folder, output, exit_code(done, strict=output.strict))


class Table:
    """The table on stdout, a line as each point ends."""

    def __init__(self, by: str, *, grouped: bool) -> None:
        self._by, self._grouped = by, grouped
        self._begun = False

    def add(self, entry: Mapping[str, Any]) -> None:
        """A point has ended."""
        from genbench.studies import table

        embeddings = "embedding_throughput" in entry["run"]
        lines = [] if self._begun else table.head(self._by, grouped=self._grouped, embeddings=embeddings)
        self._begun = True
        self._print([*lines, table.line(entry, grouped=self._grouped)])

    def end(self, document: Mapping[str, Any]) -> None:
        """What the marks mean, what was left out, what the curve says."""
        from genbench.studies import table

        legend = [table.LEGEND] if table.marked(document["points"]) else []
        said = [*document["left_out"], *document["analysis"].get("sentences", ())]
        self._print([*legend, *([""] if said else []), *(f"- {sentence}" for sentence in said)])

    def _print(self, lines: Sequence[str]) -> None:
        with screen._readable():
            sys.stdout.write("".join(line.rstrip() + "\n" for line in lines))
            sys.stdout.flush()


def draw(folder: Path, kinds: Sequence[str] = ("png",), *, page: bool = True, quiet: bool = False) -> tuple[str, str]:
    """Figures and page of a sweep; returns what to say of them, and where to begin to read.

    Whatever goes wrong here, the sweep is on disk and its exit code stands.
    """
    said, begin = [], "sweep.md"
    try:
        with screen.waiting("drawing the figures ...", quiet=quiet):
            from genbench import curves
            from genbench.report import curves_page

            if kinds:
                said.append(curves.draw(folder, kinds))
            if page:
                curves_page.write(folder)
                begin = "report.html"
    except KeyboardInterrupt:
        said.append(f"the drawing was stopped; draw with: genbench report {folder}")
    except Exception as error:  # a figure must not cost a sweep
        said.append(f"no pictures ({type(error).__name__}: {error}); draw with: genbench report {folder}")
    return "; ".join(text for text in said if text), begin


def report(folder: Path, formats: Sequence[str], *, no_plots: bool, as_json: bool, strict: bool) -> int:
    """`genbench report` of a sweep: everything made anew from the records of its points, and shown."""
    from genbench.studies import sweep_files
    from genbench.studies.sweep import Swept, exit_code

    document = sweep_files.rebuild(folder)
    kinds = [kind for kind in ("png", "svg") if kind in formats or (not formats and kind == "png")]
    page = not formats or "html" in formats
    said, _ = draw(folder, kinds, page=page) if not no_plots and (kinds or page) else ("", "")
    if as_json:
        _print_json(folder)
    else:
        lines = Table(document["by"], grouped=any(one["group"] for one in document["points"]))
        for entry in document["points"]:
            lines.add(entry)
        lines.end(document)
        screen.last_lines([*([said] if said else []), f"files: {folder}/"])
    return exit_code(Swept(document), strict=strict)


def _print_json(folder: Path) -> None:
    from genbench.studies import sweep_files

    with screen._readable():
        sys.stdout.write((folder / sweep_files.NAME).read_text())
        sys.stdout.flush()


# -- what was asked for ------------------------------------------------------------------------------------------------


def swept(texts: Mapping[str, str]) -> tuple[str, str]:
    """Which load is swept, and its range; auto over the concurrency when there is none. Raises ConfigError."""
    several = [name for name, text in texts.items() if ranges.is_range(text)]
    if len(several) > 1:
        raise ConfigError("--request-rate and --concurrency are both ranges; sweep one of them, the other is the cap")
    if several == ["concurrency"] and "request_rate" in texts:
        raise ConfigError(
            f"--concurrency {texts['concurrency']} is the cap where there is --request-rate, and a cap is one number"
        )
    by = next((name for name in SWEPT if name in texts), "concurrency")
    return by, texts.get(by, ranges.AUTO)


def _wanted(given: config.Given, by: str, text: str, own: Mapping[str, str], budget: str | None) -> "Wanted":
    from genbench.studies.sweep import Wanted, groups_of

    return Wanted(
        by=by,
        values=ranges.parse(SWEPT[by], text, whole=by == "concurrency"),
        groups=groups_of(given.config.workload.isl_osl),
        repeats=study.whole("--repeats", own.get("repeats", "1")),
        budget_s=None if budget is None else study.time_s("--budget", budget, above=0),
        cool_down_s=study.time_s("--cool-down", own.get("cool_down", COOL_DOWN)),
        gpus=study.whole("--gpus", own["gpus"]) if "gpus" in own else None,
    )


# -- going on with a sweep ---------------------------------------------------------------------------------------------


def _swept(by: str) -> tuple[str, ...]:
    """The options that the range stands for."""
    return ("request_rate", "concurrency") if by == "concurrency" else ("request_rate",)


def _continued(
    before: Mapping[str, Any], named: dict[str, Any], own: dict[str, str], resume: str
) -> tuple[dict[str, Any], dict[str, str]]:
    """The options of the sweep that is resumed, with those given now in their place. Raises ConfigError."""
    study.stays(named, resume)
    kept = before.get("options") or {}
    found = {**kept.get("named", {}), **kept.get("range", {}), **named}
    by = str(before["by"])
    if "request_rate" in named and by != "request_rate":
        raise ConfigError(f"--resume {resume} is a sweep over the {by}; leave --request-rate out")
    return found, {**kept.get("own", {}), **own}


def _again(done: Any, folder: Path) -> str:
    """How to go on where something is missing, else how to do it again."""
    if done.document["interrupted"] or done.error is not None or done.over_budget:
        return f"go on: genbench sweep --resume {shlex.quote(str(folder))}"
    return f"again: {done.document['command']}"


def _command(
    named: Mapping[str, Any],
    profiles: Sequence[str],
    swept: Mapping[str, str],
    own: Mapping[str, str],
    budget: str | None,
) -> str:
    """The command line that repeats the sweep, secrets left out."""
    plain = {name: f"{value:g}" if isinstance(value, float) else value for name, value in named.items()}
    words = config.command_line(plain, profiles)
    words[1] = "sweep"
    for name, text in swept.items():
        words += [SWEPT[name], text]
    for name, text in (*own.items(), *([("budget", budget)] if budget else [])):
        words += [f"--{name.replace('_', '-')}", text]
    return " ".join(config.quoted(words))


command = SweepCommand(
    "sweep",
    callback=run,
    params=[
        *(click.Option([flag], type=str) for flag in ("--repeats", "--budget", "--resume", "--cool-down", "--gpus")),
        *options.make(),
    ],
    help=run.__doc__,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
