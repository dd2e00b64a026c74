"""What AIPerf and its predecessor GenAI-Perf have in common: one value per request, messages with content count."""

from dataclasses import dataclass

import numpy as np

from genbench.metrics.dialects.messages import Messages
from genbench.metrics.dialects.rows import NS_PER_MS, ended, is_embeddings, seconds_between
from genbench.metrics.summary import Run
from genbench.records import Bools, Ints, RecordTable
from genbench.stats import Floats
from genbench.types import Outcome

FROM_START = "from start_ns: the client's delay and connecting are inside; population std"
NOT_STREAMED = "no streamed answer"
TOKENIZED = "by the client's tokenizer, where ours is the usage"


@dataclass(frozen=True)
class Seen:
    """What both find in a log: the messages with content, the rows that count, lengths, and the moments of a row."""

    run: Run
    chunks: Messages
    done: Bools
    osl: Ints
    isl: Ints
    last: Ints

    @property
    def table(self) -> RecordTable:
        """The log."""
        return self.run.table

    @property
    def streamed(self) -> Bools:
        """Rows that count and were streamed."""
        return self.done & self.table.streamed

    @property
    def osl_source(self) -> str:
        """Where their OSL comes from in this log, beside ours."""
        return TOKENIZED if (self.done & (self.table.osl_tokenizer >= 0)).any() else "as ours"

    def ms(self, later: Ints, earlier: Ints, among: Bools) -> Floats:
        """later - earlier in ms for the rows of `among` that have both."""
        rows = among & (later >= 0) & (earlier >= 0)
        return (later[rows] - earlier[rows]) / NS_PER_MS

    def seconds(self) -> float | None:
        """From the first start to the last content of the rows that count."""
        return seconds_between(self.table.start_ns[self.done], self.last[self.done])


def seen_by(run: Run, chunks: Messages) -> Seen:
    """What they find in a run whose content messages are `chunks`; a response of embeddings has none of its own."""
    table = run.table
    has = (chunks.count > 0) | is_embeddings(run)
    return Seen(
        run,
        chunks,
        done=ended(table, Outcome.OK, Outcome.STREAM_ERROR) & has,
        osl=np.where(table.osl_tokenizer >= 0, table.osl_tokenizer, table.osl_usage),
        isl=np.where(table.isl_tokenizer >= 0, table.isl_tokenizer, table.isl_usage),
        last=np.where(table.streamed, chunks.last, table.end_ns),
    )
