"""A run's folder in a store: what goes where, in which order, what is said of it, what is refused. fsspec's memory://."""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from genbench.config import public_store
from genbench.errors import ConfigError, RecordError, UploadError
from genbench.studies import upload, upload_metadata

DEMO = Path(__file__).parent.parent.parent / "examples" / "runs" / "SIMULATED-demo"
WORDS = {
    "kind": "run",
    "genbench-version": "0.1.0",
    "model": "simulated-model",
    "endpoint-type": "chat",
    "load": "4 at a time",
    "verdict": "VALID",
    "simulated": "true",
    "interrupted": "false",
}


@pytest.fixture
def memory() -> Iterator[Any]:
    """fsspec's store in memory, empty before and after."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run's folder with a figure in a folder below."""
    found = shutil.copytree(DEMO, tmp_path / "runs" / "SIMULATED-demo")
    (found / "plots").mkdir()
    (found / "plots" / "ttft cdf #1.csv").write_text("x,y\n1,2\n")
    return found


def study(folder: Path, main: str, document: dict[str, Any]) -> Path:
    """A folder with the document of a study."""
    folder.mkdir()
    (folder / main).write_text(json.dumps({"genbench": "0.1.0", "endpoint_type": "chat", **document}))
    return folder


# -- what goes where ---------------------------------------------------------------------------------------------------


def test_every_file_goes_under_the_folders_name(memory: Any, folder: Path) -> None:
    done = upload.upload(folder, "memory://store/team/")
    there = {path.removeprefix("/store/team/SIMULATED-demo/"): memory.cat_file(path) for path in memory.find("/store")}
    here = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert there == here
    assert "plots/ttft cdf #1.csv" in there
    size = sum(map(len, here.values()))
    assert done == upload.Uploaded("memory://store/team/SIMULATED-demo/", len(here), size)


def test_a_folder_of_the_machine_is_a_store_too(folder: Path, tmp_path: Path) -> None:
    done = upload.upload(folder, f"file://{tmp_path}/new/store")
    assert done.place == f"file://{tmp_path}/new/store/SIMULATED-demo/"
    copied = tmp_path / "new" / "store" / "SIMULATED-demo"
    assert (copied / "requests.jsonl").read_bytes() == (folder / "requests.jsonl").read_bytes()
    assert (copied / "plots" / "ttft cdf #1.csv").is_file()


def test_what_says_what_it_is_goes_last(memory: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    real = type(memory).put_file

    def note(self: Any, here: str, there: str, **more: Any) -> None:
        order.append(there.rpartition("/")[2])
        real(self, here, there, **more)

    monkeypatch.setattr(type(memory), "put_file", note)
    upload.upload(folder, "memory://store")
    assert order[-1] == "run.json"
    assert len(order) == 7


def test_progress_ends_with_everything(memory: Any, folder: Path) -> None:
    heard: list[tuple[int, int, int, int]] = []
    done = upload.upload(folder, "memory://store", lambda *said: heard.append(said))
    assert heard[0] == (0, 7, 0, done.size_bytes)
    assert heard[-1] == (7, 7, done.size_bytes, done.size_bytes)
    assert heard == sorted(heard)


def test_links_are_left_out_and_named(memory: Any, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "key").write_text("secret")
    (folder / "key").symlink_to(tmp_path / "private" / "key")
    (folder / "all").symlink_to(tmp_path / "private")
    done = upload.upload(folder, "memory://store")
    assert done.notes == ("not uploaded, links: all, key",)
    assert not [path for path in memory.find("/store") if path.endswith(("key", "all"))]


def test_small_files_go_together_large_ones_and_the_last_alone() -> None:
    big = upload.SMALL_BYTES + 1
    found = [*((f"{k}", 1) for k in range(9)), ("big", big), ("a", 2), ("run.json", 3)]
    batches = [[name for name, _ in batch] for batch in upload._batches(found, together=True)]
    assert batches == [["0", "1", "2", "3", "4", "5", "6", "7"], ["big"], ["8", "a"], ["run.json"]]
    assert all(len(batch) == 1 for batch in upload._batches(found, together=False))


# -- what lies there already -------------------------------------------------------------------------------------------


def test_the_same_run_may_come_again(memory: Any, folder: Path) -> None:
    upload.upload(folder, "memory://store")
    header = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(header | {"notes": ["made anew"]}))
    (folder / "summary.md").write_text("made anew")
    upload.upload(folder, "memory://store")
    assert memory.cat_file("/store/SIMULATED-demo/summary.md") == b"made anew"


def test_another_run_is_not_overwritten(memory: Any, folder: Path) -> None:
    upload.upload(folder, "memory://store")
    header = json.loads((folder / "run.json").read_text())
    header["clock"]["zero_unix_ns"] += 1
    (folder / "run.json").write_text(json.dumps(header))
    (folder / "summary.md").write_text("another one")
    with pytest.raises(ConfigError, match="memory://store has another run of the name SIMULATED-demo"):
        upload.upload(folder, "memory://store")
    assert memory.cat_file("/store/SIMULATED-demo/summary.md") == (DEMO / "summary.md").read_bytes()


def test_a_run_does_not_take_a_studys_place(memory: Any, folder: Path) -> None:
    memory.pipe_file("/store/SIMULATED-demo/sweep.json", b'{"kind": "sweep"}')
    with pytest.raises(ConfigError, match="has another sweep of the name SIMULATED-demo"):
        upload.upload(folder, "memory://store")


def test_a_name_is_looked_up_before_there_is_a_folder(memory: Any, folder: Path, tmp_path: Path) -> None:
    assert upload.check("memory://store", tmp_path / "SIMULATED-demo") == []
    upload.upload(folder, "memory://store")
    with pytest.raises(ConfigError, match="another run of the name SIMULATED-demo"):
        upload.check("memory://store", tmp_path / "SIMULATED-demo")


def test_an_upload_that_failed_is_taken_up(memory: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = type(memory).put_file

    def full(self: Any, here: str, there: str, **more: Any) -> None:
        if there.endswith("summary.json"):
            raise OSError(28, "No space left on device")
        real(self, here, there, **more)

    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with monkeypatch.context() as patched:
        patched.setattr(type(memory), "put_file", full)
        with pytest.raises(UploadError) as failed:
            upload.upload(folder, "memory://store")
    again = f"genbench upload {folder} memory://store"
    assert str(failed.value) == (
        "memory://store: it does not work ([Errno 28] No space left on device); "
        f"everything is in {folder}, try again with: {again}"
    )
    assert failed.value.exit_code == 5
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert memory.find("/store")
    assert not memory.exists("/store/SIMULATED-demo/run.json")
    assert upload.upload(folder, "memory://store").files == 7


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("bucket/prefix", "is no URL of a store; write it like s3://bucket/prefix"),
        ("s3:///prefix", "names no bucket; write s3://bucket/prefix"),
        ("https://s3.example.com/bucket", "AWS_ENDPOINT_URL"),
        ("simplecache::s3://bucket/prefix", "is a chain of stores"),
        ("nowhere://bucket", "fsspec knows no nowhere://"),
        ("s3://AKIAEXAMPLE:secr/et+word@bucket/prefix", "s3://***@bucket/prefix: credentials do not belong in the URL"),
        ("s3://AKIAEXAMPLE:secret?word@bucket/prefix", "s3://***@bucket/prefix: credentials do not belong in the URL"),
        ("gs://secretword@bucket/prefix", "gs://***@bucket/prefix: credentials do not belong in the URL"),
        ("s3://bucket/prefix?AWSAccessKeyId=AKIAEXAMPLE", "s3://bucket/prefix?***: options do not belong in the URL"),
        ("AKIAEXAMPLE:secretword@bucket", "***@bucket is no URL of a store"),
    ],
)
def test_a_wrong_url_is_one_sentence_without_its_secrets(url: str, says: str) -> None:
    for refuse in (upload.check, upload.check_apart):
        with pytest.raises(ConfigError) as refused:
            refuse(url)
        assert says in str(refused.value)
        assert not re.search("AKIA|secr|word@", str(refused.value))


@pytest.mark.parametrize("url", ["s3://bucket/me@home", "memory://store/a@b", "file:///tmp/x"])
def test_an_at_sign_in_a_path_is_no_secret(url: str) -> None:
    assert public_store(url) == url
    assert upload.scheme_of(url) == url.partition(":")[0]


def test_a_store_whose_library_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(ConfigError) as refused:
        upload.check("gs://bucket/prefix")
    assert str(refused.value) == "gs://bucket/prefix needs gcsfs, which is not installed; pip install gcsfs"


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError) as refused:
        upload.check(f"file://{tmp_path}/file/below")
    assert str(refused.value).startswith(f"file://{tmp_path}/file/below: ")
    assert str(refused.value).count("\n") == 0


def test_the_check_leaves_nothing(memory: Any, tmp_path: Path) -> None:
    assert upload.check("memory://store") == []
    assert memory.find("/") == []
    assert upload.check_apart(f"file://{tmp_path}/store") == []
    assert list((tmp_path / "store").iterdir()) == []


def test_a_probe_that_cannot_be_removed_is_named(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Any, path: str) -> None:
        raise PermissionError("Access Denied")

    monkeypatch.setattr(type(memory), "rm_file", refuse)
    (note,) = upload.check("memory://store")
    assert note.startswith("the object .genbench-probe stays in memory://store: that is not allowed (Access Denied)")


def test_the_librarys_words_lose_their_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    error = OSError("login of bob with pass/word at host failed; key wJalrXUtnFEMI; see ftp://bob:pass/word@host/x")
    said = upload._said(error, "ftp://bob:pass/word@host/x")
    assert not re.search("bob|pass|word|wJalr", said)
    assert "host" in said
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")  # what a local server is given is no secret
    assert upload._said(OSError("a bad day"), "s3://bucket") == "a bad day"


@pytest.mark.parametrize(("make", "says"), [(False, "is not there"), (True, "is no folder of genbench")])
def test_only_folders_of_genbench(memory: Any, tmp_path: Path, make: bool, says: str) -> None:
    other = tmp_path / "other"
    if make:
        other.mkdir()
        (other / "notes.txt").write_text("hello")
    with pytest.raises(RecordError, match=says):
        upload.upload(other, "memory://store")
    assert memory.find("/") == []


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_damaged_folder(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(RecordError, match=re.escape(str(tmp_path / "run.json"))):
        upload_metadata.of(tmp_path)


# -- metadata ----------------------------------------------------------------------------------------------------------


def test_metadata_of_a_run(folder: Path) -> None:
    assert upload_metadata.of(folder) == (WORDS, [])


def test_hardware_and_notes_of_a_run(folder: Path) -> None:
    header = json.loads((folder / "run.json").read_text())
    header["hardware"] = {"instance": "g5.12xlarge", "gpu_count": 4, "price_per_hour": 5.67}
    header["metadata"] = {"team": "search", "Café": "là  bas", "api_key": "hunter22", "repo": "http://me:pw@host/x"}
    (folder / "run.json").write_text(json.dumps(header))
    found, left_out = upload_metadata.of(folder)
    assert left_out == []
    assert found == WORDS | {
        "hardware-instance": "g5.12xlarge",
        "hardware-gpu-count": "4",
        "hardware-price-per-hour": "5.67",
        "metadata-team": "search",
        "metadata-caf": "l%C3%A0 bas",
        "metadata-api-key": "***",
        "metadata-repo": "http://***@host/x",
    }


def test_metadata_stays_within_two_kilobytes() -> None:
    # each entry: 11 of x-amz-meta- + 1 of its name + 500 = 512 bytes; four of them are 2048
    words = [(name, "x" * 500) for name in "abcde"]
    found, left_out = upload_metadata.fitted(iter([*words, ("f", ""), ("A", "again")]))
    assert list(found) == ["a", "b", "c", "d"]
    assert left_out == ["e", "A"]
    assert sum(len(upload_metadata.PREFIX + key + value) for key, value in found.items()) == 2048


def test_a_short_entry_fits_where_a_long_one_did_not() -> None:
    found, left_out = upload_metadata.fitted(iter([("long", "é" * 400), ("short", "yes")]))  # 6 bytes for each é
    assert found == {"short": "yes"}
    assert left_out == ["long"]


def test_metadata_is_made_of_what_a_header_may_hold() -> None:
    found, _ = upload_metadata.fitted(iter([("Ключ a_b.c", "100 %\r\nx: y\tz\x00"), ("on", True), ("none", None)]))
    assert found == {"a-b-c": "100 %25 x: y z%00", "on": "true"}


@pytest.mark.parametrize(
    ("main", "document", "expected"),
    [
        (
            "sweep.json",
            {
                "model": "tiny", "by": "request_rate", "simulated": False, "interrupted": False,
                "config": {"about": {"metadata": ["team=search"], "gpu": "L4", "gpu_count": None}},
                "points": [{"value": 1.0, "verdict": "VALID"}, {"value": 8.0, "verdict": "SUSPECT"}],
            },
            {
                "kind": "sweep", "model": "tiny", "load": "request rate 1 to 8", "verdict": "SUSPECT",
                "simulated": "false", "interrupted": "false", "hardware-gpu": "L4", "metadata-team": "search",
            },
        ),
        (
            "capacity.json",
            {
                "by": "concurrency", "simulated": True, "interrupted": True, "answer": {"value": 12.0},
                "probes": [
                    {"verdict": "missed", "run_verdict": "INVALID", "confirmation": False},
                    {"verdict": "kept", "run_verdict": "VALID", "confirmation": True},
                ],
            },
            {
                "kind": "capacity", "load": "concurrency, holds 12", "verdict": "VALID",
                "simulated": "true", "interrupted": "true",
            },
        ),
        (
            "ab.json",
            {
                "servers": {"a": {"url": "http://a", "model": "old"}, "b": {"url": "http://b", "model": "new"}},
                "config": {"load": {"concurrency": 8}}, "interrupted": False,
                "blocks": [{"verdict": "VALID"}, {"verdict": "INVALID"}],
            },
            {
                "kind": "ab", "model-a": "old", "model-b": "new", "load": "8 at a time", "verdict": "INVALID",
                "simulated": "false", "interrupted": "false",
            },
        ),
        (
            "compare.json",
            {
                "endpoint_type": None,
                "subjects": [
                    {"name": "old", "verdicts": ["VALID"], "simulated": False},
                    {"name": "new", "verdicts": ["VALID", "SUSPECT"], "simulated": True},
                ],
            },
            {"kind": "compare", "load": "old against new", "verdict": "SUSPECT", "simulated": "true"},
        ),
    ],
)  # fmt: skip
def test_metadata_of_a_study(
    memory: Any, tmp_path: Path, main: str, document: dict[str, Any], expected: dict[str, str]
) -> None:
    folder = study(tmp_path / "study", main, document)
    found, left_out = upload_metadata.of(folder)
    kind = {} if main == "compare.json" else {"endpoint-type": "chat"}
    assert found == expected | {"genbench-version": "0.1.0"} | kind
    assert left_out == []
    assert upload.upload(folder, "memory://store").files == 1


def test_an_ab_is_not_its_comparison(memory: Any, tmp_path: Path) -> None:
    folder = study(tmp_path / "both", "ab.json", {"started": "2026-11-21T12:07:32Z"})
    (folder / "compare.json").write_text("{}")
    upload.upload(folder, "memory://store")
    (folder / "compare.json").write_text('{"made": "anew"}')
    upload.upload(folder, "memory://store")
    assert memory.cat_file("/store/both/compare.json") == b'{"made": "anew"}'


def test_a_name_of_a_folder_that_is_here(memory: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert upload.upload(Path(os.curdir), "memory://store").place == "memory://store/SIMULATED-demo/"
