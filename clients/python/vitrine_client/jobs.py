"""Calls that read and control jobs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress

from pydantic import ValidationError

from shared.contracts import ENDED_STATES, Failure, FailurePage, JobOut
from shared.errors import Unavailable, VitrineError
from shared.process.backoff import Backoff
from vitrine_client.answers import parse_answer, parse_answers
from vitrine_client.connection import Connection

_POLL = Backoff(first_s=0.25, factor=1.5, max_s=5.0)


class JobCalls(Connection):
    """Part of ``Vitrine``."""

    def job(self, job_id: str) -> JobOut:
        """Return a job with its counts, rate and ETA."""
        return self._get(JobOut, f"/v1/jobs/{job_id}")

    def jobs(self, catalogue: str | None = None, limit: int = 50) -> list[JobOut]:
        """Return the newest jobs, newest first."""
        params: dict[str, str | int] = {"limit": limit}
        if catalogue is not None:
            params["catalogue"] = catalogue
        return parse_answers(JobOut, self._request("GET", "/v1/jobs", params=params))

    def job_events(self, job_id: str) -> Iterator[JobOut]:
        """Yield the job now and at each change, until it ends or the server closes the stream."""
        with self._stream(f"/v1/jobs/{job_id}/events") as answer:
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    yield _job(line.removeprefix("data: "))

    def watch_job(self, job_id: str) -> Iterator[JobOut]:
        """Yield the job now and at each change until it ends, from the event stream or by polling.

        Polling covers a server that has no event stream left or is restarting.
        """
        job = self.job(job_id)
        yield job
        polls = 0
        while job.state not in ENDED_STATES:
            with suppress(Unavailable):
                for job in self.job_events(job_id):
                    yield job
            if job.state in ENDED_STATES:
                return
            polls += 1
            time.sleep(_POLL.delay_s(polls))
            job = self.job(job_id)
            yield job

    def wait_job(self, job_id: str, deadline_s: float = 3600.0) -> JobOut:
        """Wait until the job has ended, successfully or not, and return it.

        Raises:
            Unavailable: it has not ended by the deadline; it goes on.
        """
        deadline, polls = time.monotonic() + deadline_s, 0
        while (job := self.job(job_id)).state not in ENDED_STATES:
            if time.monotonic() > deadline:
                raise Unavailable(f"Job {job_id} did not end in {deadline_s:.0f} s; it goes on.")
            polls += 1
            time.sleep(_POLL.delay_s(polls))
        return job

    def failures(self, job_id: str, reason: str | None = None, page: int = 500) -> Iterator[Failure]:
        """Yield the failures of a job.

        Args:
            reason: only failures with this code.
        """
        params: dict[str, str | int] = {"limit": page} | ({"reason": reason} if reason else {})
        while True:
            found = parse_answer(
                FailurePage, self._request("GET", f"/v1/jobs/{job_id}/failures", params=params)
            )
            yield from found.failures
            if found.next is None:
                return
            params["after"] = found.next

    def failure_reasons(self, job_id: str) -> dict[str, int]:
        """Return the number of failures by reason, most frequent first."""
        page = self._request("GET", f"/v1/jobs/{job_id}/failures", params={"limit": 1})
        return parse_answer(FailurePage, page).reasons or {}

    def failures_csv(self, job_id: str, reason: str | None = None) -> Iterator[bytes]:
        """Yield the failures of a job as the chunks of a CSV file."""
        params = {"reason": reason} if reason else {}
        with self._stream(f"/v1/jobs/{job_id}/failures.csv", params=params) as answer:
            yield from answer.iter_bytes()

    def pause_job(self, job_id: str) -> JobOut:
        """Stop a job until it is resumed."""
        return self._act(job_id, "pause")

    def resume_job(self, job_id: str) -> JobOut:
        """Resume a paused job."""
        return self._act(job_id, "resume")

    def cancel_job(self, job_id: str) -> JobOut:
        """Cancel a job; completed work is kept."""
        return self._act(job_id, "cancel")

    def retry_job(self, job_id: str, reason: str | None = None) -> JobOut:
        """Retry the failures of an ended job; return the new job.

        Args:
            reason: only failures with this code.
        """
        return parse_answer(
            JobOut, self._request("POST", f"/v1/jobs/{job_id}/retry", json={"reason": reason})
        )

    def _act(self, job_id: str, what: str) -> JobOut:
        return parse_answer(JobOut, self._request("POST", f"/v1/jobs/{job_id}/{what}", json={}))


def _job(text: str) -> JobOut:
    try:
        return JobOut.model_validate_json(text, extra="ignore")
    except ValidationError as error:
        raise VitrineError("The server sent an event that this version does not know.") from error
