"""The folder of a study: named like a run's, made once."""

import time
from collections.abc import Callable
from pathlib import Path

from genbench import registry
from genbench.config import Given
from genbench.engine.preflight import explain
from genbench.errors import ConfigError, GenbenchError, RecordError
from genbench.resolve import resolve
from genbench.studies.prepare import Waiting, place

ENGINE_MODEL = "simulated-model"


def study_folder(given: Given, kind: str, say: Callable[[str], None]) -> Path:
    """Make the folder of a study: <model>-<endpoint>-<kind>-<UTC>, or `--name`.

    Asks the server for its model where none is named. Raises ConfigError or TargetError.
    """
    resolved, _ = resolve(given)
    output, target = resolved.output, resolved.target
    if output.name is not None and Path(output.name).name != output.name:
        raise ConfigError(f"--name {output.name} is a path; give a plain name, and the folder with --artifact-dir")
    model = target.model or (first_model(given, say) if target.url else ENGINE_MODEL)
    model = "".join(c if c.isalnum() or c in "-._" else "-" for c in model).strip("-.") or "model"
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    base = output.name or f"{model}-{Path(target.endpoint_type).stem}-{kind}-{stamp}"
    if not target.url and "SIMULATED" not in base:
        base = f"SIMULATED-{base}"
    for k in range(1, 1000):
        folder = Path(output.artifact_dir) / (base if k == 1 else f"{base}-{k}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            if output.name is not None:
                raise ConfigError(f"--name {output.name}: {folder} is there already; choose another name") from None
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise ConfigError(f"--artifact-dir {output.artifact_dir}: {why}; choose another folder") from error
    raise RecordError(f"{base} and its numbered neighbours are all there; choose another --artifact-dir")


def first_model(given: Given, say: Callable[[str], None]) -> str:
    """The first model the server lists, "model" where it lists none. Raises TargetError when nobody is there."""
    resolved, _ = resolve(given)
    endpoint = registry.load("endpoints", resolved.target.endpoint_type)
    waiting = Waiting(None, patient="wait_ready_s" in given.named, say=say)
    try:
        prober = place(resolved.target.url[0], endpoint, endpoint.PATH, resolved.target, waiting).prober
    except GenbenchError as error:
        raise type(error)(str(explain(error, "url" in given.named))) from error
    answer = prober.get("/v1/models")
    items = answer.get("data") if isinstance(answer, dict) else None
    listed = [str(item["id"]) for item in items or () if isinstance(item, dict) and "id" in item]
    return listed[0] if listed else "model"
