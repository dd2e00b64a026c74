"""Lengths that a workload draws (tokens of a prompt or an answer, turns of a conversation): from text to numbers.

`N` is fixed, `LOW-HIGH` uniform over whole numbers with both ends, `normal:MEAN,STDDEV` and `lognormal:MEAN,STDDEV`
have these as mean and standard deviation before rounding. Everything drawn is rounded and at least 1, at most MOST.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

BLOCK = 4096
MOST = 10_000_000  # ten times the longest context there is
FORMS = "write N, LOW-HIGH, normal:MEAN,STDDEV or lognormal:MEAN,STDDEV"
_NUMBER = r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)"
_SHAPED = re.compile(rf"(normal|lognormal):\s*{_NUMBER}\s*,\s*{_NUMBER}")
_LOW_HIGH = re.compile(r"([0-9]+)\s*(?:-|\.\.)\s*([0-9]+)")
_PAIR = re.compile(rf"\s*([0-9.\-]+)\s*:\s*([0-9.\-]+)\s*(?:@\s*{_NUMBER}\s*%?)?\s*")


@dataclass(frozen=True, slots=True)
class Lengths:
    """A distribution: `kind` fixed, uniform, normal or lognormal; `a`, `b` are low and high, or mean and stddev."""

    kind: str
    a: float
    b: float

    @property
    def fixed(self) -> bool:
        """Whether every length is the same."""
        return self.kind == "fixed"

    @property
    def mean(self) -> float:
        """Expected length, before rounding and the floor of 1."""
        return (self.a + self.b) / 2 if self.kind == "uniform" else self.a

    def drawn(self, rng: "np.random.Generator") -> Iterator[int]:
        """Lengths for ever; draws in blocks."""
        import numpy as np

        while True:
            if self.kind == "fixed":
                block = np.full(BLOCK, self.a)
            elif self.kind == "uniform":
                block = rng.integers(int(self.a), int(self.b), BLOCK, endpoint=True).astype(np.float64)
            elif self.kind == "normal":
                block = rng.normal(self.a, self.b, BLOCK)
            else:
                variance = math.log(1 + (self.b / self.a) ** 2)
                block = rng.lognormal(math.log(self.a) - variance / 2, math.sqrt(variance), BLOCK)
            yield from np.clip(np.rint(block), 1, MOST).astype(np.int64).tolist()


@dataclass(frozen=True, slots=True)
class Pair:
    """Input and output lengths that go together; `weight` is its share of the requests, not normalised."""

    isl: Lengths
    osl: Lengths
    weight: float


def parse(text: str, stddev: float = 0.0) -> Lengths:
    """The distribution that text means; with a `stddev` a plain N is the mean of a normal one.

    Raises ValueError with what is wrong, in words that end a sentence like "--isl 0: ...".
    """
    text = text.strip()
    shaped = _SHAPED.fullmatch(text)
    low_high = _LOW_HIGH.fullmatch(text)
    if shaped:
        kind, a, b = shaped[1], float(shaped[2]), float(shaped[3])
    elif low_high:
        kind, a, b = "uniform", float(low_high[1]), float(low_high[2])
    elif re.fullmatch(r"[+-]?[0-9]+", text):
        kind, a, b = ("normal" if stddev else "fixed"), float(text), stddev
    else:
        raise ValueError(f"not a length; {FORMS}")
    if stddev and (shaped or low_high):
        raise ValueError("it has its own spread; leave out the stddev option")
    if a < 1:
        raise ValueError("must be at least 1")
    if kind == "uniform" and b < a:
        raise ValueError("the high end is below the low end")
    if max(a, b) > MOST:
        raise ValueError(f"must be at most {MOST:,}")
    return Lengths("fixed", a, 0.0) if kind == "uniform" and a == b else Lengths(kind, a, b)


def parse_pairs(text: str) -> tuple[Pair, ...]:
    """The pairs of '128:32@40,2048:256@60'; without @ a pair's weight is 1. Raises ValueError like `parse`."""
    found = []
    for item in text.split(","):
        match = _PAIR.fullmatch(item)
        weight = 1.0 if match is None or match[3] is None else float(match[3])
        if match is None or not 0 < weight < math.inf:
            raise ValueError(f"'{item.strip()}' is not ISL:OSL or ISL:OSL@SHARE; write it like 128:32@40,2048:256@60")
        try:
            found.append(Pair(parse(match[1]), parse(match[2]), weight))
        except ValueError as error:
            said = str(error).replace(FORMS, "write N or LOW-HIGH")
            raise ValueError(f"'{item.strip()}': {said}") from None
    return tuple(found)
