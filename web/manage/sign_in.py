"""Signing in: a page asks for the key once, and a cookie stands for it from then on."""

from __future__ import annotations

from http import HTTPStatus
from typing import cast

from flask import Blueprint, Response, redirect, render_template, request
from flask_babel import gettext as _
from werkzeug.wrappers import Response as AnyResponse

from web.http import sessions
from web.http.request_parts import split_address
from web.services import services

blueprint = Blueprint("sign_in", __name__)

START = "/manage"


@blueprint.get("/sign-in")
def ask() -> AnyResponse:
    """The form; with nothing to sign in to, the way on."""
    if services().settings.web.api_key is None:
        return redirect(_own_path(request.args.get("next")), 303)
    return _page(_own_path(request.args.get("next")), HTTPStatus.OK)


@blueprint.post("/sign-in")
def enter() -> AnyResponse:
    """Check the key; the right one brings the browser back to where it was."""
    parts, after = services(), _own_path(request.form.get("next"))
    if parts.settings.web.api_key is None:
        return redirect(after, 303)
    if not sessions.is_the_key(parts.settings, request.form.get("key", "").strip()):
        wait_s = parts.wrong_sign_ins.count(request.remote_addr)
        if wait_s is not None:
            text = _(
                "Too many tries came from your address. Try again in %(seconds)s seconds.", seconds=wait_s
            )
            page = _page(after, HTTPStatus.TOO_MANY_REQUESTS, text)
            page.headers["Retry-After"] = str(wait_s)
            return page
        wrong = _("That is not the key. The operator finds it in VITRINE_WEB__API_KEY.")
        return _page(after, HTTPStatus.FORBIDDEN, wrong)
    answer = cast(Response, redirect(after, 303))
    sessions.begin(answer, parts.settings, secure=request.is_secure)
    return answer


@blueprint.post("/sign-out")
def leave() -> AnyResponse:
    """End the session of this browser."""
    answer = cast(Response, redirect("/sign-in", 303))
    sessions.finish(answer)
    return answer


def refused_page() -> Response:
    """What a page's visitor sees who may not see it: the form, and the way back to where he was."""
    why = ""
    if sessions.COOKIE in request.cookies:
        why = _("Your session has ended, or the key was changed. Sign in again to go on.")
    if request.method in ("GET", "HEAD"):
        after = _own_path(request.full_path.removesuffix("?"))
    else:
        came_from = split_address(request.referrer)
        after = _own_path(came_from.path if came_from.netloc == request.host else None)
        why = " ".join([why, _("What you sent was not done: send it again once you are signed in.")]).strip()
    return _page(after, HTTPStatus.UNAUTHORIZED, why)


def _page(after: str, status: HTTPStatus, why: str = "") -> Response:
    return Response(render_template("sign_in.html", after=after, why=why), status, mimetype="text/html")


def _own_path(path: str | None) -> str:
    """``path`` if it leads to a page of this server, else the owner's start page."""
    path = path or START
    parts = split_address(path)
    # A malformed address has no path.
    plain = path.isprintable() and "\\" not in path and not (parts.scheme or parts.netloc or not parts.path)
    return path if plain and path.startswith("/") and not path.startswith(("//", "/sign-")) else START
