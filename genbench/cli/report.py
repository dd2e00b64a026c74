"""`genbench report`: a run's files rebuilt."""

from pathlib import Path

import click

from genbench.cli import screen


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="print the summary as JSON and nothing else")
def command(run: Path, as_json: bool) -> int:
    """Rebuild the numbers and files of RUN (a folder) from requests.jsonl and run.json, and show them."""
    from genbench.studies.report import rebuild

    result = rebuild(run)
    screen.show(result, as_json=as_json)
    return screen.exit_code(result)
