"""Shared parts of the owner's pages: blueprint, error pages and redirects."""

from __future__ import annotations

from flask import Blueprint, Response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from shared.database.idempotency import AcceptedRequest
from shared.errors import Unauthorized, VitrineError
from web.api.jobs import publish_job
from web.http.errors import build_error_answer, is_page_request, to_error_body
from web.http.path_prefix import script_root
from web.http.security import split_address
from web.manage import names
from web.manage.sign_in import render_refused_page
from web.services import services

blueprint = Blueprint("manage", __name__)

#: Entries per page of a list.
PAGE = 24


@blueprint.context_processor
def _add_page_context() -> dict[str, object]:
    return {
        "state_name": names.translate_state,
        "kind_name": names.translate_kind,
        "keyed": services().settings.web.api_key is not None,
    }


@blueprint.errorhandler(VitrineError)
def _render_error(error: VitrineError) -> Response:
    """Render an error as a page with a link back; answer other clients in the API's error shape."""
    if not is_page_request():
        return build_error_answer(error)
    if isinstance(error, Unauthorized):
        return render_refused_page()
    body, status, headers = to_error_body(error)
    text = render_template("manage/error.html", error=body, status=status, back=get_previous_page())
    return Response(text, status, headers, mimetype="text/html")


def get_previous_page() -> str:
    """Return the own page that the request came from, else the start page."""
    sender = split_address(request.referrer)
    here = script_root() + request.path if request.method == "GET" else ""
    if sender.netloc != request.host or sender.path in ("", here):
        return url_for("manage.show_start")
    return f"{sender.path}?{sender.query}" if sender.query else sender.path


def redirect_to_job(accepted: AcceptedRequest) -> AnyResponse:
    """Publish a new job and redirect to its page."""
    if accepted.created:
        publish_job(accepted.id)
    return redirect_to(url_for("manage.show_job", job_id=accepted.id))


def redirect_to(address: str) -> AnyResponse:
    """Redirect after a POST, so that reloading the page does not repeat the POST."""
    return redirect(address, 303)


def render_page(template: str, status: int = 200, **values: object) -> Response:
    """Render one of the owner's pages."""
    return Response(render_template(f"manage/{template}", **values), status, mimetype="text/html")
