"""Empty databases of the newest schema, copied from a template that was migrated once.

Running all migrations takes 0.08 s of processor time on SQLite, and a third of a test's set-up.
"""

from __future__ import annotations

import functools
import secrets
import tempfile
from pathlib import Path

from sqlalchemy import create_engine, make_url, text

from shared.database import Database
from shared.database.migrate import migrate


def open_migrated(url: str) -> Database:
    """Open a database; an SQLite file that does not exist yet is a copy of the template."""
    file = make_url(url).database
    is_new_file = make_url(url).get_backend_name() == "sqlite" and file and not Path(file).exists()
    if is_new_file:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_bytes(_sqlite_template())
    database = Database(url)
    if not is_new_file:
        migrate(database)
    return database


@functools.cache
def _sqlite_template() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "template.sqlite3"
        migrate(database := Database(f"sqlite:///{file}"))
        # The last connection moves what is in the write-ahead log into the file.
        database.close()
        assert [path.name for path in Path(folder).iterdir()] == [file.name]
        return file.read_bytes()


def new_postgres_database(server_url: str) -> str:
    """Make an empty, migrated database in a running PostgreSQL; return its URL."""
    return _create(server_url, _postgres_template(server_url))


@functools.cache
def _postgres_template(server_url: str) -> str:
    url = _create(server_url, "template1")
    migrate(database := Database(url))
    # A database with a connection is no template.
    database.close()
    return url.rpartition("/")[2]


def _create(server_url: str, template: str) -> str:
    name = f"t{secrets.token_hex(6)}"
    engine = create_engine(f"{server_url}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    engine.dispose()
    return f"{server_url}/{name}"
