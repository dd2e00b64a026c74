"""`genbench simulate`: the embedded engine alone. Its flags follow from `SimulatorOptions`."""

import argparse
import sys
from dataclasses import MISSING, fields
from typing import get_type_hints

from genbench.errors import GenbenchError
from genbench.options import seconds
from genbench.simulator import costs
from genbench.simulator.faults import KINDS
from genbench.simulator.options import SimulatorOptions, flag, kind_of
from genbench.simulator.server import serve


def parser() -> argparse.ArgumentParser:
    """The flags; an option that is not given is not in the result, so the defaults stay in the dataclass."""
    presets = [f"  {name.ljust(22)}{costs.first_line(name)}" for name in costs.names()]
    lines = [
        f"  {name}{f'[:{kind.argument}]' if kind.argument else ''}".ljust(24) + kind.says
        for name, kind in KINDS.items()
    ]
    found = argparse.ArgumentParser(
        prog="genbench simulate",
        description="OpenAI-compatible server whose timing is known, by a script or a model of continuous batching.",
        epilog="\n".join(("presets:", *presets, "", "faults:", *lines)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    hints = get_type_hints(SimulatorOptions, include_extras=True)
    for one in fields(SimulatorOptions):
        opt, kind = hints[one.name].__metadata__[0], kind_of(one.name)
        shown = opt.default or (one.default if one.default is not MISSING else "")
        if opt.unit == "s" and isinstance(one.default, float):
            shown = f"{1000 * one.default:g} ms"
        text = f"{opt.help} [{shown}]".replace("%", "%%")
        if kind is bool and one.default is None:
            found.add_argument(flag(one.name), dest=one.name, action=argparse.BooleanOptionalAction, help=text)
        elif opt.negative:
            found.add_argument(opt.negative, dest=one.name, action="store_false", help=f"do not {opt.help}")
        elif kind == tuple[str, ...]:
            found.add_argument(flag(one.name), dest=one.name, action="append", metavar=opt.metavar, help=text)
        else:
            convert = seconds if opt.unit == "s" else kind if kind in (int, float) else str
            found.add_argument(
                flag(one.name),
                dest=one.name,
                type=convert,
                choices=opt.choices or None,
                metavar=opt.metavar or ("TIME" if opt.unit == "s" else None),
                help=text,
            )
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run with these arguments (None: the program's own); returns the exit code."""
    try:
        given = vars(parser().parse_args(arguments))
        if "fault" in given:
            given["fault"] = tuple(given["fault"])
        serve(SimulatorOptions(**given))
    except GenbenchError as error:
        sys.stderr.write(f"genbench simulate: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
