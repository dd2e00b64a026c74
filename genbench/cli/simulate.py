"""`genbench simulate`: the embedded engine by itself; its flags follow from `SimulatorOptions`."""

import click


@click.command(add_help_option=False, context_settings={"ignore_unknown_options": True})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def command(arguments: tuple[str, ...]) -> int:
    """Serve an OpenAI-compatible engine whose timing is known, until standard input ends."""
    from genbench.simulator.__main__ import main

    return main(list(arguments))
