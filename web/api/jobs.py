"""Jobs: list and poll them, read their failures, pause, resume, cancel and retry them."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Blueprint, Response, jsonify, request, url_for

from shared.access.principal import intersect
from shared.contracts import FailurePage, JobOut, RetryRequest
from shared.errors import Expired
from shared.jobs.messages import publish_chunks
from shared.jobs.repository import JobRepository
from shared.process.metrics import PUBLISHES_FAILED
from web.api.openapi import Parameter, operation
from web.http.bodies import parse_model, read_number, read_optional_json
from web.http.csv_safety import csv_line
from web.http.principals import current_principal
from web.services import services

blueprint = Blueprint("jobs", __name__)

MAX_PAGE = 1000
_REASON = Parameter("reason", "Only failures with this reason code")


@blueprint.get("/v1/jobs")
@operation(
    "List the newest jobs",
    "Jobs",
    {200: [JobOut]},
    parameters=(
        Parameter("catalogue", "Only jobs of this catalogue"),
        Parameter("limit", f"1 to {MAX_PAGE}; default 50", type="integer"),
    ),
)
def list_jobs() -> Response:
    jobs = list_visible_jobs(request.args.get("catalogue"), read_number("limit", 1, MAX_PAGE, 50))
    return jsonify([job.model_dump(mode="json") for job in jobs])


def list_visible_jobs(catalogue: str | None, limit: int) -> list[JobOut]:
    """Return the newest jobs of one catalogue, or of all that the caller may know of."""
    names = None if catalogue is None else [catalogue]
    return services().jobs.list_recent(intersect(names, current_principal().catalogues), limit)


@blueprint.get("/v1/jobs/<job_id>")
@operation("Get a job with its progress", "Jobs", {200: JobOut})
def get_job(job_id: str) -> Response:
    return jsonify(services().jobs.status(job_id).model_dump(mode="json"))


@blueprint.get("/v1/jobs/<job_id>/failures")
@operation(
    "List the failures of a job",
    "Jobs",
    {200: FailurePage},
    parameters=(
        _REASON,
        Parameter("after", "The next of the previous page"),
        Parameter("limit", f"1 to {MAX_PAGE}; default 100", type="integer"),
    ),
)
def list_failures(job_id: str) -> Response:
    reason, after = request.args.get("reason"), request.args.get("after")
    page = services().jobs.failures(job_id, after, read_number("limit", 1, MAX_PAGE, 100), reason)
    return jsonify(page.model_dump(mode="json"))


@blueprint.get("/v1/jobs/<job_id>/failures.csv")
@operation(
    "Export all failures of a job as CSV; no cell runs as a formula",
    "Jobs",
    {200: "text/csv"},
    parameters=(_REASON,),
)
def export_failures(job_id: str) -> Response:
    jobs, reason = services().jobs, request.args.get("reason")
    jobs.status(job_id)  # raises its errors before the first byte is sent
    answer = Response(_to_csv(jobs, job_id, reason), mimetype="text/csv")
    answer.headers["Content-Disposition"] = 'attachment; filename="failures.csv"'
    return answer


def _to_csv(jobs: JobRepository, job_id: str, reason: str | None) -> Iterator[str]:
    yield csv_line(("row", "product_id", "image", "reason", "message"))
    after: str | None = None
    while True:
        page = jobs.failures(job_id, after, MAX_PAGE, reason)
        for f in page.failures:
            yield csv_line((str(f.row), f.product_id or "", f.image or "", f.reason, f.message))
        if (after := page.next) is None:
            return


@blueprint.post("/v1/jobs/<job_id>/pause")
@operation("Pause a job; what is done stays", "Jobs", {200: JobOut}, errors=(409,))
def pause_job(job_id: str) -> Response:
    return _to_answer(services().jobs.pause(job_id))


@blueprint.post("/v1/jobs/<job_id>/resume")
@operation("Resume a paused job", "Jobs", {200: JobOut}, errors=(409,))
def resume_job(job_id: str) -> Response:
    job = services().jobs.resume(job_id)
    publish_job(job_id)
    return _to_answer(job)


@blueprint.post("/v1/jobs/<job_id>/cancel")
@operation("Cancel a job; what is done stays", "Jobs", {200: JobOut}, errors=(409,))
def cancel_job(job_id: str) -> Response:
    return _to_answer(services().jobs.cancel(job_id))


@blueprint.post("/v1/jobs/<job_id>/retry")
@operation(
    "Retry the failures of a finished job as a new job",
    "Jobs",
    {202: JobOut},
    bodies={"application/json": RetryRequest},
    errors=(409, 410),
)
def retry_job(job_id: str) -> Response:
    body = parse_model(RetryRequest, read_optional_json())
    retry_id = create_retry(job_id, body.reason)
    answer = _to_answer(services().jobs.status(retry_id))
    answer.status_code = 202
    answer.headers["Location"] = url_for("jobs.get_job", job_id=retry_id)
    return answer


def create_retry(job_id: str, reason: str | None) -> str:
    """Create and publish a job that retries the failures of another; return its id.

    Raises:
        UnknownJob, Conflict: as ``JobRepository.retry``.
        Expired: the upload of the job was deleted.
    """
    parts = services()
    old = parts.jobs.status(job_id)
    if old.state != "succeeded" or old.counts.failed or old.image_failures:
        require_upload(job_id)
    accepted = caller_jobs().retry(job_id, reason, parts.settings.jobs.chunk_items)
    publish_job(accepted.id)
    return accepted.id


def require_upload(job_id: str) -> None:
    """Raise Expired if the job's upload was deleted."""
    parts = services()
    archive = parts.jobs.archive(job_id)
    if archive is not None and not parts.store.exists(archive, "imports"):
        days = parts.settings.jobs.keep_import_s / 86_400
        raise Expired(
            f"The upload of this job was deleted {days:.3g} days after the job ended. "
            "Import the products again."
        )


def caller_jobs() -> JobRepository:
    """Return the job repository limited to the number of jobs that this caller may queue."""
    settings, caller = services().settings, current_principal().label
    return services().jobs.for_caller(caller, settings.jobs.max_waiting)


def publish_job(job_id: str) -> None:
    """Publish a job's first chunk; the maintenance process republishes a lost message."""
    parts = services()
    if not publish_chunks(parts.publisher, parts.database, [parts.jobs.first_chunk(job_id)]):
        PUBLISHES_FAILED.inc()
        parts.broker.expire()


def _to_answer(job: JobOut) -> Response:
    return jsonify(job.model_dump(mode="json"))
