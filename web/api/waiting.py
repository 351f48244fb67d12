"""Why a search takes long: told to whoever waits for more than ten seconds."""

from __future__ import annotations

import time
from datetime import datetime

from flask import current_app
from flask_babel import gettext as _

from shared.contracts import ErrorBody
from shared.contracts.states import OPEN_STATES
from shared.database.clock import now_s
from web.api.system_health import OK, system_health
from web.services import services

#: A search that is open for longer is told why.
PATIENCE_S = 10.0
#: How long one reading of the system's health serves everybody who waits.
_REMEMBER_S = 2.0
_EXTENSION = "vitrine-waits"
#: Parts of `/v1/status` that searches need, the root causes first, and the code of each.
_CAUSES = {
    "broker": "broker_unavailable",
    "index": "index_unavailable",
    "search_worker": "unavailable",
    "search_lane": "unavailable",
}


def reason_of_wait(state: str, created_at: datetime) -> ErrorBody | None:
    """Return why a search waits, by the application's ``WaitExplainer``."""
    explainer: WaitExplainer = current_app.extensions.setdefault(_EXTENSION, WaitExplainer())
    return explainer.reason(state, created_at)


class WaitExplainer:
    """Finds the reason of a long wait; one per application, shared by its threads."""

    def __init__(self) -> None:
        self._read_at = float("-inf")
        self._cause = ErrorBody(code="overloaded", message="")

    def reason(self, state: str, created_at: datetime) -> ErrorBody | None:
        """Return code and message; None for a search that has ended, or has not waited long."""
        if state not in OPEN_STATES or now_s() - created_at.timestamp() <= PATIENCE_S:
            return None
        if time.monotonic() - self._read_at > _REMEMBER_S:
            self._read_at = time.monotonic()
            self._cause = self._find_cause()
        return self._cause

    def _find_cause(self) -> ErrorBody:
        parts = system_health().parts
        for part, code in _CAUSES.items():
            if parts.get(part, OK) != OK:
                return ErrorBody(code=code, message=f"{part}: {parts[part]}")
        waiting = services().searches.count_waiting()
        return ErrorBody(code="overloaded", message=f"{waiting} searches are waiting.")


def reason_for_reader(reason: ErrorBody | None) -> str:
    """Return the reason in the reader's language and without technical terms; empty where there is none."""
    if reason is None:
        return ""
    if reason.code == "overloaded":
        text = _("This is taking longer than usual: many searches are waiting. Yours keeps its place.")
    elif reason.code == "index_unavailable":
        text = _(
            "This is taking longer than usual: the product index does not answer. "
            "Your search goes on by itself as soon as it does."
        )
    else:
        text = _(
            "This is taking longer than usual: part of the search is being restarted. "
            "Your search goes on by itself."
        )
    return str(text)
