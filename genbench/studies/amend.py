"""What the texts are for: counts by the client's tokenizer, written behind the records, and the files of --save-*."""

import http.client
from pathlib import Path
from typing import IO, Any

import orjson

from genbench.decode import ResponseDecoder
from genbench.options import Output
from genbench.plan.requests import BuiltRequests
from genbench.records import RecordWriter
from genbench.tokens import Tokenizer
from genbench.types import Plan, Record


def count_tokens(writer: RecordWriter, tokenizer: Tokenizer, texts: dict[int, list[tuple[int, int, str]]]) -> bool:
    """Append each answer's own token count (after the run: tokenising is no work for the loop).

    The whole answer is counted per choice; a count per event would cut merges that cross events. False when the
    tokenizer failed on the way (the server's /tokenize may): what was counted until then stays.
    """
    for index, events in texts.items():
        answers: dict[int, list[str]] = {}
        for _, choice, text in events:
            answers.setdefault(choice, []).append(text)
        try:
            total = sum(tokenizer.count("".join(parts)) for parts in answers.values())
        except (OSError, ValueError, http.client.HTTPException):
            return False
        writer.amend(index, {"osl_tokenizer": total})
    writer.flush()
    return True


class TextSaver:
    """inputs.jsonl and outputs.jsonl, where asked for."""

    def __init__(self, folder: Path, output: Output, plan: Plan) -> None:
        self._outputs: IO[bytes] | None = (folder / "outputs.jsonl").open("wb") if output.save_outputs else None
        self._inputs: IO[bytes] | None = (folder / "inputs.jsonl").open("wb") if output.save_inputs else None
        if self._inputs is not None and isinstance(plan.requests, BuiltRequests):
            plan.requests.on_build = self.body
            for request in plan.requests.peek():
                self.body(request.index, request.body)

    def body(self, index: int, body: bytes) -> None:
        """A request's body as it is built."""
        if self._inputs is not None:
            self._inputs.write(b'{"index":%d,"body":%b}\n' % (index, body))

    def answer(self, record: Record, decoder: ResponseDecoder) -> None:
        """A finished answer."""
        if self._outputs is not None:
            row: dict[str, Any] = {"index": record.index, "outcome": record.outcome, "text": ""}
            row["text"] = "".join(text for _, _, text in decoder.texts)
            self._outputs.write(orjson.dumps(row) + b"\n")

    def close(self) -> None:
        """Write what is buffered."""
        for file in (self._inputs, self._outputs):
            if file is not None:
                file.close()
