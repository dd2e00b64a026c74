"""Fixtures for all tests: the simulator as a process, and certificates."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tokenizers
from tokenizers import models, pre_tokenizers, trainers

from genbench.datasets.synthetic import words
from tests.certificates import Certificate, make
from tests.runs import Runner
from tests.simulator.process import Simulator


@pytest.fixture(scope="session")
def simulator() -> Iterator[Simulator]:
    """One simulator with default options for the whole session; requests say for themselves what they want."""
    process = Simulator()
    yield process
    process.stop()


@pytest.fixture
def start_simulator() -> Iterator[Callable[..., Simulator]]:
    """Starts simulators with options (`start_simulator("--ttft", "5ms")`) and stops them at the end of the test."""
    started: list[Simulator] = []

    def start(*arguments: str) -> Simulator:
        started.append(Simulator(*arguments))
        return started[-1]

    yield start
    for process in started:
        process.stop()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """An authority, a server certificate for localhost, 127.0.0.1 and ::1, and its key."""
    return make(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="session")
def expired_certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """The same, but the server certificate ended yesterday."""
    return make(tmp_path_factory.mktemp("expired"), expired=True)


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Runner:
    """Runs genbench's command line in this process, its files under `tmp_path`.

    A server's own metrics are scraped only where --server-metrics says so: a process for each run takes its time.
    """
    monkeypatch.setattr("genbench.studies.observe.BY_DEFAULT", False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("GENBENCH_CALIBRATION", str(tmp_path / "calibration.json"))
    return Runner(tmp_path, capsys)


@pytest.fixture(scope="session")
def bpe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small byte-level BPE tokenizer: most words of the list are several tokens."""
    folder = tmp_path_factory.mktemp("bpe")
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=600, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator([" ".join(words())], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
