"""`genbench upload` and --upload, against an S3 server on the loopback and a folder of this machine."""

import contextlib
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from genbench.cli import upload as cli
from genbench.options import Output
from genbench.studies import upload
from tests.runs import Runner

DEMO = Path(__file__).parent.parent.parent / "examples" / "runs" / "SIMULATED-demo"
SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
KEY, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG"
QUICK = ("--concurrency", "2", "--request-count", "4", "--osl", "2", "--isl", "8", "--warmup", "0")


@pytest.fixture(scope="module")
def s3_port() -> Iterator[int]:
    """A server that speaks S3, as a process."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        assert process.stdout is not None
        yield int(process.stdout.readline())
        process.kill()


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Nothing of this machine's own AWS settings."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", *upload.SECRETS):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    return monkeypatch


@pytest.fixture
def s3(environment: pytest.MonkeyPatch, s3_port: int) -> Any:
    """That server's file system, with an empty bucket `results`."""
    environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{s3_port}")
    environment.setenv("AWS_ACCESS_KEY_ID", KEY)
    environment.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    system = fsspec.filesystem("s3", skip_instance_cache=True)
    if system.exists("results"):
        system.rm("results", recursive=True)
    system.mkdir("results")
    return system


@pytest.fixture
def no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check before a load in this process: sooner done, where it is not what is tested."""
    monkeypatch.setattr(upload, "check_apart", upload.check)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- genbench upload ---------------------------------------------------------------------------------------------------


def test_a_folder_goes_to_s3_with_what_it_is(run: Runner, s3: Any) -> None:
    ran = run("upload", str(DEMO), "s3://results/team/a")
    assert (ran.code, ran.err) == (0, "")
    assert re.fullmatch(r"uploaded: s3://results/team/a/SIMULATED-demo/ \(6 files, [\d.]+ kB\)\n", ran.out)
    base = "results/team/a/SIMULATED-demo/"
    assert {path.removeprefix(base): s3.cat_file(path) for path in s3.find("results")} == contents(DEMO)
    for name in ("run.json", "requests.jsonl"):
        assert s3.metadata(base + name) == {
            "kind": "run", "genbench-version": "0.1.0", "model": "simulated-model", "endpoint-type": "chat",
            "load": "4 at a time", "verdict": "VALID", "simulated": "true", "interrupted": "false",
        }  # fmt: skip


def test_a_large_file_goes_in_parts(run: Runner, s3: Any, tmp_path: Path) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    (folder / "run.json").write_bytes((DEMO / "run.json").read_bytes())
    size = 2 * upload.PART_BYTES + 5
    with (folder / "requests.jsonl").open("wb") as file:
        file.truncate(size)
    heard: list[tuple[int, int, int, int]] = []
    upload.upload(folder, "s3://results", lambda *said: heard.append(said))
    found = s3.info("results/large/requests.jsonl")
    assert found["size"] == size
    assert found["ETag"].strip('"').endswith("-3")  # S3's mark of an object that came in three parts
    assert any(0 < done < size for files, _, done, _ in heard if files == 0)  # progress within a file


def test_metadata_that_does_not_fit_is_named(run: Runner, s3: Any, tmp_path: Path) -> None:
    folder = tmp_path / "noted"
    folder.mkdir()
    header = (DEMO / "run.json").read_text().rstrip().removesuffix("}")
    (folder / "run.json").write_text(f'{header}, "metadata": {{"story": "{"é" * 400}", "team": "search"}}}}')
    ran = run("upload", str(folder), "s3://results")
    assert ran.code == 0
    assert ran.err == "note: not among the objects' metadata, which holds 2 KB: metadata-story\n"
    assert s3.metadata("results/noted/run.json")["metadata-team"] == "search"


def test_a_bucket_that_is_not_there(run: Runner, s3: Any) -> None:
    ran = run("upload", str(DEMO), "s3://nobodys/team")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("genbench: s3://nobodys/team: there is no such bucket or folder (")
    assert ran.err.endswith("make it first\n")


def test_without_credentials(run: Runner, environment: pytest.MonkeyPatch, s3_port: int) -> None:
    environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{s3_port}")
    ran = run("upload", str(DEMO), "s3://results")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"genbench: s3://results: there are no credentials; {upload.OF_S3}\n"


def test_without_the_extra(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    ran = run("upload", str(DEMO), "s3://results")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == "genbench: s3://results needs s3fs, which is not installed; pip install 'genbench[s3]'\n"


def test_no_folder_of_genbench(run: Runner, tmp_path: Path) -> None:
    ran = run("upload", str(tmp_path / "nothing"), f"file://{tmp_path}/store")
    assert ran.code == 2
    assert "nothing is not there; give the folder of a run" in ran.err
    assert not (tmp_path / "store").exists()


# -- --upload ----------------------------------------------------------------------------------------------------------


def test_a_run_goes_to_s3(run: Runner, s3: Any) -> None:
    more = ("--metadata", "team=search", "--gpu-count", "4", "--upload", "s3://results/nightly")
    ran = run("profile", *QUICK, *more)
    assert ran.code == 0, ran.err
    base = "results/nightly/SIMULATED-run1/"
    assert {path.removeprefix(base): s3.cat_file(path) for path in s3.find("results")} == contents(ran.folder)
    found = s3.metadata(base + "run.json")
    assert {"load": "2 at a time", "metadata-team": "search", "hardware-gpu-count": "4"}.items() <= found.items()
    assert f"uploaded: s3://{base} (" in ran.err
    assert "--upload s3://results/nightly" in ran.header["command"]
    for content in (*contents(ran.folder).values(), ran.out.encode(), ran.err.encode()):
        assert KEY.encode() not in content
        assert SECRET.encode() not in content


def test_json_stays_alone_on_stdout(run: Runner, no_process: None, tmp_path: Path) -> None:
    ran = run("profile", *QUICK, "--json", "--quiet", "--upload", f"file://{tmp_path}/store")
    assert ran.code == 0
    assert ran.out.startswith("{")
    assert ran.out.rstrip().endswith("}")
    assert ran.err == ""
    assert contents(tmp_path / "store" / "SIMULATED-run1") == contents(ran.folder)


def test_a_failed_upload_loses_nothing(
    run: Runner, no_process: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise TimeoutError("Read timed out")

    with monkeypatch.context() as patched:
        patched.setattr(upload, "_put", fail)
        ran = run("profile", *QUICK, "--upload", f"file://{tmp_path}/my store")
    assert ran.code == cli.FAILED == 5
    assert "Request latency" in ran.out
    last = ran.err.splitlines()[-1]
    assert last.startswith(f"genbench: --upload file://{tmp_path}/my store: it does not work (Read timed out); ")
    assert str(ran.folder) in last
    again = shlex.split(last.partition("try again with: ")[2])
    assert again[:2] == ["genbench", "upload"]
    assert run(*again[1:]).code == 0
    assert contents(tmp_path / "my store" / ran.folder.name) == contents(ran.folder)


@pytest.mark.parametrize(("code", "shown"), [(0, 5), (1, 1), (4, 4), (130, 130)])
def test_what_was_measured_weighs_more_than_a_failed_upload(
    code: int, shown: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise OSError("no")

    monkeypatch.setattr(upload, "_put", fail)
    assert cli.after(DEMO, Output(upload="memory://store"), code) == shown
    assert "try again with: genbench upload" in capsys.readouterr().err


def test_ctrl_c_stops_the_upload_only(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(upload, "_put", stop)
    assert cli.after(DEMO, Output(upload="memory://store"), 0) == 130
    assert capsys.readouterr().err == (
        f"genbench: the upload was stopped; everything is in {DEMO}, "
        f"upload it with: genbench upload {DEMO} memory://store\n"
    )


def test_a_name_that_is_taken_there_is_refused_before_the_load(run: Runner, tmp_path: Path) -> None:
    taken = tmp_path / "store" / "SIMULATED-run1"
    taken.mkdir(parents=True)
    (taken / "run.json").write_text("{}")
    ran = run("profile", *QUICK, "--upload", f"file://{tmp_path}/store")
    assert ran.code == 2
    assert f"--upload file://{tmp_path}/store has another run of the name SIMULATED-run1" in ran.err
    assert not ran.folder.exists()


@pytest.mark.parametrize(
    "command",
    [
        ("profile",),
        ("sweep", "--concurrency", "1,2"),
        ("capacity", "--slo", "ttft.p95<500ms"),
        ("run-ab", "--a", "http://127.0.0.1:9", "--b", "http://127.0.0.1:9"),
    ],
)
def test_a_place_that_is_none_is_refused_before_any_load(
    run: Runner, command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ran = run(*command, "--upload", f"s3://{KEY}:{SECRET}@results/team")
    assert (ran.code, ran.out) == (2, "")
    assert (
        ran.err == f"genbench: --upload s3://***@results/team: credentials do not belong in the URL; {upload.OF_S3}\n"
    )
    assert list(tmp_path.rglob("*.json*")) == []


def test_a_store_without_its_library_is_refused_before_any_load(
    run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "s3fs.py").write_text("raise ImportError('not here')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    ran = run("profile", *QUICK, "--upload", "s3://results/team")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == (
        "genbench: --upload s3://results/team needs s3fs, which is not installed; pip install 'genbench[s3]'\n"
    )
    assert not ran.folder.exists()


def test_a_sweep_goes_as_a_whole(run: Runner, no_process: None, tmp_path: Path) -> None:
    store = tmp_path / "store"
    load = ("--concurrency", "1,2", "-n", "3", "--osl", "2", "--isl", "8", "--warmup", "0", "--cool-down", "0")
    place = ("--artifact-dir", str(tmp_path / "swept"), "--name", "first", "--no-plots", "--upload", f"file://{store}")
    ran = run("sweep", *load, *place)
    assert ran.code == 0, ran.err
    assert contents(store) == {
        f"SIMULATED-first/{name}": content for name, content in contents(tmp_path / "swept" / "SIMULATED-first").items()
    }
    assert len(list(store.rglob("run.json"))) == 2
    assert ran.err.count("uploaded: ") == 1


# -- what is shown -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (72_345, "72.3 kB"), (3.1e6, "3.1 MB"), (2.5e9, "2.5 GB")]
)
def test_sizes(size: float, text: str) -> None:
    assert cli._size(size) == text


def test_a_long_upload_says_how_far_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter((0.0, 1.0, 6.0, 6.0, 7.0, 12.0, 12.0))
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    with contextlib.ExitStack() as shown:
        tell = cli._progress(shown)
        for files in range(4):
            tell(files, 4, files * 1000, 4000)
    assert capsys.readouterr().err == ("uploading: 1 of 4 files, 1 kB of 4 kB\nuploading: 3 of 4 files, 3 kB of 4 kB\n")
