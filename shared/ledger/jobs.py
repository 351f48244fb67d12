"""Jobs: made by the web, polled by a client. The worker's side is ``JobDesk``."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.contracts import ErrorBody, Failure, FailurePage, JobCounts, JobOut, ProductIn
from shared.database import Database
from shared.database.tables import Catalogue, Chunk, Job, JobFailure, JobItem, Product
from shared.errors import InvalidInput, UnknownJob, UnknownProduct
from shared.ledger import Accepted, Idempotent, find_catalogue, now_s, remember, seen_before
from shared.ledger.searches import moment

_SCOPE = "job"
#: One product put by hand goes before the chunks of a bulk import.
BY_HAND, BULK = 0, 10
OPEN_STATES = ("queued", "running")
#: Of chunks.
UNFINISHED = ("held", "waiting", "running")


class JobLedger:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create_import(
        self, catalogue: str, source: dict[str, Any], idempotency: Idempotent | None = None
    ) -> Accepted:
        """Commit an import whose manifest a worker will read.

        Args:
            source: ``{"archive": name}`` in the image store, or ``{"path": absolute path}``.

        Raises:
            UnknownCatalogue, Conflict.
        """
        try:
            return self._create("import", catalogue, source, [], idempotency)
        except IntegrityError:  # two requests with one new key met; the other one has committed
            return self._create("import", catalogue, source, [], idempotency)

    def create_rebuild(self, catalogue: str) -> Accepted:
        """Commit writing a catalogue's index anew from the database: no model and no picture is needed."""
        return self._create("rebuild", catalogue, {}, [], None)

    def create(
        self,
        kind: str,
        catalogue: str,
        options: dict[str, Any] | None = None,
        *,
        index_version: int | None = None,
        by_hand: bool = False,
        idempotency: Idempotent | None = None,
    ) -> Accepted:
        """Commit a job whose items, if it has any, a worker will list.

        Args:
            kind: a name in ``worker/jobs``.
            by_hand: whether somebody waits for it: it then goes before bulk work.

        Raises:
            UnknownCatalogue, Conflict.
        """
        return self._create(
            kind,
            catalogue,
            {},
            [],
            idempotency,
            options=options,
            index_version=index_version,
            priority=BY_HAND if by_hand else BULK,
        )

    def create_put(
        self, catalogue: str, product_id: str, product: ProductIn, images: list[str] | None
    ) -> Accepted:
        """Commit one product to be written.

        Args:
            images: keys in the image store; None keeps the pictures that the product has.
        """
        payload = {"product": product.model_dump(mode="json"), "images": images}
        return self._create("put", catalogue, {}, [(product_id, payload)], None)

    def create_delete(self, catalogue: str, product_ids: list[str]) -> Accepted:
        """Commit the deletion of products.

        Raises:
            UnknownProduct: one of them is not there.
        """
        with self._database.read() as session:
            place = find_catalogue(session, catalogue)
            known = set(
                session.scalars(
                    select(Product.product_id).where(
                        Product.catalogue_id == place.id, Product.product_id.in_(product_ids)
                    )
                )
            )
        for product_id in product_ids:
            if product_id not in known:
                raise UnknownProduct(f"There is no product {product_id!r} in this catalogue.", "product_id")
        return self._create("delete", catalogue, {}, [(p, {}) for p in product_ids], None)

    def _create(
        self,
        kind: str,
        catalogue: str,
        source: dict[str, Any],
        items: list[tuple[str, dict[str, Any]]],
        idempotency: Idempotent | None,
        *,
        options: dict[str, Any] | None = None,
        index_version: int | None = None,
        priority: int | None = None,
    ) -> Accepted:
        with self._database.write() as session:
            if (earlier := seen_before(session, _SCOPE, idempotency)) is not None:
                return Accepted(earlier, False)
            place = find_catalogue(session, catalogue)
            job = Job(
                id=str(uuid.uuid4()),
                kind=kind,
                catalogue_id=place.id,
                state="queued",
                source=source,
                options=options or {},
                index_version=index_version,
                phase="work" if items else "plan",
                total=len(items) if items else None,
                created_at=now_s(),
            )
            session.add(job)
            session.flush()
            # Bulk work starts with chunk 0, which lists the products; others have their items at once.
            number, last, stage = (1, len(items), "items") if items else (0, 0, "plan")
            urgency = priority if priority is not None else BY_HAND if items else BULK
            session.add(new_chunk(job.id, number, 1, last, urgency, stage))
            session.add_all(
                JobItem(job_id=job.id, number=n, row=n, product_id=p, payload=payload, state="waiting")
                for n, (p, payload) in enumerate(items, start=1)
            )
            remember(session, _SCOPE, idempotency, job.id)
            return Accepted(job.id, True)

    def first_chunk(self, job_id: str) -> str:
        """Return the id of the chunk to ring first."""
        with self._database.read() as session:
            found = session.scalar(
                select(Chunk.id).where(Chunk.job_id == job_id).order_by(Chunk.number).limit(1)
            )
        if found is None:
            raise UnknownJob(f"There is no job {job_id!r}.")
        return found

    def status(self, job_id: str) -> JobOut:
        """Return the job with counts, rate and ETA; UnknownJob if there is none."""
        with self._database.read() as session:
            row = session.execute(_select_jobs().where(Job.id == job_id)).one_or_none()
            if row is None:
                raise UnknownJob(f"There is no job {job_id!r}: GET /v1/jobs lists them.")
            return _job_out(*row)

    def recent(self, catalogue: str | None = None, limit: int = 50) -> list[JobOut]:
        """Return the newest jobs, newest first."""
        query = _select_jobs().order_by(Job.created_at.desc()).limit(limit)
        if catalogue is not None:
            query = query.where(Catalogue.name == catalogue)
        with self._database.read() as session:
            return [_job_out(*row) for row in session.execute(query)]

    def failures(self, job_id: str, after: str | None = None, limit: int = 100) -> FailurePage:
        """Return what the job could not use, a page at a time.

        Args:
            after: ``next`` of the page before.
        """
        if after is not None and not after.isdecimal():
            raise InvalidInput("`after` is the `next` of the page before.", "after")
        with self._database.read() as session:
            _find(session, job_id)
            rows = list(
                session.scalars(
                    select(JobFailure)
                    .where(JobFailure.job_id == job_id, JobFailure.id > int(after or 0))
                    .order_by(JobFailure.id)
                    .limit(limit + 1)
                )
            )
        page = [
            Failure(row=r.row, product_id=r.product_id, image=r.image, reason=r.reason, message=r.message)
            for r in rows[:limit]
        ]
        return FailurePage(failures=page, next=str(rows[limit - 1].id) if len(rows) > limit else None)

    def cancel(self, job_id: str) -> JobOut:
        """Stop the job: what is done stays, chunks that wait never start."""
        with self._database.write() as session:
            job = _find(session, job_id)
            if job.state in OPEN_STATES:
                job.state, job.finished_at = "cancelled", now_s()
                session.execute(
                    update(Chunk)
                    .where(Chunk.job_id == job_id, Chunk.state.in_(UNFINISHED))
                    .values(state="dead", fence=Chunk.fence + 1, error="cancelled")
                )
        return self.status(job_id)


def new_chunk(job_id: str, number: int, first: int, last: int, priority: int, stage: str = "items") -> Chunk:
    """Return a chunk of items ``first`` to ``last``, both included; that of stage ``finish`` is held back."""
    return Chunk(
        id=f"{job_id}:{number}",
        job_id=job_id,
        number=number,
        first=first,
        last=last,
        priority=priority,
        stage=stage,
        state="held" if stage == "finish" else "waiting",
    )


def _select_jobs() -> Any:
    return select(Job, Catalogue.name).join(Catalogue, Catalogue.id == Job.catalogue_id)


def _find(session: Session, job_id: str) -> Job:
    row = session.get(Job, job_id)
    if row is None:
        raise UnknownJob(f"There is no job {job_id!r}: GET /v1/jobs lists them.")
    return row


def _job_out(job: Job, catalogue: str) -> JobOut:
    counts = JobCounts(
        new=job.new, changed=job.changed, unchanged=job.unchanged, deleted=job.deleted, failed=job.failed
    )
    done = counts.new + counts.changed + counts.unchanged + counts.deleted + counts.failed
    rate, eta = _speed(job, done)
    return JobOut(
        id=job.id,
        kind=job.kind,
        catalogue=catalogue,
        state=job.state,
        total=job.total,
        done=done,
        counts=counts,
        images=job.images,
        image_failures=job.image_failures,
        rate_per_s=rate,
        eta_s=eta,
        created_at=moment(job.created_at),
        started_at=moment(job.started_at),
        finished_at=moment(job.finished_at),
        error=ErrorBody(code=job.error_code, message=job.error_message or "") if job.error_code else None,
    )


def _speed(job: Job, done: int) -> tuple[float | None, float | None]:
    """Products a second since the start, and the seconds left at that rate."""
    if job.started_at is None or done == 0:
        return None, None
    rate = done / max((job.finished_at or now_s()) - job.started_at, 1e-3)
    left = None if job.total is None or job.finished_at else max(job.total - done, 0) / rate
    return rate, left
