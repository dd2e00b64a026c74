"""Hugging Face data sets: from a folder or the local cache, never the network unless allowed."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from genbench.errors import DatasetError
from genbench.types import Sample
from tests.datasets.options import samples, words

ROWS = [{"id": k, "question": f"What is {k}?", "answer": "one " * (k + 1)} for k in range(20)]


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(DatasetError, match=r"pip install 'genbench\[datasets\]'"):
        samples("hf", "org/name")


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The library with an empty cache of its own and a network that must not be used."""
    library = pytest.importorskip("datasets")
    monkeypatch.setattr(library.config, "HF_DATASETS_CACHE", tmp_path / "cache")

    def refuse(*args: object, **named: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", refuse)
    return library


def cached(hub: Any, name: str, config: str, split: str, rows: list[dict[str, Any]]) -> None:
    """Rows in the local cache, as the library leaves them after a download of `name`."""
    folder = Path(hub.config.HF_DATASETS_CACHE) / name.replace("/", "___") / config / "0.0.0" / "0123abcd"
    folder.mkdir(parents=True)
    short = name.split("/")[-1]
    writer = hub.arrow_writer.ArrowWriter(path=str(folder / f"{short}-{split}.arrow"))
    for row in rows:
        writer.write(row)
    examples, size = writer.finalize()
    sizes = {"name": split, "num_bytes": size, "num_examples": examples, "dataset_name": short}
    info = {"config_name": config, "dataset_name": short, "version": {"version_str": "0.0.0"}, "splits": {split: sizes}}
    (folder / "dataset_info.json").write_text(json.dumps(info))


def test_from_the_cache(hub: Any) -> None:
    cached(hub, "org/toy", "default", "test", ROWS)
    found = samples("hf", "org/toy", count=words)
    assert found == [Sample(prompt=f"What is {k}?", osl=k + 1) for k in range(20)]
    assert samples("hf", "org/toy@test", count=words) == found
    shuffled = samples("hf", "org/toy@test", count=words, sampling="shuffle")
    assert shuffled != found
    assert sorted(shuffled, key=str) == sorted(found, key=str)
    with pytest.raises(DatasetError, match="has no split 'train'; it has: test"):
        samples("hf", "org/toy@train")


def test_configurations(hub: Any) -> None:
    cached(hub, "org/toy", "small", "train", ROWS[:2])
    cached(hub, "org/toy", "large", "train", ROWS)
    cached(hub, "plain", "3.0.0", "train", ROWS[:3])
    assert len(samples("hf", "org/toy/small")) == 2
    assert len(samples("hf", "org/toy/large@train")) == 20
    assert len(samples("hf", "plain")) == 3
    assert len(samples("hf", "plain/3.0.0")) == 3
    with pytest.raises(DatasetError, match="not in the local cache"):
        samples("hf", "org/toy/none")


def test_what_is_not_there_is_one_sentence_and_no_request(hub: Any) -> None:
    with pytest.raises(DatasetError, match=r"is not in the local cache .*allow the download with --download") as caught:
        samples("hf", "org/none")
    assert "\n" not in str(caught.value)
    assert hub.config.HF_HUB_OFFLINE is False
    with pytest.raises(DatasetError, match="needs a name"):
        samples("hf", None)


def test_folders(hub: Any, tmp_path: Path) -> None:
    both = hub.DatasetDict({"a": hub.Dataset.from_list(ROWS[:2]), "train": hub.Dataset.from_list(ROWS)})
    both.save_to_disk(str(tmp_path / "both"))
    assert len(samples("hf", tmp_path / "both")) == 20
    assert len(samples("hf", f"{tmp_path}/both@a")) == 2
    both["a"].save_to_disk(str(tmp_path / "one"))
    assert len(samples("hf", tmp_path / "one")) == 2
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS[:4]))
    assert len(samples("hf", tmp_path / "files")) == 4


def saved(hub: Any, tmp_path: Path, rows: list[dict[str, Any]]) -> Path:
    hub.Dataset.from_list(rows).save_to_disk(str(tmp_path / "saved"))
    return tmp_path / "saved"


def test_conversations(hub: Any, tmp_path: Path) -> None:
    said = [("user", "One?"), ("assistant", "Yes."), ("user", "Two?"), ("assistant", "No, three.")]
    path = saved(hub, tmp_path, [{"messages": [{"role": who, "content": what} for who, what in said]}])
    assert samples("hf", path, count=words) == [Sample(prompt="One?", osl=1)]
    assert samples("hf", path, turns=9) == [
        Sample(prompt="One?", session=0, turn=0, answer="Yes."),
        Sample(prompt="Two?", session=0, turn=1, answer="No, three."),
    ]


def test_columns(hub: Any, tmp_path: Path) -> None:
    rows = [{"instruction": "Sort.", "input": "b a", "output": "a b", "n": 5}, {"instruction": "", "n": 1}]
    path = saved(hub, tmp_path, rows)
    assert samples("hf", path, count=words) == [Sample(prompt="Sort.\n\nb a", osl=2)]
    assert samples("hf", path, columns={"osl": "n"}) == [Sample(prompt="Sort.\n\nb a", osl=5)]
    assert samples("hf", path, columns={"text": "output"}, texts=True) == [Sample(texts=("a b",))]
    with pytest.raises(DatasetError, match="has no column 'q'; it has: instruction, input, output, n; name one"):
        samples("hf", path, columns={"prompt": "q"})


def test_no_column_sounds_like_a_prompt(hub: Any, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="has no column whose name says that it is the prompt; it has: a, b; name"):
        samples("hf", saved(hub, tmp_path, [{"a": "x", "b": "y"}]))
