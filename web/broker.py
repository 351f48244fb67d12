"""The web's only use of Redis beside the doorbell: is it there, and may the rate limiter count in it."""

from __future__ import annotations

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.errors import BrokerUnavailable

_TIMEOUT_S = 1.0


def client_options() -> dict[str, Any]:
    """Options of a client that gives up after one second, once: nobody waits for a frozen broker."""
    return {
        "socket_timeout": _TIMEOUT_S,
        "socket_connect_timeout": _TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
    }


class BrokerProbe:
    """Asks the broker whether it takes messages."""

    def __init__(self, redis_url: str) -> None:
        self._client = redis.Redis.from_url(redis_url, **client_options())

    def check(self) -> None:
        """Raise BrokerUnavailable unless the broker answers."""
        try:
            self._client.ping()
        except (redis.RedisError, OSError) as error:
            raise BrokerUnavailable(f"The broker did not answer: {type(error).__name__}") from error
