"""What a sweep's ranges mean, and the one sentence for those that mean nothing."""

import pytest

from genbench.errors import ConfigError
from genbench.studies import ranges


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1,2,4,8", (1, 2, 4, 8)),
        (" 1 , 2 ", (1, 2)),
        ("5", (5,)),
        ("1:32:x2", (1, 2, 4, 8, 16, 32)),
        ("1:20:x2", (1, 2, 4, 8, 16, 20)),
        ("1:5:+1", (1, 2, 3, 4, 5)),
        ("1:10:+4", (1, 5, 9, 10)),
        ("3:3:+1", (3,)),
        ("1:8:x1.5", (1, 2, 3, 5, 8)),  # 1, 1.5, 2.25, 3.375, 5.06, 7.59, then the end: 8 once
        ("100:200:x10", (100, 200)),
    ],
)
def test_whole_numbers(text: str, values: tuple[int, ...]) -> None:
    assert ranges.parse("--concurrency", text, whole=True) == values


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0.5,1,2.5", (0.5, 1, 2.5)),
        ("0.1:0.5:+0.1", (0.1, 0.2, 0.3, 0.4, 0.5)),  # no 0.30000000000000004
        ("0.25:3:x2", (0.25, 0.5, 1, 2, 3)),
        ("1:2:x1.5", (1, 1.5, 2)),
        ("1e-2:1:x10", (0.01, 0.1, 1)),
    ],
)
def test_rates(text: str, values: tuple[float, ...]) -> None:
    assert ranges.parse("--request-rate", text, whole=False) == values


def test_auto_and_what_is_a_range() -> None:
    assert ranges.parse("--concurrency", " auto ", whole=True) is None
    assert [text for text in ("auto", "1,2", "1:4:x2", "4", "inf", "") if ranges.is_range(text)] == [
        "auto", "1,2", "1:4:x2",
    ]  # fmt: skip


def test_two_hundred_is_the_most() -> None:
    found = ranges.parse("--concurrency", "1:200:+1", whole=True)
    assert found is not None
    assert len(found) == 200


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "--concurrency is empty; write them like 1,2,4,8"),
        ("  ", "is empty"),
        ("1,,2", "a value is missing"),
        ("1,2,", "a value is missing"),
        ("a,b", "'a' is no number"),
        ("4,2", "2 after 4; write them in ascending order"),
        ("1,2,2", "2 stands there twice; use --repeats"),
        ("0,1", "0 is not above 0"),
        ("-1,1", "-1 is not above 0"),
        ("1,2.5", "2.5 is no whole number"),
        ("1,inf", "'inf' is no load to sweep over"),
        ("nan", "'nan' is no load"),
        ("1:32", "a range is FROM:TO:STEP with a step of x2 or +1"),
        ("1:2:3:4", "a range is FROM:TO:STEP"),
        ("1:32:2", "the step is x2 (times) or +2 (plus); say which"),
        ("32:1:x2", "1 is below 32; write the lower one first"),
        ("1:32:x1", "times 1 never gets to 32; use a factor above 1"),
        ("1:32:x0.5", "times 0.5 never gets to 32"),
        ("1:32:+0", "0 is not above 0"),
        ("1:32:+-1", "-1 is not above 0"),
        ("1:32:+0.5", "0.5 is no whole number"),
        ("1:32:x", "'x' is no number"),
        ("1:201:+1", "that is 201 loads, and 200 is the most"),
        ("1:1e6:+1", "and 200 is the most"),
        ("1:1e9:x10", "1e9 is more than one machine can send"),
        ("1:1000:x1.0000001", "and 200 is the most"),
    ],
)
def test_anything_else_is_one_sentence(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as error:
        ranges.parse("--concurrency", text, whole=True)
    assert says in str(error.value)
    assert str(error.value).startswith("--concurrency")
    assert "\n" not in str(error.value)


def test_loads_that_share_a_name_are_refused() -> None:
    with pytest.raises(ConfigError, match="two loads are both 5 to six digits; put them further apart"):
        ranges.parse("--request-rate", "5.0000001,5.0000002", whole=False)
