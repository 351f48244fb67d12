"""Explain why a search is slow, to clients that have waited for more than ten seconds."""

from __future__ import annotations

import time
from datetime import datetime

from flask import current_app
from flask_babel import gettext as _

from shared.contracts import ErrorBody
from shared.contracts.states import OPEN_STATES
from shared.database.clock import now_s
from web.api.system_health import OK, read_system_health
from web.services import services

#: Age of an open search from which the reason is given.
EXPLAIN_AFTER_S = 10.0
#: How long the system's health is cached for all waiting clients.
_CACHE_TTL_S = 2.0
_EXTENSION = "vitrine-waits"
#: Parts of `/v1/status` that searches need, the root causes first, and the code of each.
_CAUSES = {
    "broker": "broker_unavailable",
    "index": "index_unavailable",
    "search_worker": "unavailable",
    "search_lane": "unavailable",
}


def explain_wait(state: str, created_at: datetime) -> ErrorBody | None:
    """Return why a search waits, or None (see ``WaitExplainer.reason``)."""
    explainer: WaitExplainer = current_app.extensions.setdefault(_EXTENSION, WaitExplainer())
    return explainer.reason(state, created_at)


class WaitExplainer:
    """Finds and caches the reason of long waits; one per application, shared by its threads."""

    def __init__(self) -> None:
        self._read_at = float("-inf")
        self._cause = ErrorBody(code="overloaded", message="")

    def reason(self, state: str, created_at: datetime) -> ErrorBody | None:
        """Return code and message; None for a search that has ended or has not waited long."""
        if state not in OPEN_STATES or now_s() - created_at.timestamp() <= EXPLAIN_AFTER_S:
            return None
        if time.monotonic() - self._read_at > _CACHE_TTL_S:
            self._read_at = time.monotonic()
            self._cause = self._find_cause()
        return self._cause

    def _find_cause(self) -> ErrorBody:
        parts = read_system_health().parts
        for part, code in _CAUSES.items():
            if parts.get(part, OK) != OK:
                return ErrorBody(code=code, message=f"{part}: {parts[part]}")
        waiting = services().searches.count_waiting()
        return ErrorBody(code="overloaded", message=f"{waiting} searches are waiting.")


def translate_wait_reason(reason: ErrorBody | None) -> str:
    """Translate the reason for shoppers, without technical terms; empty for None."""
    if reason is None:
        return ""
    if reason.code == "overloaded":
        text = _(
            "This is taking longer than usual because many searches are waiting. "
            "You keep your place in the queue."
        )
    elif reason.code == "index_unavailable":
        text = _(
            "This is taking longer than usual: the product index is not responding. "
            "Your search continues automatically once it is back."
        )
    else:
        text = _(
            "This is taking longer than usual: part of the search is restarting. "
            "Your search continues automatically."
        )
    return str(text)
