"""Every example is run against the embedded engine, with small counts; the kept run can be rebuilt."""

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from genbench import config, resolve
from tests.runs import Runner
from tests.simulator.process import Simulator

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
SMALL = ("--isl", "20", "--osl", "3", "--request-count", "3", "--warmup", "1", "--quiet", "--no-plots")
Start = Callable[..., Simulator]


@pytest.fixture
def fast(start_simulator: Start) -> Simulator:
    """An engine that answers at once."""
    return start_simulator("--ttft", "2ms", "--itl", "1ms")


def call(
    command: list[str], folder: Path, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run with this environment's programs, in a folder of the test's own."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    kept = {name: value for name, value in os.environ.items() if name not in ("OPENAI_API_KEY", "URL", "MODEL")}
    return subprocess.run(
        command,
        cwd=folder,
        env={**kept, "PATH": path, "HF_HUB_OFFLINE": "1", **(environment or {})},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def summaries(folder: Path) -> list[dict[str, Any]]:
    """summary.json of each run below a folder's artifacts."""
    return [json.loads(path.read_text()) for path in sorted((folder / "artifacts").glob("*/summary.json"))]


@pytest.mark.parametrize(("name", "runs"), [("vllm", 2), ("nim", 2), ("tgi", 1), ("hosted", 1)])
def test_a_script(name: str, runs: int, fast: Simulator, tmp_path: Path) -> None:
    key = {"OPENAI_API_KEY": "not-a-real-key"} if name == "hosted" else {}
    done = call([str(EXAMPLES / f"{name}.sh"), *SMALL], tmp_path, {"URL": fast.url, **key})
    assert done.returncode == 0, done.stderr
    found = summaries(tmp_path)
    assert [summary["outcomes"] for summary in found] == [{"ok": 3}] * runs
    if name == "vllm":  # its token counts come with each chunk
        assert {summary["sources"]["tokens_per_event"] for summary in found} == {"events"}
        assert any(len(summary["slo"]) == 2 for summary in found)


def test_the_hosted_script_wants_a_key(tmp_path: Path) -> None:
    done = call([str(EXAMPLES / "hosted.sh")], tmp_path)
    assert done.returncode != 0
    assert "OPENAI_API_KEY" in done.stderr


def test_every_script_is_tried() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.sh")} == {"vllm", "nim", "tgi", "hosted", "nvidia-commands"}
    for path in EXAMPLES.glob("*.sh"):
        assert os.access(path, os.X_OK), path
        assert path.read_text().startswith("#!/usr/bin/env bash\n# ")


@pytest.mark.parametrize(
    ("kind", "model"),
    [("chat", "gpt2"), ("completions", "gpt2"), ("embeddings", "intfloat/e5-mistral-7b-instruct")],
)
def test_nvidias_commands(kind: str, model: str, start_simulator: Start, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", 8000))
        except OSError:
            pytest.skip("these commands mean port 8000, which something else has")
    start_simulator("--port", "8000", "--model", model, "--ttft", "2ms", "--itl", "0s")
    cache = {"HF_HOME": str(tmp_path / "hub")}  # empty: gpt2's tokenizer is not on this machine
    done = call([str(EXAMPLES / "nvidia-commands.sh"), kind, "--request-count", "3"], tmp_path, cache)
    assert done.returncode == 0, done.stderr
    (summary,) = summaries(tmp_path)
    assert summary["outcomes"] == {"ok": 3}
    assert summary["simulated"] is False
    if kind == "embeddings":
        assert summary["run"]["embedding_throughput"]["value"] > summary["run"]["request_throughput"]["value"]
    else:
        assert summary["metrics"]["osl"]["mean"] == 128
        (said,) = [line for line in done.stderr.splitlines() if "tokenizer" in line]
        assert "gpt2 is not on this machine" in said


def test_library(fast: Simulator, tmp_path: Path) -> None:
    done = call([sys.executable, str(EXAMPLES / "library.py"), fast.url], tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("TTFT p95 ")
    assert "outcomes {'ok': 40}" in done.stdout
    assert "ttft.p95<500ms kept" in done.stdout


def gate() -> tuple[str, str]:
    """The two genbench lines of the workflow: the run and the comparison."""
    workflow = yaml.safe_load((EXAMPLES / "ci-gate.yaml").read_text())
    job = workflow["jobs"]["gate"]
    assert job["env"]["URL"] == resolve.LOCAL_DEFAULT
    measure, compare = [step["run"] for step in job["steps"] if step.get("run", "").startswith("genbench ")]
    return f"{measure} {shlex.join(ENOUGH)}", f"{compare} --no-plots"


ENOUGH = ("--isl", "20", "--osl", "4", "--request-rate", "60", "--request-count", "100", "--quiet", "--no-plots")


@pytest.fixture(scope="module")
def engine() -> Iterator[Simulator]:
    """The engine that the baseline is of; slow enough that a busy machine is not what decides."""
    served = Simulator("--ttft", "100ms", "--itl", "20ms")
    try:
        yield served
    finally:
        served.stop()


@pytest.fixture(scope="module")
def job(engine: Simulator, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of the job, with a baseline as the workflow's head says it is made."""
    folder = tmp_path_factory.mktemp("baseline")
    environment = {"URL": engine.url, "BASELINE": str(folder / "baseline.json")}
    said = next(line for line in (EXAMPLES / "ci-gate.yaml").read_text().splitlines() if "--save-baseline" in line)
    save = said.removeprefix("#").strip().replace("ci/genbench-baseline.json", '"$BASELINE"')
    done = call(["bash", "-c", f"{gate()[0]} && {save} --force"], folder, environment)
    assert done.returncode == 0, done.stderr + done.stdout
    return environment


@pytest.mark.parametrize(
    ("options", "code"),
    [((), 0), (("--ttft", "200ms", "--itl", "20ms"), 1), (("--fault", "cut:1", "--fault-share", "0.5"), 1)],
    ids=["good", "slow", "broken"],
)
def test_the_gate(
    options: tuple[str, ...], code: int, job: dict[str, str], start_simulator: Start, tmp_path: Path
) -> None:
    here = {**job, "URL": start_simulator(*options).url} if options else job
    measure, compare = gate()
    done = call(["bash", "-c", f"{measure} && {compare} --force"], tmp_path, here)
    assert done.returncode == code, done.stderr + done.stdout
    assert ("FAIL" in done.stdout) == (code == 1)
    if "--ttft" in options:
        assert "FAIL  ttft.p95 worse 10%: worse by " in done.stdout
        assert (tmp_path / "artifacts" / "compare" / "compare.md").read_text().startswith("### genbench compare")


def test_the_kubernetes_job(fast: Simulator, tmp_path: Path) -> None:
    job = yaml.safe_load((EXAMPLES / "k8s-job.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    (mount,) = container["volumeMounts"]
    assert mount["name"] == pod["volumes"][0]["name"]
    assert f"--artifact-dir={mount['mountPath']}" in container["args"]
    recipe = (ROOT / "Containerfile").read_text()
    assert f"VOLUME {mount['mountPath']}" in recipe
    assert f"USER {pod['securityContext']['runAsUser']}" in recipe
    assert 'ENTRYPOINT ["genbench"]' in recipe
    assert container["args"][1].startswith("--url=")
    named = [word for word in container["args"] if not word.startswith("--url=")]
    changed = [*named, f"--url={fast.url}", f"--artifact-dir={tmp_path / 'artifacts'}", *SMALL]
    done = call(["genbench", *changed], tmp_path)
    assert done.returncode == 0, done.stderr
    assert summaries(tmp_path)[0]["slo"][0]["passed"] is True


@pytest.mark.parametrize("name", config.profile_names())
def test_a_profile(name: str, run: Runner, fast: Simulator) -> None:
    first = config.profile_text(name).splitlines()[0]
    assert first.startswith("# ")
    assert first.endswith(".")
    if config.load({}, (name,)).config.target.url:
        assert ("; run against vLLM" if name == "vllm" else "not yet run against a real") in first
    ran = run("profile", "--config", name, "--url", fast.url, "-c", "2", "-n", "3", "--osl", "3", "-q")
    assert ran.code == 0, ran.err
    assert ran.summary["outcomes"] == {"ok": 3}


def test_profiles_are_listed_with_what_they_are(run: Runner) -> None:
    listed = run("list", "profiles").out.splitlines()
    assert [line.split()[0] for line in listed] == config.profile_names()
    assert {"vllm", "nim", "tgi", "llama.cpp", "chat-short", "summarise-long-input", "embeddings"} <= {
        line.split()[0] for line in listed
    }
    assert all(len(line.split()) > 4 for line in listed)


def test_example_prompts(run: Runner, fast: Simulator) -> None:
    ran = run("profile", "--url", fast.url, "-i", str(EXAMPLES / "data" / "prompts.jsonl"), "-n", "3", "--osl", "5")
    assert ran.code == 0, ran.err
    assert ran.summary["outcomes"] == {"ok": 3}


@pytest.mark.parametrize("folder", sorted((EXAMPLES / "runs").iterdir()), ids=lambda path: str(path.name))
def test_a_kept_run_is_rebuilt_the_same(folder: Path, run: Runner, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    for name in ("run.json", "requests.jsonl"):
        shutil.copy(folder / name, copy)
    assert run("report", str(copy)).code == 0
    for name in ("summary.csv", "requests.csv"):
        assert (copy / name).read_text().split("\n")[0] == (folder / name).read_text().split("\n")[0]
    assert (copy / "summary.md").read_text() == (folder / "summary.md").read_text()
    made, kept = (leaves(json.loads((place / "summary.json").read_text())) for place in (copy, folder))
    assert list(made) == list(kept)
    for path, value in kept.items():  # numbers may differ in their last digits: another numpy, another processor
        assert made[path] == (pytest.approx(value, rel=1e-9) if isinstance(value, float) else value), path
    header = json.loads((folder / "run.json").read_text())
    assert header["environment"]["host"] == "example"
    assert header["preflight"]["address"] in ("127.0.0.1", "::1")


def leaves(value: Any, path: str = "") -> dict[str, Any]:
    """The values inside, by their path."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if parts is None:
        return {path: value}
    return {key: leaf for name, part in parts for key, leaf in leaves(part, f"{path}/{name}").items()}
