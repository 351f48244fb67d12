"""Jobs: the list, and one with its progress, what it found out, what failed, and what can be done to it."""

from __future__ import annotations

from collections.abc import Callable

from flask import Response, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from shared.catalogue.product_list import ProductList
from shared.contracts import ENDED_STATES, JobOut
from shared.errors import NotFound
from shared.jobs.dry_runs import DryRuns
from web.api.jobs import publish_job, require_upload, retried
from web.i18n import reader
from web.i18n.error_words import reason_said
from web.manage import names
from web.manage.frame import PAGE, blueprint, page_of, see, to_job
from web.services import services

_NEWEST = 50


@blueprint.get("/manage/jobs")
def jobs() -> Response:
    """The newest jobs, of one catalogue or all."""
    catalogue = request.args.get("catalogue") or None
    shown = services().jobs.list_recent(catalogue, _NEWEST)
    open_ones = any(job.state not in ENDED_STATES for job in shown)
    return page_of("jobs.html", catalogue=catalogue, jobs=shown, live=open_ones)


@blueprint.get("/manage/jobs/<job_id>")
def job(job_id: str) -> Response:
    """One job; ``reason`` shows only those failures."""
    parts = services()
    shown = parts.jobs.status(job_id)
    reason = request.args.get("reason") or None
    failures = parts.jobs.failures(job_id, request.args.get("after"), PAGE, reason)
    failed = [each.product_id for each in failures.failures if each.product_id]
    return page_of(
        "job.html",
        catalogue=shown.catalogue,
        job=shown,
        ended=shown.state in ENDED_STATES,
        phase=names.of_phase(shown.phase),
        stages=stages_of(shown),
        failures=failures,
        reasons=parts.jobs.failures(job_id, None, 1).reasons or {},
        reason=reason,
        reason_said=reason_said,
        known=ProductList(parts.database).read_titles(shown.catalogue, failed, reader().titles),
    )


def stages_of(job: JobOut) -> list[tuple[str, float, float]]:
    """Name, seconds and share of the longest of each stage that took any time."""
    spent = {stage: seconds for stage, seconds in job.stages_s.model_dump().items() if seconds > 0}
    most = max(spent.values(), default=1.0)
    return [(names.of_stage(stage), seconds, seconds / most) for stage, seconds in spent.items()]


@blueprint.post("/manage/jobs/<job_id>/<action>")
def act(job_id: str, action: str) -> AnyResponse:
    """Pause, resume, cancel, retry, or start what a dry run looked at; then look at the job."""
    if action in ("start", "retry"):
        services().broker.require_writable()
    if action == "start":
        require_upload(job_id)
        return to_job(DryRuns(services().database).start(job_id))
    if action == "retry":
        job_id = retried(job_id, request.form.get("reason") or None)
    elif action in _ACTIONS:
        _ACTIONS[action](job_id)
    else:
        raise NotFound("There is no such action: go back, and use the buttons of the job's page.")
    return see(url_for("manage.job", job_id=job_id))


def _pause(job_id: str) -> None:
    services().jobs.pause(job_id)


def _resume(job_id: str) -> None:
    services().jobs.resume(job_id)
    publish_job(job_id)


def _cancel(job_id: str) -> None:
    services().jobs.cancel(job_id)


_ACTIONS: dict[str, Callable[[str], None]] = {"pause": _pause, "resume": _resume, "cancel": _cancel}
