"""`vitrine migrate`: migrate the database to the schema of this version."""

from __future__ import annotations

import click

from cli.output import json_option, print_json, stderr_console
from shared.database.migrate import migrate as run_migrations
from shared.database.revisions import current_revision
from shared.factories import open_database
from shared.settings import get_settings


@click.command(epilog="Example: vitrine migrate")
@json_option
def migrate(as_json: bool) -> None:
    """Migrate the database to the schema of this version. Make a backup first.

    The command can be repeated, and run on several hosts concurrently. `vitrine up` migrates automatically.
    """
    database = open_database(get_settings())
    try:
        before = current_revision(database)
        run_migrations(database)
        after = current_revision(database)
    finally:
        database.close()
    if as_json:
        print_json({"before": before, "after": after})
    elif before == after:
        stderr_console().print(f"The database is at schema revision {after} already.")
    else:
        stderr_console().print(f"The database is at schema revision {after}; it was at {before or 'none'}.")
