"""Any bytes as a server's answer, through sockets, HTTP, event stream and JSON to a row of the log; by hand, bounded.

    python benchmarks/fuzz.py --seconds 300 [--corpus DIR]

Mutates good answers. With atheris installed (`pip install atheris`, it is no dependency of ours) the mutations follow
the code's coverage; without it they are random. Either way each input must hold what tests/hardening holds: nothing
raises, one record comes of it, `ok` only where an independent reading agrees, the same record however the bytes are
cut, and a table can be made of it. An input that does not is kept as a file; `--replay FILE` runs it again.

An input's first byte says the endpoint kind, whether the server closes, and what follows: a whole answer, or a body
that gets a correct head. Its second byte says how long the pieces are that come one by one.
"""

import argparse
import json
import random
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

try:
    import atheris
except ImportError:
    atheris = None

with atheris.instrument_imports(include=["genbench"]) if atheris else nullcontext():
    from genbench.records import table_from
    from genbench.types import Outcome, Record
    from tests.hardening.answers import (
        ANSWERS,
        CHUNKED,
        INTEGERS,
        KINDS,
        MESSAGES,
        NAMES,
        SNIPPETS,
        chunked,
        events,
        head,
    )
    from tests.hardening.driven import Driven
    from tests.hardening.oracle import may_be_ok

MAX_BYTES = 4096
PIECES = (1, 10, 50, 100, 200)
SPOILED = 300  # messages with wrong values among the first inputs
HEADS = (None, head(CHUNKED), head(CHUNKED, sse=False), b"HTTP/1.1 200 OK\r\n\r\n")
CLOSES = 64
CUT_BY = {"event_ns", "event_shared", "error", "connection"}  # may depend on where the answer was cut, or differ anyway


def answer(data: bytes) -> tuple[str, bytes, bool, int]:
    """What an input means: endpoint kind, the bytes on the wire, whether the server closes, and the pieces' length."""
    first, second = data[0], data[1]
    start, rest = HEADS[first % 4], data[2:]
    coded = b"".join(chunked((rest,))) if rest and start and CHUNKED in start else rest
    wire = (start or b"") + coded
    return list(KINDS)[first // 4 % 3], wire, bool(first & CLOSES), max(1, second)


def said(record: Record) -> dict[str, Any]:
    """What a record says, but for its times and what depends on the cuts."""
    return {name: value for name, value in asdict(record).items() if name not in CUT_BY and not name.endswith("_ns")}


def check(driven: Driven, data: bytes) -> None:
    """One input; raises AssertionError, or whatever the code raised."""
    if len(data) < 2:
        return
    kind, wire, close, size = answer(data)
    record = driven.record([wire], KINDS[kind], close=close)
    assert record.outcome != Outcome.CANCELLED, "it was never judged"
    assert table_from([record]).outcome == [record.outcome]
    if record.outcome == Outcome.OK:
        assert may_be_ok(wire, kind, closed=close), "ok, and not whole"
    split = driven.record([wire[k : k + size] for k in range(0, len(wire), size)], KINDS[kind], close=close)
    assert said(split) == said(record), f"in pieces of {size}: {said(split)} and whole: {said(record)}"


def spoiled(rng: random.Random, value: Any) -> Any:
    """A message with some of its parts replaced by what is wrong there."""
    if rng.random() < 0.15:
        wrong: tuple[Any, ...] = (None, True, -1, 1.5, rng.choice(INTEGERS), "", "a", "\ud800", [], {}, [value])
        return rng.choice((*wrong, {rng.choice(NAMES): value}))
    if isinstance(value, list):
        return [spoiled(rng, item) for item in value] * rng.choice((1, 1, 1, 2))
    if isinstance(value, dict):
        return {name if rng.random() < 0.95 else rng.choice(NAMES): spoiled(rng, item) for name, item in value.items()}
    return value


def spoiled_body(rng: random.Random) -> bytes:
    """An input whose JSON has wrong values in it, as a stream or as a document."""
    kind = rng.randrange(len(KINDS))
    message = spoiled(rng, list(MESSAGES.values())[kind])
    start = rng.choice((1, 2, 3))
    body = json.dumps(message).encode() if start == 2 else b"".join(events(message))
    return bytes([4 * kind | CLOSES | start, rng.choice(PIECES)]) + body


def seeds(seed: int) -> Iterator[bytes]:
    """Good answers as inputs, as a whole and body by body, and messages with wrong values."""
    for size in PIECES:
        for one in ANSWERS.values():
            kind = 4 * list(KINDS).index(one.kind)
            yield bytes([kind | CLOSES, size]) + one.data
            if one.framed and CHUNKED not in one.head:
                for start in (1, 2, 3):
                    yield bytes([kind | CLOSES | start, size]) + b"".join(one.pieces)
    rng = random.Random(seed)
    for _ in range(SPOILED):
        yield spoiled_body(rng)


def mutated(rng: random.Random, data: bytes) -> bytes:
    """A few accidents, or something else altogether."""
    if rng.random() < 0.3:
        return spoiled_body(rng)
    for _ in range(rng.randint(1, 5)):
        a = rng.randint(0, len(data)) if rng.random() < 0.8 else len(data)  # what comes behind an answer matters
        b = min(len(data), a + rng.choice((0, 1, 1, 4, 40)))
        new = rng.choice((b"", rng.choice(SNIPPETS), rng.randbytes(rng.randint(1, 3)), data[a:b] * 2))
        data = data[:a] + new + data[rng.choice((a, b)) :]
    return data[:MAX_BYTES]


def by_chance(test: Callable[[bytes], None], seconds: float, seed: int, corpus: list[bytes]) -> int:
    """Random mutations until the time is up, or one fails; the exit code."""
    rng, runs, until = random.Random(seed), 0, time.monotonic() + seconds
    while time.monotonic() < until:
        data = mutated(rng, rng.choice(corpus))
        runs += 1
        try:
            test(data)
        except Exception:
            traceback.print_exc()
            path = Path(f"fuzz-{runs}.bin")
            path.write_bytes(data)
            print(f"input {runs} fails and is kept: python benchmarks/fuzz.py --replay {path}")
            return 1
    print(f"{runs} inputs in {seconds:g} s, random mutations (atheris is not installed): nothing found")
    return 0


def by_coverage(test: Callable[[bytes], None], seconds: float, seed: int, corpus: Path) -> None:
    """Hand over to libFuzzer, which prints its own count and ends the process."""
    words = corpus.parent / "words"
    words.write_text("".join('"' + "".join(f"\\x{byte:02x}" for byte in one) + '"\n' for one in SNIPPETS))
    limits = [f"-max_total_time={round(seconds)}", f"-max_len={MAX_BYTES}", "-timeout=10", "-rss_limit_mb=2048"]
    atheris.Setup(
        [sys.argv[0], *limits, f"-seed={seed}", f"-dict={words}", str(corpus)], test, custom_mutator=by_either
    )
    atheris.Fuzz()


def by_either(data: bytes, most: int, seed: int) -> bytes:
    """libFuzzer's own mutation, or one of ours."""
    rng = random.Random(seed)
    found: bytes = atheris.Mutate(data, most) if rng.random() < 0.5 else mutated(rng, data)
    return found[:most]


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for the socket and the corpus."""
    with tempfile.TemporaryDirectory(prefix="fuzz") as folder:
        yield Path(folder)


def main() -> int:
    """Fuzz, or replay."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--corpus", type=Path, help="folder of inputs to begin with, and to add to (atheris)")
    parser.add_argument("--replay", type=Path, help="run this one input")
    given = parser.parse_args()
    with scratch() as folder, Driven(folder) as driven:
        if given.replay is not None:
            check(driven, given.replay.read_bytes())
            print(f"{given.replay} passes")
            return 0
        corpus = given.corpus or folder / "corpus"
        corpus.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(seeds(given.seed)):
            (corpus / f"seed{number:03}").write_bytes(data)
        if atheris is None:
            kept = [path.read_bytes() for path in sorted(corpus.iterdir())]
            return by_chance(lambda data: check(driven, data), given.seconds, given.seed, kept)
        by_coverage(lambda data: check(driven, data), given.seconds, given.seed, corpus)
    return 0


if __name__ == "__main__":
    sys.exit(main())
