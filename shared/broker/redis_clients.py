"""Connection options of Redis clients other than Celery's, and queue lengths."""

from __future__ import annotations

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.broker.task_names import Lane

_TIMEOUT_S = 1.0


def client_options() -> dict[str, Any]:
    """Return options with a timeout of one second and no retry.

    A frozen broker must not delay a request or a batch by more than that.
    """
    return {
        "socket_timeout": _TIMEOUT_S,
        "socket_connect_timeout": _TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
    }


class QueueLengths:
    """Counts the messages in the queues.

    Does not use Celery's connection, which retries until a time of the wall clock: a clock that is set back
    by an hour while the broker is unavailable prolongs the retries by an hour.
    """

    def __init__(self, redis_url: str) -> None:
        self._client = redis.Redis.from_url(redis_url, **client_options())

    def read(self, lane: Lane) -> int:
        """Return the number of messages in the queue of ``lane``. Raises redis-py's errors."""
        return int(self._client.llen(str(lane)))
