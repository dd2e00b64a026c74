"""`genbench list`: what there is to choose from."""

import click

from genbench import config, registry

KINDS = ("endpoints", "datasets", "arrivals")


@click.command()
@click.argument("what", type=click.Choice(["profiles", *KINDS]))
def command(what: str) -> None:
    """Show the shipped profiles, endpoint kinds, data sets or arrival processes, each with a line on what it is."""
    if what == "profiles":
        rows = [(name, config.profile_text(name).splitlines()[0].lstrip("# ")) for name in config.profile_names()]
    else:
        rows = [(name.replace("_", "-"), registry.first_line(what, name)) for name in registry.names(what)]
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        click.echo(f"{name:<{width}}  {text}")
