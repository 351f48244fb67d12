"""Fixtures: real servers, started once a session and only when a test asks for them."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.services.milvus import EmbeddedMilvus, choose_embedded
from shared.database import Database
from shared.database.migrate import migrate
from tests.browser import Browser
from tests.servers import PATIENCE_S, RedisServer, free_port, start_postgres
from tests.services_milvus import drop_all
from tests.stack import Stack

# No test may inherit a developer's settings.
for _name in [name for name in os.environ if name.startswith("VITRINE_")]:
    del os.environ[_name]


# Fixtures that start a server, and names of it among a test's parameters: no test must forget its marker.
_SERVERS = {"milvus", "milvus_lite", "milvus_server", "each_milvus", "redis_server", "postgres", "stack"}
_SERVER_PARAMETERS = {"milvus", "milvus_lite", "milvus_server", "lite", "server", "postgresql"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs servers or a browser, and begin with what is long."""
    for item in items:
        names = set(getattr(item, "fixturenames", ()))
        parameters = getattr(item, "callspec", None)
        values = (
            {each for each in parameters.params.values() if isinstance(each, str)} if parameters else set()
        )
        if names & _SERVERS or values & _SERVER_PARAMETERS:
            item.add_marker("services")
        if "chromium" in names:
            item.add_marker("browser")
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def session_folder() -> Iterator[Path]:
    """A folder whose path is short (sockets) and open to PostgreSQL's account."""
    folder = Path(tempfile.mkdtemp(prefix="vitrine-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def milvus(session_folder: Path) -> Iterator[EmbeddedMilvus]:
    """The embedded Milvus that `vitrine up` would start on this machine."""
    server = choose_embedded("auto", session_folder / "milvus", free_port())
    server.start()
    server.wait_ready(PATIENCE_S)
    yield server
    server.stop()


@pytest.fixture
def prefix(request: pytest.FixtureRequest) -> Iterator[str]:
    """A name of this test's own for what it keeps in a shared Milvus; that is dropped after it."""
    own = f"t{secrets.token_hex(6)}"
    shared = [
        request.getfixturevalue(name).uri
        for name in ("milvus", "each_milvus")
        if name in request.fixturenames
    ]
    yield own
    for uri in shared:
        drop_all(uri, own)


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="session")
def postgres(session_folder: Path) -> Iterator[str]:
    """URL of a running PostgreSQL, without a database name."""
    url, stop = start_postgres(session_folder / "postgres")
    yield url
    stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """An empty, migrated database of each kind."""
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/vitrine.sqlite3"
    else:
        url = new_postgres_database(request.getfixturevalue("postgres"))
    opened = Database(url)
    migrate(opened)
    yield opened
    opened.close()


def new_postgres_database(server_url: str) -> str:
    """Make an empty database in a running PostgreSQL; return its URL."""
    from sqlalchemy import create_engine, text

    name = f"t{secrets.token_hex(6)}"
    engine = create_engine(f"{server_url}/postgres", isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return f"{server_url}/{name}"


@pytest.fixture
def stack(tmp_path: Path, milvus: EmbeddedMilvus, prefix: str) -> Iterator[Stack]:
    """All processes, not started yet: a test starts what it needs."""
    running = Stack(tmp_path, milvus.uri, prefix)
    yield running
    running.stop()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A real browser; a test opens windows in it, each with a profile of its own."""
    with Browser() as running:
        yield running
