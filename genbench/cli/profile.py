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
    if values["generate_plots"]:
        says.say("note: --generate-plots is understood, but this version draws no pictures")
    result = profile(given, config.command_line(named, profiles), says)
    screen.show(result, as_json=given.config.output.json)
    return screen.exit_code(result, strict=given.config.output.strict)


command = ProfileCommand(
    "profile",
    callback=run,
    params=options.make(),
    help=run.__doc__,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
