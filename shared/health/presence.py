"""Record live and ready processes by periodic heartbeats in the database."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select

from shared.contracts.stored import as_object
from shared.database import Database, execute_rowcount
from shared.database.clock import now_s, skew_s
from shared.database.tables import Process
from shared.process.background import Periodic

HEARTBEAT_INTERVAL_S = 5.0
_KEEP_S = 86_400.0
#: A process whose heartbeat is older counts as dead.
_MAX_AGE_S = 20.0


@dataclass(frozen=True, slots=True)
class ProcessInfo:
    """A ready process; times are seconds since 1970 by the database's clock.

    ``details["clock_skew_s"]`` is how far its host's wall clock is ahead of that clock.
    """

    name: str
    role: str
    host: str
    pid: int
    started_at: float
    seen_at: float
    details: dict[str, Any]


class Presence:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._started_at: float | None = None

    def write_heartbeat(self, name: str, role: str, details: dict[str, Any]) -> None:
        """Record that this process is ready."""
        with self._database.write() as session:
            now = now_s()
            self._started_at = self._started_at or now
            session.merge(
                Process(
                    name=name,
                    role=role,
                    host=socket.gethostname(),
                    pid=os.getpid(),
                    started_at=self._started_at,
                    seen_at=now,
                    details={**details, "clock_skew_s": round(skew_s(), 1)},
                )
            )

    def remove(self, name: str) -> None:
        with self._database.write() as session:
            session.execute(delete(Process).where(Process.name == name))

    def delete_expired(self) -> int:
        """Delete the rows of processes whose last heartbeat is over a day old; return their number."""
        with self._database.write() as session:
            return execute_rowcount(session, delete(Process).where(Process.seen_at < now_s() - _KEEP_S))

    def list_alive(self) -> list[ProcessInfo]:
        """Return the processes with a recent heartbeat, by role and name."""
        with self._database.read() as session:
            rows = session.scalars(
                select(Process)
                .where(Process.seen_at > now_s() - _MAX_AGE_S)
                .order_by(Process.role, Process.name)
            )
            return [
                ProcessInfo(r.name, r.role, r.host, r.pid, r.started_at, r.seen_at, as_object(r.details))
                for r in rows
            ]

    def start_heartbeat(self, name: str, role: str, details: Callable[[], dict[str, Any] | None]) -> Periodic:
        """Write heartbeats from a thread until the returned object is stopped.

        Args:
            details: called before each heartbeat; None means not ready and skips it.
        """

        def beat() -> None:
            now = details()
            if now is not None:
                self.write_heartbeat(name, role, now)

        return Periodic("presence", HEARTBEAT_INTERVAL_S, beat, starts_now=True).start()
