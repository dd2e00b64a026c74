"""`genbench report`: a run's files rebuilt."""

from pathlib import Path

import click

from genbench.cli import screen

DIALECTS = ("vllm", "aiperf", "genai-perf", "guidellm", "llm-load-test", "mlperf")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="print the summary as JSON and nothing else")
@click.option(
    "--dialect",
    type=click.Choice(DIALECTS),
    help="show another tool's figures from the same log beside ours, and why they differ; see docs/dialects.md",
)
@click.option("--strict", is_flag=True, help="exit with 4 when the run's verdict is INVALID")
def command(run: Path, as_json: bool, dialect: str | None, strict: bool) -> int:
    """Rebuild the numbers and files of RUN (a folder) from requests.jsonl and run.json, and show them."""
    from genbench.studies.report import rebuild

    result = rebuild(run)
    if dialect is None:
        screen.show(result, as_json=as_json)
    else:
        from genbench.cli import dialect as beside

        beside.show(dialect, result, as_json=as_json)
    return screen.exit_code(result, strict=strict)
