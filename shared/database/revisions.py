"""Compare the schema revision of the database with those that this program knows."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from sqlalchemy import inspect, text

from shared.database import Database
from shared.errors import Misconfigured

_VERSIONS = Path(__file__).parent / "migrations" / "versions"
_TABLE = "alembic_version"


@cache
def known_revisions() -> tuple[str, ...]:
    """Return the revisions that this program knows, oldest first, from the file names."""
    return tuple(sorted(file.name.partition("_")[0] for file in _VERSIONS.glob("[0-9]*.py")))


def current_revision(database: Database) -> str | None:
    """Return the database's revision, None without a schema.

    Raises:
        DatabaseUnavailable: it cannot be reached.
    """
    with database.read() as session:
        if not inspect(session.connection()).has_table(_TABLE):
            return None
        found: str | None = session.scalar(text("SELECT version_num FROM alembic_version"))
        return found


def require_schema(database: Database) -> None:
    """Require the schema revision of this program; every process calls this once at its start.

    Raises:
        Misconfigured: the schema is newer than this program knows, or older than it requires.
        DatabaseUnavailable: the database cannot be reached.
    """
    require_not_newer(database)
    found, needed = current_revision(database), known_revisions()[-1]
    if found != needed:
        has = "no schema yet" if found is None else f"schema revision {found}"
        raise Misconfigured(
            f"The database has {has}, and this version of Vitrine needs revision {needed}: "
            "run `vitrine migrate`, then start again."
        )


def require_not_newer(database: Database) -> None:
    """Raise Misconfigured if a newer version of Vitrine has migrated the database."""
    found, known = current_revision(database), known_revisions()
    if found is not None and found not in known:
        raise Misconfigured(
            f"The database has schema revision {found}, and this version of Vitrine knows revisions up to "
            f"{known[-1]}: start the newer version that ran `vitrine migrate`, or restore a backup made "
            "with this one."
        )
