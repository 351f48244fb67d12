"""The owner's pages of API keys with sessions, and of the audit log."""

from __future__ import annotations

from flask import Response, request, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response as AnyResponse

from shared.access.roles import Role
from shared.contracts.keys import KeyIn, KeyRotation
from shared.errors import NotFound, VitrineError
from web.api import keys
from web.api.audit import end_all_sessions, end_session, list_views, read_before
from web.http.bodies import parse_model, read_form
from web.http.errors import is_page_request, to_error_body
from web.manage.frame import blueprint, redirect_to, render_page
from web.services import services

_PAGE = 100
_DAY_S = 86_400


@blueprint.get("/manage/keys")
def show_keys() -> Response:
    """Show the API keys, a form for a new one, and the sessions."""
    return _render_keys()


def _render_keys(status: int = 200, **values: object) -> Response:
    parts = services()
    return render_page(
        "keys.html",
        status,
        keys=parts.keys.list_keys(),
        sessions=list_views(),
        roles=list(Role),
        catalogues=parts.window.catalogues(),
        **values,
    )


@blueprint.post("/manage/keys")
def create_key() -> Response:
    """Create a key, and show it this once; show errors next to the form."""
    try:
        made = keys.create(_read_key())
    except VitrineError as error:
        if not is_page_request():
            raise
        return _render_keys(to_error_body(error)[1], problem=error.message, submitted=request.form)
    return _render_keys(made=made)


def _read_key() -> KeyIn:
    fields = read_form(lists=("catalogues", "origins"))
    days = fields.pop("days", None)
    for name in ("catalogues", "origins"):
        fields[name] = [each for text in fields.get(name, []) for each in text.split()]
    if days is not None:
        fields["expires_in_s"] = _to_days(days) * _DAY_S
    return parse_model(KeyIn, fields)


def _to_days(text: str) -> float:
    return float(text) if text.isascii() and text.isdecimal() else -1.0


@blueprint.post("/manage/keys/<key_id>/<action>")
def run_key_action(key_id: str, action: str) -> AnyResponse:
    """Rotate a key and show the new one, or revoke it."""
    if action == "rotate":
        return _render_keys(made=keys.rotate(key_id, KeyRotation()))
    if action != "revoke":
        raise NotFound(_("Unknown action. Go back and use the buttons on the page."))
    keys.revoke(key_id)
    return redirect_to(url_for("manage.show_keys"))


@blueprint.post("/manage/sessions/<session_id>")
def run_session_action(session_id: str) -> AnyResponse:
    """End one session, or ``all`` of them."""
    if session_id == "all":
        end_all_sessions()
    else:
        end_session(session_id)
    return redirect_to(url_for("manage.show_keys"))


@blueprint.get("/manage/audit")
def show_audit_log() -> Response:
    """Show the audit log, newest first."""
    entries = services().audit.list_page(read_before(), _PAGE)
    return render_page("audit.html", entries=entries, page=_PAGE)
