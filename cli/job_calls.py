"""Calls that show jobs, and act on them."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import ValidationError

from cli.answers import parsed, parsed_list
from cli.calls import Calls
from shared.contracts import Failure, FailurePage, JobOut
from shared.errors import VitrineError


class JobCalls(Calls):
    """Part of ``VitrineClient``."""

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
        return JobOut.model_validate_json(text)
    except ValidationError as error:
        raise VitrineError("The server tells events that this version does not know.") from error
