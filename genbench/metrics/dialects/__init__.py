"""Dialects: the same log in other tools' definitions, beside ours, with the reason for each difference.

A dialect is a function from a run to rows; see docs/dialects.md for the formulas and their sources. Only what the log
holds is rebuilt; the rest is said in a dialect's notes. Pure, like `summary`.
"""

from collections.abc import Callable

from genbench.errors import ConfigError
from genbench.metrics.dialects import aiperf, genai_perf, guidellm, llm_load_test, mlperf, vllm
from genbench.metrics.dialects.rows import Dialect, Figure, Row
from genbench.metrics.summary import Run

__all__ = ["DIALECTS", "Dialect", "Figure", "Row", "translate"]

DIALECTS: dict[str, Callable[[Run], Dialect]] = {
    vllm.NAME: vllm.translate,
    aiperf.NAME: aiperf.translate,
    genai_perf.NAME: genai_perf.translate,
    guidellm.NAME: guidellm.translate,
    llm_load_test.NAME: llm_load_test.translate,
    mlperf.NAME: mlperf.translate,
}


def translate(name: str, run: Run) -> Dialect:
    """A run in the words of the tool `name`. Raises ConfigError for a tool that is not known here."""
    if name not in DIALECTS:
        raise ConfigError(f"there is no dialect '{name}'; use one of {', '.join(DIALECTS)}")
    dialect = DIALECTS[name](run)
    if len(run.table):
        return dialect
    return Dialect(dialect.name, dialect.tool, dialect.rows, ("the log has no request", *dialect.notes))
