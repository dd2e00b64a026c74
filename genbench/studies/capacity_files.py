"""`capacity.json`: the document of a search that begins, and one that is read again."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from genbench import __version__, config
from genbench.config import Given
from genbench.errors import RecordError
from genbench.resolve import resolve
from genbench.studies.capacity_asked import Wanted

NAME, SCHEMA, KIND = "capacity.json", 1, "capacity"


def begin(
    given: Given, wanted: Wanted, command: str, options: Mapping[str, Any], before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The document of a search that begins, or of one that is resumed."""
    resolved = resolve(given)[0]
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return {
        "schema": SCHEMA,
        "genbench": __version__,
        "kind": KIND,
        "command": command,
        "started": before["started"] if before else now,
        "simulated": not resolved.target.url,
        "interrupted": False,
        "ended": False,
        "by": wanted.by,
        "precision": wanted.precision,
        "budget_s": wanted.budget_s,
        "slo": list(given.config.slo),
        "options": dict(options),
        "config": config.public(resolved),
        "model": None,
        "endpoint_type": None,
        "sentences": [],
        "notes": [],
        "answer": None,
        "hopeless": "",
        "alone": None,
        "probes": [],
    }


def read(folder: Path) -> dict[str, Any]:
    """`capacity.json`. Raises RecordError where there is none, or none that can be read."""
    try:
        found = orjson.loads((folder / NAME).read_bytes())
    except OSError as error:
        why = (error.strerror or "").lower()
        raise RecordError(f"{folder} is no capacity search: cannot read {NAME} ({why}); give its folder") from error
    except orjson.JSONDecodeError as error:
        raise RecordError(f"{folder / NAME} is not JSON ({error}); restore it or search again") from error
    if not isinstance(found, dict) or found.get("kind") != KIND or found.get("schema") != SCHEMA:
        raise RecordError(f"{folder / NAME} is of another kind or version; give a folder of this genbench capacity")
    return found
