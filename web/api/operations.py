"""Operators' endpoints: liveness, readiness, status, metrics and the OpenAPI document."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import Blueprint, Response, current_app, jsonify

from shared.contracts import Health
from shared.contracts.status import SystemStatus
from shared.database.clock import to_datetime
from shared.health.presence import ProcessInfo
from shared.health.queue_counts import waiting_by_lane
from shared.process.metrics import CLOCK_SKEW, CONTENT_TYPE, PROCESSES, SEARCHES_WAITING, exposition
from web import __version__
from web.api.openapi import build_document, operation
from web.api.search_metrics import SearchCollector
from web.api.system_health import OK, check_own_parts, read_system_health, set_health_gauges
from web.services import services

blueprint = Blueprint("operations", __name__)


@blueprint.get("/healthz")
@operation("Check that the web process is alive", "Operations", {200: "text/plain"})
def get_liveness() -> Response:
    return Response("ok\n", mimetype="text/plain")


@blueprint.get("/readyz")
@operation("Check that this process is ready", "Operations", {200: Health, 503: Health})
def get_readiness() -> tuple[Response, int]:
    """Check this process alone: a missing worker must not take the web out of rotation."""
    parts = check_own_parts()
    health = Health(ready=all(state == OK for state in parts.values()), parts=parts)
    return jsonify(health.model_dump()), 200 if health.ready else 503


@blueprint.get("/v1/status")
@operation(
    "Get processes, queues, catalogues, open jobs and search metrics", "Operations", {200: SystemStatus}
)
def get_status() -> Response:
    return jsonify(collect_status())


def collect_status() -> dict[str, Any]:
    """Collect the current status of the whole system."""
    parts = services()
    waiting = waiting_by_lane(parts.database)
    health = read_system_health()
    return {
        "version": __version__,
        **health.to_status(),
        "processes": [_describe_process(process) for process in health.processes],
        "queues": {lane: counts["waiting"] for lane, counts in waiting.items()},
        "waiting": waiting,
        "catalogues": [c.model_dump(mode="json") for c in parts.catalogue.list_catalogues()],
        "jobs": [job.model_dump(mode="json") for job in parts.jobs.list_unfinished()],
        "searches": parts.search_metrics.read_metrics().model_dump(mode="json"),
    }


def _describe_process(process: ProcessInfo) -> dict[str, Any]:
    moments = {name: to_datetime(getattr(process, name)) for name in ("started_at", "seen_at")}
    return asdict(process) | {name: f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}" for name, moment in moments.items()}


@blueprint.get("/metrics")
@operation("Get Prometheus metrics", "Operations", {200: "text/plain"})
def get_metrics() -> Response:
    SEARCHES_WAITING.set(services().searches.count_waiting())
    processes = services().presence.list_alive()
    for role in ("search", "catalogue", "maintenance", "web"):
        of_role = [process for process in processes if process.role == role]
        PROCESSES.labels(role).set(len(of_role))
        skews = [abs(float(process.details.get("clock_skew_s", 0.0))) for process in of_role]
        CLOCK_SKEW.labels(role).set(max(skews, default=0.0))
    set_health_gauges(read_system_health())
    searches = SearchCollector(services().search_metrics)
    return Response(exposition(searches), content_type=CONTENT_TYPE)


@blueprint.get("/openapi.json")
def get_openapi() -> Response:
    return jsonify(build_document(current_app, services().settings.web.api_key is not None))
