"""Tokenizers: found where they are, exact lengths, no downloads."""

from pathlib import Path

import pytest

from genbench.datasets.synthetic import words
from genbench.errors import ConfigError
from genbench.tokens import Tokenizer, load


def no_post(path: str, body: dict[str, object]) -> dict[str, object]:
    raise OSError("no server here")


def test_a_folder_and_a_file(bpe: Path) -> None:
    for name in (str(bpe), str(bpe / "tokenizer.json")):
        found, missing = load(name, download=False, post=no_post)
        assert found is not None
        assert missing == ""
        assert found.local
        assert found.count("the first word") >= 3


@pytest.mark.parametrize("length", [1, 2, 5, 17, 64, 550])
def test_fit_is_exact(bpe: Path, length: int) -> None:
    found, _ = load(str(bpe), download=False, post=no_post)
    assert found is not None
    for start in (0, 100, 333):
        text, count = found.fit(list(words()[start : start + length]), length, words())
        assert count == found.count(text)
        assert count == length


def test_fit_says_what_it_reached_where_merges_forbid_the_length() -> None:
    # Every letter is a token and a space joins words, so one word of three letters cannot be cut to two.
    letters = Tokenizer("letters", lambda text: [ord(c) for c in text], local=True)
    text, count = letters.fit(["abc"], 2, ["abc", "defg"])
    assert (text, count) == ("abc", 3)


def test_not_on_this_machine_is_one_sentence_and_no_download(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    for name in ("some-org/some-model", "gpt2", "tiktoken:cl100k_base", "tiktoken:gpt-4"):
        found, missing = load(name, download=False, post=no_post)
        assert found is None
        assert name in missing
        assert "--download" in missing
        assert "\n" not in missing
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("./nowhere", "no such folder"),
        ("tiktoken:nope", "no such encoding"),
        ("a/b/c", "neither a folder nor a hub name"),
        ("server", "/tokenize does not answer"),
    ],
)
def test_what_cannot_be_is_an_error(name: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load(name, download=False, post=no_post)


def test_an_empty_folder_and_a_broken_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no tokenizer files"):
        load(str(tmp_path), download=False, post=no_post)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match="cannot be read"):
        load(str(tmp_path), download=False, post=no_post)


def test_the_server_counts() -> None:
    def post(path: str, body: dict[str, object]) -> dict[str, object]:
        assert path == "/tokenize"
        return {"count": len(str(body["prompt"]).split())}

    found, _ = load("server", download=False, post=post)
    assert found is not None
    assert found.count("one two three") == 3
    assert not found.local
