"""`genbench profile`: one load against one server."""

from typing import Any

import click

from genbench import config
from genbench.cli import options, screen
from genbench.cli.app import EXAMPLES


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
    given = config.demo(config.load(named, profiles))
    from genbench.studies.profile import profile

    says = screen.make(given.config.output)
    output = given.config.output
    result = profile(given, config.command_line(named, profiles), says)
    screen.show(result, as_json=output.json)
    begin, said = "summary.md", ""
    if output.plots:
        from genbench.studies.report import picture

        assert result.folder is not None
        with screen.waiting("drawing the figures ...", quiet=output.quiet):
            said = picture([(result.folder.name, result)], result.folder)
        begin = "report.html"
    if not output.json:
        lines = [said] if said else []
        screen.last_lines(
            [*lines, f"files: {result.folder}/ (begin with {begin})", f"again: {result.header['command']}"]
        )
    return screen.exit_code(result, strict=output.strict)


command = ProfileCommand(
    "profile",
    callback=run,
    params=options.make(),
    help=run.__doc__,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
