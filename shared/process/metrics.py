"""Prometheus metrics of the web. Labels are closed sets: route patterns, never addresses or ids."""

from __future__ import annotations

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.registry import Collector

REGISTRY = CollectorRegistry()

REQUESTS = Counter(
    "vitrine_http_requests", "Requests answered", ["route", "method", "status"], registry=REGISTRY
)
REQUEST_SECONDS = Histogram(
    "vitrine_http_request_seconds",
    "Time to answer a request",
    ["route", "method"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    registry=REGISTRY,
)
SEARCHES_ACCEPTED = Counter("vitrine_searches_accepted", "Searches answered 202", registry=REGISTRY)
SEARCHES_REFUSED = Counter(
    "vitrine_searches_refused", "Searches refused because too many wait", registry=REGISTRY
)
AUTH_FAILURES = Counter("vitrine_auth_failures", "Wrong and refused API keys", ["how"], registry=REGISTRY)
PUBLISHES_FAILED = Counter(
    "vitrine_publishes_failed",
    "Messages that the broker did not take; published again later",
    registry=REGISTRY,
)
SEARCHES_WAITING = Gauge("vitrine_searches_waiting", "Searches that no worker took yet", registry=REGISTRY)
PROCESSES = Gauge("vitrine_processes", "Processes seen in the last 20 s", ["role"], registry=REGISTRY)
CLOCK_SKEW = Gauge(
    "vitrine_clock_skew_seconds",
    "Largest difference between a host's wall clock and the database's clock",
    ["role"],
    registry=REGISTRY,
)
BROKER_WRITABLE = Gauge("vitrine_broker_writable", "1 if the broker takes writes, else 0", registry=REGISTRY)
BROKER_BYTES = Gauge("vitrine_broker_used_bytes", "Memory that the broker uses", registry=REGISTRY)
BROKER_MAX_BYTES = Gauge("vitrine_broker_max_bytes", "maxmemory of the broker, 0: none", registry=REGISTRY)
LANE_HEALTHY = Gauge(
    "vitrine_lane_healthy",
    "1 if nothing waits long or items are completed, else 0",
    ["lane"],
    registry=REGISTRY,
)
LANE_OLDEST_S = Gauge(
    "vitrine_lane_oldest_waiting_seconds", "Age of the oldest item that waits", ["lane"], registry=REGISTRY
)
COLLECTION_MISSING = Gauge(
    "vitrine_collection_missing",
    "1: Milvus lacks the catalogue's live collection",
    ["catalogue"],
    registry=REGISTRY,
)

CONTENT_TYPE = CONTENT_TYPE_LATEST


def exposition(of_database: Collector) -> bytes:
    """Return all metrics in Prometheus' text format.

    Args:
        of_database: collector of the metrics of all processes: ``web.api.search_metrics``.
    """
    database_registry = CollectorRegistry()
    database_registry.register(of_database)
    return generate_latest(REGISTRY) + generate_latest(database_registry)
