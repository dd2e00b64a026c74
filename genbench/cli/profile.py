"""`genbench profile`: one load against one server."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from genbench import config
from genbench.cli import options, screen, upload
from genbench.cli.app import EXAMPLES
from genbench.resolve import demo

if TYPE_CHECKING:
    from genbench.metrics.summary import Run


class ProfileCommand(options.Profile):
    """Adds the examples."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Three lines that work when pasted."""
        formatter.write("\n" + EXAMPLES)


def run(**values: Any) -> int:
    """Measure a server: send a load, stamp every token, say what it felt like.

    Without any option it is a demonstration on the embedded engine.
    """
    named = options.named(values)
    profiles = values["config"]
    given = config.load(named, profiles)
    if given.config.workload.plan is not None:
        from genbench.studies.plan import planned

        given = planned(given)
    given = demo(given)
    from genbench.studies.profile import profile

    output = given.config.output
    upload.ready(given)
    says = screen.make(output)
    result = profile(given, config.command_line(named, profiles), says)
    screen.show(result, as_json=output.json)
    begin, said = "summary.md", ""
    if output.plots:
        assert result.folder is not None
        said, begin = _draw(result.folder, result, quiet=output.quiet)
    if said and output.json:
        says.say(said)
    if not output.json:
        lines = [said] if said else []
        screen.last_lines(
            [*lines, f"files: {result.folder}/ (begin with {begin})", f"again: {result.header['command']}"]
        )
    assert result.folder is not None
    return upload.after(result.folder, output, screen.exit_code(result, strict=output.strict))


def _draw(folder: Path, result: "Run", *, quiet: bool) -> tuple[str, str]:
    """Figures and page; returns what to say of them, and where to begin to read.

    Whatever goes wrong here, the run is on disk and its exit code stands.
    """
    from genbench.studies.report import picture

    try:
        with screen.waiting("drawing the figures ...", quiet=quiet):
            return picture([(folder.name, result)], folder), "report.html"
    except KeyboardInterrupt:
        why = "the drawing was stopped"
    except Exception as error:  # a figure must not cost a run
        why = f"no pictures ({type(error).__name__}: {error})"
    return f"{why}; draw them with: genbench report {folder}", "summary.md"


command = ProfileCommand(
    "profile",
    callback=run,
    params=options.make(),
    help=run.__doc__,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
