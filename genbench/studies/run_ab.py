"""A against B: one plan, two servers, blocks that take turns; each an ordinary run, `ab.json` anew after every one.

Rules
- A round is a block on A and a block on B with the same options and the same seed (the study's plus the round's
  number), so the same samples at the same moments; each block has a salt of its own unless the user fixed one.
- The order is A B, B A, A B, ...: what drifts evenly over the hours weighs on both sides alike.
- Only one server has load at a time: the next block waits until the server of the one before is quiet.
- Both servers are asked everything before either gets any load.
- A block's length is that of the options. Without any: with a rate 10 s, or 50 arrivals where those take longer, at
  most a minute; with a concurrency max(50, 5 x concurrency) requests or 30 s, whichever comes first. A count gives both
  servers the same requests, and in 10 rounds they are more than a p99 needs (459).
- Only complete rounds are compared. A round that would not end within the budget is not begun, and a block that the
  budget cuts leaves its round incomplete.
- A server that goes away is waited for, and that block measured once more; where it stays away, the study ends with the
  complete rounds.
"""

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from genbench import __version__, config
from genbench.block import number
from genbench.config import Given, changed
from genbench.engine.judges import Deadline, Together
from genbench.errors import ConfigError, GenbenchError, TargetError
from genbench.resolve import resolve
from genbench.sources import dataset_of
from genbench.studies import run_ab_files as files
from genbench.studies.observe import OFF, ON
from genbench.studies.point import Measured, Points, Restarted
from genbench.studies.prepare import Prepared, prepare
from genbench.studies.profile import Screen
from genbench.studies.run_ab_files import FOLDER, KIND, LEAST_ROUNDS, SCHEMA, SIDES, label, order
from genbench.studies.scrub import Scrubber

GOOD_ROUNDS, ROUNDS, MOST_ROUNDS = 8, 10, 1000
RATE_S, RATE_MOST_S = 10.0, 60.0
REQUESTS, WAVES, CLOSED_S = 50, 5, 30.0
DRAWING_S, DRAWING_SHARE = 10.0, 0.1  # of a budget, kept for the comparison and its figures
NEWS = ("waiting for ", "the server went away", "note: the server was not quiet")
SAYS_LENGTH = frozenset({"request_count", "duration_s"})
REFUSED = {
    "url": ("--url", "run-ab has two servers; name them with --a URL and --b URL"),
    "plan": ("--plan", "run-ab makes a plan for each round; give the options it was made from"),
    "server_metrics": ("--server-metrics", "each side's own /metrics is read; an address would be that of both"),
    "gpu_telemetry": ("--gpu-telemetry", "it would be read for both sides; start run-ab without it"),
    "prometheus": ("--prometheus", "it would be asked for both sides; start run-ab without it"),
    "until_ci": ("--until-ci", "blocks have to be equally long; use --duration or --request-count"),
}
Blocks = Mapping[str, Given]  # the options of each side


@dataclass(frozen=True, slots=True)
class Wanted:
    """How many rounds, in how much time; times in s."""

    rounds: int = ROUNDS
    budget_s: float | None = None
    cool_down_s: float = 30.0

    def __post_init__(self) -> None:
        if not LEAST_ROUNDS <= self.rounds <= MOST_ROUNDS:
            raise ConfigError(
                f"--rounds {self.rounds}: must be from {LEAST_ROUNDS} to {MOST_ROUNDS}; {GOOD_ROUNDS} or more are "
                "recommended"
            )


@dataclass(frozen=True, slots=True)
class Interleaved:
    """What came of it: the content of `ab.json`; the error that ended it, if one did."""

    document: dict[str, Any]
    error: GenbenchError | None = None

    @property
    def complete(self) -> int:
        """Rounds of which there are both blocks."""
        return len(files.pairs(self.document))


# -- what is asked for -------------------------------------------------------------------------------------------------


def sides(given: Given, urls: Mapping[str, str | None], models: Mapping[str, str | None]) -> dict[str, Given]:
    """The options of each side, from those of both. Raises ConfigError for what does not go with two servers."""
    for name, (flag, why) in REFUSED.items():
        value = next((getattr(part, name) for part in _sections(given) if hasattr(part, name)), None)
        if value and value not in (*((word,) for word in (*OFF, *ON)),):
            raise ConfigError(f"{flag} {value if isinstance(value, str) else value[0]}: {why}")
    missing = [f"--{side}" for side in SIDES if not urls.get(side)]
    if missing:
        raise ConfigError(
            f"run-ab needs two servers and {' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} not given; "
            "name them with --a URL --b URL (genbench simulate starts one to try it with)"
        )
    found = {}
    for side in SIDES:
        values: dict[str, Any] = {"url": (urls[side],)}
        if models.get(side):
            values["model"] = models[side]
        found[side] = changed(given, values | _length(given))
        resolve(found[side])
    return found


def _sections(given: Given) -> Iterator[Any]:
    asked = given.config
    yield from (asked.target, asked.workload, asked.load, asked.telemetry)


def _length(given: Given) -> dict[str, Any]:
    """How long a block is to be where the options do not say."""
    load = given.config.load
    if SAYS_LENGTH & given.named or load.ramp or load.stages or load.arrival == "trace" or load.speed is not None:
        return {}
    waves = WAVES * (load.concurrency or 1)
    if load.request_rate is None:
        return {"request_count": max(REQUESTS, waves), "duration_s": CLOSED_S}
    if math.isinf(load.request_rate):
        return {"request_count": max(REQUESTS, waves)}
    return {"duration_s": round(min(max(RATE_S, REQUESTS / load.request_rate), RATE_MOST_S), 1)}


def check_budget(blocks: Blocks, wanted: Wanted) -> None:
    """Raises ConfigError where the time does not hold the fewest rounds that are compared; blocks of a time only."""
    load = resolve(blocks["a"])[0].load
    if wanted.budget_s is None or load.duration_s is None or load.request_count is not None:
        return
    least_s = LEAST_ROUNDS * len(SIDES) * load.duration_s
    if least_s > wanted.budget_s:
        raise ConfigError(
            f"--budget {wanted.budget_s:g} s: {LEAST_ROUNDS} rounds of two blocks of {load.duration_s:g} s take at "
            f"least {least_s:g} s, and fewer are not compared; give a larger one, or a shorter --duration"
        )


def ask(blocks: Blocks, screen: Screen) -> dict[str, str]:
    """Ask both servers all that a run asks before its load; returns their models. Raises what `prepare` raises."""
    found: dict[str, Prepared] = {}
    for side, given in blocks.items():
        resolved, ends = resolve(given)
        try:
            found[side] = prepare(resolved, ends, None, given.named, screen.say)
        except GenbenchError as error:
            said = Scrubber(resolved.target)(str(error))
            said = said.replace("--url", f"--{side}").replace("--model", f"--model-{side}")
            raise type(error)(f"{side.upper()}: {said}") from error
    for line in _unlike(found["a"], found["b"]):
        screen.say(f"note: {line}")
    return {side: one.found.facts.model for side, one in found.items()}


def _unlike(a: Prepared, b: Prepared) -> Iterator[str]:
    """What is known before the load that makes it less than the same work for both."""
    if a.plan.dataset_sha256 != b.plan.dataset_sha256:
        yield (
            "the two servers get different requests: a word is not the same number of tokens to them; with --tokenizer "
            "both get the same"
        )
    counts = [one.found.template_tokens is not None for one in (a, b)]
    if counts[0] != counts[1]:
        yield f"{'AB'[counts[0]]} reports no usage: what is per token cannot be compared without --tokenizer"
    workload = a.config.workload
    _, path = dataset_of(workload.dataset)
    if path is not None and workload.sampling == "sequential" and a.config.load.arrival != "trace":
        yield "every round sends the file's first rows; with --sampling shuffle each has others"


# -- the study ---------------------------------------------------------------------------------------------------------


class Study:
    """One A/B under way: `run` measures, `document` is what `ab.json` has."""

    def __init__(
        self,
        blocks: Blocks,
        wanted: Wanted,
        folder: Path,
        screen: Screen,
        *,
        command: str,
        options: Mapping[str, Any],
        models: Mapping[str, str],
        before: Mapping[str, Any] | None = None,
    ) -> None:
        """`options` is kept for --resume; `before`: the content of the `ab.json` that is resumed."""
        self._blocks = blocks
        self._wanted = wanted
        self._folder = folder
        self._screen = Screen(self._say, screen.watch)
        self._aloud = screen.say
        self._said: set[str] = set()
        self._known = 0 if before is None else len(before["blocks"])
        self._until_s = math.inf
        given = blocks["a"]
        if wanted.budget_s is not None:
            kept = min(DRAWING_S, DRAWING_SHARE * wanted.budget_s) if given.config.output.plots else 0.0
            self._until_s = time.monotonic() + wanted.budget_s - kept
        resolved = {side: resolve(one)[0] for side, one in blocks.items()}
        plain = replace(resolved["a"], target=replace(resolved["a"].target, url=(), model=given.config.target.model))
        self._seed = given.config.seed
        self.document: dict[str, Any] = {
            "schema": SCHEMA,
            "genbench": __version__,
            "kind": KIND,
            "command": command,
            "started": before["started"] if before else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "servers": {
                side: {"url": config.public_url(one.target.url[0]), "model": models.get(side) or one.target.model or ""}
                for side, one in resolved.items()
            },
            "endpoint_type": plain.target.endpoint_type,
            "interrupted": True,  # until the end says otherwise
            "rounds": wanted.rounds,
            "options": dict(options),
            "config": config.public(plain),
            "blocks": [],
            "left_out": [],
        }

    def run(self) -> Interleaved:
        """Measure all rounds. Raises what stops the first block; later errors are handed back.

        Ctrl-C ends the block and the study; `document["interrupted"]` then says so.
        """
        error = None
        if not self._known:
            files.write(self._folder, self.document)
        until_s = None if math.isinf(self._until_s) else self._until_s
        runners = {
            side: Points(
                given,
                self._folder,
                self._screen,
                cool_down_s=self._wanted.cool_down_s,
                wait_ready_s=None,
                until_s=until_s,
                below=FOLDER,
            )
            for side, given in self._blocks.items()
        }
        try:
            self.document["interrupted"] = not self._measure(runners)
        except KeyboardInterrupt:
            if self._behind():
                raise
            self.document["interrupted"] = True
        except GenbenchError as stopped:
            if not self.document["blocks"] or self._behind():
                raise
            error, self.document["interrupted"] = stopped, False
            self._leave_out(f"it ended early: {stopped}")
        files.write(self._folder, self.document)
        return Interleaved(self.document, error)

    def _measure(self, runners: Mapping[str, Points]) -> bool:
        """All blocks; False when one was interrupted."""
        rounds = self._wanted.rounds
        for k, side in order(rounds):
            first = side == ("a" if k % 2 else "b")
            if first and not self._enough_time(k):
                left = f"round {k}" if k == rounds else f"rounds {k} to {rounds}"
                self._leave_out(f"left out by the budget of {self._wanted.budget_s:g} s: {left}")
                return True
            one = self._block(runners[side], k, side)
            if one.run.summary.interrupted:
                self._leave_out(f"round {k} was interrupted; what was measured is in {FOLDER}/{one.folder.name}")
                return False
            if one.cut:
                self._leave_out(f"cut short by the budget of {self._wanted.budget_s:g} s: {FOLDER}/{one.folder.name}")
                return True
            entry = self._entry(one, k, side)
            self.document["blocks"].append(entry)
            if not self._behind():
                files.write(self._folder, self.document)
            self._aloud(line(entry, rounds))
        return True

    def _block(self, runner: Points, k: int, side: str) -> Measured:
        """A block; once more where the server had gone away and come back."""
        changes = {"seed": self._seed + k}
        place = {"side": side, "round": k}
        for last in (False, True):
            clock = None if math.isinf(self._until_s) else Deadline(self._until_s, "the budget was used up")
            try:
                return runner.measure(label(k, side), changes, place, Together(clock))
            except Restarted as error:
                self._aloud(f"note: {error}")
                if last:
                    raise TargetError(f"{side.upper()} went away twice in round {k}; look at its log") from error
        raise AssertionError("a loop of two ends in it")

    def _enough_time(self, k: int) -> bool:
        """Whether a round would end within the budget: the one before is the estimate. A measured one costs none."""
        left_s = self._until_s - time.monotonic()
        if all(files.is_measured(self._folder, k, side) for side in SIDES):
            return True
        last = [one["seconds"] for one in self.document["blocks"] if one["round"] == k - 1]
        return left_s > float(sum(last))

    def _entry(self, one: Measured, k: int, side: str) -> dict[str, Any]:
        summary = one.run.summary
        self.document["servers"][side]["model"] = str(one.run.header.get("model") or "")
        return {
            "folder": one.folder.relative_to(self._folder).as_posix(),
            "side": side,
            "round": k,
            "seed": one.run.header.get("seed"),
            "verdict": summary.verdict,
            "seconds": round(one.seconds, 3),
            "outcomes": dict(summary.outcomes),
            "run": {key: {"unit": figure.unit, "value": figure.value} for key, figure in summary.run.items()},
        }

    def _leave_out(self, sentence: str) -> None:
        self.document["left_out"].append(sentence)
        self._aloud(sentence)

    def _say(self, line: str) -> None:
        """What a block announces is the same for all of them, and said once; whom it is sent to each time."""
        if line not in self._said or ", model " in line or line.startswith(NEWS):
            self._aloud(line)
        self._said.add(line)

    def _behind(self) -> bool:
        """Whether a resumed study has not yet found all of its blocks again: until then its file stays as it is."""
        return len(self.document["blocks"]) < self._known


def line(entry: Mapping[str, Any], rounds: int) -> str:
    """A block in a line."""
    run = entry["run"]
    rate = f"{number(run['request_throughput']['value'])} req/s, " if "request_throughput" in run else ""
    ok, count = entry["outcomes"].get("ok", 0), sum(entry["outcomes"].values())
    return (
        f"round {entry['round']} of {rounds}, {entry['side'].upper()}: {ok} of {count} ok, {rate}{entry['verdict']} "
        f"({entry['seconds']:.1f} s)"
    )
