"""Random tokens: ids drawn evenly, texts that read back as exactly so many tokens."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genbench.datasets import random, synthetic
from genbench.errors import ConfigError
from genbench.lengths import parse, parse_pairs
from genbench.tokens import Tokenizer
from genbench.types import Sample
from tests.test_tokens import MERGING, SEPARATE, Family, byte_level, independent, loaded


def samples(count: int, tokenizer: Tokenizer, seed: int = 0, **options: Any) -> list[Sample]:
    wanted = {"isl": parse("20"), "osl": None, "tokenizer": tokenizer} | options
    return list(itertools.islice(random.load(wanted, np.random.default_rng(seed)), count))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("families")


def test_ids_are_exactly_so_many_and_every_ordinary_token_is_as_likely(folder: Path) -> None:
    tokenizer = loaded(byte_level, folder)
    found = samples(500, tokenizer, ids=True, isl=parse("200-300"), osl=parse("7"))
    assert all(len(one.token_ids) == one.isl and one.prompt == "" and one.osl == 7 for one in found)
    drawn = np.unique_counts(np.concatenate([one.token_ids for one in found]))
    assert drawn.values.tolist() == tokenizer.vocabulary()
    assert 0 not in drawn.values  # <|end|>
    # Poisson with 125,000 / 699 = 179: five standard deviations are 67.
    assert np.abs(drawn.counts - drawn.counts.mean()).max() < 67
    assert all(type(k) is int for k in found[0].token_ids)


@pytest.mark.parametrize("family", [*SEPARATE, *MERGING])
def test_a_text_reads_back_as_exactly_so_many_tokens(family: Family, folder: Path) -> None:
    tokenizer, count = loaded(family, folder), independent(family)
    off = 0
    for one in samples(60, tokenizer, isl=parse("1-600")):
        assert abs(count(one.prompt) - one.isl) <= 1
        off += count(one.prompt) != one.isl
        assert one.prompt == one.prompt.strip()
        assert "\ufffd" not in one.prompt
        assert "\x00" not in one.prompt
    assert off <= 1


@settings(max_examples=60, deadline=None)
@given(family=st.sampled_from([*SEPARATE, *MERGING]), length=st.integers(1, 600), seed=st.integers(0, 1 << 32))
def test_any_length(folder: Path, family: Family, length: int, seed: int) -> None:
    tokenizer = loaded(family, folder)
    one = samples(1, tokenizer, seed, isl=parse(str(length)))[0]
    assert abs(independent(family)(one.prompt) - length) <= 1


def test_a_text_is_cut_and_keeps_its_front(folder: Path) -> None:
    tokenizer = loaded(byte_level, folder)
    for one in samples(20, tokenizer, isl=parse("100")):
        text, claimed = random.fitted(tokenizer, f"able to salt {one.prompt}", 100, iter(()))
        assert text.startswith("able to salt ")
        assert claimed == tokenizer.count(text)
        assert abs(claimed - 100) <= 1


def test_without_spare_tokens_a_short_text_stays_short(folder: Path) -> None:
    tokenizer = loaded(byte_level, folder)
    assert random.fitted(tokenizer, " able ", 100, iter(())) == ("able", tokenizer.count("able"))
    assert random.fitted(tokenizer, "", 100, iter(())) == ("", 0)


def test_what_no_prompt_should_hold_falls_out(folder: Path) -> None:
    tokenizer = loaded(byte_level, folder)
    bad = [*tokenizer.encode("\x00\x1b\x7f"), *tokenizer.encode("é")[:1]]
    assert len(bad) == 4
    text, claimed = random.fitted(tokenizer, "", 20, iter([*bad, *tokenizer.encode("a\nb\tc \n"), *bad]))
    assert (text, claimed) == ("a\nb\tc", tokenizer.count("a\nb\tc"))


def test_lengths_turns_and_waits_are_those_of_synthetic_prompts(folder: Path) -> None:
    options: dict[str, Any] = {"turns": parse("1-4"), "think_s": 1.0, "think_stddev_s": 0.5}
    options |= {"pairs": parse_pairs("20:4@1,5-9:1-9@3")}
    found = samples(100, loaded(byte_level, folder), ids=True, **options)
    other = synthetic.load(options | {"isl": parse("20"), "osl": None}, np.random.default_rng(0))
    for one, same in zip(found, other, strict=False):
        assert (one.isl, one.osl, one.session, one.turn, one.think_ns) == (
            *(same.isl, same.osl, same.session, same.turn, same.think_ns),
        )


def test_the_same_seed_gives_the_same_samples(folder: Path) -> None:
    tokenizer = loaded(byte_level, folder)
    for ids in (True, False):
        assert samples(20, tokenizer, ids=ids) == samples(20, tokenizer, ids=ids)
        assert samples(20, tokenizer, ids=ids) != samples(20, tokenizer, seed=1, ids=ids)


def test_embeddings_get_texts(folder: Path) -> None:
    tokenizer = loaded(byte_level, folder)
    for one in samples(10, tokenizer, texts=True, batch_size=3, isl=parse("5-40"), ids=True, osl=parse("9")):
        assert len(one.texts) == 3
        assert [tokenizer.count(text) for text in one.texts] == [one.isl // 3] * 3
        assert (one.token_ids, one.prompt, one.osl) == ((), "", None)


def test_it_needs_a_tokenizer_with_ordinary_tokens(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"--dataset random needs the model's --tokenizer \(a folder with tokenizer"):
        next(random.load({"isl": parse("20"), "tokenizer": None}, np.random.default_rng(0)))

    def encode(text: str) -> Sequence[int]:
        return [0]

    for tokenizer, says in (
        (Tokenizer("counts", encode, local=True), "counts only counts"),
        (Tokenizer("empty", encode, local=True, pieces=dict), "only special and added tokens"),
    ):
        with pytest.raises(ConfigError, match=says):
            samples(1, tokenizer)
