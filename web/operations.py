"""For operators: is it alive, is it ready, what is it doing, and what does it offer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, current_app, jsonify

from shared.contracts import Health
from shared.errors import VitrineError
from shared.ledger.queue_counts import waiting_by_lane
from shared.ledger.signals import SignalLedger
from shared.metrics import CLOCK_SKEW, CONTENT_TYPE, PROCESSES, SEARCHES_WAITING, exposition
from shared.metrics_of_searches import SearchCollector
from shared.presence import ProcessInfo
from web import __version__
from web.openapi import document, operation
from web.services import services

blueprint = Blueprint("operations", __name__)

OK = "ok"
#: Part of readiness, and the role whose presence proves it.
_ROLES = {"search_worker": "search", "catalogue_worker": "catalogue", "maintenance": "maintenance"}


@blueprint.get("/healthz")
@operation("Whether the web process lives", "Operations", {200: "text/plain"})
def alive() -> Response:
    return Response("ok\n", mimetype="text/plain")


@blueprint.get("/readyz")
@operation("Whether every part is ready", "Operations", {200: Health, 503: Health})
def ready() -> tuple[Response, int]:
    parts = _parts()
    health = Health(ready=all(state == OK for state in parts.values()), parts=parts)
    return jsonify(health.model_dump()), 200 if health.ready else 503


@blueprint.get("/v1/status")
@operation(
    "Processes, queues, catalogues, open jobs, and how searches do", "Operations", {200: "application/json"}
)
def status() -> Response:
    return jsonify(status_now())


def status_now() -> dict[str, Any]:
    """What the whole of Vitrine does at this moment."""
    parts = services()
    waiting = waiting_by_lane(parts.database)
    return {
        "version": __version__,
        "parts": _parts(),
        "processes": [asdict(process) for process in parts.presence.alive()],
        "queues": {lane: counts["waiting"] for lane, counts in waiting.items()},
        "waiting": waiting,
        "catalogues": [c.model_dump(mode="json") for c in parts.catalogue.all()],
        "jobs": [job.model_dump(mode="json") for job in parts.jobs.unfinished()],
        "searches": SignalLedger(parts.database).signals().model_dump(mode="json"),
    }


@blueprint.get("/metrics")
@operation("Prometheus metrics", "Operations", {200: "text/plain"}, errors=(401,))
def metrics() -> Response:
    SEARCHES_WAITING.set(services().searches.waiting())
    seen = services().presence.alive()
    for role in ("search", "catalogue", "maintenance", "web"):
        of_role = [process for process in seen if process.role == role]
        PROCESSES.labels(role).set(len(of_role))
        skews = [abs(float(process.details.get("clock_skew_s", 0.0))) for process in of_role]
        CLOCK_SKEW.labels(role).set(max(skews, default=0.0))
    searches = SearchCollector(SignalLedger(services().database))
    return Response(exposition(searches), content_type=CONTENT_TYPE)


@blueprint.get("/openapi.json")
def openapi() -> Response:
    return jsonify(document(current_app, services().settings.web.api_key is not None))


def _parts() -> dict[str, str]:
    """`ok` or what is wrong, by part. Each check is bounded by its own timeout."""
    parts = services()
    found = {
        "database": _said(parts.database.check),
        "broker": _said(parts.broker.check),
        "image_store": OK if parts.store.healthy() else "not writable, or its disk is full",
    }
    seen: list[ProcessInfo] = []
    if found["database"] == OK:
        seen = parts.presence.alive()
    for part, role in _ROLES.items():
        found[part] = OK if any(process.role == role for process in seen) else "not seen in the last 20 s"
    return found


def _said(check: Callable[[], object]) -> str:
    try:
        check()
    except VitrineError as error:
        return error.message
    return OK
