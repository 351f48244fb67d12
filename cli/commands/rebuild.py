"""`vitrine rebuild`: rebuild an index from the database after Milvus was wiped or replaced."""

from __future__ import annotations

import click

from cli.commands.promote import run_job
from cli.output import json_option


@click.command(epilog="Example: vitrine rebuild shop")
@click.argument("catalogue")
@click.option(
    "--index", type=click.IntRange(min=1), help="Number of the index version. [default: the live one]"
)
@json_option
def rebuild(catalogue: str, index: int | None, as_json: bool) -> int:
    """Rebuild the index of CATALOGUE from its stored embeddings, without inference."""
    return run_job(lambda client: client.rebuild(catalogue, index), as_json)
