"""`genbench report`: a run's files rebuilt; several runs side by side."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from genbench.cli import capacity, screen, sweep
from genbench.errors import ConfigError

if TYPE_CHECKING:
    from genbench.metrics.summary import Run

DIALECTS = ("vllm", "aiperf", "genai-perf", "guidellm", "llm-load-test", "mlperf")


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--format",
    "formats",
    multiple=True,
    type=click.Choice(["html", "md", "png", "svg"]),
    help="write only this: report.html, summary.md, or the figures as PNG or SVG; repeatable",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="folder to write to [the run's own; artifacts/report-TIME]"
)
@click.option("--no-plots", is_flag=True, help="no figures and no report.html")
@click.option("--json", "as_json", is_flag=True, help="print the summary as JSON and nothing else")
@click.option(
    "--dialect",
    type=click.Choice(DIALECTS),
    help="show another tool's figures from the same log beside ours, and why they differ; see docs/dialects.md",
)
@click.option(
    "--export",
    "exports",
    multiple=True,
    metavar="NAME",
    help="write only the files of another tool: vllm, aiperf, genai-perf, guidellm, or a .py of yours; repeatable",
)
@click.option("--strict", is_flag=True, help="exit with 4 when a run's verdict is INVALID")
def command(
    runs: tuple[Path, ...],
    formats: tuple[str, ...],
    out: Path | None,
    no_plots: bool,
    as_json: bool,
    dialect: str | None,
    exports: tuple[str, ...],
    strict: bool,
) -> int:
    """Rebuild the numbers, figures and files of a run (a folder) from requests.jsonl and run.json, and show them.

    Several runs give one report.html and one set of figures, with a series for each run. The folder of a sweep is
    rebuilt as a whole: its points, its table, its figures. That of a capacity search shows its answer again.
    """
    from genbench.studies import importing, report, run_ab_files, sweep_files

    both = next((folder for folder in runs if run_ab_files.is_one(folder)), None)
    if both is not None:
        raise ConfigError(f"{both} is an A/B; its files are made anew with genbench compare {both} --out {both}")
    sweeps = [folder for folder in runs if (folder / sweep_files.NAME).is_file()]
    if sweeps:
        if len(runs) > 1 or dialect or out:
            raise ConfigError(f"{sweeps[0]} is a sweep; report it alone, without --out and --dialect")
        return sweep.report(sweeps[0], formats, no_plots=no_plots, as_json=as_json, strict=strict)
    searches = [folder for folder in runs if (folder / "capacity.json").is_file()]
    if searches:
        if len(runs) > 1 or dialect or out or exports:
            raise ConfigError(
                f"{searches[0]} is a capacity search; report it alone, without --out, --dialect, --export"
            )
        return capacity.report(searches[0], formats, no_plots=no_plots, as_json=as_json)
    compared = next((folder for folder in runs if _is_comparison(folder)), None)
    if compared is not None:
        raise ConfigError(f"{compared} is what a comparison found; make it anew with genbench compare and its runs")
    if len(runs) > 1 and (dialect or as_json):
        raise ConfigError(f"--{'dialect' if dialect else 'json'} is of one run; name one RUN")
    drawn = [name for name in formats if name != "md"]
    if no_plots and drawn:
        raise ConfigError(f"--no-plots and --format {drawn[0]} contradict each other; give one of them")
    if dialect and (formats or out):
        raise ConfigError("--dialect shows figures and writes nothing; leave --format and --out out")
    if out is not None and out.exists() and not out.is_dir():
        raise ConfigError(f"--out {out} is a file; name a folder")
    if exports:
        if len(runs) > 1 or formats or dialect or as_json:
            raise ConfigError("--export writes the files of one run; name one RUN, without --format, --dialect, --json")
        return _export(exports, importing.read(runs[0]), out or runs[0], strict=strict)
    if dialect is not None:
        from genbench.cli import dialect as beside

        found = importing.read(runs[0])
        beside.show(dialect, found, as_json=as_json)
        return screen.exit_code(found, strict=strict)
    named = report.named(runs)
    if formats or len(runs) > 1:
        series = [(name, importing.read(folder)) for name, folder in named]
    else:
        series = [(name, importing.rebuild(folder, out)) for name, folder in named]
    if as_json or (not formats and (len(series) == 1 or no_plots)):
        for _, run in series:
            screen.show(run, as_json=as_json)
    own = runs[0] if len(runs) == 1 else Path("artifacts") / f"report-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    to, lines = out or own, []
    if drawn or not (formats or no_plots):
        kinds = [kind for kind in ("png", "svg") if kind in formats or (not formats and kind == "png")]
        with screen.waiting("drawing the figures ...", quiet=False):
            said = report.picture(series, to, kinds, page=not formats or "html" in formats)
        lines = [said] if said else []
    if "md" in formats:
        report.markdown(series, to)
    if not as_json:
        nothing = no_plots and len(series) > 1 and not formats
        screen.last_lines(lines if nothing else [*lines, f"files: {to}/"])
    return max(screen.exit_code(run, strict=strict) for _, run in series)


def _is_comparison(folder: Path) -> bool:
    return (folder / "compare.json").is_file() and not (folder / "run.json").is_file()


def _export(names: tuple[str, ...], run: "Run", to: Path, *, strict: bool) -> int:
    """Write the files of each exporter into a folder of its name, and say where."""
    from genbench import registry

    modules = [(Path(name).stem, registry.load("exporters", name)) for name in names]
    for name, module in modules:
        (to / name).mkdir(parents=True, exist_ok=True)
        for path in module.write(run, to / name):
            click.echo(path)
    return screen.exit_code(run, strict=strict)
