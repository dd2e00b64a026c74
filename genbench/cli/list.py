"""`genbench list`: what there is to choose from."""

import click

from genbench import config, registry


@click.command()
@click.argument("what", type=click.Choice(["profiles", "endpoints"]))
def command(what: str) -> None:
    """Show the shipped profiles, or the endpoint kinds, each with a line on what it is."""
    if what == "profiles":
        rows = [(name, config.profile_text(name).splitlines()[0].lstrip("# ")) for name in config.profile_names()]
    else:
        rows = [(name, registry.first_line("endpoints", name)) for name in registry.names("endpoints")]
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        click.echo(f"{name:<{width}}  {text}")
