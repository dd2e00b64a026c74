"""Help, defaults, other tools' flags, refusals; and docs/options.md, made here: `python -m tests.cli.test_help`."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from genbench import config
from genbench.cli import options
from genbench.cli.app import EXAMPLES
from genbench.cli.profile import command
from genbench.config import Field, Given
from genbench.plan.facts import parse_extra
from genbench.resolve import resolve
from tests.runs import Runner

TABLE = Path(__file__).parent.parent.parent / "docs" / "options.md"
HEAVY = (
    "numpy", "scipy", "pydantic", "aiohttp", "transformers", "openai", "altair", "ray", "tokenizers", "yaml", "rich",
    "huggingface_hub", "uvloop", "orjson",
)  # fmt: skip
FIRST_PAGE = 20
ENTRY = re.compile(r"  (?:-\w, )?(--[\w-]+)")


def parse(*words: str) -> Given:
    """The config that a command line means."""
    context = command.make_context("profile", list(words))
    return config.load(options.named(context.params), context.params["config"])


def entries(page: str) -> dict[str, str]:
    """A help page by long flag: all that is said of it, on one line."""
    found: dict[str, str] = {}
    flag = ""
    for line in page.partition("Examples:")[0].splitlines():
        new = ENTRY.match(line)
        flag = new[1] if new else flag if line.startswith("   ") else ""
        if flag:
            found[flag] = " ".join([*([found[flag]] if flag in found else []), *line.split()])
    return found


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import contextlib, io, sys\n"
        "from genbench.cli.app import main\n"
        "with contextlib.redirect_stdout(io.StringIO()) as shown, contextlib.suppress(SystemExit):\n"
        "    main(['--help'])\n"
        "assert 'profile' in shown.getvalue()\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_first_page_is_short(run: Runner) -> None:
    ran = run("profile", "--help")
    assert ran.code == 0
    assert 10 < len(entries(ran.out)) <= FIRST_PAGE
    assert max(map(len, ran.out.splitlines())) <= 110


def test_every_option_has_help(run: Runner) -> None:
    shown = entries(run("profile", "--help-all").out)
    assert set(shown) >= {field.flag for field in config.options()}
    for flag, text in shown.items():
        meaning = re.sub(r"^(-\w, )?--[\w-]+( / --[\w-]+)?( [A-Z|]+)?", "", text)
        assert len(meaning.strip()) >= 10, flag
    front = entries(run("profile", "--help").out)
    assert set(front) < set(shown)
    assert {parameter.name for parameter in command.params if not getattr(parameter, "hidden", False)} == {
        "config", "help_all", *(f.name for f in config.options()),
        *(f"no_{f.name}" for f in config.options() if f.opt.negative),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("flag", "default"),
    [
        ("--concurrency", "[1]"),
        ("--request-count", "[max(100, 10 x concurrency) or 60 s, whichever first]"),
        ("--isl", "[550]"),
        ("--isl-stddev", "[0]"),
        ("--osl", "[128; the file's own"),
        ("--osl-stddev", "[0]"),
        ("--warmup", "[min(concurrency, 32); 10 with a rate; 0 for a trace]"),
        ("--connect-timeout", "[10 s]"),
        ("--idle-timeout", "[300 s]"),
        ("--grace", "[30 s]"),
        ("--seed", "[0]"),
    ],
)
def test_defaults_are_shown(run: Runner, flag: str, default: str) -> None:
    assert default in entries(run("profile", "--help-all").out)[flag]


def test_the_defaults_shown_are_those_that_hold() -> None:
    one, _ = resolve(parse("--url", "http://a"))
    assert (one.load.concurrency, one.load.request_count, one.load.duration_s, one.load.warmup) == (1, 100, 60.0, 1)
    assert (one.workload.isl, one.workload.osl, one.workload.isl_stddev, one.workload.osl_stddev) == (
        "550",
        "128",
        0,
        0,
    )
    assert (one.limits.connect_timeout_s, one.limits.idle_timeout_s, one.load.grace_s, one.seed) == (10, 300, 30, 0)
    many, _ = resolve(parse("--url", "http://a", "--concurrency", "64"))
    assert (many.load.request_count, many.load.warmup) == (640, 32)
    rate, _ = resolve(parse("--url", "http://a", "--request-rate", "4"))
    assert (rate.load.request_count, rate.load.duration_s, rate.load.warmup) == (100, 60.0, 10)


@pytest.mark.parametrize("page", [("--help",), ("profile", "--help"), ("profile", "--help-all")])
def test_help_ends_with_lines_that_work(run: Runner, page: tuple[str, ...]) -> None:
    lines = run(*page).out.rstrip().splitlines()[-3:]
    assert lines == EXAMPLES.rstrip().splitlines()[-3:]
    for line in lines:
        program, name, *words = shlex.split(line)
        assert (program, name) == ("genbench", "profile")
        resolve(parse(*words))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--no-such-flag"], "--no-such-flag"),
        (["stray"], "stray"),
        (["--num-prompts", "5"], "--request-count"),
        (["--num-prompts=5"], "--request-count"),
        (["--concurrency", "1,2,4"], "sweep"),
        (["--request-rate", "1,2"], "sweep"),
        (["--concurrency", "0"], "at least 1"),
        (["--service-kind", "triton"], "openai"),
        (["--duration", "soon"], "2m"),
        (["--config", "nobody"], "vllm"),
        (["--slo", "ttft<<3"], "ttft.p95<500ms"),
    ],
)
def test_wrong_use_is_one_sentence_and_code_2(run: Runner, words: list[str], says: str) -> None:
    ran = run("profile", *words)
    assert ran.code == 2
    assert ran.out == ""
    assert ran.err.count("\n") == 1
    assert ran.err.startswith("genbench: ")
    assert says in ran.err


HABITS = [
    ("-u http://a", "--url http://a"),
    ("--base-url http://a", "--url http://a"),
    ("--streaming", "--stream"),
    ("--max-concurrency 8", "--concurrency 8"),
    ("--benchmark-duration 30", "--duration 30s"),
    ("--random-seed 7", "--seed 7"),
    ("--warmup-request-count 3", "--warmup 3"),
    ("--num-warmups 3", "--warmup 3"),
    ("--synthetic-input-tokens-mean 200", "--isl 200"),
    ("--random-input-len 200", "--isl 200"),
    ("--synthetic-input-tokens-stddev 20", "--isl-stddev 20"),
    ("--output-tokens-mean 50", "--osl 50"),
    ("--random-output-len 50", "--osl 50"),
    ("--output-tokens-stddev 5", "--osl-stddev 5"),
    ("--extra-inputs top_k=5", "--extra top_k=5"),
    ("--extra-body '{\"top_k\": 5}'", "--extra '{\"top_k\": 5}'"),
    ("-b 2", "--batch-size 2"),
    ("--request-timeout-seconds 60", "--timeout-total 60"),
    ("--timeout 60", "--timeout-total 60"),
    ("--max-errors 5", "--stop-after-errors 5"),
    ("--generate-plots", "--plots"),
    ("--arrival-pattern constant", "--arrival constant"),
    ("--request-rate-mode poisson", "--arrival poisson"),
    ("--prefix-prompt-length 100", "--shared-prefix-tokens 100"),
    ("--random-prefix-len 100", "--shared-prefix-tokens 100"),
    ("--num-prefix-prompts 3", "--num-prefixes 3"),
    ("--prefix-prompt-pool-size 3", "--num-prefixes 3"),
    ("--conversation-turn-mean 3", "--turns 3"),
    ("--session-turns-mean 3", "--turns 3"),
]


@pytest.mark.parametrize(("theirs", "ours"), HABITS)
def test_other_tools_flags_mean_ours(theirs: str, ours: str) -> None:
    found = parse(*shlex.split(theirs))
    assert found == parse(*shlex.split(ours))
    assert found.named


def test_extra_inputs_take_a_colon() -> None:
    given = parse("--extra-inputs", "top_k:5", "--extra-inputs", "stop:now")
    same = parse("--extra", "top_k=5", "--extra", "stop=now")
    assert (
        parse_extra(given.config.target.extra) == parse_extra(same.config.target.extra) == {"top_k": 5, "stop": "now"}
    )


def test_service_kind_means_the_server_on_port_8000() -> None:
    assert resolve(parse("--service-kind", "openai"))[0].target.url == ("http://localhost:8000",)


def test_every_habit_is_in_the_list_above() -> None:
    tried = {theirs.split()[0] for theirs, _ in HABITS}
    assert {habit for field in config.options() for habit in field.opt.habits} <= tried


# -- docs/options.md --------------------------------------------------------------------------------------------------


def table() -> str:
    """The page: every option by section, as the fields say it."""
    lines = [
        "# Options of `genbench profile`",
        "",
        "Made from `genbench/options.py` by `python -m tests.cli.test_help`; a test says when it is old. The profile",
        "key is the long flag without dashes in front. Times are like `30`, `500ms` or `2m`. The last column is what",
        "other tools call it: understood, too.",
    ]
    for section, title in options.SECTIONS.items():
        lines += ["", f"## {title}", "", "| option | meaning [default] | also |", "|---|---|---|"]
        lines += [_row(field) for field in config.options() if field.section == section]
        if section == "":
            lines.append("| `-f`, `--config NAME\\|FILE` | options from a profile or a YAML file | |")
    return "\n".join(lines) + "\n"


def _row(field: Field) -> str:
    names, meaning = options.row(field)
    shown = ", ".join(f"`{name}`" for name in re.split(", | / ", names))
    cells = [shown, meaning, ", ".join(f"`{habit}`" for habit in field.opt.habits)]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def test_the_table_in_docs_is_current() -> None:
    assert TABLE.read_text() == table(), "run: python -m tests.cli.test_help > docs/options.md"


if __name__ == "__main__":
    sys.stdout.write(table())
