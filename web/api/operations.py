"""For operators: is it alive, is it ready, what is it doing, and what does it offer."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, current_app, jsonify

from shared.contracts import Health
from shared.health.queue_counts import waiting_by_lane
from shared.process.metrics import CLOCK_SKEW, CONTENT_TYPE, PROCESSES, SEARCHES_WAITING, exposition
from shared.searches.metrics import SearchMetricsRepository
from web import __version__
from web.api.openapi import document, operation
from web.api.search_metrics import SearchCollector
from web.api.system_health import OK, note_health, own_parts, system_health
from web.services import services

blueprint = Blueprint("operations", __name__)


@blueprint.get("/healthz")
@operation("Whether the web process lives", "Operations", {200: "text/plain"})
def alive() -> Response:
    return Response("ok\n", mimetype="text/plain")


@blueprint.get("/readyz")
@operation("Whether this process can do its work", "Operations", {200: Health, 503: Health})
def ready() -> tuple[Response, int]:
    """Answer for this process alone: a worker that is away must not take the web out of rotation."""
    parts = own_parts()
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
    health = system_health()
    return {
        "version": __version__,
        **health.as_status(),
        "processes": [asdict(process) for process in health.processes],
        "queues": {lane: counts["waiting"] for lane, counts in waiting.items()},
        "waiting": waiting,
        "catalogues": [c.model_dump(mode="json") for c in parts.catalogue.list_catalogues()],
        "jobs": [job.model_dump(mode="json") for job in parts.jobs.list_unfinished()],
        "searches": SearchMetricsRepository(parts.database).read_metrics().model_dump(mode="json"),
    }


@blueprint.get("/metrics")
@operation("Prometheus metrics", "Operations", {200: "text/plain"}, errors=(401,))
def metrics() -> Response:
    SEARCHES_WAITING.set(services().searches.count_waiting())
    seen = services().presence.list_alive()
    for role in ("search", "catalogue", "maintenance", "web"):
        of_role = [process for process in seen if process.role == role]
        PROCESSES.labels(role).set(len(of_role))
        skews = [abs(float(process.details.get("clock_skew_s", 0.0))) for process in of_role]
        CLOCK_SKEW.labels(role).set(max(skews, default=0.0))
    note_health(system_health())
    searches = SearchCollector(SearchMetricsRepository(services().database))
    return Response(exposition(searches), content_type=CONTENT_TYPE)


@blueprint.get("/openapi.json")
def openapi() -> Response:
    return jsonify(document(current_app, services().settings.web.api_key is not None))
