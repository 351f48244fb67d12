"""How many searches an address may ask for: counted in Redis, in memory while Redis is away."""

from __future__ import annotations

import math
import time

from flask import Flask, g, request
from flask_limiter import Limiter, RequestLimit
from flask_limiter.util import get_remote_address

from shared.errors import Overloaded
from shared.metrics import SEARCHES_REFUSED
from shared.settings import Settings
from web.broker import client_options
from web.services import services

#: Endpoints that start a search; everything else is free of limits.
LIMITED = ("searches.create", "pages.create")


def make_limiter(app: Flask, settings: Settings) -> Limiter:
    """Attach the limiter. A frozen Redis costs one request one second, then memory counts instead."""
    rate = f"{settings.web.searches_per_minute} per minute"
    return Limiter(
        get_remote_address,
        app=app,
        storage_uri=settings.redis_url,
        storage_options=client_options(),
        default_limits=[rate],
        default_limits_exempt_when=lambda: request.endpoint not in LIMITED,
        in_memory_fallback_enabled=True,
        on_breach=_refuse,
        key_prefix="vitrine-limit",
        strategy="fixed-window",
    )


def _refuse(limit: RequestLimit) -> None:
    """Say when the window ends. The limiter's own header would stand on every answer, 202 included."""
    g.retry_after_s = max(1, math.ceil(limit.reset_at - time.time()))
    raise Overloaded(f"More than {limit.limit} searches came from your address. Try again shortly.")


def refuse_when_full() -> None:
    """Raise Overloaded when too many searches wait already: a queue that only grows serves nobody."""
    limit = services().settings.search.max_waiting
    waiting = services().searches.waiting()
    if waiting >= limit:
        SEARCHES_REFUSED.inc()
        raise Overloaded(f"{waiting} searches wait already. Try again shortly.")
