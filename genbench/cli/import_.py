"""`genbench import`: another tool's result file as the folder of a run."""

import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from genbench.studies.importing import Brought

WIDTH = 100
STATS = ("count", "mean", "p50", "p90", "p99")
NAME_WIDTH = 44


@click.command()
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--name", help="name of the folder [TOOL-MODEL-imported-TIME]")
@click.option("--artifact-dir", type=click.Path(path_type=Path), default=Path("artifacts"), help="where to [artifacts]")
@click.option("--line", "nth", type=int, metavar="N", help="only the N-th result of a file that has several, from 1")
def command(file: Path, name: str | None, artifact_dir: Path, nth: int | None) -> int:
    """Read a result file of AIPerf, GenAI-Perf, vllm bench serve, SGLang, GuideLLM or llm-load-test.

    Where the file has its requests, a run's folder is made of them that `genbench report` and its --dialect read; where
    it has figures only, they are kept as they are. What a file does not tell is absent. See docs/import.md.
    """
    from genbench.studies import importing

    brought = importing.bring_in(file, name=name, artifact_dir=artifact_dir, nth=nth)
    for k, one in enumerate(brought):
        click.echo("\n".join([*([""] if k else []), *_lines(one)]).encode("ascii", "replace").decode())
    return 0


def _lines(one: "Brought") -> Iterator[str]:
    result = one.result
    about = [" ".join(word for word in (result.tool, result.version) if word), result.format, result.model]
    yield ", ".join(word for word in about if word)
    from genbench import loads

    load = loads.sentence(result.load)
    if load:
        yield f"load: {load}"
    if one.run is not None:
        outcomes = ", ".join(f"{count:,} {name}" for name, count in one.run.summary.outcomes.items())
        yield f"requests: {outcomes}"
    yield ""
    yield from _table(one)
    yield ""
    for note in (*result.notes,) if one.run is None else one.run.summary.notes[1:]:
        yield from textwrap.wrap(f"- {note}", WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    yield f"files: {one.folder}/"


def _table(one: "Brought") -> Iterator[str]:
    """A line for each distribution, then one for each figure of the whole run."""
    metrics: dict[str, Mapping[str, Any]] = {}
    run: dict[str, Mapping[str, Any]] = {}
    if one.run is None:
        metrics, run = dict(one.result.metrics), dict(one.result.run)
    else:
        for key, found in one.run.summary.metrics.items():
            metrics[key] = {"unit": found.unit, "count": found.count, **found.stats}
        run = {key: {"unit": found.unit, "value": found.value} for key, found in one.run.summary.run.items()}
    if metrics:
        yield f"{'':<{NAME_WIDTH}}" + "".join(f"{stat:>11}" for stat in STATS)
    for key, values in metrics.items():
        cells = "".join(f"{_cell(values.get(stat)):>11}" for stat in STATS)
        yield from _row(_named(key, values), cells)
    for key, values in run.items():
        yield from _row(_named(key, values), f"{_cell(values.get('value')):>11}")


def _row(name: str, cells: str) -> Iterator[str]:
    """One line, or two where the name is long."""
    if len(name) > NAME_WIDTH:
        yield name
        name = ""
    yield f"{name:<{NAME_WIDTH}}{cells}"


def _named(key: str, values: Mapping[str, Any]) -> str:
    unit = values.get("unit")
    return f"{key} ({unit})" if unit else key


def _cell(value: Any) -> str:
    if not isinstance(value, int | float):
        return "-"
    if value == int(value) or abs(value) >= 1e4:
        return f"{value:,.0f}"
    return f"{value:,.4g}"
