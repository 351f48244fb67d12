"""Fixtures: real servers, started once a session and only when a test asks for them."""

from __future__ import annotations

import fcntl
import gc
import logging
import os
import re
import secrets
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from flask import Flask
from jinja2.bccache import Bucket, BytecodeCache

from cli.services import milvus_binary
from cli.services.milvus import EmbeddedMilvus, choose_embedded
from shared.database import Database
from tests.browser import Browser
from tests.databases import new_postgres_database, open_migrated
from tests.servers import PATIENCE_S, RedisServer, free_port, start_postgres
from tests.services_milvus import drop_all
from tests.stack import Stack

# No test may inherit a developer's settings.
for _name in [name for name in os.environ if name.startswith("VITRINE_")]:
    del os.environ[_name]


# Fixtures that start a server, and names of it among a test's parameters: no test must forget its marker.
_SERVERS = {
    "milvus",
    "milvus_lite",
    "milvus_server",
    "each_milvus",
    "redis_server",
    "postgres",
    "stack",
    "s3_endpoint",
}
_SERVER_PARAMETERS = {"milvus", "milvus_lite", "milvus_server", "lite", "server", "postgresql", "s3"}


#: Markers of what ``make test-quick`` leaves out.
_NOT_QUICK = {"services", "browser", "faults", "long", "slow"}
#: A file that marks all of its tests so.
_ALL_SLOW = re.compile(rf"^pytestmark = \[?pytest\.mark\.(?:{'|'.join(sorted(_NOT_QUICK))})\b", re.MULTILINE)


class _Bytecode(BytecodeCache):
    """Compiled templates of this process: each test makes an application, which would compile them again."""

    def __init__(self) -> None:
        self._known: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._known:
            bucket.bytecode_from_string(self._known[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._known[bucket.key] = bucket.bytecode_to_string()


Flask.jinja_options = {**Flask.jinja_options, "bytecode_cache": _Bytecode()}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave files that have no quick test unread in a quick run: some import torch, and each costs time."""
    chosen = re.findall(r"\w+", config.option.markexpr)
    if collection_path.suffix != ".py" or set(chosen) != _NOT_QUICK | {"not", "or"} or chosen[0] != "not":
        return None
    return True if _ALL_SLOW.search(collection_path.read_text(encoding="utf-8")) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs servers or a browser, begin with what takes longest, keep an order asked for."""
    ranks: dict[Path, int] = {}
    for item in items:
        _mark(item)
        names = {marker.name for marker in item.iter_markers()}
        if names & _NOT_QUICK:
            # Processes and connections that a test kills leave files open; these are shown, and no error.
            item.add_marker(pytest.mark.filterwarnings("default::ResourceWarning"))
        rank = 0 if "long" in names else 1 if names & {"services", "browser", "faults"} else 2
        ranks[item.path] = min(rank, ranks.get(item.path, rank))
    # By file, whose tests share fixtures. pytest-randomly has shuffled the files and what is in them.
    items.sort(key=lambda item: ranks[item.path])
    for path in {item.path for item in items if item.get_closest_marker("in_order")}:
        positions = [position for position, item in enumerate(items) if item.path == path]
        written = sorted((items[position] for position in positions), key=_line)
        for position, item in zip(positions, written, strict=True):
            items[position] = item


def _mark(item: pytest.Item) -> None:
    names = set(getattr(item, "fixturenames", ()))
    called = getattr(item, "callspec", None)
    values = [value for value in called.params.values() if isinstance(value, str)] if called else []
    if names & _SERVERS or _SERVER_PARAMETERS.intersection(values):
        item.add_marker("services")
    if "chromium" in names:
        item.add_marker("browser")


def _line(item: pytest.Item) -> int:
    return item.reportinfo()[1] or 0


@pytest.fixture(scope="module", autouse=True)
def closed_files(request: pytest.FixtureRequest) -> Iterator[None]:
    """Close what a module with killed processes left open: as garbage it would fail another module's test."""
    yield
    here = [item for item in request.session.items if item.path == request.path]
    if any(marker.name in _NOT_QUICK for item in here for marker in item.iter_markers()):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()


@pytest.fixture(autouse=True)
def unchanged_logging() -> Iterator[None]:
    """Take back what a test configured for the log: the next one may read it with ``caplog``."""
    root, configured = logging.getLogger(), structlog.get_config() if structlog.is_configured() else None
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    for handler in list(root.handlers):
        # pytest has handlers of its own for each phase of a test.
        if handler not in handlers and not type(handler).__module__.startswith("_pytest"):
            root.removeHandler(handler)
    if configured is None:
        structlog.reset_defaults()
    else:
        structlog.configure(**configured)


@pytest.fixture(scope="session")
def session_folder() -> Iterator[Path]:
    """A folder whose path is short (sockets) and open to PostgreSQL's account."""
    folder = Path(tempfile.mkdtemp(prefix="vitrine-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def milvus_programs(tmp_path_factory: pytest.TempPathFactory) -> Path | None:
    """The unpacked Milvus server, once for all of pytest's processes: it costs 5 s of processor time."""
    data = milvus_binary.wheel_data()
    if data is None:
        return None
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with (folder / "unpacking").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return milvus_binary.unpack(data, folder)


@pytest.fixture(scope="session")
def milvus(session_folder: Path, milvus_programs: Path | None) -> Iterator[EmbeddedMilvus]:
    """The embedded Milvus that `vitrine up` would start on this machine."""
    server = choose_embedded("auto", session_folder / "milvus", free_port())
    if milvus_programs is not None:
        (server.data_dir / milvus_programs.name).symlink_to(milvus_programs)
    with pytest.MonkeyPatch.context() as patch:
        # Beside other tests on two cores, etcd took 6 s for a write, the server took its own session for
        # lost and ended, and every later test of this process failed.
        patch.setattr("cli.services.milvus_config.SESSION_TTL_S", 30)
        server.start()
    server.wait_ready(PATIENCE_S)
    yield server
    # Nothing of it is kept, and an orderly end takes ten seconds.
    server.kill()


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
    opened = open_migrated(url)
    yield opened
    opened.close()


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
