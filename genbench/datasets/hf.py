"""Hugging Face data sets from the local cache: hf:NAME[/CONFIG][@SPLIT], or a folder written by save_to_disk."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from genbench.datasets._rows import Row, Source
from genbench.datasets._samples import Asked, dialogues, prompt_column
from genbench.datasets.alpaca import with_input
from genbench.errors import DatasetError
from genbench.types import Sample

DIALOGUES = ("messages", "conversations", "conversation")
PROMPTS = ("prompt", "question", "instruction", "text")
OUTPUTS = ("output", "response", "answer", "completion")
SYSTEMS = ("system", "system_prompt")


def load(options: Mapping[str, Any], rng: np.random.Generator) -> Iterator[Sample]:
    """Yield the data set's rows once, read by number from the cache's memory-mapped files.

    Columns are those of --columns, else the first there is of DIALOGUES (a conversation, its first turn without
    --turns) or of PROMPTS, OUTPUTS and SYSTEMS. Nothing is downloaded unless `download`. Raises DatasetError.
    """
    asked = Asked(options, rng)
    if not asked.path:
        raise DatasetError(f"--dataset {asked.name} needs a name; write --dataset hf:NAME@SPLIT")
    data = _open(asked, asked.path, download=bool(options.get("download")))
    have = list(data.column_names)
    source = Source(asked.name, asked.path, "hub")
    asked.columns = _guessed(asked, have)
    rows = (Row(source, k + 1, data[k]) for k in asked.places(len(data)))
    if "messages" in asked.columns:
        yield from asked.batched(dialogues(asked, rows, asked.columns["messages"], most=1))
    elif "prompt" in asked.columns:
        yield from asked.batched(_questions(asked, rows))
    else:
        raise DatasetError(
            f"--dataset {asked.name} has no column whose name says that it is the prompt; it has: {', '.join(have)}; "
            "name one with --columns prompt=NAME"
        )


def _guessed(asked: Asked, have: list[str]) -> dict[str, str]:
    """The column of each role: as named, else by the usual names."""
    found = dict(asked.named)
    if "text" in found:
        found.setdefault("prompt", found["text"])
    if not {"prompt", "messages"} & found.keys():
        usual = {"messages": DIALOGUES} if any(name in have for name in DIALOGUES) else {"prompt": PROMPTS}
        for role, names in {**usual, "output": OUTPUTS, "system": SYSTEMS}.items():
            column = next((name for name in names if name in have), None)
            if column is not None:
                found.setdefault(role, column)
    return found


def _questions(asked: Asked, rows: Iterator[Row]) -> Iterator[Sample]:
    left_out = asked.left_out("has an empty prompt")
    for row in rows:
        text = row.text(prompt_column(asked), "prompt")
        if not text.strip():
            left_out.add(row.where)
            continue
        left_out.keep()
        answer = row.values.get(asked.columns.get("output", ""))
        yield asked.request(
            with_input(asked, row, text),
            asked.column(row, "system"),
            own=asked.own(row),
            answer=answer if isinstance(answer, str) else "",
        )
    left_out.end()


def _open(asked: Asked, path: str, *, download: bool) -> Any:
    """The rows of one split. Raises DatasetError when the library, the data or the split is not there."""
    try:
        import datasets
    except ImportError as error:
        raise DatasetError(f"--dataset {asked.name} needs a library; pip install 'genbench[datasets]'") from error
    name, _, wanted = path.partition("@")
    folder = Path(name).expanduser()
    datasets.logging.set_verbosity_error()
    if not download:
        datasets.disable_progress_bars()
    try:
        with _network(allowed=download):
            if (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file():
                found = datasets.load_from_disk(str(folder))
            else:
                found = _by_name(datasets.load_dataset, str(folder) if folder.is_dir() else name)
    except Exception as error:  # the library and its hub client raise many kinds, and none stops a user's next step
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
        advice = "check the name" if download else "allow the download with --download"
        raise DatasetError(f"--dataset {asked.name} is not in the local cache ({reason}); {advice}") from error
    if not isinstance(found, dict):
        return found
    splits = list(found)
    split = wanted or ("train" if "train" in splits else splits[0])
    if split not in splits:
        raise DatasetError(f"--dataset {asked.name} has no split '{split}'; it has: {', '.join(splits)}")
    return found[split]


def _by_name(load_dataset: Any, name: str) -> Any:
    """The data set NAME, ORG/NAME, ORG/NAME/CONFIG or, where there is no such ORG/NAME, NAME/CONFIG."""
    parts = name.split("/")
    if len(parts) == 3 and not name.startswith(("/", ".")):
        return load_dataset("/".join(parts[:2]), parts[2])
    try:
        return load_dataset(name)
    except (OSError, ValueError) as error:
        if len(parts) != 2:
            raise
        try:
            return load_dataset(*parts)
        except (OSError, ValueError):
            raise error from None  # the likelier meaning's


@contextmanager
def _network(*, allowed: bool) -> Iterator[None]:
    """The libraries read their offline switch from the environment when imported; here it holds for one call."""
    import datasets
    from huggingface_hub import constants

    before = datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE
    if not allowed:
        datasets.config.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE, constants.HF_HUB_OFFLINE = before
