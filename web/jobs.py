"""Jobs as they are polled: progress, what could not be used, and a way to stop."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, request

from shared.contracts import FailurePage, JobOut
from shared.errors import InvalidInput
from web.openapi import Parameter, operation
from web.services import services

blueprint = Blueprint("jobs", __name__)

MAX_PAGE = 1000


@blueprint.get("/v1/jobs")
@operation(
    "The newest jobs",
    "Jobs",
    {200: [JobOut]},
    parameters=(
        Parameter("catalogue", "Only this catalogue's"),
        Parameter("limit", f"1 to {MAX_PAGE}; 50 if left out", type="integer"),
    ),
    errors=(422,),
)
def recent() -> Response:
    jobs = services().jobs.recent(request.args.get("catalogue"), _limit(50))
    return jsonify([job.model_dump(mode="json") for job in jobs])


@blueprint.get("/v1/jobs/<job_id>")
@operation("One job with its progress", "Jobs", {200: JobOut}, errors=(404,))
def one(job_id: str) -> Response:
    return jsonify(services().jobs.status(job_id).model_dump(mode="json"))


@blueprint.get("/v1/jobs/<job_id>/failures")
@operation(
    "What a job could not use, and why",
    "Jobs",
    {200: FailurePage},
    parameters=(
        Parameter("after", "The next of the page before"),
        Parameter("limit", f"1 to {MAX_PAGE}; 100 if left out", type="integer"),
    ),
    errors=(404, 422),
)
def failures(job_id: str) -> Response:
    page = services().jobs.failures(job_id, request.args.get("after"), _limit(100))
    return jsonify(page.model_dump(mode="json"))


@blueprint.post("/v1/jobs/<job_id>/cancel")
@operation("Stop a job; what is done stays", "Jobs", {200: JobOut}, errors=(404,))
def cancel(job_id: str) -> Response:
    return jsonify(services().jobs.cancel(job_id).model_dump(mode="json"))


def _limit(otherwise: int) -> int:
    text = request.args.get("limit", str(otherwise))
    if not (text.isdecimal() and len(text) <= 5 and 1 <= int(text) <= MAX_PAGE):
        raise InvalidInput(f"limit: a number from 1 to {MAX_PAGE}.", "limit")
    return int(text)
