"""Fetch pictures again, once, at the end of an import: their sites may have been down for a moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.orm import Session

from shared.contracts.states import ItemState
from shared.contracts.stored import as_object
from shared.database.tables import Job, JobFailure, JobItem
from shared.jobs.work import ChunkClaim, Item
from worker.products.context import JobContext

#: Reason of pictures whose site did not answer, or answered with an error that may pass.
_REASON: Final = "unreachable"
#: Longest wait for sites that asked for a pause, or that are skipped because they failed repeatedly.
_MAX_PAUSE_S: Final = 45.0
_POLL_INTERVAL_S: Final = 0.5
_PAGE_ITEMS: Final = 200
_KEY: Final = "refetch"
#: Result of a product that is processed twice, by its first and second result; else the second counts.
_RESULTS: Final = {
    ("new", "changed"): "new",
    ("new", "unchanged"): "new",
    ("changed", "unchanged"): "changed",
}


@dataclass(frozen=True)
class _Page:
    """Products that wait for their second try, with their first results by number."""

    items: list[Item]
    results: dict[int, str | None]


@dataclass(frozen=True)
class Refetch:
    """Processes the products of an import again whose pictures could not be fetched.

    Attributes:
        work: processes items of the job, and records their outcomes.
    """

    context: JobContext
    work: Callable[[ChunkClaim, Sequence[Item]], None]

    def run(self, claim: ChunkClaim) -> dict[str, Any]:
        """Fetch again what failed; return the ``refetch`` part of the job's report, empty if nothing did.

        Safe to repeat: an interrupted run continues where it ended.
        """
        pictures = self._begin(claim)
        if not pictures:
            return {}
        self._wait(claim)
        for page in self._pages(claim):
            self.work(claim, page.items)
            self._keep_results(claim, page.results)
        with self.context.database.read() as session:
            left = session.scalar(_count_failures(claim.job_id)) or 0
        return {_KEY: {"pictures": pictures, "fetched": max(0, pictures - left)}}

    def _begin(self, claim: ChunkClaim) -> int:
        """Return how many pictures are fetched again, as noted in the report at the first try."""
        with self.context.database.write() as session:
            self.context.desk.renew_lease(session, claim)
            job = session.get_one(Job, claim.job_id, populate_existing=True)
            report = as_object(job.report)
            if _KEY not in report:
                pictures = session.scalar(_count_failures(claim.job_id)) or 0
                report = {**report, _KEY: {"pictures": pictures, "last": 0}}
                if pictures:
                    job.report = report
            return int(report[_KEY]["pictures"])

    def _wait(self, claim: ChunkClaim) -> None:
        """Wait until the sites that are skipped may be asked again, and do urgent work until then."""
        until = time.monotonic() + min(self.context.sources.fetch_pause_s(), _MAX_PAUSE_S)
        while (left_s := until - time.monotonic()) > 0:
            time.sleep(min(left_s, _POLL_INTERVAL_S))
            self.context.give_way(claim)

    def _pages(self, claim: ChunkClaim) -> Iterator[_Page]:
        """Yield the products that an interrupted run left, then page by page the others."""
        with self.context.database.read() as session:
            waiting = _page(session, claim.job_id, JobItem.state == ItemState.WAITING)
        if waiting.items:
            yield waiting
        while (page := self._reset_page(claim)).items:
            yield page

    def _reset_page(self, claim: ChunkClaim) -> _Page:
        """Put back the next products whose pictures failed, with their counts and failures."""
        with self.context.database.write() as session:
            self.context.desk.renew_lease(session, claim)
            job = session.get_one(Job, claim.job_id, with_for_update=True, populate_existing=True)
            report = as_object(job.report)
            is_left = JobItem.number > int(report[_KEY]["last"]), _has_failure(claim.job_id)
            page = _page(session, claim.job_id, *is_left, limit=_PAGE_ITEMS)
            if not page.items:
                return page
            lost = (
                JobFailure.job_id == claim.job_id,
                JobFailure.product_id.in_([item.product_id for item in page.items]),
                JobFailure.image.is_not(None),
            )
            job.image_failures -= session.scalar(select(func.count()).where(*lost)) or 0
            for result in page.results.values():
                if result is not None:
                    setattr(job, result, getattr(job, result) - 1)
            job.report = {**report, _KEY: {**report[_KEY], "last": page.items[-1].number}}
            session.execute(delete(JobFailure).where(*lost))
            session.execute(
                update(JobItem)
                .where(JobItem.job_id == claim.job_id, JobItem.number.in_(list(page.results)))
                .values(state=ItemState.WAITING, attempts=0)
                .execution_options(synchronize_session=False)
            )
            return page

    def _keep_results(self, claim: ChunkClaim, before: dict[int, str | None]) -> None:
        """Count a product that the first try wrote by what that try did."""
        with self.context.database.write() as session:
            self.context.desk.renew_lease(session, claim)
            job = session.get_one(Job, claim.job_id, with_for_update=True, populate_existing=True)
            items = session.scalars(
                select(JobItem).where(JobItem.job_id == claim.job_id, JobItem.number.in_(list(before)))
            )
            for item in items:
                first, second = before[item.number] or "", item.result or ""
                if (result := _RESULTS.get((first, second))) is not None:
                    setattr(job, second, getattr(job, second) - 1)
                    setattr(job, result, getattr(job, result) + 1)
                    item.result = result


def _page(session: Session, job_id: str, *where: Any, limit: int | None = None) -> _Page:
    rows = session.execute(
        select(JobItem.number, JobItem.row, JobItem.product_id, JobItem.payload, JobItem.result)
        .where(JobItem.job_id == job_id, *where)
        .order_by(JobItem.number)
        .limit(limit)
    ).all()
    items = [Item(r.number, r.row, r.product_id, r.payload, 0) for r in rows]
    return _Page(items, {r.number: r.result for r in rows})


def _has_failure(job_id: str) -> Any:
    return exists().where(
        JobFailure.job_id == job_id,
        JobFailure.product_id == JobItem.product_id,
        JobFailure.reason == _REASON,
        JobFailure.image.is_not(None),
    )


def _count_failures(job_id: str) -> Any:
    return select(func.count()).where(
        JobFailure.job_id == job_id, JobFailure.reason == _REASON, JobFailure.image.is_not(None)
    )
