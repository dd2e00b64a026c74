"""`--export`: a run in other tools' files, each in a folder of its name."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

from genbench import registry
from genbench.errors import ConfigError
from genbench.metrics.summary import Run

Exporters = Sequence[tuple[str, ModuleType]]


def load(names: Sequence[str]) -> Exporters:
    """The exporters of these names. Raises ConfigError for one that is not there: before a run, not after it."""
    found = [(Path(name).stem, registry.load("exporters", name)) for name in dict.fromkeys(names)]
    for (name, module), given in zip(found, dict.fromkeys(names), strict=True):
        if not hasattr(module, "write"):
            raise ConfigError(f"--export {given}: {name} has no write(run, out); see docs/architecture.md")
    return found


def write(exporters: Exporters, run: Run, to: Path) -> Iterator[str]:
    """Write them all; a sentence for each that failed, since the run is measured already and must not be lost."""
    for name, module in exporters:
        try:
            (to / name).mkdir(parents=True, exist_ok=True)
            module.write(run, to / name)
        except Exception as error:  # an exporter of the user's, or a full disk
            yield f"--export {name} failed ({type(error).__name__}: {error}); try genbench report {to} --export {name}"
