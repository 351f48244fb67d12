"""The database's small class: what a look sees and does not hold up, and JSON that is written already."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import insert, select

from shared.catalogue.store import CatalogueStore
from shared.database import Database, WrittenJson
from shared.database.tables import Catalogue, Ranking
from shared.errors import DatabaseUnavailable
from tests.servers import free_port

_NAMES = select(Catalogue.name)


def test_a_look_sees_what_is_committed_by_then(database: Database) -> None:
    catalogues = CatalogueStore(database)
    with database.read_connection() as connection, database.read() as session:
        assert not connection.scalars(_NAMES).all()
        assert not session.scalars(_NAMES).all()
        # It holds no snapshot, and no lock that a writer would wait for.
        catalogues.create("demo")
        assert connection.scalars(_NAMES).all() == ["demo"]
        if database.is_sqlite:
            assert not session.scalars(_NAMES).all()


def test_a_connection_that_looked_begins_transactions_again(database: Database) -> None:
    with database.read_connection() as connection:
        connection.execute(_NAMES)
    with suppress(RuntimeError), database.write() as session:
        session.add(Catalogue(name="demo", currency="EUR", created_at=1.0))
        session.flush()
        raise RuntimeError
    with database.read_connection() as connection:
        assert not connection.scalars(_NAMES).all()


def test_a_look_says_in_our_words_that_the_database_is_away() -> None:
    away = Database(f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/none")
    with pytest.raises(DatabaseUnavailable, match="did not answer"), away.read_connection():
        pass


def test_json_that_is_written_already_is_kept_as_it_is(database: Database) -> None:
    CatalogueStore(database).create("demo")
    with database.write() as session:
        row = {"catalogue_id": 1, "boosts": WrittenJson('[{"filter": "ü", "factor": 1.5}]')}
        session.connection().execute(insert(Ranking), [row])
    with database.read() as session:
        assert session.scalar(select(Ranking.boosts)) == [{"filter": "ü", "factor": 1.5}]


def test_a_damaged_file_is_a_database_that_does_not_answer(tmp_path: Path) -> None:
    """SQLite reports it under no class of its own; it was an internal error, and ended the sweeper."""
    file = tmp_path / "vitrine.sqlite3"
    file.write_bytes(b"no database at all, but long enough to be one" * 100)
    database = Database(f"sqlite:///{file}")
    with pytest.raises(DatabaseUnavailable, match="not a database"):
        database.check()
    database.close()
