"""Tokenizers: found where they are, exact lengths for every family of them, no downloads."""

import random
import string
from collections.abc import Callable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers

from genbench.datasets.synthetic import words
from genbench.errors import ConfigError
from genbench.tokens import CHECKED, Tokenizer, load

# What Llama 3 splits text by before merging: https://github.com/meta-llama/llama3 (tokenizer.py).
LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_CHOICES = random.Random(3)
TEXTS = [" ".join(_CHOICES.choices(words(), k=40)) for _ in range(60)]
ONCE = [" ".join(words())]


def no_post(path: str, body: dict[str, object]) -> dict[str, object]:
    raise OSError("no server here")


def bpe_of(splitter: Any, decoder: Any, size: int, texts: Sequence[str] = ONCE, **named: Any) -> tokenizers.Tokenizer:
    tokenizer = tokenizers.Tokenizer(models.BPE(**named))
    tokenizer.pre_tokenizer, tokenizer.decoder = splitter, decoder
    alphabet = pre_tokenizers.ByteLevel.alphabet() if isinstance(decoder, decoders.ByteLevel) else []
    special = [named.get("unk_token", "<|end|>")]
    trainer = trainers.BpeTrainer(
        vocab_size=size, show_progress=False, special_tokens=special, initial_alphabet=alphabet
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def byte_level(size: int = 700) -> tokenizers.Tokenizer:
    """Like GPT-2."""
    return bpe_of(pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel(), size)


def prefix_space() -> tokenizers.Tokenizer:
    """Like RoBERTa as some set it up: the first word has a space in front as well."""
    return bpe_of(pre_tokenizers.ByteLevel(add_prefix_space=True), decoders.ByteLevel(), 700)


def llama3() -> tokenizers.Tokenizer:
    split = pre_tokenizers.Split(Regex(LLAMA3), "isolated")
    whole = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return bpe_of(pre_tokenizers.Sequence([split, whole]), decoders.ByteLevel(), 2000)


def llama2() -> tokenizers.Tokenizer:
    """SentencePiece as its conversion writes it: the whole text is one piece, but no token reaches over a space."""
    tokenizer = bpe_of(pre_tokenizers.Metaspace(), None, 900, unk_token="<unk>", byte_fallback=True, fuse_unk=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([])
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    whole = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(whole)
    return tokenizer


def unigram() -> tokenizers.Tokenizer:
    """Like T5."""
    tokenizer = tokenizers.Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=500, show_progress=False, special_tokens=["<unk>"], unk_token="<unk>")
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def wordpiece() -> tokenizers.Tokenizer:
    """Like BERT."""
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.decoder = normalizers.BertNormalizer(), decoders.WordPiece()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=500, show_progress=False, special_tokens=special)
    tokenizer.train_from_iterator(ONCE, trainer)
    return tokenizer


def across() -> tokenizers.Tokenizer:
    """SentencePiece without split_by_whitespace: tokens that reach from word to word."""
    return bpe_of(pre_tokenizers.Metaspace(split=False), decoders.Metaspace(), 1500, TEXTS)


def across_bytes() -> tokenizers.Tokenizer:
    return bpe_of(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False), decoders.ByteLevel(), 2500, TEXTS)


def without_spaces() -> tokenizers.Tokenizer:
    """Nothing in its vocabulary tells that words are glued together before they are split."""
    tokenizer = byte_level()
    tokenizer.normalizer = normalizers.Replace(" ", "")
    return tokenizer


SEPARATE = (byte_level, prefix_space, llama3, llama2, unigram, wordpiece)
MERGING = (across, across_bytes, without_spaces)
Family = Callable[[], tokenizers.Tokenizer]


@cache
def trained(family: Family) -> str:
    return family().to_str()


def loaded(family: Family, folder: Path) -> Tokenizer:
    """A new one: what it has learnt of its sums does not carry over from another test."""
    path = folder / f"{family.__name__}.json"
    path.write_text(trained(family))
    found, missing = load(str(path), download=False, post=no_post)
    assert found is not None, missing
    return found


def independent(family: Family) -> Callable[[str], int]:
    tokenizer = tokenizers.Tokenizer.from_str(trained(family))
    return lambda text: len(tokenizer.encode(text, add_special_tokens=False).ids)


def watched(found: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts it is asked to encode from now on."""
    seen: list[str] = []
    encode = found.encode

    def encode_seen(text: str) -> Sequence[int]:
        seen.append(text)
        return encode(text)

    monkeypatch.setattr(found, "encode", encode_seen)
    return seen


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("families")


def test_a_folder_and_a_file(bpe: Path) -> None:
    for name in (str(bpe), str(bpe / "tokenizer.json")):
        found, missing = load(name, download=False, post=no_post)
        assert found is not None
        assert missing == ""
        assert found.local
        assert found.count("the first word") >= 3


# -- exact lengths -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", SEPARATE)
def test_every_length_to_600_is_exact(family: Family, folder: Path) -> None:
    found, count = loaded(family, folder), independent(family)
    choices = random.Random(5)
    for length in range(1, 601):
        text, claimed = found.fit(choices.choices(words(), k=length), length, words())
        assert claimed == count(text)
        # One token may be more or fewer than the shortest word has; from two on there are always words that make it.
        assert claimed == length or (length == 1 and claimed == 2)


@pytest.mark.parametrize("family", MERGING)
def test_within_one_where_a_word_s_tokens_depend_on_its_neighbours(family: Family, folder: Path) -> None:
    found, count = loaded(family, folder), independent(family)
    choices = random.Random(5)
    off = 0
    for length in range(1, 601, 4):
        text, claimed = found.fit(choices.choices(words(), k=length), length, words())
        assert claimed == count(text)
        assert abs(claimed - length) <= 1
        off += claimed != length
    assert off <= 3  # of 150


@settings(max_examples=60, deadline=None)
@given(
    family=st.sampled_from((*SEPARATE, *MERGING)),
    length=st.integers(1, 600),
    given_words=st.lists(
        st.one_of(st.sampled_from(words()), st.text(string.ascii_letters + string.digits, min_size=1, max_size=12)),
        max_size=40,
    ),
)
def test_any_words_any_length(folder: Path, family: Family, length: int, given_words: list[str]) -> None:
    found, count = loaded(family, folder), independent(family)
    text, claimed = found.fit(given_words, length, words())
    assert claimed == count(text)
    assert abs(claimed - length) <= 1


def test_the_front_stays_and_the_text_is_made_of_the_words_given(folder: Path) -> None:
    found = loaded(byte_level, folder)
    front = ["salt", "run-7", "ünïque"]
    for start in range(0, 900, 30):
        wanted = [*front, *words()[start : start + 30]]
        text, claimed = found.fit(wanted, 60, words())
        assert claimed == 60
        assert text.split(" ")[:3] == front
        kept = text.split(" ")
        common = next((k for k, pair in enumerate(zip(kept, wanted, strict=False)) if pair[0] != pair[1]), len(wanted))
        assert len(kept) - common <= 8  # only the end is made of fillers


def test_a_longer_list_is_cut_and_a_shorter_one_filled(folder: Path) -> None:
    found, count = loaded(llama2, folder), independent(llama2)
    for given_words in ([], ["able"], list(words())):
        text, claimed = found.fit(given_words, 300, words())
        assert (claimed, count(text)) == (300, 300)
    assert found.fit(["able"], 300, words())[0] != found.fit(["zone"], 300, words())[0]  # not all filled with the same


def test_the_same_words_give_the_same_text(folder: Path) -> None:
    for family in (byte_level, across):
        first, again = loaded(family, folder), loaded(family, folder)
        for start in range(0, 500, 100):
            some = list(words()[start : start + 80])
            assert first.fit(some, 100, words()) == again.fit(some, 100, words())


def test_what_is_encoded_to_be_sure(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = loaded(byte_level, folder)
    seen = watched(found, monkeypatch)

    def encoded(some: list[str]) -> bool:
        seen.clear()
        return found.fit(some, 20, words())[0] in seen

    some = [*words()[:20]]
    first = [encoded(some) for _ in range(CHECKED)]
    later = [encoded(some) for _ in range(2 * CHECKED)]
    assert all(first)
    assert [k for k in range(2 * CHECKED) if later[k]] == [CHECKED - 1, 2 * CHECKED - 1]
    assert encoded(["neverseenbefore", *some])
    assert not encoded(["neverseenbefore", *some])


def test_sums_that_turn_out_wrong_are_not_believed_again(folder: Path) -> None:
    known = loaded(byte_level, folder)
    drift = 0  # tokens more for every second space, of which the vocabulary tells nothing

    def encode(text: str) -> Sequence[int]:
        return [*known.encode(text), *range(drift * (text.count(" ") // 2))]

    found = Tokenizer("drifting", encode, local=True, pieces=lambda: {0: "x"})
    choices = random.Random(1)

    def off() -> int:
        made = [found.fit(choices.choices(words(), k=40), 40, words()) for _ in range(CHECKED)]
        return sum(count != len(encode(text)) or abs(count - 40) > 1 for text, count in made)

    assert (off(), off()) == (0, 0)
    drift = 1
    assert off() == CHECKED - 1  # noticed with the last of them
    assert off() == 0


def test_a_token_over_a_space_means_that_every_text_is_encoded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The sums are right for every word there is, so only the vocabulary can tell.
    known = loaded(byte_level, folder)
    reaching, harmless = ("eĠa", "▁of▁the", "n a"), ("Ċ ", "ĠĠ", "Ġthe")
    for piece in (*reaching, *harmless):
        found = Tokenizer("made", known.encode, local=True, pieces=partial(dict[int, str], {0: "a", 1: piece}))
        for _ in range(CHECKED):
            found.fit(["able", "zone", "work"], 5, words())
        seen = watched(found, monkeypatch)
        text, _ = found.fit(["able", "zone", "work"], 5, words())
        assert seen == ([text] if piece in reaching else [])


def test_fit_says_what_it_reached_where_merges_forbid_the_length() -> None:
    # Every letter is a token and a space joins words, so one word of three letters cannot be cut to two.
    letters = Tokenizer("letters", lambda text: [ord(c) for c in text], local=True)
    assert letters.fit(["abc"], 2, ["abc", "defg"]) == ("abc", 3)
    assert letters.fit(["abc"], 8, ["abc", "defg"]) == ("abc defg", 8)
    assert letters.fit(["abc"], 9, ["abc"])[1] in (7, 11)  # 3, 7, 11 ... are all there is
    assert letters.fit(["abc"], 9, []) == ("abc", 3)
    one = Tokenizer("one", lambda text: [0] * (1 + text.startswith("the")), local=True)  # whatever comes is one token
    assert one.fit(["abc"], 9, ["abc", "the"])[1] == 2


@pytest.mark.parametrize("family", [*SEPARATE, *MERGING])
def test_the_vocabulary_is_what_is_not_special(family: Family, folder: Path) -> None:
    found = loaded(family, folder)
    tokenizer = tokenizers.Tokenizer.from_str(trained(family))
    special = set(tokenizer.get_added_tokens_decoder())
    assert special
    assert found.vocabulary() == [k for k in range(tokenizer.get_vocab_size()) if k not in special]
    text = "able to work with animal and area"
    assert found.decode(found.encode(text)).replace(" ", "") == text.replace(" ", "")
    assert found.decode([*special]) == ""


def test_added_tokens_are_not_drawn(folder: Path) -> None:
    tokenizer = byte_level()
    tokenizer.add_tokens(["plainly-added"])
    tokenizer.save(str(folder / "added.json"))
    found, _ = load(str(folder / "added.json"), download=False, post=no_post)
    assert found is not None
    assert found.vocabulary() == list(range(1, tokenizer.get_vocab_size() - 1))  # neither <|end|> nor the last


def test_tiktoken(monkeypatch: pytest.MonkeyPatch) -> None:
    tiktoken = pytest.importorskip("tiktoken")
    # A byte-level vocabulary as tiktoken has it: bytes by rank. Its alphabet is written back to bytes.
    pieces = byte_level().get_vocab(with_added_tokens=False)
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    byte_of = {chr(b): b for b in shown} | {
        chr(256 + k): b for k, b in enumerate(b for b in range(256) if b not in shown)
    }
    ranks = {bytes(byte_of[c] for c in piece): k for piece, k in pieces.items() if piece != "<|end|>"}
    encoding = tiktoken.Encoding("made", pat_str=LLAMA3, mergeable_ranks=ranks, special_tokens={"<|end|>": 5000})
    monkeypatch.setattr(tiktoken, "list_encoding_names", lambda: ["made"])
    monkeypatch.setattr(tiktoken, "get_encoding", lambda name: encoding)
    found, _ = load("tiktoken:made", download=False, post=no_post)
    assert found is not None
    assert found.vocabulary() == sorted(ranks.values())
    assert found.decode(found.encode("able to work")) == "able to work"
    for length in (*range(2, 100), 550):
        text, claimed = found.fit(list(words()[length:]), length, words())
        assert claimed == length == len(encoding.encode(text))


def test_files_that_only_transformers_reads(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    vocabulary = sorted(wordpiece().get_vocab().items(), key=lambda item: item[1])
    (tmp_path / "vocab.txt").write_text("\n".join(piece for piece, _ in vocabulary))
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    found, _ = load(str(tmp_path), download=False, post=no_post)
    assert found is not None
    assert not {0, 1, 2, 3} & set(found.vocabulary())  # [PAD], [UNK], [CLS], [SEP]
    assert {k for _, k in vocabulary} - set(found.vocabulary()) == {0, 1, 2, 3}
    assert found.decode(found.encode("able to work")) == "able to work"
    assert found.decode([2, 3]) == ""
    for length in (2, 3, 17, 550):
        text, claimed = found.fit(list(words()[length:]), length, words())
        assert claimed == length == found.count(text)


def test_one_that_only_counts_has_no_vocabulary() -> None:
    found, _ = load("server", download=False, post=lambda path, body: {"count": 3})
    assert found is not None
    for ask in (found.vocabulary, lambda: found.decode([1])):
        with pytest.raises(ConfigError, match="server only counts"):
            ask()


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
