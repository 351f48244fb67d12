"""Migrate the schema to the newest version: ``python -m shared.database.migrate``."""

from __future__ import annotations

from pathlib import Path

from alembic import command, util
from alembic.config import Config
from sqlalchemy import text

from shared.database import Database
from shared.database.revisions import current_revision, known_revisions, require_not_newer
from shared.database.statistics import analyze
from shared.errors import Misconfigured, VitrineError

# An arbitrary number that all migrating processes share.
_ADVISORY_LOCK = 7_242_031


def migrate(database: Database) -> None:
    """Run the pending migrations in one transaction; safe for processes that start concurrently.

    Raises:
        DatabaseUnavailable: the database cannot be reached.
        Misconfigured: the schema is newer than this program.
    """
    require_not_newer(database)
    is_current = current_revision(database) == known_revisions()[-1]
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with database.write() as session:
        connection = session.connection()
        if not database.is_sqlite:
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        config.attributes["connection"] = connection
        try:
            command.upgrade(config, "head")
        except util.CommandError as error:
            raise Misconfigured(
                f"The database belongs to another version of Vitrine ({error}). "
                "Install that version, or restore a backup made with this one."
            ) from error
        if not is_current:
            # New indexes are used once there are statistics of them.
            analyze(connection)


def main() -> None:
    from shared.settings import get_settings
    from shared.storage.private_files import secure_data_folder

    settings = get_settings()
    secure_data_folder(settings.data_dir)
    database = Database(settings.database_url)
    try:
        migrate(database)
    except VitrineError as error:
        raise SystemExit(error.message) from error
    finally:
        database.close()


if __name__ == "__main__":
    main()
