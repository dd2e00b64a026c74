"""`genbench dataset show`: what a data set holds, sending nothing."""

import sys
from typing import TYPE_CHECKING, Any

import click

from genbench import config
from genbench.cli import options
from genbench.errors import ConfigError

if TYPE_CHECKING:
    from genbench.studies.dataset import Contents

BAR = 40
SHOWN = ("mean", "std", "min", "p5", "p50", "p95", "p99", "max")
NUMBER = 9


class ShowCommand(options.Profile):
    """The options that say what is sent."""

    SHOWN = ("target", "workload", "")

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Lines that work when pasted."""
        formatter.write(
            "\nExamples:\n  genbench dataset show --dataset sharegpt:examples/data/sharegpt.json\n"
            "  genbench dataset show --isl lognormal:550,300 --json\n"
        )


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Look at data before they are sent."""


def show(source: str | None, **values: Any) -> int:
    """Print how many samples there are, how long, how much of them is shared, and their hash. Sends nothing.

    SOURCE is --dataset in one word. Lengths are tokens with --tokenizer, else words. A file is read once, whole;
    --request-count N looks at the first N. Of drawn prompts 1,000 are looked at.
    """
    named = options.named(values)
    if source is not None and "dataset" in named:
        raise ConfigError(f"{source} and --dataset both name the data set; give one of them")
    if source is not None:
        named["dataset"] = source
    given = config.load(named, values["config"])
    from genbench.studies.dataset import look

    found = look(given, lambda line: click.echo(line, err=True))
    if given.config.output.json:
        import orjson

        sys.stdout.write(orjson.dumps(found.as_json(), option=orjson.OPT_INDENT_2).decode() + "\n")
    else:
        sys.stdout.write(text(found))
    return 0


def text(found: "Contents") -> str:
    """The contents as plain ASCII text."""
    from genbench.block import number
    from genbench.studies.dataset import described

    def times(count: int, word: str) -> str:
        return f"{count:,} {word}{'' if count == 1 else 's'}"

    what = times(found.requests, "request")
    if found.requests != found.conversations:
        what += f" in {times(found.conversations, 'conversation')}"
    if found.span_s is not None:
        rate = f", {(found.conversations - 1) / found.span_s:,.3g} req/s" if found.span_s else ""
        what += f"; times over {found.span_s:,.4g} s{rate}"
    lines = [f"{found.dataset}: {what}", "", " " * 22 + "".join(f"{name:>{NUMBER}}" for name in SHOWN)]
    tables = {"input": found.isl, "output": found.osl}
    if found.requests != found.conversations:
        tables["turns"] = found.turns
    for title, lengths in tables.items():
        stats = described(lengths)
        unit = "" if title == "turns" else f" ({'tokens' if title == 'output' else found.unit})"
        if stats is None:
            lines.append(f"{title + unit:<22}{'the model decides':>{NUMBER + 10}}")
            continue
        lines.append(f"{title + unit:<22}" + "".join(f"{number(stats[name], 'ms'):>{NUMBER}}" for name in SHOWN))
    for title, lengths in list(tables.items())[:2]:
        lines += _bars(title, found.unit if title == "input" else "tokens", described(lengths))
    lines.append("")
    if found.shared_pct is not None:
        among = "" if found.prefix_prompts == found.conversations else f" (of the first {found.prefix_prompts:,})"
        lines.append(
            f"shared prefixes: a cache could answer {found.shared_pct:.3g} % in blocks of {found.block}{among}"
        )
    if found.requests != found.conversations:
        lines.append("lengths are of what each turn adds; a request repeats all turns before it")
    lines += [f"not as it is: {count:,} {reason}" for reason, count in found.dropped.items()]
    lines.append(f"sha256 {found.sha256}")
    return "\n".join(line.rstrip() for line in lines).encode("ascii", "replace").decode("ascii") + "\n"


def _bars(title: str, unit: str, stats: dict[str, Any] | None) -> list[str]:
    if stats is None or stats["min"] == stats["max"]:
        return []
    edges, counts = stats["histogram"]["edges"], stats["histogram"]["counts"]
    lines = ["", f"{title}, {unit}"]
    for k, count in enumerate(counts):
        last = k == len(counts) - 1
        span = f"{edges[k]:,.0f} to {(stats['max'] if last else edges[k + 1] - 1):,.0f}"
        bar = "#" * max(1 if count else 0, round(BAR * count / max(counts)))
        lines.append(f"{span:>20}  {count:>9,}  {bar}")
    return lines


command.add_command(
    ShowCommand(
        "show",
        callback=show,
        params=[click.Argument(["source"], required=False, metavar="[SOURCE]"), *options.make()],
        help=show.__doc__,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
)
