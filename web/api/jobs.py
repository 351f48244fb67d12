"""Jobs as they are polled: progress, what could not be used, and what can be done to them."""

from __future__ import annotations

from collections.abc import Iterator

from flask import Blueprint, Response, jsonify, request, url_for

from shared.contracts import FailurePage, JobOut, RetryRequest
from shared.errors import Expired
from shared.jobs.messages import publish_chunks
from shared.jobs.repository import JobRepository
from shared.process.metrics import PUBLISHES_FAILED
from web.api.openapi import Parameter, operation
from web.http.bodies import asked_number, optional_json
from web.http.csv_safety import csv_line
from web.http.errors import parsed
from web.services import services

blueprint = Blueprint("jobs", __name__)

MAX_PAGE = 1000
_REASON = Parameter("reason", "Only failures with this reason code")


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
    jobs = services().jobs.list_recent(request.args.get("catalogue"), asked_number("limit", 1, MAX_PAGE, 50))
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
        _REASON,
        Parameter("after", "The next of the page before"),
        Parameter("limit", f"1 to {MAX_PAGE}; 100 if left out", type="integer"),
    ),
    errors=(404, 422),
)
def failures(job_id: str) -> Response:
    reason, after = request.args.get("reason"), request.args.get("after")
    page = services().jobs.failures(job_id, after, asked_number("limit", 1, MAX_PAGE, 100), reason)
    return jsonify(page.model_dump(mode="json"))


@blueprint.get("/v1/jobs/<job_id>/failures.csv")
@operation(
    "The same as a CSV file, all of it; no cell runs as a formula",
    "Jobs",
    {200: "text/csv"},
    parameters=(_REASON,),
    errors=(404,),
)
def failures_csv(job_id: str) -> Response:
    jobs, reason = services().jobs, request.args.get("reason")
    jobs.status(job_id)  # an error must come before the first byte
    answer = Response(_csv(jobs, job_id, reason), mimetype="text/csv")
    answer.headers["Content-Disposition"] = 'attachment; filename="failures.csv"'
    return answer


def _csv(jobs: JobRepository, job_id: str, reason: str | None) -> Iterator[str]:
    yield csv_line(("row", "product_id", "image", "reason", "message"))
    after: str | None = None
    while True:
        page = jobs.failures(job_id, after, MAX_PAGE, reason)
        for f in page.failures:
            yield csv_line((str(f.row), f.product_id or "", f.image or "", f.reason, f.message))
        if (after := page.next) is None:
            return


@blueprint.post("/v1/jobs/<job_id>/pause")
@operation("Stop a job until it is resumed; what is done stays", "Jobs", {200: JobOut}, errors=(404, 409))
def pause(job_id: str) -> Response:
    return _shown(services().jobs.pause(job_id))


@blueprint.post("/v1/jobs/<job_id>/resume")
@operation("Let a paused job go on", "Jobs", {200: JobOut}, errors=(404, 409))
def resume(job_id: str) -> Response:
    job = services().jobs.resume(job_id)
    publish_job(job_id)
    return _shown(job)


@blueprint.post("/v1/jobs/<job_id>/cancel")
@operation("End a job; what is done stays", "Jobs", {200: JobOut}, errors=(404, 409))
def cancel(job_id: str) -> Response:
    return _shown(services().jobs.cancel(job_id))


@blueprint.post("/v1/jobs/<job_id>/retry")
@operation(
    "Do again what failed in a job that has ended, as a new job",
    "Jobs",
    {202: JobOut},
    bodies={"application/json": RetryRequest},
    errors=(404, 409, 410, 422),
)
def retry(job_id: str) -> Response:
    wanted = parsed(RetryRequest, optional_json())
    made = retried(job_id, wanted.reason)
    answer = _shown(services().jobs.status(made))
    answer.status_code = 202
    answer.headers["Location"] = url_for("jobs.one", job_id=made)
    return answer


def retried(job_id: str, reason: str | None) -> str:
    """Create the job that does again what failed, publish it, and return its id.

    Raises:
        UnknownJob, Conflict: as ``JobRepository.retry``.
        Expired: what it would read from is gone.
    """
    parts = services()
    old = parts.jobs.status(job_id)
    if old.state != "succeeded" or old.counts.failed or old.image_failures:
        require_upload(job_id)
    made = caller_jobs().retry(job_id, reason, parts.settings.jobs.chunk_items)
    publish_job(made.id)
    return made.id


def require_upload(job_id: str) -> None:
    """Raise Expired if the upload that the job read from is gone."""
    parts = services()
    archive = parts.jobs.archive(job_id)
    if archive is not None and not parts.store.exists(archive, "imports"):
        days = parts.settings.jobs.keep_import_s / 86_400
        raise Expired(
            f"The upload of this job is gone: it was kept for {days:.3g} days after the job ended. "
            "Import the products again."
        )


def caller_jobs() -> JobRepository:
    """Return what makes jobs for the caller of this request, as many as it may have waiting."""
    settings = services().settings
    # There is one key today: who has none can only call where none is set.
    caller = "anonymous" if settings.web.api_key is None else "api-key"
    return services().jobs.for_caller(caller, settings.jobs.max_waiting)


def publish_job(job_id: str) -> None:
    """Publish a job's first chunk; the maintenance process publishes a lost message again."""
    parts = services()
    if not publish_chunks(parts.publisher, parts.database, [parts.jobs.first_chunk(job_id)]):
        PUBLISHES_FAILED.inc()
        parts.broker.expire()


def _shown(job: JobOut) -> Response:
    return jsonify(job.model_dump(mode="json"))
