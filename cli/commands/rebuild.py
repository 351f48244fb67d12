"""`vitrine rebuild`: the index from the database, when Milvus was wiped or replaced."""

from __future__ import annotations

import click

from cli.commands.promote import run_job
from cli.output import json_option


@click.command(epilog="Example: vitrine rebuild shop")
@click.argument("catalogue")
@click.option("--index", type=click.IntRange(min=1), help="Another one than the live index.")
@json_option
def rebuild(catalogue: str, index: int | None, as_json: bool) -> int:
    """Write the index of CATALOGUE anew from its stored embeddings: no photo is embedded again."""
    return run_job(lambda client: client.rebuild(catalogue, index), as_json)
