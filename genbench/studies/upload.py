"""A folder of genbench put into a store: S3, or whatever else fsspec writes to. See docs/upload.md.

Rules
- `<url>/<folder's name>/` gets every file. The document that says what the folder is (`run.json`, `sweep.json`, ...)
  goes last: where it is, the upload came to its end, and what a failed upload has left there is simply put again.
- What another run has put there is never overwritten. The same run is, so that a rebuilt report can follow it.
- Local files are only read. Memory stays bounded: larger files go in parts.
- No secret leaves: URLs are shown without user, password and query, the libraries' messages without credentials.

`check` also runs as a process of its own (`python -m genbench.studies.upload`): before a load, so that the threads and
connections of the libraries are gone when it begins.
"""

import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genbench.config import public_store
from genbench.errors import ConfigError, RecordError, UploadError
from genbench.studies import upload_metadata
from genbench.studies.scrub import SECRET_LENGTH
from genbench.studies.upload_metadata import MAINS

PROBE = ".genbench-probe"
PART_BYTES, PARTS_AT_ONCE = 16 << 20, 4  # s3fs reads a file of up to two parts as a whole
SMALL_BYTES, SMALL_AT_ONCE = 4 << 20, 8
ANSWER_S = 60.0
MOST_SAID = 300
S3, GOOGLE = ("s3", "s3a"), ("gs", "gcs")
PLACES = "s3://bucket/prefix, gs://bucket/prefix or file:///folder"
SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
NO_CREDENTIALS = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "DefaultCredentialsError",
)
OF_S3 = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give this machine a role"

Tell = Callable[[int, int, int, int], None]


@dataclass(frozen=True, slots=True)
class Uploaded:
    """What was put where: `place` ends in the folder's name; `notes` are sentences on what was left out or cut."""

    place: str
    files: int
    size_bytes: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Store:
    """A place to write to: the URL, its file system (fsspec), and the path in it without a slash at the end."""

    url: str
    scheme: str
    system: Any = field(repr=False)
    root: str

    def path(self, folder: str, name: str) -> str:
        """The path of a file of a folder."""
        return f"{self.root}/{folder}/{name}"


def scheme_of(url: str) -> str:
    """The kind of store a URL names. Raises ConfigError where it is none, or holds credentials."""
    shown = public_store(url)
    if "::" in url:
        raise ConfigError(f"{shown} is a chain of stores; name one, like {PLACES}")
    match = re.fullmatch(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", url, re.DOTALL)
    if match is None:
        raise ConfigError(f"{shown} is no URL of a store; write it like {PLACES}")
    scheme, rest = match[1].lower(), match[2]
    if scheme in ("http", "https"):
        raise ConfigError(f"{shown} is a web address; write s3://bucket/prefix, and the address as AWS_ENDPOINT_URL")
    if scheme in (*S3, *GOOGLE):
        bucket = rest.partition("/")[0]
        if "@" in bucket or ":" in bucket:
            raise ConfigError(f"{shown}: credentials do not belong in the URL; {OF_S3 if scheme in S3 else 'log in'}")
        if "?" in rest:
            raise ConfigError(f"{shown}: options do not belong in the URL; leave out what is behind the ?")
        if not bucket:
            raise ConfigError(f"{shown} names no bucket; write {scheme}://bucket/prefix")
    return scheme


def check(url: str, folder: Path | None = None) -> list[str]:
    """Make sure that a folder could be put there: a tiny object is written and removed. Returns what there is to say.

    `folder` need not exist yet. Raises ConfigError where the library, the credentials or the place are missing, where
    nothing can be written, and where another run lies under the folder's name.
    """
    store = _open(url)
    probe, notes = f"{store.root}/{PROBE}", []
    try:
        with tempfile.TemporaryDirectory() as temporary:
            file = Path(temporary, PROBE)
            file.write_bytes(b"genbench looks whether it may write here\n")
            store.system.put_file(str(file), probe)
    except Exception as error:  # whatever the libraries of all the stores raise
        raise ConfigError(f"{public_store(url)}: {_why(error, store)}") from error
    try:
        with contextlib.suppress(FileNotFoundError):  # another run's check took it: they share the name, none pile up
            store.system.rm_file(probe)
    except Exception as error:
        notes.append(f"the object {PROBE} stays in {public_store(url)}: {_why(error, store)}")
    if folder is not None:
        _refuse_others(store, folder)
    return notes


def check_apart(url: str, folder: Path | None = None) -> list[str]:
    """`check` in a process of its own, which may take `ANSWER_S`. Raises ConfigError."""
    scheme_of(url)
    asked = json.dumps({"url": url, "folder": None if folder is None else str(folder)})  # not in its arguments: ps
    try:
        done = subprocess.run(
            [sys.executable, "-m", "genbench.studies.upload"],
            input=asked,
            capture_output=True,
            text=True,
            timeout=ANSWER_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(f"{public_store(url)}: no answer within {ANSWER_S:g} s; check the network") from error
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError) as error:
        raise ConfigError(f"{public_store(url)}: the check ended with code {done.returncode}; leave it out") from error
    if "error" in answer:
        raise ConfigError(answer["error"])
    return list(answer["notes"])


def upload(folder: Path, url: str, tell: Tell = lambda *_: None) -> Uploaded:
    """Put a folder of genbench to `<url>/<its name>/`; `tell` hears (files, of files, bytes, of bytes).

    Raises RecordError where it is no folder of genbench, ConfigError for the URL and for another run that lies there,
    UploadError where a transfer fails; the files here are as they were, whatever happens.
    """
    found, links = _files(folder)
    metadata, left_out = upload_metadata.of(folder)
    store = _open(url)
    _refuse_others(store, folder)
    name = folder.resolve().name
    extra = _extra(store.scheme, metadata)
    try:
        _put(store, name, folder, found, extra, tell)
    except Exception as error:  # as above; what was measured is on disk
        again = shlex.join(["genbench", "upload", str(folder), public_store(url)])
        raise UploadError(
            f"{public_store(url)}: {_why(error, store)}; everything is in {folder}, try again with: {again}"
        ) from error
    notes = []
    if left_out and store.scheme in (*S3, *GOOGLE):
        notes.append(f"not among the objects' metadata, which holds 2 KB: {', '.join(left_out)}")
    if links:
        notes.append(f"not uploaded, links: {', '.join(links)}")
    base = public_store(url)
    place = f"{base if base.endswith('://') else base.rstrip('/') + '/'}{name}/"
    return Uploaded(place, len(found), sum(size for _, size in found), tuple(notes))


# -- the folder --------------------------------------------------------------------------------------------------------


def _files(folder: Path) -> tuple[list[tuple[str, int]], list[str]]:
    """(path below the folder, bytes) of every file, what says what the folder is last; and the links among them."""
    main = upload_metadata.kind(folder)
    found, links = [], []
    for above, folders, names in os.walk(folder):
        for name in (*folders, *names):
            path = Path(above, name)
            below = path.relative_to(folder).as_posix()
            if path.is_symlink():
                links.append(below)
            elif path.is_file():
                found.append((below, path.stat().st_size))
    found.sort(key=lambda one: (one[0] == main, one[0]))
    return found, sorted(links)


# -- the store ---------------------------------------------------------------------------------------------------------


def _open(url: str) -> _Store:
    """The file system of a URL; nothing is sent yet. Raises ConfigError."""
    scheme, shown = scheme_of(url), public_store(url)
    try:
        import fsspec
        from fsspec.core import url_to_fs
        from fsspec.registry import known_implementations
    except ImportError as error:
        raise ConfigError(f"{shown}: fsspec is not installed; pip install 'genbench[s3]'") from error
    try:
        fsspec.get_filesystem_class(scheme)
    except ImportError as error:
        known = known_implementations.get(scheme, {})
        library = "s3fs" if scheme in S3 else str(known.get("class", scheme)).partition(".")[0]
        how = "pip install 'genbench[s3]'" if scheme in S3 else f"pip install {library}"
        if library == "fsspec":
            raise ConfigError(f"{shown} needs a library that is not installed: {known.get('err')}") from error
        raise ConfigError(f"{shown} needs {library}, which is not installed; {how}") from error
    except ValueError as error:
        raise ConfigError(f"{shown}: fsspec knows no {scheme}://; write it like {PLACES}") from error
    local = {"auto_mkdir": True} if scheme in ("file", "local") else {}
    try:
        system, root = url_to_fs(url, skip_instance_cache=True, **local)
    except Exception as error:
        raise ConfigError(f"{shown}: {_said(error, url)}; correct the URL") from error
    return _Store(url, scheme, system, root.rstrip("/"))


def _refuse_others(store: _Store, folder: Path) -> None:
    """Raises ConfigError where something else than this folder lies under its name."""
    name = folder.resolve().name
    own = upload_metadata.kind(folder) if folder.is_dir() else None
    for main in MAINS:
        try:
            there = store.system.cat_file(store.path(name, main))
        except (FileNotFoundError, PermissionError):
            continue  # a store that may only be written to does not say
        except Exception as error:
            raise ConfigError(f"{public_store(store.url)}: {_why(error, store)}") from error
        here = folder / main
        if not here.is_file() or (main == own and not _same(there, here.read_bytes())):
            raise ConfigError(
                f"{public_store(store.url)} has another {MAINS[main]} of the name {name}; give another URL or name"
            )


def _same(one: bytes, other: bytes) -> bool:
    """Whether two documents are of the same run, though perhaps made anew."""
    return one == other or (_began(one) is not None and _began(one) == _began(other))


def _began(document: bytes) -> Any:
    """When a run or a study began; None where it does not say."""
    try:
        found = json.loads(document)
        clock = found.get("clock") or {}
        return clock.get("zero_unix_ns") or found.get("started")
    except (ValueError, AttributeError):
        return None


def _extra(scheme: str, metadata: Mapping[str, str]) -> dict[str, Any]:
    """What `put_file` is told besides: the metadata where the store has such, and how much it may read at once."""
    if scheme in S3:
        return {"Metadata": dict(metadata), "chunksize": PART_BYTES, "max_concurrency": PARTS_AT_ONCE}
    return {"metadata": dict(metadata)} if scheme in GOOGLE else {}


def _put(
    store: _Store, name: str, folder: Path, found: Sequence[tuple[str, int]], extra: Mapping[str, Any], tell: Tell
) -> None:
    """Put the files in their order; small ones several at a time, but the last alone."""
    from fsspec.callbacks import Callback

    total_bytes = sum(size for _, size in found)
    done = done_bytes = 0
    tell(0, len(found), 0, total_bytes)
    for batch in _batches(found, together=bool(getattr(store.system, "async_impl", False))):
        here = [str(folder / below) for below, _ in batch]
        there = [store.path(name, below) for below, _ in batch]
        if len(batch) > 1:
            store.system.put(here, there, batch_size=SMALL_AT_ONCE, **extra)
        else:
            before, files = done_bytes, done

            def hear(size: int | None, value: int, before: int = before, files: int = files, **_: Any) -> None:
                tell(files, len(found), min(before + value, total_bytes), total_bytes)

            store.system.put_file(here[0], there[0], callback=Callback(hooks={"tell": hear}), **extra)
        done += len(batch)
        done_bytes += sum(size for _, size in batch)
        tell(done, len(found), done_bytes, total_bytes)


def _batches(found: Sequence[tuple[str, int]], *, together: bool) -> Iterator[Sequence[tuple[str, int]]]:
    """Runs of small files of at most `SMALL_AT_ONCE`, each larger one alone, and the last one of all alone."""
    batch: list[tuple[str, int]] = []
    for one in found[:-1]:
        if one[1] > SMALL_BYTES or not together:
            yield [one]
            continue
        batch.append(one)
        if len(batch) == SMALL_AT_ONCE:
            yield batch
            batch = []
    if batch:
        yield batch
    yield from ([one] for one in found[-1:])


# -- what went wrong ---------------------------------------------------------------------------------------------------


def _why(error: BaseException, store: _Store) -> str:
    """An error of any library in words, with the next step; no secrets."""
    names = {type(one).__name__ for one in (error, error.__cause__, error.__context__)}
    if names & set(NO_CREDENTIALS):
        return f"there are no credentials; {OF_S3}" if store.scheme in S3 else "there are no credentials; log in"
    said = _said(error, store.url)
    if isinstance(error, FileNotFoundError):
        return f"there is no such bucket or folder ({said}); make it first"
    if isinstance(error, PermissionError):
        return f"that is not allowed ({said}); use credentials that may write there"
    if isinstance(error, NotImplementedError):
        return f"fsspec only reads {store.scheme}://; write to {PLACES}"
    return f"it does not work ({said})"


def _said(error: BaseException, url: str) -> str:
    """What an error says, on one line, without what a URL or the environment keeps secret."""
    text = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    hidden = set(re.split(r"[:/@?&=]+", url)) - set(re.split(r"[:/@?&=]+", public_store(url)))
    keys = {key for key in map(os.environ.get, SECRETS) if key is not None and len(key) >= SECRET_LENGTH}
    for secret in sorted({one for one in hidden if len(one) > 2} | keys, key=len, reverse=True):
        text = text.replace(secret, "***")
    return text if len(text) <= MOST_SAID else text[: MOST_SAID - 3] + "..."


def _answer() -> None:
    """Read {url, folder} from stdin, check, write {notes} or {error} to stdout."""
    asked = json.load(sys.stdin)
    with contextlib.redirect_stdout(sys.stderr):
        try:
            answer: dict[str, Any] = {"notes": check(asked["url"], asked["folder"] and Path(asked["folder"]))}
        except (ConfigError, RecordError) as error:
            answer = {"error": str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    _answer()
