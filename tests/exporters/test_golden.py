"""What the exporters write of the run in `golden.py`, against the files kept in tests/data/golden."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from genbench import registry
from tests.exporters.golden import FOLDER, run


def close(found: Any, kept: Any) -> bool:
    """Equal but for the last digits of a float, which are numpy's."""
    if isinstance(kept, dict):
        return list(found) == list(kept) and all(close(found[key], kept[key]) for key in kept)
    if isinstance(kept, list):
        return len(found) == len(kept) and all(close(a, b) for a, b in zip(found, kept, strict=True))
    if isinstance(kept, float):
        return isinstance(found, float | int) and found == pytest.approx(kept, rel=1e-9, abs=1e-9)
    return bool(found == kept)


def cells(path: Path) -> list[list[Any]]:
    def value(text: str) -> Any:
        try:
            return float(text)
        except ValueError:
            return text

    with path.open(newline="", encoding="utf-8") as file:
        return [[value(cell) for cell in row] for row in csv.reader(file)]


def written(name: str, out: Path) -> list[str]:
    return [path.name for path in registry.load("exporters", name).write(run(), out)]


def test_json(tmp_path: Path) -> None:
    assert written("json", tmp_path) == ["summary.json"]
    found, kept = (json.loads((folder / "summary.json").read_text()) for folder in (tmp_path, FOLDER))
    assert close(found, kept)


def test_csv(tmp_path: Path) -> None:
    assert written("csv", tmp_path) == ["summary.csv", "requests.csv"]
    for name in ("summary.csv", "requests.csv"):
        assert close(cells(tmp_path / name), cells(FOLDER / name)), name


def test_markdown(tmp_path: Path) -> None:
    assert written("markdown", tmp_path) == ["summary.md"]
    text = (tmp_path / "summary.md").read_text()
    assert text == (FOLDER / "summary.md").read_text()
    assert text.isascii()
    assert max(len(line) for line in text.splitlines()) <= 100
