"""README.md against the program: its commands parse, its flags exist, the rows of its output are explained."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from genbench import block, config
from genbench.cli import options
from genbench.cli.app import app
from genbench.metrics import slo
from genbench.metrics.definitions import by_key
from genbench.resolve import resolve
from genbench.simulator.__main__ import parser
from tests.runs import Runner

ROOT = Path(__file__).parent.parent
PAGES = {name: (ROOT / name).read_text() for name in ("README.md", "CONTRIBUTING.md")}
README = PAGES["README.md"]
FENCED = re.compile(r"^```\w*\n(.*?)^```$", re.S | re.M)
LABEL = re.compile(r"(.+?) \([\w/%]+\)(?:  +|$)")


def commands(text: str) -> list[str]:
    """The genbench command lines of a page's code blocks, what is before and after them in a line left out."""
    found = []
    for inside in FENCED.findall(text):
        for line in inside.replace("\\\n", " ").splitlines():
            start = re.match(r"(?:.*(?:&& |\.venv/bin/)|\$ |(?:[A-Z_]+=\S+ )+)?(genbench .*)", line)
            if start and not line.startswith(("genbench  ", "again: ")):
                found.append(start[1].partition(" | ")[0].partition(" && ")[0])
    return found


def check(line: str) -> None:
    """Raises click's or genbench's own error when a command line would be refused."""
    _, name, *words = shlex.split(line)
    if name == "simulate":
        parser().parse_args([word for word in words if word != "--help"])
        return
    command = app.get_command(click.Context(app), name)
    assert command is not None, line
    try:
        context = command.make_context(name, words)
    except click.exceptions.Exit:  # --help
        return
    if name == "profile":
        resolved, _ = resolve(config.load(options.named(context.params), context.params["config"]))
        for rule in resolved.slo:
            slo.parse(rule)


def known_flags() -> set[str]:
    """All that is shown on some help page."""
    shown = {field.flag for field in config.options()} | {field.opt.negative for field in config.options()}
    shown |= {"--config", "--help-all", "--help", "--version"}
    for name in ("report", "sweep", "capacity", "compare", "run-ab", "cost", "size"):
        command = app.get_command(click.Context(app), name)
        assert command is not None
        shown |= {flag for option in command.params for flag in option.opts}
    return shown | {flag for action in parser()._actions for flag in action.option_strings}


def section(title: str) -> str:
    """What is below a heading, up to the next one of its rank."""
    return README.partition(f"## {title}\n")[2].partition("\n## ")[0]


def table_rows(text: str) -> Iterator[list[str]]:
    """The cells of a section's table, without its head."""
    for line in text.splitlines():
        if line.startswith("| ") and not line.startswith(("| row", "| file", "| theirs")):
            yield [cell.strip() for cell in line.strip("|").split(" | ")]


def output_block() -> str:
    """The output the README shows."""
    return str(FENCED.findall(README.partition("<!-- output -->")[2])[0])


def test_the_commands_are_found() -> None:
    assert len(commands(README)) > 15
    assert {line.split()[1] for line in commands(README)} == {
        "profile", "plan", "dataset", "report", "list", "simulate", "calibrate", "sweep", "capacity", "import",
        "compare", "run-ab", "cost", "size", "upload",
    }  # fmt: skip


@pytest.mark.parametrize("line", commands(README))
def test_a_command_parses(line: str) -> None:
    check(line)


def test_a_wrong_command_would_be_found() -> None:
    with pytest.raises(click.ClickException):
        check("genbench profile --no-such-flag 1")


def test_files_the_readme_names_are_there() -> None:
    for page, text in PAGES.items():
        for link in re.findall(r"\]\(([^)#]+)", text):
            assert (ROOT / link).exists(), f"{page}: {link}"
    for anchor in re.findall(r"\]\(docs/metrics.md#([\w-]+)\)", README):
        heads = re.findall(r"^## (.+)$", (ROOT / "docs/metrics.md").read_text(), re.M)
        assert anchor in {head.lower().replace(" ", "-") for head in heads}
    for line in commands(README):
        words = shlex.split(line)
        for flag in ("--input-file", "report"):
            if flag in words:
                assert (ROOT / words[words.index(flag) + 1]).exists(), line


def test_flags_in_the_text_exist() -> None:
    text = README.replace(section("Coming from AIPerf, GenAI-Perf or vllm bench"), "")
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= known_flags() | {"--dist"}  # pytest's


def test_the_habits_table_is_true() -> None:
    rows = list(table_rows(section("Coming from AIPerf, GenAI-Perf or vllm bench")))
    assert len(rows) > 15
    understood = {name: option for option in options.make() for name in option.opts}
    for theirs, ours, works in rows:
        for flag in re.findall(r"`(--?[a-z-]+)", ours):
            assert flag in known_flags(), ours
        flags = re.findall(r"`(--?[a-z-]+)", theirs)
        assert flags, theirs
        if works == "yes":
            assert {understood[flag] for flag in flags} == {understood[ours.strip("`")]}, theirs
    named = {flag for theirs, *_ in rows for flag in re.findall(r"`(--?[a-z-]+)", theirs)}
    assert {habit for field in config.options() for habit in field.opt.habits} <= named
    assert set(config.OTHERS_NAMES) <= named


def test_every_row_of_the_output_is_explained() -> None:
    labels = [match[1] for line in output_block().splitlines() if (match := LABEL.match(line))]
    assert len(labels) == 17
    explained = {cells[0]: cells[1].strip("`") for cells in table_rows(section("The rows of that output"))}
    assert [label for label in explained if label != "TTFT from intended"] == labels  # shown only where it differs
    for label, key in explained.items():
        assert label in (block.SHORT.get(key), by_key()[key].label)
        assert f"| `{key}` |" in (ROOT / "docs/metrics.md").read_text()


def test_the_output_is_what_the_demo_prints(run: Runner) -> None:
    ran = run("profile", "-c", "4", "-n", "12", "--osl", "4", "--isl", "20")
    assert ran.code == 0
    known = {name for key, row in by_key().items() for name in (row.label, block.SHORT.get(key, row.label))}
    for printed in (ran.out, output_block()):
        lines = printed.splitlines()
        assert re.fullmatch(r"genbench  simulated-model  chat  concurrency \d  SIMULATED", lines[0])
        assert re.fullmatch(r"\d+ requests, [\d.]+ s, after \d for warm-up, tokens by \w+, times by .*", lines[1])
        assert lines[2] in ("verdict VALID", "verdict SUSPECT")  # the run here, on a machine that may be busy
        assert any(re.fullmatch(r" +avg +min +max +p99 +p95 +p90 +p75 +p50 +count", line) for line in lines)
        assert {match[1] for line in lines if (match := LABEL.match(line))} <= known
        assert lines[-2].startswith("files: ")
        assert lines[-1].startswith("again: genbench profile")
        assert printed.isascii()


def test_the_two_commands_are_marked() -> None:
    for mark, last in (("demo", ".venv/bin/genbench profile"), ("tests", ".venv/bin/pytest -q -n 2 --dist loadfile")):
        (line,) = FENCED.findall(README.partition(f"<!-- {mark} -->")[2])[0].splitlines()
        assert line.startswith("python3 -m venv .venv && .venv/bin/pip install -q ")
        assert line.endswith(last)
    first_screen = README.splitlines()[:25]
    assert any(line.endswith(".venv/bin/genbench profile") for line in first_screen)
