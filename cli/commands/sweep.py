"""`vitrine sweep`: count or delete unreferenced pictures."""

from __future__ import annotations

import click

from cli.output import json_option, print_json, reporter_for, stderr_console
from shared.factories import open_image_store, open_migrated_database, open_picture_sweeper
from shared.settings import get_settings
from shared.storage.image_store import SHARDS


@click.command(epilog="Example: vitrine sweep --dry-run")
@click.option("--dry-run", is_flag=True, help="Count unreferenced pictures without deleting them.")
@json_option
def sweep(dry_run: bool, as_json: bool) -> None:
    """Delete stored pictures that no product refers to.

    The maintenance process does this continuously in small steps; this command checks all pictures now. Only
    pictures older than VITRINE_SWEEP__PICTURES_AFTER_S are deleted. It reads the database and the image store
    of the settings, so run it on a host of the workers; imports may run concurrently.
    """
    settings = get_settings()
    database, store = open_migrated_database(settings), open_image_store(settings)
    pictures = open_picture_sweeper(settings, database, store)
    found = 0
    with reporter_for(stderr_console()) as reporter:
        for done, shard in enumerate(SHARDS, 1):
            found += sum(map(len, pictures.unreferenced([shard]))) if dry_run else pictures.sweep([shard])
            reporter.step("pictures", done, len(SHARDS), "folders")
    database.close()
    if as_json:
        print_json({"unreferenced": found, "deleted": 0 if dry_run else found})
    else:
        what = "would go" if dry_run else "were deleted"
        stderr_console().print(f"{found:,} pictures that no product refers to {what}.")
