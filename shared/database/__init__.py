"""Open SQLite (WAL) or PostgreSQL, and run short transactions."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, CursorResult, Delete, Engine, Update, create_engine, event, make_url, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DatabaseError, DataError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from shared.database import clock
from shared.errors import DatabaseUnavailable, InvalidInput

#: The log is cut back after a checkpoint: it stayed at 1.1 GB after a large import. A larger cache of pages
#: made nothing faster. A memory map saves a tenth for an answer's rows, but a damaged file ends the process.
_SQLITE_LIMITS = (f"journal_size_limit={2**26}",)
_READ = "vitrine_read"
_NO_TRANSACTION = "vitrine_no_transaction"


class WrittenJson(str):
    """Text that is JSON already: a JSON column stores it unchanged."""

    __slots__ = ()


class DamagedJson(str):
    """Text of a JSON column that is not valid JSON: only reading its row as a contract fails."""

    __slots__ = ()


#: Connections of a process to PostgreSQL that stay open, and as many more for a burst: a web process has 16
#: request threads, a worker four.
_POOL_SIZE: Final = 8


class Database:
    """Opens short transactions. One per process: create it after a fork or spawn, never before.

    From then on, ``now_s`` returns this database's time: see ``shared.database.clock``.

    Args:
        url: a SQLAlchemy URL, ``sqlite:///path`` or ``postgresql+psycopg://…``.
        busy_timeout_s: how long a writer waits for SQLite's lock.
        durable: whether a commit is on disk when it returns. Otherwise a power cut may lose the newest
            commits, but never damages the database; for work that is repeated in that case.
    """

    def __init__(self, url: str, *, busy_timeout_s: float = 10.0, durable: bool = True) -> None:
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
            self._query_engine: Engine = self.engine.execution_options(**{_NO_TRANSACTION: True})
            self.clock: clock.Clock = clock.HostClock()
        else:
            self.engine = create_engine(
                url,
                pool_size=_POOL_SIZE,
                max_overflow=_POOL_SIZE,
                pool_pre_ping=True,
                pool_timeout=busy_timeout_s,
                json_serializer=_as_json,
                connect_args={
                    "connect_timeout": 3,
                    "application_name": "vitrine",
                    "options": f"-c synchronous_commit={'on' if durable else 'off'}",
                },
            )
            self._query_engine = self.engine.execution_options(isolation_level="AUTOCOMMIT")
            self.clock = clock.DatabaseClock(self.check)
            event.listen(self.engine, "begin", _measure_with(self.clock))
        clock.follow(self.clock)
        event.listen(self.engine, "handle_error", _refuse_data)
        self._reader: Engine = self.engine.execution_options(**{_READ: True})

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a read-only transaction, which never takes SQLite's write lock.

        Raises:
            DatabaseUnavailable: the server is unavailable, the file locked or the disk full.
        """
        with _translate_errors(), Session(self._reader, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def read_connection(self) -> Iterator[Connection]:
        """Open a connection for queries without a transaction: each reads all commits so far.

        With a prebuilt statement, a query costs a fifth of one in ``read``. Used for the queries of every
        search.

        Raises:
            DatabaseUnavailable: as ``read``.
        """
        with _translate_errors(), self._query_engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a transaction that commits when the block ends, and rolls back when it raises.

        Raises:
            DatabaseUnavailable: as ``read``.
        """
        with _translate_errors(), Session(self.engine, expire_on_commit=False) as session, session.begin():
            yield session

    @contextmanager
    def write_connection(self) -> Iterator[Connection]:
        """Open a transaction without the ORM, for the prebuilt statements that every search executes.

        Raises:
            DatabaseUnavailable: as ``read``.
        """
        with _translate_errors(), self.engine.begin() as connection:
            yield connection

    def check(self) -> None:
        """Raise DatabaseUnavailable unless the database answers a query."""
        with self.read() as session:
            session.execute(text("SELECT 1"))

    def close(self) -> None:
        clock.unfollow(self.clock)
        self.engine.dispose()


def execute_rowcount(session: Session, statement: Update | Delete) -> int:
    """Execute an UPDATE or DELETE, and return the number of matched rows."""
    result = session.execute(statement)
    assert isinstance(result, CursorResult)
    return int(result.rowcount)


def _as_json(value: Any) -> str:
    return value if isinstance(value, WrittenJson) else json.dumps(value)


def _from_json(text: str) -> Any:
    # PostgreSQL stores valid JSON only; in SQLite one damaged row must not fail the whole query.
    try:
        return json.loads(text)
    except (ValueError, RecursionError, TypeError):
        return DamagedJson(text)


def _decode_text(data: bytes) -> str:
    """Decode a text of SQLite, whose bytes may be damaged: the driver would refuse the whole result."""
    return data.decode("utf-8", "replace")


def _refuse_data(context: ExceptionContext) -> None:
    """Raise InvalidInput for a value that the database cannot store: the input is wrong, not the database."""
    error = context.original_exception
    if isinstance(context.sqlalchemy_exception, DataError) or isinstance(
        error, OverflowError | UnicodeEncodeError
    ):
        raise InvalidInput(f"The database cannot store this value: {_cause(error)}") from error


@contextmanager
def _translate_errors() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, PoolTimeout) as error:
        raise DatabaseUnavailable(f"The database did not answer: {_cause(error)}") from error
    except DBAPIError as error:
        # PostgreSQL reports a lost connection under several classes; the flag is common to them.
        if error.connection_invalidated:
            raise DatabaseUnavailable(f"The database connection was lost: {_cause(error)}") from error
        # SQLite reports a damaged file, or one that is no database, under no class of its own.
        if type(error) is DatabaseError:
            raise DatabaseUnavailable(f"The database cannot be read: {_cause(error)}") from error
        raise


def _cause(error: BaseException) -> str:
    """Return the driver's message without SQL text and parameters."""
    lines = str(getattr(error, "orig", None) or error).splitlines()
    return lines[0] if lines else type(error).__name__


def _prepare_sqlite(durable: bool) -> Callable[[sqlite3.Connection, Any], None]:
    def prepare(connection: sqlite3.Connection, _: Any) -> None:
        # The driver must not begin transactions by itself: `_begin_sqlite` chooses their kind.
        connection.isolation_level = None
        connection.text_factory = _decode_text
        # In WAL mode NORMAL syncs the log at the next checkpoint, or at the next durable commit.
        level = "FULL" if durable else "NORMAL"
        for pragma in ("journal_mode=WAL", f"synchronous={level}", "foreign_keys=ON", *_SQLITE_LIMITS):
            connection.execute(f"PRAGMA {pragma}")

    return prepare


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that becomes a writer fails at once if another has written since. Taking the
    # lock at the start waits for it instead.
    options = connection.get_execution_options()
    if options.get(_NO_TRANSACTION, False):
        return
    reads = options.get(_READ, False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _measure_with(server: clock.DatabaseClock) -> Callable[[Connection], None]:
    def measure(connection: Connection) -> None:
        if server.is_due():
            # Not now(), which is the start time of the transaction.
            server.measure(
                lambda: float(
                    connection.exec_driver_sql("SELECT extract(epoch FROM clock_timestamp())").scalar_one()
                )
            )

    return measure
