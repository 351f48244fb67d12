"""How everything but Celery talks to Redis: nobody waits long for a broker that is frozen."""

from __future__ import annotations

from typing import Any

from redis.backoff import NoBackoff
from redis.retry import Retry

_TIMEOUT_S = 1.0


def client_options() -> dict[str, Any]:
    """Options of a client that gives up after one second, once."""
    return {
        "socket_timeout": _TIMEOUT_S,
        "socket_connect_timeout": _TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
    }
