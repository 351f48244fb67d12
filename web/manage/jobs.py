"""The job list, and a job with its progress, report, failures and actions."""

from __future__ import annotations

from collections.abc import Callable

from flask import Response, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from shared.contracts import ENDED_STATES, FailurePage, JobOut
from shared.errors import Expired, NotFound
from web.api.jobs import create_retry, list_visible_jobs, publish_job, require_upload
from web.i18n import reader
from web.i18n.error_texts import describe_failure
from web.manage import names
from web.manage.frame import PAGE, blueprint, redirect_to, redirect_to_job, render_page
from web.services import services

_MAX_JOBS = 50

#: Longest name of a column that may be an attribute by its own name.
_MAX_ATTRIBUTE_CHARS = 100


@blueprint.get("/manage/jobs")
def show_jobs() -> Response:
    """Show the newest jobs of one catalogue or all."""
    catalogue = request.args.get("catalogue") or None
    jobs = list_visible_jobs(catalogue, _MAX_JOBS)
    is_live = any(job.state not in ENDED_STATES for job in jobs)
    return render_page("jobs.html", catalogue=catalogue, jobs=jobs, live=is_live)


@blueprint.get("/manage/jobs/<job_id>")
def show_job(job_id: str) -> Response:
    """Show a job; ``reason`` limits its failures."""
    parts = services()
    job = parts.jobs.status(job_id)
    reason = request.args.get("reason") or None
    try:
        failures = parts.jobs.failures(job_id, request.args.get("after"), PAGE, reason)
        reasons = parts.jobs.failures(job_id, None, 1).reasons or {}
    except Expired:
        failures, reasons = FailurePage(reasons=None, failures=[], next=None), {}
    failed = [each.product_id for each in failures.failures if each.product_id]
    return render_page(
        "job.html",
        catalogue=job.catalogue,
        job=job,
        ended=job.state in ENDED_STATES,
        phase=names.translate_phase(job.phase),
        stages=list_stages(job),
        failures=failures,
        reasons=reasons,
        reason=reason,
        describe_failure=describe_failure,
        products=parts.product_list.read_titles(job.catalogue, failed, reader().titles),
    )


def list_stages(job: JobOut) -> list[tuple[str, float, float]]:
    """List name, seconds and share of the longest stage, for each stage that took time."""
    spent = {stage: seconds for stage, seconds in job.stages_s.model_dump().items() if seconds > 0}
    longest = max(spent.values(), default=1.0)
    return [(names.translate_stage(stage), seconds, seconds / longest) for stage, seconds in spent.items()]


@blueprint.post("/manage/jobs/<job_id>/<action>")
def run_job_action(job_id: str, action: str) -> AnyResponse:
    """Pause, resume, cancel or retry a job, or start the import of a dry run; redirect to the job."""
    if action in ("start", "retry", "map"):
        services().broker.require_writable()
    if action == "start":
        require_upload(job_id)
        return redirect_to_job(services().dry_runs.start(job_id))
    if action == "map":
        return redirect_to_job(services().dry_runs.check_again(job_id, _mapping()))
    if action == "retry":
        job_id = create_retry(job_id, request.form.get("reason") or None)
    elif action in _ACTIONS:
        _ACTIONS[action](job_id)
    else:
        raise NotFound("Unknown action. Go back and use the buttons on the job's page.")
    return redirect_to(url_for("manage.show_job", job_id=job_id))


def _mapping() -> dict[str, list[str]]:
    """Return the columns of each field that the form of a dry run says."""
    mapping: dict[str, list[str]] = {}
    columns, fields = request.form.getlist("column"), request.form.getlist("field")
    for column, field in zip(columns, fields, strict=False):
        # A column without a field is an attribute of its own name, which is what it is by default as well.
        if field or len(column) <= _MAX_ATTRIBUTE_CHARS:
            mapping.setdefault(field.strip() or f"attributes.{column}", []).append(column)
    return mapping


def _pause(job_id: str) -> None:
    services().jobs.pause(job_id)


def _resume(job_id: str) -> None:
    services().jobs.resume(job_id)
    publish_job(job_id)


def _cancel(job_id: str) -> None:
    services().jobs.cancel(job_id)


_ACTIONS: dict[str, Callable[[str], None]] = {"pause": _pause, "resume": _resume, "cancel": _cancel}
