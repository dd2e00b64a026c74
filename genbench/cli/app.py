"""The program: finds the command, runs it, turns GenbenchError into one sentence and an exit code.

Each command is a module here with a `command` (click); it is imported only when it is asked for, so `genbench --help`
loads nothing heavy.
"""

import difflib
import importlib
import keyword
import sys

import click

from genbench import __version__
from genbench.errors import GenbenchError

COMMANDS = {
    "profile": "measure a server, or the embedded engine when no server is named",
    "sweep": "measure one load after the other: the curve, where it bends, what it promises",
    "capacity": "find the highest load that keeps a promise, with its interval",
    "run-ab": "measure two servers in turns and say whether they differ",
    "compare": "say whether runs differ: with intervals, p-values, what is unfair, and rules for CI",
    "cost": "say what a million tokens cost: of figures, of runs, of every load of a sweep",
    "size": "say how many instances, GPUs and servers a load needs, and what binds",
    "plan": "write what a run would send, byte for byte, to send it to several servers",
    "dataset": "show what a data set holds, sending nothing",
    "report": "rebuild every number and file of a run from its records",
    "import": "read another tool's result file as a run",
    "upload": "put the folder of a run or a study into a store, like S3",
    "calibrate": "measure this client against the embedded engine: its error and its ceiling on this machine",
    "simulate": "serve the embedded engine by itself",
    "list": "show what there is to choose from: profiles, endpoints, datasets, arrivals",
}
EXAMPLES = """\
Examples:
  genbench profile
  genbench profile --url http://localhost:8000 --concurrency 8
  genbench profile --url http://localhost:8000 --request-rate 4 --slo "ttft.p95<500ms"
"""


class Commands(click.Group):
    """A group that knows its commands by name and imports one when it is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All commands, in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command's module."""
        if cmd_name not in COMMANDS:
            near = difflib.get_close_matches(cmd_name, COMMANDS, 1)
            hint = f"did you mean {near[0]}" if near else f"use {', '.join(COMMANDS)}"
            raise click.UsageError(f"there is no command {cmd_name}; {hint}")
        module = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name.replace("-", "_")
        command: click.Command = importlib.import_module(f"genbench.cli.{module}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table of commands, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Three lines that work when pasted."""
        formatter.write("\n" + EXAMPLES)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="genbench %(version)s")
def app() -> None:
    """Measure how fast an OpenAI-compatible inference server really is."""


def main(arguments: list[str] | None = None) -> None:
    """Entry point (`arguments`: sys.argv without the program); the exit codes are those of docs/metrics.md."""
    try:
        code = app.main(arguments, prog_name="genbench", standalone_mode=False)
    except click.exceptions.Abort:
        code = 130
    except click.ClickException as error:
        sys.stderr.write(f"genbench: {error.format_message()}\n")
        code = 2
    except GenbenchError as error:
        sys.stderr.write(f"genbench: {error}\n")
        code = error.exit_code
    except KeyboardInterrupt:
        code = 130
    except OSError as error:
        sys.stderr.write(f"genbench: cannot write: {(error.strerror or str(error)).lower()}\n")
        code = 2
    sys.exit(code if isinstance(code, int) else 0)
