"""`vitrine reprocess`: detect and embed a catalogue's pictures again, with the same or other models."""

from __future__ import annotations

from typing import Literal

import click

from cli.commands.promote import run_job
from cli.output import json_option, wait_option
from shared.contracts.indexes import ReprocessRequest, ReprocessScope


@click.command(
    epilog="Example: vitrine reprocess shop --embedder embedder-resnet50-256 --promote auto\n\n"
    "Steps and safety: docs/reprocessing.md."
)
@click.argument("catalogue")
@click.option("--detector", metavar="NAME", help="Registry name or path of weights; default: the live one's.")
@click.option("--embedder", metavar="NAME", help="Registry name or path of weights; default: the live one's.")
@click.option(
    "--scope",
    type=click.Choice(["all", "stale", "failed"]),
    default="all",
    show_default=True,
    help="stale: embedded by other models; failed: not in the index. New models need all.",
)
@click.option(
    "--filter", "filter_", metavar="EXPR", help="Only products that match; with the live models only."
)
@click.option(
    "--promote",
    type=click.Choice(["auto", "manual"]),
    default="manual",
    show_default=True,
    help="auto: a new index goes live if it passes the quality gate.",
)
@click.option("--repair/--no-repair", default=True, help="Repair differences at the end (the default).")
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
    """Detect and embed the pictures of CATALOGUE again.

    With the live models, the index is updated in place. Another --detector or --embedder fills a new index;
    searches use the live one until the new one is promoted.
    """
    request = ReprocessRequest(
        detector=detector, embedder=embedder, scope=scope, filter=filter_, promote=promote, repair=repair
    )
    return run_job(lambda client: client.reprocess(catalogue, request), as_json, wait)
