"""`vitrine boosts`: what a catalogue shows first among what is near."""

from __future__ import annotations

import click
from rich.text import Text

from cli.connection import connect
from cli.output import json_option, plain_table, print_json, stderr_console, stdout_console
from shared.contracts.search import MAX_BOOST_FACTOR, MIN_BOOST_FACTOR, Boost

FACTOR = click.FloatRange(MIN_BOOST_FACTOR, MAX_BOOST_FACTOR)


@click.command(
    epilog="""\b
Example: vitrine boosts shop --set 'tags contains "sale"' 1.2 --set 'attributes.stock = 0' 0.6
vitrine boosts shop                                # what is set
vitrine boosts shop --clear
"""
)
@click.argument("catalogue")
@click.option(
    "--set",
    "wanted",
    multiple=True,
    type=(str, FACTOR),
    metavar="FILTER FACTOR",
    help="Multiply the score of products that pass FILTER, for the order only; may be repeated.",
)
@click.option("--clear", is_flag=True, help="Take all boosts away.")
@json_option
def boosts(catalogue: str, wanted: tuple[tuple[str, float], ...], clear: bool, as_json: bool) -> None:
    """Show or set what CATALOGUE shows first among what is near. A search may say otherwise."""
    if wanted and clear:
        raise click.UsageError("--set replaces what was set: --clear goes alone.")
    with connect() as client:
        if wanted or clear:
            made = [Boost(filter=filter_, factor=factor) for filter_, factor in wanted]
            found = client.set_boosts(catalogue, made)
        else:
            found = client.boosts(catalogue)
    if as_json:
        print_json(found)
        return
    if not found.boosts:
        stderr_console().print(f"{catalogue} has no boosts.")
        return
    table = plain_table("factor", "products")
    for boost in found.boosts:
        table.add_row(f"{boost.factor:g}", Text(boost.filter))
    stdout_console().print(table)
