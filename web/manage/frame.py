"""What all pages of the owner share: the blueprint, errors as pages with a way back, and the way to a job."""

from __future__ import annotations

from flask import Blueprint, Response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from shared.database.idempotency import AcceptedRequest
from shared.errors import Unauthorized, VitrineError
from web.api.jobs import publish_job
from web.http.errors import as_body, error_answer, wants_page
from web.http.request_parts import split_address
from web.manage import names
from web.manage.sign_in import refused_page
from web.services import services

blueprint = Blueprint("manage", __name__)

#: Rows of one page of a list.
PAGE = 24


@blueprint.context_processor
def _of_every_page() -> dict[str, object]:
    return {
        "state_name": names.of_state,
        "kind_name": names.of_kind,
        "keyed": services().settings.web.api_key is not None,
    }


@blueprint.errorhandler(VitrineError)
def _trouble(error: VitrineError) -> Response:
    """An error as a page that leads back to where one was; what is not a browser gets the usual shape."""
    if not wants_page():
        return error_answer(error)
    if isinstance(error, Unauthorized):
        return refused_page()
    body, status, headers = as_body(error)
    text = render_template("manage/trouble.html", error=body, status=status, back=came_from())
    return Response(text, status, headers, mimetype="text/html")


def came_from() -> str:
    """The page of ours that sent the visitor here, else the start page."""
    sender = split_address(request.referrer)
    here = request.path if request.method == "GET" else ""
    if sender.netloc != request.host or sender.path in ("", here):
        return url_for("manage.start")
    return f"{sender.path}?{sender.query}" if sender.query else sender.path


def to_job(accepted: AcceptedRequest) -> AnyResponse:
    """Publish a job that was created, and lead to its page."""
    if accepted.created:
        publish_job(accepted.id)
    return see(url_for("manage.job", job_id=accepted.id))


def see(address: str) -> AnyResponse:
    """The answer to a POST: go there and look, so that loading the page again sends nothing twice."""
    return redirect(address, 303)


def page_of(template: str, status: int = 200, **values: object) -> Response:
    """Render one of the owner's pages."""
    return Response(render_template(f"manage/{template}", **values), status, mimetype="text/html")
