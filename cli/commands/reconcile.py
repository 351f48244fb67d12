"""`vitrine reconcile`: compare a catalogue with its index, row by row."""

from __future__ import annotations

import click

from cli.commands.promote import run_job
from cli.output import json_option


@click.command(epilog="Example: vitrine reconcile shop --repair")
@click.argument("catalogue")
@click.option("--repair", is_flag=True, help="Write missing rows from the database, and delete orphans.")
@json_option
def reconcile(catalogue: str, repair: bool, as_json: bool) -> int:
    """Compare CATALOGUE with its index, and report missing rows and orphans."""
    return run_job(lambda client: client.reconcile(catalogue, repair), as_json)
