"""Small files in the shape that other tools write: two requests that end well and one that fails, times by hand.

Request 0 starts at 0 and has 4 tokens 60, 75, 95 and 120 ms later; request 1 starts at 10 ms with tokens after 70, 80
and 90 ms; request 2 starts at 150 ms and gets status 500. So TTFT is 60 and 70 ms, TPOT (120 - 60) / 3 = 20 and
(90 - 70) / 2 = 10 ms, and the gaps are 15, 20, 25, 10 and 10 ms.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from genbench.studies.importing import Brought, bring_in

FOLDER = Path(__file__).parent.parent / "data" / "peers"


def brought(path: Path, to: Path, nth: int | None = None) -> Brought:
    """The only result of a file, or its `nth`."""
    (one,) = bring_in(path, artifact_dir=to, nth=nth)
    return one


def changed(name: str, to: Path, change: Callable[[Any], Any]) -> Path:
    """A copy of a JSON file with one thing changed; `change` alters the document or gives a new one."""
    document = json.loads((FOLDER / name).read_text())
    path = to / Path(name).name
    path.write_text(json.dumps(change(document) or document))
    return path


def lines(name: str) -> list[dict[str, Any]]:
    """The documents of a file of JSON lines."""
    return [json.loads(line) for line in (FOLDER / name).read_text().splitlines()]
