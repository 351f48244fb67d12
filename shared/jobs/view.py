"""Convert a job's row to its contract."""

from __future__ import annotations

from shared.contracts import ErrorBody, JobCounts, JobOut, StageSeconds
from shared.contracts.states import OPEN_STATES, JobState
from shared.contracts.stored import as_object
from shared.database.clock import now_s, to_datetime
from shared.database.tables import Job
from shared.jobs.pace import Speed, recent_speed


def job_out(job: Job, catalogue: str) -> JobOut:
    """Return the job with its current counts, rate and ETA."""
    counts = JobCounts(
        new=job.new, changed=job.changed, unchanged=job.unchanged, deleted=job.deleted, failed=job.failed
    )
    done = count_done(job)
    rate = _rate(job, done)
    left = None if job.total is None or job.state != JobState.RUNNING else max(job.total - done, 0)
    return JobOut(
        id=job.id,
        kind=job.kind,
        catalogue=catalogue,
        state=job.state,
        phase=job.phase,
        options=as_object(job.options),
        retry_of=job.retry_of,
        waits_for=job.waits_for if job.state in OPEN_STATES else None,
        total=job.total,
        done=done,
        counts=counts,
        images=job.images,
        images_reused=job.images_reused,
        image_failures=job.image_failures,
        stages_s=StageSeconds(decode=job.decode_s, detect=job.detect_s, embed=job.embed_s, write=job.write_s),
        rate_per_s=rate.rate if rate else None,
        eta_s=left / rate.rate if rate and left is not None else None,
        eta_low_s=left / rate.fast if rate and left is not None else None,
        eta_high_s=left / rate.slow if rate and left is not None else None,
        created_at=to_datetime(job.created_at),
        started_at=to_datetime(job.started_at),
        finished_at=to_datetime(job.finished_at),
        report=as_object(job.report) or None,
        error=ErrorBody(code=job.error_code, message=job.error_message or "") if job.error_code else None,
    )


def count_done(job: Job) -> int:
    """Return the number of processed products, failed ones included."""
    return job.new + job.changed + job.unchanged + job.deleted + job.failed


def _rate(job: Job, done: int) -> Speed | None:
    """Return the recent speed of a running job, else its overall speed without pauses."""
    if job.started_at is None or done == 0:
        return None
    now = now_s()
    recent = recent_speed(job.pace, now) if job.state == JobState.RUNNING else None
    if recent is not None:
        return recent
    end = job.finished_at or job.paused_at or now
    rate = done / max(end - job.started_at - job.paused_s, 1e-3)
    return Speed(rate, rate / 2, rate * 1.5)
