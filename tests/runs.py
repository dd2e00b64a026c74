"""Runs the command line in this process and hands back what it did."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from genbench.cli.app import main


@dataclass(frozen=True)
class Ran:
    """Exit code, both outputs and, when a run was written, its folder."""

    code: int
    out: str
    err: str
    folder: Path

    @property
    def summary(self) -> dict[str, Any]:
        """summary.json."""
        found: dict[str, Any] = json.loads((self.folder / "summary.json").read_text())
        return found

    @property
    def header(self) -> dict[str, Any]:
        """run.json."""
        found: dict[str, Any] = json.loads((self.folder / "run.json").read_text())
        return found

    @property
    def records(self) -> list[dict[str, Any]]:
        """requests.jsonl, amendments left out."""
        lines = (self.folder / "requests.jsonl").read_text().splitlines()
        return [row for row in map(json.loads, lines) if "amend" not in row]


class Runner:
    """`run("profile", "--url", ...)`; everything goes under a folder of the test's own."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._artifacts = folder / "artifacts"
        self._capsys = capsys
        self._count = 0

    def __call__(self, *arguments: str, plots: bool = False) -> Ran:
        """Run a command; `profile` gets an artifact folder and a name; it draws, which takes seconds, when asked to."""
        self._count += 1
        name = f"run{self._count}"
        words = list(arguments)
        if words[0] == "profile":
            words += ["--artifact-dir", str(self._artifacts), "--name", name, *(() if plots else ("--no-plots",))]
        with pytest.raises(SystemExit) as stop:
            main(words)
        out, err = self._capsys.readouterr()
        assert isinstance(stop.value.code, int)
        folder = self._artifacts / name
        return Ran(stop.value.code, out, err, folder if folder.exists() else self._artifacts / f"SIMULATED-{name}")
