"""Connection options of every Redis client except Celery's."""

from __future__ import annotations

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.broker.task_names import Lane

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


class QueueLengths:
    """Counts the messages that wait in the queues.

    It is no use of Celery's own connection, which tries again until a moment of the wall clock: set back by
    an hour while the broker is away, that moment is an hour off.
    """

    def __init__(self, redis_url: str) -> None:
        self._client = redis.Redis.from_url(redis_url, **client_options())

    def read(self, lane: Lane) -> int:
        """Return the number of messages in the queue of ``lane``. Raises redis-py's errors."""
        return int(self._client.llen(str(lane)))
