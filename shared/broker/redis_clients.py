"""Connection options of every Redis client except Celery's."""

from __future__ import annotations

from typing import Any

from redis.backoff import NoBackoff
from redis.retry import Retry

_TIMEOUT_S = 1.0


def client_options() -> dict[str, Any]:
    """Return options of a client that gives up after one second, without a retry.

    A frozen broker must not cost a request or a batch more than that.
    """
    return {
        "socket_timeout": _TIMEOUT_S,
        "socket_connect_timeout": _TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
    }
