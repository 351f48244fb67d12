"""Whether the broker is there."""

from __future__ import annotations

import redis

from shared.broker.redis_clients import client_options
from shared.errors import BrokerUnavailable


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
