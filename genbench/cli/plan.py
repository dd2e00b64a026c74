"""`genbench plan`: what a run would send, written to a file."""

import sys
from pathlib import Path
from typing import Any

import click

from genbench import config
from genbench.cli import options

EXAMPLES = """\
Examples:
  genbench plan --model tiny --isl 200 --osl 50 --request-rate 4 --request-count 500 --out plan.jsonl
  genbench profile --url http://localhost:8000 --plan plan.jsonl
  genbench profile --url http://localhost:9000 --plan plan.jsonl
"""


class PlanCommand(options.Profile):
    """The options of a run, and where to write."""

    SHOWN = ("target", "workload", "load", "")
    FIRST = (("-o, --out FILE", "the plan's file; must not be there yet"),)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Three lines that work when pasted."""
        formatter.write("\n" + EXAMPLES)


def run(out: str, **values: Any) -> int:
    """Write what a run with these options would send: every body, its moment, their hashes.

    `genbench profile --plan FILE` sends exactly that, so two servers get the same bytes at the same moments. With --url
    the server is asked what it takes, as before a run; without one, --model says what to write into the bodies.
    """
    given = config.load(options.named(values), values["config"])
    from genbench.studies.plan import write_plan

    head = write_plan(given, Path(out), lambda line: click.echo(line, err=True))
    when = "moments and bodies" if head["schedule"]["open_loop"] else "bodies"
    sys.stdout.write(
        f"{out}: {head['requests']:,} requests to {head['model']}, {when}\n"
        f"dataset_sha256 {head['dataset_sha256']}\nbodies_sha256  {head['bodies_sha256']}\n"
    )
    if head["schedule"]["offsets_sha256"]:
        sys.stdout.write(f"offsets_sha256 {head['schedule']['offsets_sha256']}\n")
    return 0


command = PlanCommand(
    "plan",
    callback=run,
    params=[click.Option(["out", "-o", "--out"], required=True, metavar="FILE"), *options.make()],
    help=run.__doc__,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
