"""What a data set's `load` gets, as the plan gives it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from genbench import registry
from genbench.types import Sample

DATA = Path(__file__).parent.parent / "data" / "datasets"


def options(path: Path | str | None, **changed: object) -> dict[str, Any]:
    """The options for a file on chat, in order, remarks dropped."""
    return {
        "name": f"it:{path}",
        "path": None if path is None else str(path),
        "columns": {},
        "sampling": "sequential",
        "turns": None,
        "osl": None,
        "osl_named": False,
        "texts": False,
        "batch_size": 1,
        "chat": True,
        "replay": False,
        "download": False,
        "count": None,
        "tokens_per_word": 1.0,
        "say": lambda remark: None,
    } | changed


def samples(name: str, path: Path | str | None, seed: int = 1, **changed: object) -> list[Sample]:
    """One pass over a data set."""
    return list(registry.load("datasets", name).load(options(path, **changed), np.random.default_rng(seed)))


def words(text: str) -> int:
    """A tokenizer of whole words."""
    return len(text.split())


def writer(folder: Path) -> Callable[[str, str | bytes], Path]:
    """Write a file of that name and say where it is."""

    def write(name: str, content: str | bytes) -> Path:
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write
