"""The audit log and the sessions of browsers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from flask import Blueprint, Response, jsonify, request

from shared.access.sessions import SessionRecord
from shared.contracts.audit import AuditEntryOut, SessionOut
from shared.database.clock import to_datetime
from shared.database.tables import MAX_ROW_ID
from web.api.openapi import Parameter, operation
from web.http.audit import note_object
from web.http.bodies import read_number
from web.http.csv_safety import csv_line
from web.http.principals import current_principal
from web.services import services

blueprint = Blueprint("audit", __name__)

MAX_PAGE = 1000
_COLUMNS = ("id", "at", "actor", "address", "action", "object", "outcome", "request_id")


@blueprint.get("/v1/audit")
@operation(
    "List the audit log, newest first",
    "Access",
    {200: [AuditEntryOut]},
    parameters=(
        Parameter("before", "The id of the last entry of the previous page", type="integer"),
        Parameter("limit", f"1 to {MAX_PAGE}; default 100", type="integer"),
    ),
)
def list_audit_entries() -> Response:
    entries = services().audit.list_page(read_before(), read_number("limit", 1, MAX_PAGE, 100))
    return jsonify([entry.model_dump(mode="json") for entry in entries])


def read_before() -> int | None:
    """Return the id before which a page of the log begins; None for the newest page."""
    return read_number("before", 1, MAX_ROW_ID, MAX_ROW_ID) if "before" in request.args else None


@blueprint.get("/v1/audit.csv")
@operation("Export the audit log as CSV; no cell runs as a formula", "Access", {200: "text/csv"})
def export_audit_log() -> Response:
    answer = Response(_to_csv(services().audit.iterate_all()), mimetype="text/csv")
    answer.headers["Content-Disposition"] = 'attachment; filename="audit.csv"'
    return answer


def _to_csv(entries: Iterable[AuditEntryOut]) -> Iterator[str]:
    yield csv_line(_COLUMNS)
    for entry in entries:
        texts = (entry.actor, entry.address, entry.action, entry.object)
        yield csv_line((str(entry.id), entry.at.isoformat(), *texts, str(entry.outcome), entry.request_id))


@blueprint.get("/v1/sessions")
@operation("List the sessions of signed-in browsers", "Access", {200: [SessionOut]})
def list_sessions() -> Response:
    return jsonify([each.model_dump(mode="json") for each in list_views()])


def list_views() -> list[SessionOut]:
    """Return the sessions that are not too old, newest first."""
    return [_out(each) for each in services().sessions.list_sessions()]


@blueprint.delete("/v1/sessions/<session_id>")
@operation("End a session", "Access", {204: None})
def delete_session(session_id: str) -> tuple[str, int]:
    end_session(session_id)
    return "", 204


@blueprint.delete("/v1/sessions")
@operation("End all sessions", "Access", {204: None})
def delete_all_sessions() -> tuple[str, int]:
    end_all_sessions()
    return "", 204


def end_session(session_id: str) -> None:
    """End a session. Raises NotFound."""
    services().sessions.end(session_id)
    services().session_ring.forget()


def end_all_sessions() -> None:
    """End all sessions, also the one that sends this request."""
    note_object(f"{services().sessions.end_all()} sessions")
    services().session_ring.forget()


def _out(record: SessionRecord) -> SessionOut:
    kind, _, rest = record.credential.partition(":")
    return SessionOut.model_validate(
        {
            "id": record.id,
            # The fingerprint of the bootstrap key is for comparisons alone.
            "credential": record.credential if kind == "key" and rest else kind,
            "address": record.address,
            "browser": record.browser,
            "created_at": to_datetime(record.created_at),
            "seen_at": to_datetime(record.seen_at),
            "is_current": record.id == current_principal().session,
        }
    )
