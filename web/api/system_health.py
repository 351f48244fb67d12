"""Check this process and the whole system, and name each broken dependency."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from shared.broker.health import BrokerReport, BrokerState
from shared.broker.task_names import Lane
from shared.errors import VitrineError
from shared.health.lanes import LaneHealth, LaneMonitor
from shared.health.presence import ProcessInfo
from shared.process.metrics import (
    BROKER_BYTES,
    BROKER_MAX_BYTES,
    BROKER_WRITABLE,
    COLLECTION_MISSING,
    LANE_HEALTHY,
    LANE_OLDEST_S,
)
from web.services import services

OK = "ok"
#: Part of the system and the process role that provides it.
_ROLES = {"search_worker": "search", "catalogue_worker": "catalogue", "maintenance": "maintenance"}


@dataclass(frozen=True)
class SystemHealth:
    """The state of the system.

    Attributes:
        parts: ``ok`` or the problem, by part.
        missing: pairs of catalogue and collection that Milvus lacks.
    """

    parts: dict[str, str]
    broker: BrokerReport
    lanes: list[LaneHealth] = field(default_factory=list)
    processes: list[ProcessInfo] = field(default_factory=list)
    missing: list[tuple[str, str]] = field(default_factory=list)

    def to_status(self) -> dict[str, Any]:
        """Return the entries of ``GET /v1/status``."""
        return {
            "ready": all(state == OK for state in self.parts.values()),
            "parts": self.parts,
            "lanes": {
                str(lane.lane): {
                    "healthy": lane.healthy,
                    "oldest_waiting_s": _rounded(lane.oldest_s),
                    "idle_s": _rounded(lane.idle_s),
                }
                for lane in self.lanes
            },
            "broker": {
                "state": str(self.broker.state),
                "used_bytes": self.broker.used_bytes,
                "max_bytes": self.broker.max_bytes,
            },
            "missing_collections": [
                {"catalogue": name, "collection": collection, "command": f"vitrine rebuild {name}"}
                for name, collection in self.missing
            ],
        }


def check_own_parts() -> dict[str, str]:
    """Check the dependencies of this process; each check has its own timeout."""
    parts = services()
    return {
        "database": _check(parts.database.check),
        "broker": parts.broker.report().message,
        "image_store": OK if parts.store.healthy() else "not writable, or its disk is full",
    }


def read_system_health() -> SystemHealth:
    """Read the state of all processes, lanes and indexes."""
    app, parts = services(), check_own_parts()
    broker = app.broker.report()
    if parts["database"] != OK:
        return SystemHealth(parts | dict.fromkeys(_ROLES, "unknown: the database does not answer"), broker)
    processes = app.presence.list_alive()
    for part, role in _ROLES.items():
        present = any(process.role == role for process in processes)
        parts[part] = OK if present else "not seen in the last 20 s"
    monitor = LaneMonitor(app.database, app.settings.search.lease_s)
    lanes = [monitor.read(lane) for lane in Lane]
    for lane in lanes:
        parts[f"{lane.lane}_lane"] = lane.message
    parts["index"] = _check_index(processes)
    missing = _missing_collections(processes)
    parts["collections"] = "; ".join(_missing_message(*each) for each in missing) or OK
    return SystemHealth(parts, broker, lanes, processes, missing)


def set_health_gauges(health: SystemHealth) -> None:
    """Set the gauges of ``/metrics``."""
    BROKER_WRITABLE.set(health.broker.state is BrokerState.WRITABLE)
    BROKER_BYTES.set(health.broker.used_bytes)
    BROKER_MAX_BYTES.set(health.broker.max_bytes)
    for lane in health.lanes:
        LANE_HEALTHY.labels(str(lane.lane)).set(lane.healthy)
        LANE_OLDEST_S.labels(str(lane.lane)).set(lane.oldest_s or 0.0)
    COLLECTION_MISSING.clear()
    for catalogue, _ in health.missing:
        COLLECTION_MISSING.labels(catalogue).set(1)


def _check(check: Callable[[], object]) -> str:
    try:
        check()
    except VitrineError as error:
        return error.message
    return OK


def _check_index(processes: list[ProcessInfo]) -> str:
    """Return ``ok`` if a worker reaches Milvus, else the problem that the workers report."""
    workers = [each for each in processes if each.role in ("search", "catalogue")]
    problems = [each.details.get("index_problem") for each in workers]
    if None in problems:
        return OK
    return str(problems[0]) if problems else "unknown: no worker is running to check Milvus"


def _missing_collections(processes: list[ProcessInfo]) -> list[tuple[str, str]]:
    """Return the missing collections that the most recent worker report names."""
    workers = [each for each in processes if each.role in ("search", "catalogue")]
    if not workers:
        return []
    missing = max(workers, key=lambda each: each.seen_at).details.get("missing_collections", [])
    return [(str(each["catalogue"]), str(each["collection"])) for each in missing]


def _missing_message(catalogue: str, collection: str) -> str:
    return f"collection {collection} of catalogue {catalogue} is missing: vitrine rebuild {catalogue}"


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)
