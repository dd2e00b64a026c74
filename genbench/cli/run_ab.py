"""`genbench run-ab`: two servers, the same work in turns; do these engines differ?"""

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from genbench import config
from genbench.cli import compare, options, screen, study, upload
from genbench.errors import ConfigError, GenbenchError, RecordError
from genbench.options import Output

if TYPE_CHECKING:
    from genbench.studies.compare import Wanted as CompareWanted
    from genbench.studies.run_ab import Interleaved, Wanted

ROUNDS, COOL_DOWN = "10", "30s"
OWN = ("a", "b", "model_a", "model_b", "rounds", "cool_down", "min_effect")
FLAGS = {name: f"--{name.replace('_', '-')}" for name in OWN}
EXAMPLES = """\
Examples:
  genbench run-ab --a http://localhost:8000 --b http://localhost:8001
  genbench run-ab --a http://localhost:8000 --b http://localhost:8001 --request-rate 4 --rounds 20
  genbench run-ab --a http://old:8000 --b http://new:8000 --concurrency 16 --fail-if "ttft.p95 worse 5%"
"""


class RunAbCommand(options.Profile):
    """The options of a run, and those of the two sides."""

    FIRST = (
        ("--a URL, --b URL", "the two servers; the ratios are B's values by A's"),
        ("--model-a NAME, --model-b NAME", "model to ask each for [the server's first, or --model]"),
        ("--rounds N", f"so many blocks on each server [{ROUNDS}]"),
        ("-n N, -d TIME", "a block's requests or measured time [max(50, 5 x concurrency) or 30 s; 10 s with a rate]"),
        ("--min-effect P%", f"call no difference below this [{compare.MIN_EFFECT}]"),
        ("--fail-if RULE", "exit with 1 where this holds, like 'ttft.p99 worse 5%'; repeatable"),
        ("--force", "compare rounds with an INVALID block as well"),
        ("--budget TIME", "begin no round that would end later than this [none]"),
        ("--resume DIR", "go on with a folder: what is in it is not measured again"),
        ("--cool-down TIME", f"wait at most so long until a server is quiet again [{COOL_DOWN}]"),
    )
    HIDDEN = frozenset({"url", "plan", "until_ci", "request_count", "duration_s"})

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Three lines that work when pasted."""
        formatter.write("\n" + EXAMPLES)


def run(budget: str | None, resume: str | None, fail_if: Sequence[str], force: bool, **values: Any) -> int:
    """Measure two servers in turns, the same requests to both, and say whether the engines differ.

    A round is a block on A and one on B; the next round begins with B. Every block is a run of its own, in the folder
    `blocks`. --duration and --request-count are those of a block.
    """
    from genbench.metrics import slo
    from genbench.studies import run_ab, run_ab_files
    from genbench.studies.folder import study_folder
    from genbench.studies.profile import Screen

    own = {name: str(values[name]) for name in OWN if values.get(name) is not None}
    named, profiles, before = options.named(values), values["config"], None
    if resume is not None:
        before = run_ab_files.describe(Path(resume))
        named, own, fail_if = _continued(before, named, own, fail_if, resume)
    if "url" in named:
        raise ConfigError(f"--url {named['url'][0]}: run-ab has two servers; name them with --a URL and --b URL")
    given = slo.promised(config.changed(config.load(named, profiles), {"url": ()}))
    wanted = _wanted(own, budget)
    rules = compare._wanted(own.get("min_effect", compare.MIN_EFFECT), tuple(fail_if), (), None, force=force)
    both = run_ab.sides(
        given, {side: own.get(side) for side in "ab"}, {side: own.get(f"model_{side}") for side in "ab"}
    )
    if resume is None:
        run_ab.check_budget(both, wanted)
    output = given.config.output
    upload.ready(config.changed(given, {"url": both["a"].config.target.url}), resume)
    screens = study.Screens(output)
    show = Screen(screens.say, screens.watch)
    models: Mapping[str, str] = {}
    if resume is None or run_ab_files.missing(Path(resume), wanted.rounds):
        models = run_ab.ask(both, show)
    if resume is not None:
        folder = Path(resume)
    else:
        folder = study_folder(config.changed(both["a"], {"model": models["a"]}), "ab", screens.say)
    interleaved = run_ab.Study(
        both,
        wanted,
        folder,
        show,
        command=_command(named, profiles, own, budget, fail_if),
        options={"own": _public(own), "fail_if": list(fail_if), "named": study.kept(given, "url")},
        models=models,
        before=before,
    )
    try:
        done = interleaved.run()
    except GenbenchError:
        if resume is None and not interleaved.document["blocks"]:
            study.take_back(folder, run_ab_files.NAME)
        raise
    return upload.after(folder, output, _end(done, folder, rules, output))


def _end(done: "Interleaved", folder: Path, rules: "CompareWanted", output: Output) -> int:
    """Compare what is complete, say where it is and how to go on; the exit code."""
    from genbench.studies.run_ab_files import LEAST_ROUNDS

    compared, error = 1, done.error
    try:
        if done.complete >= LEAST_ROUNDS:
            compared = _compare(folder, rules, done.document["command"], output)
        elif error is None:
            said = f"{done.complete} complete round{'' if done.complete == 1 else 's'}"
            sys.stderr.write(f"genbench: no comparison: {said}, it takes at least {LEAST_ROUNDS}\n")
    except RecordError as refused:
        error = error or refused
    if not output.json:
        lines = [f"- {sentence}" for sentence in done.document["left_out"]]
        screen.last_lines([*lines, *([""] if lines else []), f"files: {folder}/", _again(done, folder)])
    if error is not None:
        sys.stderr.write(f"genbench: {error}\n")
    if done.document["interrupted"]:
        return 130
    if error is not None:
        return error.exit_code
    invalid = any(one["verdict"] == "INVALID" for one in done.document["blocks"])
    return 4 if output.strict and invalid else compared


def _compare(folder: Path, rules: "CompareWanted", command: str, output: Output) -> int:
    """Compare the complete rounds, write and print what that says; 1 where a rule of --fail-if is broken."""
    from genbench.studies import compare as comparing
    from genbench.studies import compare_files, compare_read, compare_words

    read = compare_read.rounds(folder, force=rules.force)
    document = comparing.compare(read, rules, command)
    with screen.waiting("drawing the figures ...", quiet=output.quiet):
        said = compare_files.write(folder, document, read, plots=output.plots)
    with screen._readable():
        if output.json:
            sys.stdout.write(compare_files.as_json(document).decode())
        else:
            sys.stdout.write(compare_words.screen(document))
        sys.stdout.flush()
    if said and not output.quiet:
        sys.stderr.write(f"{said}\n")
    return int(any(not gate["passed"] for gate in document["gates"]))


# -- what was asked for ------------------------------------------------------------------------------------------------


def _wanted(own: Mapping[str, str], budget: str | None) -> "Wanted":
    from genbench.studies.run_ab import Wanted

    try:
        rounds = int(own.get("rounds", ROUNDS))
    except ValueError:
        raise ConfigError(f"--rounds {own['rounds']}: must be a whole number") from None
    return Wanted(
        rounds=rounds,
        budget_s=None if budget is None else study.time_s("--budget", budget, above=0),
        cool_down_s=study.time_s("--cool-down", own.get("cool_down", COOL_DOWN)),
    )


# -- going on ----------------------------------------------------------------------------------------------------------


def _public(own: Mapping[str, str]) -> dict[str, str]:
    """The command's own options for --resume; a URL with a secret in it has to be given again."""
    return {name: text for name, text in own.items() if name not in ("a", "b") or config.public_url(text) == text}


def _continued(
    before: Mapping[str, Any], named: dict[str, Any], own: dict[str, str], fail_if: Sequence[str], resume: str
) -> tuple[dict[str, Any], dict[str, str], Sequence[str]]:
    """The options of the folder, with those given now in their place. Raises ConfigError."""
    study.stays(named, resume)
    kept = before.get("options") or {}
    named, own = {**kept.get("named", {}), **named}, {**kept.get("own", {}), **own}
    if "rounds" not in own:
        own["rounds"] = str(before.get("rounds", ROUNDS))
    return named, own, fail_if or tuple(kept.get("fail_if", ()))


def _again(done: "Interleaved", folder: Path) -> str:
    """How to go on where something is missing, else how to do it again."""
    if done.complete < done.document["rounds"]:
        return f"go on: genbench run-ab --resume {shlex.quote(str(folder))}"
    return f"again: {done.document['command']}"


def _command(
    named: Mapping[str, Any],
    profiles: Sequence[str],
    own: Mapping[str, str],
    budget: str | None,
    fail_if: Sequence[str],
) -> str:
    """The command line that repeats it, secrets left out."""
    plain = {name: f"{value:g}" if isinstance(value, float) else value for name, value in named.items()}
    words = config.command_line(plain, profiles)
    words[1] = "run-ab"
    for name, text in own.items():
        words += [FLAGS[name], config.public_url(text) if name in ("a", "b") else text]
    words += ["--budget", budget] if budget else []
    for rule in fail_if:
        words += ["--fail-if", rule]
    return " ".join(config.quoted(words))


command = RunAbCommand(
    "run-ab",
    callback=run,
    params=[
        *(click.Option([flag], type=str) for flag in (*FLAGS.values(), "--budget", "--resume")),
        click.Option(["--fail-if"], type=str, multiple=True),
        click.Option(["--force"], is_flag=True),
        *options.make(),
    ],
    help=run.__doc__,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
