"""`vitrine reprocess`: a catalogue's pictures through its models, or others, again."""

from __future__ import annotations

from typing import Literal

import click

from cli.commands.promote import run_job
from cli.output import json_option, wait_option
from shared.contracts.indexes import ReprocessRequest, ReprocessScope


@click.command(
    epilog="Example: vitrine reprocess shop --embedder embedder-resnet50-256 --promote auto\n\n"
    "What happens, and when it is safe: docs/reprocessing.md."
)
@click.argument("catalogue")
@click.option("--detector", metavar="NAME", help="Registry name or path of weights; default: the live one's.")
@click.option("--embedder", metavar="NAME", help="Registry name or path of weights; default: the live one's.")
@click.option(
    "--scope",
    type=click.Choice(["all", "stale", "failed"]),
    default="all",
    show_default=True,
    help="stale: what these models did not make; failed: what the index lacks. New models need all.",
)
@click.option("--filter", "filter_", metavar="EXPR", help="Only these products; with the live models only.")
@click.option(
    "--promote",
    type=click.Choice(["auto", "manual"]),
    default="manual",
    show_default=True,
    help="auto: a new index goes live if the quality gate lets it through.",
)
@click.option("--repair/--no-repair", default=True, help="Mend what differs at the end (the default).")
@wait_option(True)
@json_option
def reprocess(
    catalogue: str,
    detector: str | None,
    embedder: str | None,
    scope: ReprocessScope,
    filter_: str | None,
    promote: Literal["auto", "manual"],
    repair: bool,
    wait: bool,
    as_json: bool,
) -> int:
    """Put the pictures of CATALOGUE through its models again, in place; or, with another --detector or
    --embedder, into a new index beside the live one, which searches use until it is promoted."""
    wanted = ReprocessRequest(
        detector=detector, embedder=embedder, scope=scope, filter=filter_, promote=promote, repair=repair
    )
    return run_job(lambda client: client.reprocess(catalogue, wanted), as_json, wait)
