"""The SQL database: SQLite (WAL) or PostgreSQL behind one small class."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, CursorResult, Delete, Engine, Update, create_engine, event, make_url, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DatabaseError, DataError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from shared.database import clock
from shared.errors import DatabaseUnavailable, InvalidInput

_READ = "vitrine_read"
_LOOK = "vitrine_look"


class WrittenJson(str):
    """A text that is JSON already: a JSON column takes it as it is."""

    __slots__ = ()


class DamagedJson(str):
    """The text of a JSON column that is no JSON: reading its row as a contract fails, and nothing else."""

    __slots__ = ()


class Database:
    """Opens short transactions. One per process: make it after a fork or spawn, never before.

    The process's ``now_s`` tells this database's time from then on: see ``shared.database.clock``.

    Args:
        url: a SQLAlchemy URL, ``sqlite:///path`` or ``postgresql+psycopg://…``.
        pool_size: connections kept (PostgreSQL).
        busy_timeout_s: how long a writer waits for SQLite's lock.
        durable: whether a commit is on disk when it returns. Without, a power cut may undo the newest
            commits, and never damages the database: for work that is then simply done again.
    """

    def __init__(
        self, url: str, pool_size: int = 8, busy_timeout_s: float = 10.0, *, durable: bool = True
    ) -> None:
        self.is_sqlite = make_url(url).get_backend_name() == "sqlite"
        if self.is_sqlite:
            file = make_url(url).database
            if file:
                Path(file).parent.mkdir(parents=True, exist_ok=True)
            self.engine = create_engine(
                url,
                connect_args={"timeout": busy_timeout_s},
                json_serializer=_as_json,
                json_deserializer=_from_json,
            )
            event.listen(self.engine, "connect", _prepare_sqlite(durable))
            event.listen(self.engine, "begin", _begin_sqlite)
            self._looker: Engine = self.engine.execution_options(**{_LOOK: True})
            self.clock: clock.Clock = clock.HostClock()
        else:
            self.engine = create_engine(
                url,
                pool_size=pool_size,
                max_overflow=pool_size,
                pool_pre_ping=True,
                pool_timeout=busy_timeout_s,
                json_serializer=_as_json,
                connect_args={
                    "connect_timeout": 3,
                    "application_name": "vitrine",
                    "options": f"-c synchronous_commit={'on' if durable else 'off'}",
                },
            )
            self._looker = self.engine.execution_options(isolation_level="AUTOCOMMIT")
            self.clock = clock.DatabaseClock(self.check)
            event.listen(self.engine, "begin", _measure_with(self.clock))
        clock.follow(self.clock)
        event.listen(self.engine, "handle_error", _refuse_data)
        self._reader: Engine = self.engine.execution_options(**{_READ: True})

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A transaction that only reads: it never takes SQLite's write lock.

        Raises:
            DatabaseUnavailable: the server is away, the file locked or the disk full.
        """
        with _translated(), Session(self._reader, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def read_connection(self) -> Iterator[Connection]:
        """A connection for questions that need no transaction: each sees what is committed by then.

        With a statement that is made once, a question costs a fifth of what it costs in ``read``: for what
        every search asks.

        Raises:
            DatabaseUnavailable: the server is away, the file locked or the disk full.
        """
        with _translated(), self._looker.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Session]:
        """A transaction that commits when the block ends, and rolls back when it raises.

        Raises:
            DatabaseUnavailable: the server is away, the file locked or the disk full.
        """
        with _translated(), Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def write_connection(self) -> Iterator[Connection]:
        """The same without the ORM, for statements that are made once: what every search writes.

        Raises:
            DatabaseUnavailable: as ``write``.
        """
        with _translated(), self.engine.begin() as connection:
            yield connection

    def check(self) -> None:
        """Raise DatabaseUnavailable unless a query comes back."""
        with self.read() as session:
            session.execute(text("SELECT 1"))

    def close(self) -> None:
        clock.unfollow(self.clock)
        self.engine.dispose()


def execute_rowcount(session: Session, statement: Update | Delete) -> int:
    """Execute an UPDATE or DELETE and return how many rows it met."""
    result = session.execute(statement)
    assert isinstance(result, CursorResult)
    return int(result.rowcount)


def _as_json(value: Any) -> str:
    return value if isinstance(value, WrittenJson) else json.dumps(value)


def _from_json(text: str) -> Any:
    # PostgreSQL stores only what is JSON; in SQLite one damaged row must not spoil the whole result.
    try:
        return json.loads(text)
    except (ValueError, RecursionError, TypeError):
        return DamagedJson(text)


def _decode_text(data: bytes) -> str:
    """Decode a text of SQLite, whose bytes may be damaged: the driver would refuse the whole result."""
    return data.decode("utf-8", "replace")


def _refuse_data(context: ExceptionContext) -> None:
    """Raise InvalidInput for a value that the database cannot hold: the row is wrong, not the database."""
    error = context.original_exception
    if isinstance(context.sqlalchemy_exception, DataError) or isinstance(
        error, OverflowError | UnicodeEncodeError
    ):
        raise InvalidInput(f"The database cannot hold this value: {_cause(error)}") from error


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        raise DatabaseUnavailable(f"The database did not answer: {_cause(error)}") from error
    except DBAPIError as error:
        # PostgreSQL reports a lost connection under several classes; the flag is common to them.
        if error.connection_invalidated:
            raise DatabaseUnavailable(f"The database went away: {_cause(error)}") from error
        # SQLite reports a damaged file, or one that is no database, under no class of its own.
        if type(error) is DatabaseError:
            raise DatabaseUnavailable(f"The database cannot be read: {_cause(error)}") from error
        raise


def _cause(error: BaseException) -> str:
    """The driver's own words, without SQL text or parameters."""
    lines = str(getattr(error, "orig", None) or error).splitlines()
    return lines[0] if lines else type(error).__name__


def _prepare_sqlite(durable: bool) -> Callable[[sqlite3.Connection, Any], None]:
    def prepare(connection: sqlite3.Connection, _: Any) -> None:
        # The driver must not open transactions by itself: `_begin_sqlite` says which kind is meant.
        connection.isolation_level = None
        connection.text_factory = _decode_text
        # In WAL mode NORMAL leaves the log to the next checkpoint, or to the next durable commit.
        level = "FULL" if durable else "NORMAL"
        for pragma in ("journal_mode=WAL", f"synchronous={level}", "foreign_keys=ON"):
            connection.execute(f"PRAGMA {pragma}")

    return prepare


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that turns into a writer fails at once when another one wrote;
    # taking the lock at the start waits its turn instead.
    options = connection.get_execution_options()
    if options.get(_LOOK, False):
        return
    reads = options.get(_READ, False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _measure_with(server: clock.DatabaseClock) -> Callable[[Connection], None]:
    def measure(connection: Connection) -> None:
        if server.is_due():
            # Not now(): that is the moment at which the transaction began.
            server.measure(
                lambda: float(
                    connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())").scalar_one()
                )
            )

    return measure
