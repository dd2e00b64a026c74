"""What the commands of studies share: a screen for each run, times, the demonstration, going on with a folder."""

import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genbench import config
from genbench.cli import screen
from genbench.errors import ConfigError
from genbench.options import Output, seconds

if TYPE_CHECKING:
    from genbench.engine.live import Snapshot
    from genbench.studies.profile import Screen


class Screens:
    """A screen for each point: a live view ends with the run it shows. Between two, lines go to stderr as they are."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._now: Screen | None = None

    def say(self, line: str) -> None:
        """A line; the one that names the model begins a point's own screen."""
        if self._now is None and ", model " in line:
            self._now = screen.make(self._output)
        if self._now is not None:
            self._now.say(line)
        elif not self._output.quiet:
            sys.stderr.write(line + "\n")

    def watch(self, now: "Snapshot") -> None:
        """A moment of the point under way."""
        if self._now is not None and self._now.watch is not None:
            self._now.watch(now)
        if now.over:
            self._now = None


def whole(flag: str, text: str) -> int:
    """A whole number from 1 on. Raises ConfigError."""
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise ConfigError(f"{flag} {text}: must be a whole number from 1 on")
    return value


def time_s(flag: str, text: str, above: float | None = None) -> float:
    """A time in s, at least 0 or above a bound. Raises ConfigError."""
    try:
        value = seconds(text)
    except ValueError:
        raise ConfigError(f"{flag} {text}: must be a time like 30, 500ms or 15m") from None
    if value < 0 or (above is not None and value <= above):
        raise ConfigError(f"{flag} {text}: must be {'at least 0' if above is None else f'above {above:g}'} s")
    return value


def demo(given: config.Given) -> config.Given:
    """Without a server it is a demonstration: short prompts and answers, unless something was said of them."""
    from genbench.resolve import resolve
    from genbench.studies.sweep import DEMO_LENGTHS

    said = {"isl", "osl", "isl_osl", "dataset", "input_file"} & given.named
    return given if said or resolve(given)[0].target.url else config.changed(given, DEMO_LENGTHS)


def kept(given: config.Given, *left_out: str) -> dict[str, Any]:
    """The options of a run for --resume, by field name; no secrets, nor what says only where the files go."""
    found: dict[str, Any] = {}
    for field in config.options():
        value = getattr(getattr(given.config, field.section) if field.section else given.config, field.name)
        public = config.PUBLIC.get(field.name)
        hidden = field.opt.secret or (public is not None and value and list(public(value)) != list(value))
        if field.name in given.named and not hidden and field.section != "output" and field.name not in left_out:
            found[field.name] = "none" if value is None else list(value) if isinstance(value, tuple) else value
    return found


def stays(named: Collection[str], resume: str) -> None:
    """Refuse options that say where a resumed study's files are. Raises ConfigError."""
    if "name" in named or "artifact_dir" in named:
        raise ConfigError(f"--resume {resume} says where the files are; leave --name and --artifact-dir out")


def take_back(folder: Path, name: str) -> None:
    """Remove what an error before the first run has left: the study's own file and an empty folder."""
    if not any(path.name != name for path in folder.iterdir()):
        (folder / name).unlink(missing_ok=True)
        folder.rmdir()
