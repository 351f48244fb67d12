"""Sign in with the key, which a session cookie then replaces; sign out."""

from __future__ import annotations

from http import HTTPStatus
from typing import cast

from flask import Blueprint, Response, redirect, render_template, request, url_for
from flask_babel import gettext as _
from werkzeug.wrappers import Response as AnyResponse

from shared.access.roles import Role
from web.http import sessions
from web.http.audit import note_action, note_refusal
from web.http.path_prefix import script_root
from web.http.security import split_address
from web.services import services

blueprint = Blueprint("sign_in", __name__)

START = "/manage"


@blueprint.get("/sign-in")
def show_sign_in() -> AnyResponse:
    """Show the sign-in form; redirect if no key is set."""
    if services().settings.web.api_key is None:
        return redirect(script_root() + _safe_path(request.args.get("next")), 303)
    return _render_form(_safe_path(request.args.get("next")), HTTPStatus.OK)


@blueprint.post("/sign-in")
def sign_in_with_key() -> AnyResponse:
    """Check the key, start a session and redirect to the previous page."""
    parts, next_path = services(), _safe_path(request.form.get("next"))
    if parts.settings.web.api_key is None:
        return redirect(script_root() + next_path, 303)
    offered = request.form.get("key", "").strip()
    credential, problem = _check_key(offered)
    if credential is None:
        wait_s = parts.wrong_sign_ins.count(request.remote_addr)
        note_refusal(None, "sign_in", is_flood=wait_s is not None)
        if wait_s is not None:
            text = _("Too many attempts from your address. Try again in %(seconds)s seconds.", seconds=wait_s)
            page = _render_form(next_path, HTTPStatus.TOO_MANY_REQUESTS, text)
            page.headers["Retry-After"] = str(wait_s)
            return page
        return _render_form(next_path, HTTPStatus.FORBIDDEN, problem)
    answer = cast(Response, redirect(script_root() + next_path, 303))
    sessions.end_row()  # the browser forgets its cookie, so no page could end it later
    sessions.start(answer, credential)
    # The fingerprint of the bootstrap key is for comparisons alone.
    note_action("api-key" if credential.startswith("api-key:") else credential, "sign_in.succeeded")
    return answer


def _check_key(offered: str) -> tuple[str | None, str]:
    """Return the credential of a session for a key, or None and why there is none."""
    parts = services()
    if sessions.is_api_key(parts.settings, offered):
        return sessions.bootstrap_credential(parts.settings), ""
    key = parts.key_ring.find(offered)
    if key is None:
        return None, _("Wrong key. The administrator finds it in VITRINE_WEB__API_KEY.")
    if key.is_revoked or key.is_expired:
        return None, _("This key has expired or was revoked. Ask the administrator for another.")
    if not key.role.includes(Role.CATALOGUE):
        return None, _("This key opens no pages. Use a key with the role catalogue or higher.")
    return sessions.key_credential(key), ""


@blueprint.post("/sign-out")
def sign_out() -> AnyResponse:
    """End the browser's session, here and on the server."""
    answer = cast(Response, redirect(url_for("sign_in.show_sign_in"), 303))
    principal = sessions.find_principal(services().settings)
    if principal is not None:
        note_action(principal.actor, "sign_in.ended")
    sessions.end(answer)
    return answer


def render_refused_page() -> Response:
    """Render the sign-in form for a request without access, with the page to return to."""
    notice = ""
    if sessions.COOKIE in request.cookies:
        notice = _("Your session has ended, or the key was changed. Sign in again to continue.")
    if request.method in ("GET", "HEAD"):
        next_path = _safe_path(request.full_path.removesuffix("?"))
    else:
        referrer = split_address(request.referrer)
        next_path = _safe_path(
            referrer.path.removeprefix(script_root()) if referrer.netloc == request.host else None
        )
        notice = " ".join(
            [notice, _("Your last action was not carried out. Repeat it after signing in.")]
        ).strip()
    return _render_form(next_path, HTTPStatus.UNAUTHORIZED, notice)


def _render_form(next_path: str, status: HTTPStatus, notice: str = "") -> Response:
    return Response(
        render_template("sign_in.html", next_path=next_path, notice=notice), status, mimetype="text/html"
    )


def _safe_path(path: str | None) -> str:
    """Return ``path`` if it is a page of this server, else the owner's start page."""
    path = path or START
    parts = split_address(path)
    # A malformed address has no path.
    is_local = (
        path.isprintable() and "\\" not in path and not (parts.scheme or parts.netloc or not parts.path)
    )
    return path if is_local and path.startswith("/") and not path.startswith(("//", "/sign-")) else START
