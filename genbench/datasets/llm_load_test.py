"""llm-load-test: a line about the file, then question, system_prompt, tok_input_length, tok_output_length."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from genbench.datasets._samples import Asked, prompt_column
from genbench.types import MISSING, Sample

COLUMNS = {"prompt": "question", "system": "system_prompt", "output": "expected_output"}
INPUT_TOKENS = ("tok_input_length", "input_tokens")
OUTPUT_TOKENS = ("tok_output_length", "output_tokens")


def load(options: Mapping[str, Any], rng: np.random.Generator) -> Iterator[Sample]:
    """Yield the file's questions once. The first line is left out when it has no question.

    Output lengths are the file's. Input lengths are too, by the tokenizer it was made with, as long as no local one
    counts and nothing but the question is sent. Like the tool it is for, it sends no `input`. Raises DatasetError.
    Source: https://github.com/openshift-psap/llm-load-test
    """
    asked = Asked(options, rng, COLUMNS)
    osl_columns = (asked.named["osl"],) if "osl" in asked.named else OUTPUT_TOKENS

    def made() -> Iterator[Sample]:
        left_out = asked.left_out("has an empty question")
        for row in asked.rows():
            if row.number == 1 and prompt_column(asked) not in row.values:
                continue
            text, system = row.text(prompt_column(asked), "prompt"), asked.column(row, "system")
            if not text.strip():
                left_out.add(row.where)
                continue
            left_out.keep()
            counted = [row.whole(column, at_least=0) for column in INPUT_TOKENS]
            isl = (
                next((count for count in counted if count), MISSING) if asked.count is None and not system else MISSING
            )
            wanted = [row.whole(column, at_least=0) for column in osl_columns]
            own = next((count for count in wanted if count), None)
            yield asked.request(text, system, own=own, answer=asked.column(row, "output"), isl=isl)
        left_out.end()

    yield from asked.batched(made())
