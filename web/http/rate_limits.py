"""Limit requests by key and address, and state the limits in ``RateLimit-*`` headers."""

from __future__ import annotations

from flask import Response, g, request

from shared.access.principal import Principal
from shared.access.wrong_keys import network_of
from shared.broker.rate_counter import RateState
from shared.errors import Overloaded
from shared.process.metrics import SEARCHES_REFUSED
from web.http.roles import Access
from web.services import services

#: Maximum changes per minute and address of shoppers without a key, each of which the audit log records.
VISITOR_CHANGES_PER_MINUTE = 60


def limit_key(access: Access, principal: Principal) -> None:
    """Count the request of a key with a limit of its own; pictures are not counted.

    Raises:
        Overloaded: the key has made more requests in this minute than it may.
    """
    key = principal.key
    if key is None or key.per_minute is None or access.takes_key_in_url:
        return
    state = services().key_rate.measure(key.prefix, key.per_minute)
    _note(state)
    if state.is_exceeded:
        g.retry_after_s = state.reset_s
        raise Overloaded(
            f"The key {key.prefix} may make {state.limit} requests per minute. Try again in {state.reset_s} "
            "seconds, or ask the owner of this server for a key with a higher limit."
        )


def limit_search(principal: Principal) -> None:
    """Count a search by address; a secret key with a limit of its own is not limited by address.

    Raises:
        Overloaded: the address has sent more searches in this minute than it may.
    """
    if principal.key is not None and principal.key.per_minute is not None and not principal.is_publishable:
        return
    if principal.is_visitor:
        _limit_visitor(principal)
    state = services().rate.measure(network_of(request.remote_addr or ""))
    _note(state)
    if state.is_exceeded:
        SEARCHES_REFUSED.inc()
        g.retry_after_s = state.reset_s
        raise Overloaded(
            f"More than {state.limit} searches per minute came from your address. Try again later."
        )


def limit_visitor_change(principal: Principal) -> None:
    """Count a deletion or another recorded change of a visitor by address.

    Raises:
        Overloaded: the address has sent more of them in this minute than it may.
    """
    if not principal.is_visitor:
        return
    address = network_of(request.remote_addr or "")
    state = services().key_rate.measure(f"changes:{address}", VISITOR_CHANGES_PER_MINUTE)
    _note(state)
    if state.is_exceeded:
        g.retry_after_s = state.reset_s
        raise Overloaded(f"Too many changes came from your address. Wait {state.reset_s} seconds.")


def _limit_visitor(principal: Principal) -> None:
    per_minute = services().settings.web.visitor_searches_per_minute
    state = services().key_rate.measure(principal.label, per_minute)
    _note(state)
    if state.is_exceeded:
        SEARCHES_REFUSED.inc()
        g.retry_after_s = state.reset_s
        raise Overloaded(f"You have searched {per_minute} times in a minute. Wait {state.reset_s} seconds.")


def add_headers(response: Response) -> None:
    """State the limit that applied to the request; of several, the one with the least left."""
    state: RateState | None = g.get("rate_state")
    if state is not None:
        response.headers["RateLimit-Limit"] = str(state.limit)
        response.headers["RateLimit-Remaining"] = str(state.remaining)
        response.headers["RateLimit-Reset"] = str(state.reset_s)


def _note(state: RateState) -> None:
    noted: RateState | None = g.get("rate_state")
    if noted is None or state.remaining <= noted.remaining:
        g.rate_state = state
