"""Synthetic samples: lengths, pairs, conversations and think times, each from a generator of its own."""

import itertools
from typing import Any

import numpy as np
import pytest

from genbench.datasets import synthetic
from genbench.datasets.synthetic import Words, load, words
from genbench.lengths import parse, parse_pairs
from genbench.types import Sample


def samples(count: int, seed: int = 0, **options: Any) -> list[Sample]:
    given = {"isl": parse("20"), "osl": None} | options
    return list(itertools.islice(load(given, np.random.default_rng(seed)), count))


def test_a_fixed_length_is_so_many_words() -> None:
    found = samples(50)
    assert all(len(one.prompt.split()) == one.isl == 20 for one in found)
    assert all(one.osl is None and (one.session, one.turn, one.think_ns) == (-1, 0, 0) for one in found)
    assert len({one.prompt for one in found}) == 50
    assert synthetic.SYNTHETIC_TEXT


def test_words_follow_the_tokens_of_a_word() -> None:
    assert {len(one.prompt.split()) for one in samples(5, isl=parse("30"), tokens_per_word=1.5)} == {20}
    assert {len(one.prompt.split()) for one in samples(5, isl=parse("1"), tokens_per_word=3.0)} == {1}


def test_the_same_seed_gives_the_same_samples() -> None:
    drawn: dict[str, Any] = {"isl": parse("normal:100,30"), "osl": parse("5-50"), "turns": parse("1-4")}
    drawn |= {"think_s": 2.0, "think_stddev_s": 1.0}
    assert samples(200, **drawn) == samples(200, **drawn)
    assert samples(200, **drawn) != samples(200, seed=1, **drawn)


def test_changing_one_does_not_shift_the_others() -> None:
    given: dict[str, Any] = {"isl": parse("10-90"), "osl": parse("5-50"), "turns": parse("1-4")}
    given |= {"think_s": 2.0, "think_stddev_s": 1.0}
    before = samples(300, **given)

    def same(fields: str, **changed: Any) -> None:
        after = samples(300, **given | changed)
        for field in fields.split():
            assert [getattr(one, field) for one in after] == [getattr(one, field) for one in before], field

    same("osl session turn think_ns", isl=parse("lognormal:50,20"))
    same("isl session turn think_ns prompt", osl=parse("normal:50,20"))
    same("isl osl session turn prompt", think_s=9.0, think_stddev_s=4.0)
    same("isl osl prompt", turns=parse("3-7"))
    same("isl osl prompt", turns=None)
    # The words themselves go on in the same order, however they are cut into prompts.
    longer = samples(300, **given | {"isl": parse("40")})
    run = " ".join(one.prompt for one in before)[:10_000]
    assert " ".join(one.prompt for one in longer)[:10_000] == run


def test_pairs_come_by_their_weights_and_stay_together() -> None:
    found = samples(4000, pairs=parse_pairs("128:32@40,2048:256@50,10-12:1-3@10"))
    kinds = [(one.isl, one.osl) for one in found]
    # Binomial: 4,000 x 0.4 = 1,600, standard deviation 31; x 0.5 = 2,000, 32. Four of them.
    assert abs(kinds.count((128, 32)) - 1600) < 124
    assert abs(kinds.count((2048, 256)) - 2000) < 127
    rest = [(isl, osl) for isl, osl in kinds if isl not in (128, 2048)]
    assert {isl for isl, _ in rest} == {10, 11, 12}
    assert {osl for _, osl in rest} == {1, 2, 3}
    assert {one.isl for one in samples(20, pairs=parse_pairs("7:3"))} == {7}


def test_weights_are_relative() -> None:
    for weights in ("1:1@1,2:2@3", "1:1@25%,2:2@75%"):
        assert samples(100, pairs=parse_pairs(weights)) == samples(100, pairs=parse_pairs("1:1@100,2:2@300"))


def test_conversations() -> None:
    found = samples(3000, turns=parse("2-5"), isl=parse("1-9"), osl=parse("1-9"), think_s=0.5)
    whole = [list(turns) for _, turns in itertools.groupby(found, key=lambda one: one.session)][:-1]
    assert [turns[0].session for turns in whole] == list(range(len(whole)))
    assert all([one.turn for one in turns] == list(range(len(turns))) for turns in whole)
    assert {len(turns) for turns in whole} == {2, 3, 4, 5}
    assert all(one.think_ns == (500_000_000 if one.turn else 0) for one in found)
    assert len({one.isl for one in found}) == 9
    assert len({one.osl for one in found}) == 9


def test_one_turn_is_a_single_request_but_one_turn_by_chance_is_a_conversation() -> None:
    assert {one.session for one in samples(20, turns=parse("1"), think_s=5.0)} == {-1}
    assert {one.think_ns for one in samples(20, turns=parse("1"), think_s=5.0)} == {0}
    by_chance = samples(40, turns=parse("1-2"))
    assert [one.session for one in by_chance if one.turn == 0] == list(range(by_chance[-1].session + 1))
    assert {one.turn for one in by_chance} == {0, 1}


def test_think_times_are_normal_and_cut_at_zero() -> None:
    found = samples(20_000, turns=parse("1000"), isl=parse("1"), think_s=1.0, think_stddev_s=1.0)
    waits = np.array([one.think_ns for one in found if one.turn]) / 1e9
    assert waits.min() == 0
    # Of a normal distribution 15.87 % lie below mean - deviation = 0; the mean of what is cut is
    # mean x Phi(1) + deviation x phi(1) = 0.8413 + 0.2420.
    assert abs((waits == 0).mean() - 0.1587) < 0.011
    assert abs(waits.mean() - 1.0833) < 0.026
    assert {one.think_ns for one in found if not one.turn} == {0}


def test_embeddings_have_texts_of_one_length_and_no_turns() -> None:
    found = samples(50, texts=True, batch_size=3, isl=parse("5-9"), osl=parse("7"), turns=parse("4"))
    for one in found:
        lengths = [len(text.split()) for text in one.texts]
        assert lengths == [one.isl // 3] * 3
        assert (one.prompt, one.osl, one.session, one.turn) == ("", None, -1, 0)
    assert len({one.isl for one in found}) == 5


def test_a_batch_is_only_for_embeddings() -> None:
    assert samples(1, batch_size=3)[0].texts == ()


@pytest.mark.parametrize("count", [1, 100, synthetic.BLOCK, synthetic.BLOCK + 1, 3 * synthetic.BLOCK])
def test_any_number_of_words(count: int) -> None:
    source = Words(np.random.default_rng(0))
    for _ in range(3):
        found = source.text(count).split(" ")
        assert len(found) == count
        assert set(found) <= set(words())


def test_words_are_equally_likely() -> None:
    found = Words(np.random.default_rng(0)).text(200_000).split(" ")
    counts = np.unique_counts(np.array(found)).counts
    assert len(counts) == len(words())
    # Poisson with 200,000 / 937 = 213: five standard deviations are 73.
    assert np.abs(counts - 213.4).max() < 73


def test_the_list_is_of_plain_words() -> None:
    assert len(set(words())) == len(words())
    assert all(word.isascii() and word.isalpha() and word.islower() for word in words())
