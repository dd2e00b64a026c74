"""What is written on the objects of an upload: the run in a few words, as S3 takes them.

Keys have lower-case letters, digits and dashes only: they become names of HTTP headers, and some proxies drop others.
Values are ASCII, what is not is written as in a URL (%C3%A9). All of it stays within the 2 KB that S3 holds, names of
headers included; what no longer fits is left out as a whole, for half a value is a wrong one.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from genbench import loads
from genbench.config import public_metadata
from genbench.errors import RecordError
from genbench.studies.header import about

MAINS = {
    "ab.json": "A/B",
    "sweep.json": "sweep",
    "capacity.json": "capacity search",
    "compare.json": "comparison",
    "run.json": "run",
}
KINDS = {"ab.json": "ab", "sweep.json": "sweep", "capacity.json": "capacity", "compare.json": "compare"}
MOST_BYTES = 2048
PREFIX = "x-amz-meta-"
SAFE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")
WORST = ("INVALID", "SUSPECT", "VALID")


def kind(folder: Path) -> str:
    """The name of the document that says what a folder is. Raises RecordError where there is none."""
    for main in MAINS:
        if (folder / main).is_file():
            return main
    what = "is not there" if not folder.exists() else f"is no folder of genbench: there is no {' or '.join(MAINS)}"
    raise RecordError(f"{folder} {what}; give the folder of a run, a sweep, a capacity search, an A/B or a comparison")


def of(folder: Path) -> tuple[dict[str, str], list[str]]:
    """A folder's metadata, and the keys for which there was no room. Raises RecordError."""
    main = kind(folder)
    document = _read(folder / main)
    summary = _read(folder / "summary.json") if main == "run.json" and (folder / "summary.json").is_file() else {}
    return fitted(_words(main, document, summary))


def fitted(words: Iterator[tuple[str, Any]]) -> tuple[dict[str, str], list[str]]:
    """Keys and values as S3 takes them, first come, first served; and the keys that are left out."""
    found: dict[str, str] = {}
    left_out, size = [], 0
    for name, value in words:
        key = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        text = quote(" ".join(_text(value).split()), safe=SAFE)
        if not text:
            continue
        more = len(PREFIX) + len(key) + len(text)
        if key in found or size + more > MOST_BYTES:
            left_out.append(quote(name[:100], safe=SAFE))
            continue
        found[key] = text
        size += more
    return found, left_out


def _words(main: str, document: Mapping[str, Any], summary: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What is worth knowing of it, most important first."""
    config = document.get("config") or {}
    yield "kind", KINDS.get(main, "run")
    yield "genbench-version", document.get("genbench")
    yield "model", document.get("model")
    for side, server in (document.get("servers") or {}).items():
        yield f"model-{side}", server.get("model")
    yield "endpoint-type", document.get("endpoint_type")
    yield "load", _load(main, document)
    yield "verdict", summary.get("verdict") or _verdict(document)
    yield "simulated", _simulated(main, document)
    yield "interrupted", document.get("interrupted")
    said = about({"metadata": (), **(config.get("about") or {})})
    for group in ("hardware", "metadata"):
        for key, value in (document.get(group) or said.get(group) or {}).items():
            public = public_metadata([f"{key}={_text(value)}"])[0].partition("=")[2]
            yield f"{group}-{key}", public


def _load(main: str, document: Mapping[str, Any]) -> str:
    """The load of a run in words; of a sweep what was swept; of a search what came out."""
    by = str(document.get("by", "")).replace("_", " ")
    if main == "sweep.json":
        values = [float(point["value"]) for point in document.get("points", ())]
        return f"{by} {min(values):g} to {max(values):g}" if values else by
    if main == "capacity.json":
        answer = (document.get("answer") or {}).get("value")
        return by if answer is None else f"{by}, holds {answer:g}"
    if main == "compare.json":
        return " against ".join(str(one["name"]) for one in document.get("subjects", ()))
    return loads.sentence((document.get("config") or {}).get("load") or {})


def _verdict(document: Mapping[str, Any]) -> str:
    """The worst verdict among the runs of a study; of a search, among those that confirm its answer."""
    found = {one.get("verdict") for one in (*document.get("points", ()), *document.get("blocks", ()))}
    found |= {verdict for one in document.get("subjects", ()) for verdict in one.get("verdicts", ())}
    found |= {one.get("run_verdict") for one in document.get("probes", ()) if one.get("confirmation")}
    return next((verdict for verdict in WORST if verdict in found), "")


def _simulated(main: str, document: Mapping[str, Any]) -> Any:
    if main == "compare.json":
        facts = [one.get("simulated") for one in document.get("subjects", ())]
        return any(facts) if facts and None not in facts else None
    return document.get("simulated", False if main == "ab.json" else None)


def _text(value: Any) -> str:
    """true and false as in JSON, nothing for nothing."""
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
    except OSError as error:
        raise RecordError(f"cannot read {file} ({(error.strerror or str(error)).lower()}); check its rights") from error
    except ValueError as error:
        raise RecordError(f"{file} is not JSON ({error}); restore it") from error
    if not isinstance(found, dict):
        raise RecordError(f"{file} is no document of genbench; give a folder that genbench wrote")
    return found
