"""`genbench size`: how many instances, GPUs and servers a load needs."""

import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from genbench.cli import screen
from genbench.errors import ConfigError
from genbench.studies.cost_numbers import number, whole

if TYPE_CHECKING:
    from genbench.hardware import Catalogue
    from genbench.studies.size import Machine
    from genbench.studies.size_read import Need

ALONE = {
    "users": "requests in flight at once",
    "rate": "requests per second",
    "concurrency": "requests in flight that one instance takes",
    "capacity": "requests per second that one instance takes",
    "mem": "GB of one instance at its load",
    "params": "parameters, in billions, where --mem is not known",
    "dtype": "of the weights [bf16]",
}
EXAMPLES = """\
Examples:
  genbench size --users 200 --concurrency 16 --params 8 --gpu L4
  genbench size --need 5B:users=64,concurrency=4,mem=12.41 --need 20B:users=128,concurrency=16,mem=44.76 --gpu H100-80
  genbench size --rate 40 --from-sweep artifacts/my-sweep --slo "ttft.p95<500ms" --mem 17 --instance g6.12xlarge
"""


class SizeCommand(click.Command):
    """Adds the examples."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Three lines that work when pasted."""
        formatter.write("\n" + EXAMPLES)


def run(
    needs: tuple[str, ...],
    sweeps: tuple[str, ...],
    slo: tuple[str, ...],
    headroom: str,
    rule: str,
    overhead: str,
    as_json: bool,
    **values: Any,
) -> int:
    """Say how many instances, GPUs and servers a load needs, what they cost a month, and what binds.

    The load of one model is --users or --rate with what one instance takes, said or measured; --need says the same of
    several. Instances are whole: they are packed onto GPUs by their memory, the largest first.
    """
    import orjson

    from genbench import hardware
    from genbench.studies import size, size_read, size_words

    catalogue = hardware.read(values["hardware"])
    alone = {name: values[name] for name in ALONE if values[name] is not None}
    if alone and needs:
        raise ConfigError(f"--{next(iter(alone))} and --need both say a load; put it into the --need")
    found = [size_read.parse(text) for text in needs] or [size_read.of("model", alone, "--")]
    names = [one.name for one in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f"--need {twice} is given twice; give each model a name of its own")
    if slo and not sweeps:
        raise ConfigError(f"--slo {slo[0]} is held against a sweep; give it with --from-sweep DIR")
    for text in sweeps:
        found = _measured(found, text, slo)
    found = [replace(one, hardware=catalogue.named(one.hardware)) for one in found]
    machine = _machine(catalogue, found, values, _share("--headroom", headroom))
    document = size.size(
        found, machine, rule=rule, overhead_gb=number("--overhead", overhead, "overhead", least=0), command=_command()
    )
    with screen._readable():
        if as_json:
            sys.stdout.write(
                orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE).decode()
            )  # fmt: skip
        else:
            sys.stdout.write(size_words.screen(document))
        sys.stdout.flush()
    return 0


def _measured(needs: "list[Need]", text: str, rules: tuple[str, ...]) -> "list[Need]":
    """The needs, one of them with what a sweep or a capacity search measured."""
    from genbench.studies import size_read

    name, equals, rest = text.partition("=")
    named = bool(equals and "/" not in name and not Path(text).exists())
    if not named and len(needs) > 1:
        raise ConfigError(f"--from-sweep {text}: of which model? write it like {needs[0].name}={text}")
    if named and name not in {one.name for one in needs}:
        raise ConfigError(
            f"--from-sweep {text}: there is no --need {name}; use {' or '.join(one.name for one in needs)}"
        )
    folder = Path(rest if named else text)
    return [size_read.measured(one, folder, rules) if one.name == name or not named else one for one in needs]


def _machine(catalogue: "Catalogue", needs: "list[Need]", values: dict[str, Any], headroom: float) -> "Machine":
    """What to put it on: by the options, else what was measured on. Raises ConfigError."""
    from genbench.studies.size import PER_SERVER, Machine

    said = any(values[name] is not None for name in ("gpu", "gpu_memory", "instance"))
    known = {} if said else next((one.hardware for one in needs if one.hardware), {})
    asked = values["instance"]
    instance = catalogue.instance(asked) if asked else catalogue.instances.get(str(known.get("instance")))
    kind = values["gpu"] or (instance.gpu if instance else known.get("gpu"))
    gpu = catalogue.gpu(kind) if kind and said else catalogue.gpus.get(str(kind))
    given = values["gpu_memory"]
    memory = (
        number("--gpu-memory", given, "gpu-memory")
        if given is not None
        else gpu.memory_gb
        if gpu
        else known.get("gpu_memory_gb")
    )
    if memory is None:
        raise ConfigError("size needs a GPU; give --gpu (like L4 or H100-80), --gpu-memory (GB) or --instance")
    price, source = known.get("price_per_hour"), "as the run says"
    if price is None and instance is not None and instance.price_per_hour is not None:
        price = instance.price_per_hour
        source = f"list price of {instance.name}, {instance.source}, {instance.date}"
    if values["price"] is not None:
        price, source = number("--price", values["price"], "price"), "--price"
    each = values["gpus_per_server"]
    return Machine(
        gpu=gpu.name if gpu else str(kind or f"{memory:g} GB"),
        gpu_gb=memory,
        headroom=headroom,
        bandwidth_gbs=gpu.bandwidth_gbs if gpu else None,
        per_server=whole("--gpus-per-server", each) if each is not None else instance.gpus if instance else PER_SERVER,
        assumed=each is None and instance is None,
        price_per_hour=price,
        price_from=source,
        hours=number("--hours", values["hours"], "hours"),
    )


def _share(flag: str, text: str) -> float:
    """A share of a GPU's memory; it may be 0. Raises ConfigError."""
    from genbench.metrics import slo

    return 0.0 if text.strip() in ("0", "0%") else slo.percent(flag, text) / 100


def _command() -> str:
    """The command line as it was given."""
    return shlex.join(["genbench", *sys.argv[1:]]) if sys.argv[1:2] == ["size"] else "genbench size"


command = SizeCommand(
    "size",
    callback=run,
    params=[
        *(click.Option([f"--{name}"], metavar="X", help=text) for name, text in ALONE.items()),
        click.Option(
            ["needs", "--need"],
            multiple=True,
            metavar="NAME:K=V,...",
            help="one of several models: the same keys, and gpus, share, layers, kv-heads, head-dim, tokens, tpot, ...",
        ),
        click.Option(
            ["sweeps", "--from-sweep"],
            multiple=True,
            metavar="[NAME=]DIR",
            help="what one instance takes within its promises: folder of a sweep or of a capacity search",
        ),
        click.Option(["--slo"], multiple=True, metavar="RULE|NAME", help="promises to hold a sweep against [its own]"),
        click.Option(["--gpu"], metavar="NAME", help="kind of GPU, like L4 or H100-80 (docs/size.md)"),
        click.Option(["--gpu-memory", "--gpu-mem"], metavar="GB", help="memory of a GPU [by its name]"),
        click.Option(["--instance"], metavar="NAME", help="server to buy or rent, like g6.12xlarge: GPU, GPUs, price"),
        click.Option(["--gpus-per-server"], metavar="N", help="[the instance's; 8]"),
        click.Option(["--headroom"], default="0", metavar="P%", help="share of a GPU's memory to leave free [0]"),
        click.Option(["--price"], metavar="X", help="dollars per hour of a server [the instance's list price]"),
        click.Option(["--hours"], default="730", metavar="X", help="hours in a month [730]"),
        click.Option(
            ["--rule"],
            default="engine",
            type=click.Choice(["engine", "dell"]),
            help="memory from parameters: weights + 2 GB and the cache, or Dell's 2.1 GB per billion [engine]",
        ),
        click.Option(
            ["--overhead"], default="2", metavar="GB", help="what an engine takes beside weights and cache [2]"
        ),
        click.Option(["--hardware"], metavar="FILE", help="GPUs and instances of yours, like profiles/hardware.yaml"),
        click.Option(["as_json", "--json"], is_flag=True, help="print the answer as JSON and nothing else"),
    ],
    help=run.__doc__,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
