"""Calls that show jobs, and act on them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress

from pydantic import ValidationError

from shared.contracts import ENDED_STATES, Failure, FailurePage, JobOut
from shared.errors import Unavailable, VitrineError
from vitrine_client.answers import parsed, parsed_list
from vitrine_client.connection import Connection

_FIRST_PAUSE_S, _MOST_PAUSE_S = 0.25, 5.0


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
        return parsed_list(JobOut, self._request("GET", "/v1/jobs", params=params))

    def job_events(self, job_id: str) -> Iterator[JobOut]:
        """Yield the job as it is, and again at each change, until it ends or the server does."""
        with self._streamed(f"/v1/jobs/{job_id}/events") as answer:
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    yield _job(line.removeprefix("data: "))

    def watch_job(self, job_id: str) -> Iterator[JobOut]:
        """Yield the job as it is, and again as it goes on, to its end: by events, or by asking.

        Asking is for when the server has no event stream left, or is started again meanwhile.
        """
        job = self.job(job_id)
        yield job
        pause_s = _FIRST_PAUSE_S
        while job.state not in ENDED_STATES:
            with suppress(Unavailable):
                for job in self.job_events(job_id):
                    yield job
            if job.state in ENDED_STATES:
                return
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _MOST_PAUSE_S)
            job = self.job(job_id)
            yield job

    def wait_job(self, job_id: str, deadline_s: float = 3600.0) -> JobOut:
        """Return the job when it has ended, well or not: ``state`` and ``error`` say.

        Raises:
            Unavailable: it had not by the deadline; it goes on.
        """
        deadline, pause_s = time.monotonic() + deadline_s, _FIRST_PAUSE_S
        while (job := self.job(job_id)).state not in ENDED_STATES:
            if time.monotonic() > deadline:
                raise Unavailable(f"Job {job_id} did not end in {deadline_s:.0f} s; it goes on.")
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, _MOST_PAUSE_S)
        return job

    def failures(self, job_id: str, reason: str | None = None, page: int = 500) -> Iterator[Failure]:
        """Yield what a job could not use.

        Args:
            reason: only failures with this code.
        """
        params: dict[str, str | int] = {"limit": page} | ({"reason": reason} if reason else {})
        while True:
            found = parsed(FailurePage, self._request("GET", f"/v1/jobs/{job_id}/failures", params=params))
            yield from found.failures
            if found.next is None:
                return
            params["after"] = found.next

    def failure_reasons(self, job_id: str) -> dict[str, int]:
        """Return how many failures a job has of each reason, the most frequent first."""
        page = self._request("GET", f"/v1/jobs/{job_id}/failures", params={"limit": 1})
        return parsed(FailurePage, page).reasons or {}

    def failures_csv(self, job_id: str, reason: str | None = None) -> Iterator[bytes]:
        """Yield the pieces of a CSV file of what a job could not use."""
        params = {"reason": reason} if reason else {}
        with self._streamed(f"/v1/jobs/{job_id}/failures.csv", params=params) as answer:
            yield from answer.iter_bytes()

    def pause_job(self, job_id: str) -> JobOut:
        """Stop a job until it is resumed."""
        return self._act(job_id, "pause")

    def resume_job(self, job_id: str) -> JobOut:
        """Let a paused job go on."""
        return self._act(job_id, "resume")

    def cancel_job(self, job_id: str) -> JobOut:
        """End a job; what is done stays."""
        return self._act(job_id, "cancel")

    def retry_job(self, job_id: str, reason: str | None = None) -> JobOut:
        """Do again what failed in a job that has ended; return the job that does it.

        Args:
            reason: only failures with this code.
        """
        return parsed(JobOut, self._request("POST", f"/v1/jobs/{job_id}/retry", json={"reason": reason}))

    def _act(self, job_id: str, what: str) -> JobOut:
        return parsed(JobOut, self._request("POST", f"/v1/jobs/{job_id}/{what}", json={}))


def _job(text: str) -> JobOut:
    try:
        return JobOut.model_validate_json(text, extra="ignore")
    except ValidationError as error:
        raise VitrineError("The server tells events that this version does not know.") from error
