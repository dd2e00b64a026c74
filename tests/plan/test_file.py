"""A plan in a file: the same bytes and moments each time it is read, and every way such a file can be wrong."""

import json
from pathlib import Path
from typing import Any

import pytest

from genbench import config, registry
from genbench.errors import DatasetError
from genbench.plan import file
from genbench.plan.build import build
from genbench.plan.facts import Facts
from genbench.resolve import resolve
from genbench.types import Phase, Plan, Request

GRACE_NS = 30_000_000_000
ABOUT = {"model": "m"}
TURNS = '{"turns": [{"prompt": "a b", "answer": "c"}, {"prompt": "d", "think_s": 0.25, "max_tokens": 3}]}\n'


def made(**named: object) -> Plan:
    resolved, _ = resolve(config.load({"url": "http://x", "salt": "s"} | named))
    return build(resolved, Facts("m"), registry.load("endpoints", resolved.target.endpoint_type), None)


def whole(plan: Plan) -> list[Request]:
    """Every request, a conversation's turns after each other."""
    found = []
    for unit in range(len(plan.requests)):
        request: Request | None = plan.requests[unit]
        while request is not None:
            found.append(request)
            request = None if request.then is None else request.then("")
    return found


def seen(plan: Plan) -> list[tuple[Any, ...]]:
    return [
        (one.index, one.body, one.max_tokens, one.phase, one.isl_tokenizer, one.sample.session, one.sample.turn,
         one.sample.think_ns)
        for one in whole(plan)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "named",
    [
        {"request_rate": "5", "request_count": "30"},
        {"concurrency": "4", "request_count": "10", "warmup": "3", "isl": "10-20"},
        {"stages": "5@2s,0@1s,20@1s"},
        {"endpoint_type": "completions", "request_count": "4", "warmup": "0"},
        {"endpoint_type": "embeddings", "request_count": "4", "batch_size": "3"},
    ],
)
def test_what_is_written_is_what_is_read(tmp_path: Path, named: dict[str, str]) -> None:
    path = tmp_path / "plan.jsonl"
    head = file.write(made(**named), path, ABOUT)
    plan, again = made(**named), file.read(path, GRACE_NS, "m")
    assert seen(again) == seen(plan)
    assert again.requests.sha256() == plan.requests.sha256() == head["bodies_sha256"]  # type: ignore[attr-defined]
    assert (again.seed, again.salt, again.dataset_sha256) == (plan.seed, plan.salt, plan.dataset_sha256)
    one, other = again.schedule, plan.schedule
    assert (one.concurrency, one.duration_ns, one.warmup, one.even) == (
        other.concurrency,
        other.duration_ns,
        other.warmup,
        other.even,
    )
    if other.offset_ns is None:
        assert one.offset_ns is None
        assert head["schedule"]["offsets_sha256"] is None
    else:
        assert one.offset_ns is not None
        assert one.offset_ns.tolist() == other.offset_ns.tolist()
        assert head["schedule"]["offsets_sha256"] == file.offsets_sha256(one) == file.offsets_sha256(other)
    assert list(tmp_path.iterdir()) == [path]


def test_conversations_keep_their_turns(tmp_path: Path) -> None:
    data = tmp_path / "talk.jsonl"
    data.write_text(TURNS * 3)
    path = tmp_path / "plan.jsonl"
    named = {"input_file": str(data), "request_count": "4", "warmup": "1"}
    head = file.write(made(**named), path, ABOUT)
    assert (head["units"], head["requests"]) == (3, 6)
    again = file.read(path, GRACE_NS, "m")
    assert len(again.requests) == 3
    assert seen(again) == seen(made(**named))
    turns = whole(file.read(path, GRACE_NS, "m"))
    assert [(one.index, one.sample.turn, one.sample.think_ns, one.phase) for one in turns] == [
        (0, 0, 0, Phase.WARMUP), (1, 1, 250_000_000, Phase.WARMUP),
        (2, 0, 0, Phase.MEASURED), (3, 1, 250_000_000, Phase.MEASURED),
        (4, 0, 0, Phase.MEASURED), (5, 1, 250_000_000, Phase.MEASURED),
    ]  # fmt: skip


def test_a_plan_that_waits_for_answers_cannot_be_written(tmp_path: Path) -> None:
    plan = made(turns="3", request_count="6", warmup="0")
    with pytest.raises(DatasetError, match="--history dataset"):
        file.write(plan, tmp_path / "plan.jsonl", {})


def test_a_plan_without_an_end_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="--request-count"):
        file.write(made(duration_s="5"), tmp_path / "plan.jsonl", {})


def lines_of(tmp_path: Path) -> tuple[Path, list[str]]:
    path = tmp_path / "plan.jsonl"
    path.unlink(missing_ok=True)
    file.write(made(request_rate="9", request_count="4", warmup="0", isl="3"), path, ABOUT)
    return path, path.read_text().splitlines(keepends=True)


def broken(tmp_path: Path, change: Any) -> str:
    """What is said of a plan file after a change to its lines."""
    path, lines = lines_of(tmp_path)
    path.write_text("".join(change(lines)))
    with pytest.raises(DatasetError) as error:
        file.read(path, GRACE_NS, "m")
    assert str(path) in str(error.value)
    return str(error.value)


def changed(line: str, **values: Any) -> str:
    return json.dumps(json.loads(line) | values) + "\n"


def test_wrong_files(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such file"):
        file.read(tmp_path / "none", GRACE_NS, "m")
    assert "is no plan" in broken(tmp_path, lambda lines: lines[1:])
    assert "is no plan" in broken(tmp_path, lambda lines: ["\x00"])
    assert "format 9" in broken(tmp_path, lambda lines: [changed(lines[0], genbench_plan=9), *lines[1:]])
    for change in (
        lambda lines: [changed(lines[0], seed=3), *lines[1:]],
        lambda lines: [*lines[:2], changed(lines[2], max_tokens=9), *lines[3:]],
        lambda lines: [*lines[:3], changed(lines[3], offset_ns=-5), lines[4]],
        lambda lines: [*lines[:3], lines[3].replace('"stream":true', '"stream":false'), lines[4]],
        lambda lines: [lines[0], lines[2], lines[1], *lines[3:]],
        lambda lines: lines[:-1],
        lambda lines: [*lines, lines[-1]],
        lambda lines: ['{"genbench_plan": 1}\n'],
    ):
        assert "is not as it was written" in broken(tmp_path, change)


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    path, _ = lines_of(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600


def test_another_name_of_the_model_takes_its_place(tmp_path: Path) -> None:
    path, _ = lines_of(tmp_path)
    same, other = file.read(path, GRACE_NS, "m"), file.read(path, GRACE_NS, "n")
    for one, changed_one in zip(whole(same), whole(other), strict=True):
        assert json.loads(changed_one.body) == json.loads(one.body) | {"model": "n"}
    assert same.notes() == ()
    assert "n takes its place" in other.notes()[0]
