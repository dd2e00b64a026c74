"""Flags made from the config's fields: everything stays unset here, values are checked in `genbench.config`.

The first help page shows the fields marked `front`, --help-all all of them. Other tools' spellings (`habits`) are
understood and never shown.
"""

from typing import Any

import click

from genbench.config import OTHERS_NAMES, Field, options
from genbench.errors import ConfigError

UNSET = None
SECTIONS = {
    "target": "Server",
    "workload": "What is sent",
    "load": "How hard and how long",
    "limits": "Limits",
    "output": "Output",
    "about": "What the run is of",
    "telemetry": "The server's side",
    "": "Judging and repeating",
}


class FieldOption(click.Option):
    """A flag that belongs to a config field."""

    def __init__(self, field: Field) -> None:
        self.field = field
        opt = field.opt
        names = [*opt.aliases, field.flag, *opt.habits]
        if field.kind is bool:
            super().__init__([field.name, *names], is_flag=True, flag_value="true", default=UNSET, type=str)
        else:
            alone: dict[str, Any] = {"is_flag": False, "flag_value": opt.bare} if opt.bare else {}
            super().__init__([field.name, *names], multiple=field.multiple, default=UNSET, type=str, **alone)


class Negative(click.Option):
    """The flag that sets a bool field to false."""

    def __init__(self, field: Field) -> None:
        super().__init__(
            [f"no_{field.name}", field.opt.negative], is_flag=True, flag_value="true", default=UNSET, type=str
        )


def make() -> list[click.Parameter]:
    """All flags of `profile`."""
    found: list[click.Parameter] = [
        click.Option(["config", "-f", "--config"], multiple=True, metavar="NAME|FILE", help="options from a profile")
    ]
    for field in options():
        found.append(FieldOption(field))
        if field.opt.negative:
            found.append(Negative(field))
    found += [
        click.Option([flag], hidden=True, expose_value=False, callback=_refuse(sentence), type=str)
        for flag, sentence in OTHERS_NAMES.items()
    ]
    found.append(click.Option(["--help-all"], is_flag=True, is_eager=True, expose_value=False, callback=_help_all))
    return found


def named(values: dict[str, Any]) -> dict[str, Any]:
    """What the user gave, by field name: text, a bool, or a tuple of text."""
    found: dict[str, Any] = {}
    for field in options():
        value = values.get(field.name)
        if field.multiple:
            if value:
                found[field.name] = tuple(value)
        elif field.kind is bool:
            off = values.get(f"no_{field.name}") is not None
            if value is not None and off:
                raise ConfigError(f"{field.flag} and {field.opt.negative} contradict each other; give one of them")
            if value is not None or off:
                found[field.name] = not off
        elif value is not None:
            found[field.name] = value
    return found


def _refuse(sentence: str) -> Any:
    def callback(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
        if value is not None:
            raise ConfigError(sentence)

    return callback


def _help_all(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        ctx.meta["help_all"] = True
        click.echo(ctx.get_help())
        ctx.exit()


class Profile(click.Command):
    """A command whose help has two pages: its own `FIRST`, then options of a run, those of the sections it `SHOWN`s.

    `HIDDEN` are options of a run, by field name, that it has not.
    """

    FIRST: tuple[tuple[str, str], ...] = ()
    SHOWN: tuple[str, ...] = tuple(SECTIONS)
    HIDDEN: frozenset[str] = frozenset()

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The first page, or everything by section."""
        everything = ctx.meta.get("help_all", False)
        if self.FIRST:
            with formatter.section("This command"):
                formatter.write_dl(self.FIRST, col_max=34)
        for section, title in SECTIONS.items():
            if section not in self.SHOWN:
                continue
            fields = [field for field in options() if field.section == section and field.name not in self.HIDDEN]
            rows = [row(field) for field in fields if everything or field.opt.front]
            if section == "":
                rows.insert(
                    0,
                    (
                        "-f, --config NAME|FILE",
                        "options from a profile (genbench list profiles) or a YAML file; repeatable",
                    ),
                )
                rows += [("--help-all", "show all options"), ("-h, --help", "show the most used options")]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows, col_max=34)


def row(field: Field) -> tuple[str, str]:
    """One line of help: flags and meaning with the default."""
    opt = field.opt
    names = ", ".join([*opt.aliases, field.flag])
    if field.kind is bool and opt.negative:
        names += f" / {opt.negative}"
    if field.kind is not bool:
        names += f" {opt.metavar or _metavar(field)}"
    return names, opt.help + default_text(field)


def default_text(field: Field) -> str:
    """' [default: ...]', or nothing where off or empty is the default."""
    if field.opt.default:
        return f" [{field.opt.default}]"
    if field.default is None or field.default is False or field.default == ():
        return ""
    value = field.default
    text = "on" if value is True else f"{value:g}" if isinstance(value, float) else str(value)
    return f" [{text}{' ' + field.opt.unit if field.opt.unit == 's' else ''}]"


def _metavar(field: Field) -> str:
    if field.opt.unit == "s":
        return "TIME"
    return {int: "N", float: "X"}.get(field.kind, "TEXT")
