"""Record sign-ins, refused keys and changes in the audit log."""

from __future__ import annotations

from typing import Final

from flask import Response, g, request

from shared.access.principal import Principal
from shared.errors import VitrineError
from shared.process.log import get_logger
from web.services import services

log = get_logger("vitrine.web")

_UNSAFE: Final = ("POST", "PUT", "PATCH", "DELETE")
#: What shoppers do thousands of times: it changes nothing that an owner has.
_NOT_AUDITED: Final = frozenset(
    {
        "searches.create_search",
        "searches.cancel_search",
        "feedback.add_feedback",
        "pages.shopper.create_search",
    }
)
_UNKNOWN = "unknown"


def note_refusal(actor: str | None, how: str, *, is_flood: bool) -> None:
    """Note a refused key for ``record``; a flood from one address is counted elsewhere.

    Args:
        actor: label of the key, None for an unknown one.
        how: ``bearer``, ``sign_in``, ``expired`` and so on, as in the metric.
        is_flood: whether the address is over its limit of wrong keys.
    """
    if not is_flood:
        g.audit = (actor or _UNKNOWN, f"key.refused.{how}")


def note_action(actor: str, action: str) -> None:
    """Note an action whose request has no principal, such as a sign-in."""
    g.audit = (actor, action)


def note_object(text: str) -> None:
    """Note an id that the request created, for its entry."""
    g.audit_object = text


def is_recorded_change() -> bool:
    """Return whether the current request asks for a change that the log records."""
    is_change = request.method in _UNSAFE and request.endpoint is not None
    return is_change and request.endpoint not in _NOT_AUDITED


def record(response: Response) -> None:
    """Add an entry for a change, a sign-in or a refused key; other requests have none."""
    noted: tuple[str, str] | None = g.get("audit")
    if noted is None:
        principal: Principal | None = g.get("principal")
        if principal is None or not is_recorded_change():
            return
        # Anyone can send these without limit; they change nothing, and would hide the other entries.
        if (principal.is_visitor or principal.is_publishable) and response.status_code >= 400:
            return
        noted = (principal.actor, str(request.endpoint))
    actor, action = noted
    object_ = " ".join(filter(None, [request.method, request.path, g.get("audit_object")]))
    try:
        services().audit.record(
            actor=actor,
            address=request.remote_addr or "",
            action=action,
            object_=object_,
            outcome=response.status_code,
            request_id=g.get("request_id", ""),
        )
    except VitrineError as error:
        # The change itself is made or refused already; its log line has the entry.
        log.warning("audit entry not stored", reason=error.message)
