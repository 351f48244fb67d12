"""Create, list and control jobs; workers use ``JobQueue``."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.contracts import Failure, FailurePage, JobOut, ProductIn
from shared.contracts.states import OPEN_STATES, JobKind, JobState
from shared.contracts.stored import NEEDS, as_object, needed_by, readable_views
from shared.database import Database
from shared.database.catalogue_rows import DRY_RUN_PREFIX, CatalogueLock, display_name, find_catalogue
from shared.database.clock import now_s
from shared.database.idempotency import (
    AcceptedRequest,
    Idempotent,
    find_earlier_request,
    store_idempotency_key,
)
from shared.database.tables import MAX_ROW_ID, Catalogue, Chunk, Job, JobFailure, Product
from shared.errors import Expired, InvalidInput, UnknownCatalogue, UnknownJob, UnknownProduct
from shared.jobs import catalogue_deletion
from shared.jobs import control as job_control
from shared.jobs.control import find_job
from shared.jobs.create import add_job, require_idle
from shared.jobs.limits import require_room
from shared.jobs.states import BULK, URGENT
from shared.jobs.view import job_out
from shared.retention.picture_sweep import require_no_sweep

_SCOPE = "job"


class JobRepository:
    """Creates and reads jobs.

    Args:
        caller: who requests the jobs that it creates.
        max_waiting: maximum number of waiting jobs of the caller, and of one catalogue; None: no limit.
    """

    def __init__(self, database: Database, caller: str = "anonymous", max_waiting: int | None = None) -> None:
        self._database = database
        self._caller = caller
        self._max_waiting = max_waiting

    def for_caller(self, caller: str, max_waiting: int) -> JobRepository:
        """Return a repository for a caller whose waiting jobs are limited."""
        return JobRepository(self._database, caller, max_waiting)

    def require_room(self, catalogue: str) -> None:
        """Raise Overloaded if no further job would be accepted; checked before a large body is read."""
        with self._database.read() as session:
            self._require_room(session, session.scalar(select(Catalogue).where(Catalogue.name == catalogue)))

    def _require_room(self, session: Session, catalogue_row: Catalogue | None) -> None:
        if self._max_waiting is not None:
            require_room(session, self._caller, catalogue_row, self._max_waiting)

    def create_import(
        self,
        catalogue: str,
        source: dict[str, Any],
        idempotency: Idempotent | None = None,
        options: dict[str, Any] | None = None,
    ) -> AcceptedRequest:
        """Commit an import; a worker reads its manifest.

        Args:
            options: of ``shared.contracts.ImportOptions``.
            source: ``{"archive": name}`` in the image store, or ``{"path": absolute path}``.

        Raises:
            UnknownCatalogue, Conflict.
        """
        try:
            return self._create(JobKind.IMPORT, catalogue, source, [], idempotency, options=options)
        except IntegrityError:  # a concurrent request with the same new key has committed
            return self._create(JobKind.IMPORT, catalogue, source, [], idempotency, options=options)

    def create(
        self,
        kind: JobKind,
        catalogue: str,
        options: dict[str, Any] | None = None,
        *,
        index_version: int | None = None,
        urgent: bool = False,
        exclusive_kinds: Sequence[str] = (),
        idempotency: Idempotent | None = None,
    ) -> AcceptedRequest:
        """Commit a job; a worker lists its items, if it has any.

        Args:
            urgent: whether it runs before bulk work.
            exclusive_kinds: kinds of jobs of which none may be open. Of two concurrent requests, one is
                refused.

        Raises:
            UnknownCatalogue.
            Conflict: such a job is open, or the idempotency key belongs to another request.
            Overloaded: too many jobs of the caller or of the catalogue wait.
        """
        return self._create(
            kind,
            catalogue,
            {},
            [],
            idempotency,
            options=options,
            index_version=index_version,
            priority=URGENT if urgent else BULK,
            exclusive_kinds=exclusive_kinds,
        )

    def create_put(
        self,
        catalogue: str,
        product_id: str,
        product: ProductIn,
        images: list[str] | None,
        sweep_count: int | None = None,
    ) -> AcceptedRequest:
        """Commit writing one product.

        Args:
            images: keys in the image store; None keeps the product's pictures.
            sweep_count: result of ``read_sweep_count`` from before the pictures were stored.

        Raises:
            UnknownCatalogue.
            PicturesSwept: pictures may have been deleted since then: store them again.
        """
        payload = {"product": product.model_dump(mode="json"), "images": images}
        version = needed_by(ProductIn, product.model_dump(exclude_defaults=True))
        return self._create(
            JobKind.PUT,
            catalogue,
            {},
            [(product_id, payload)],
            None,
            options={NEEDS: version} if version > 1 else None,
            sweep_count=sweep_count,
        )

    def create_patch(self, catalogue: str, product_id: str, patch: dict[str, Any]) -> AcceptedRequest:
        """Commit a partial change of one product's data; its pictures are kept.

        Args:
            patch: as in ``shared.catalogue.merge_patch``; the worker merges it into the current product.
        """
        version = needed_by(ProductIn, patch)
        options = {NEEDS: version} if version > 1 else None
        payload = {"patch": patch, "images": None}
        return self._create(JobKind.PUT, catalogue, {}, [(product_id, payload)], None, options=options)

    def create_delete(self, catalogue: str, product_ids: list[str]) -> AcceptedRequest:
        """Commit the deletion of products; repeated ids count once.

        Raises:
            UnknownProduct: one of them does not exist.
        """
        with self._database.read() as session:
            catalogue_row = find_catalogue(session, catalogue)
            known = set(
                session.scalars(
                    select(Product.product_id).where(
                        Product.catalogue_id == catalogue_row.id, Product.product_id.in_(product_ids)
                    )
                )
            )
        for product_id in product_ids:
            if product_id not in known:
                raise UnknownProduct(f"There is no product {product_id!r} in this catalogue.", "product_id")
        return self._create(
            JobKind.DELETE, catalogue, {}, [(p, {}) for p in dict.fromkeys(product_ids)], None
        )

    def _create(
        self,
        kind: JobKind,
        catalogue: str,
        source: dict[str, Any],
        items: list[tuple[str, dict[str, Any]]],
        idempotency: Idempotent | None,
        *,
        options: dict[str, Any] | None = None,
        index_version: int | None = None,
        priority: int | None = None,
        exclusive_kinds: Sequence[str] = (),
        sweep_count: int | None = None,
    ) -> AcceptedRequest:
        with self._database.write() as session:
            if (earlier := find_earlier_request(session, _SCOPE, idempotency)) is not None:
                return AcceptedRequest(earlier, False)
            lock: CatalogueLock = "no_key_update" if exclusive_kinds else "key_share"
            catalogue_row = _find_or_hide(session, kind, catalogue, options, lock)
            _keep_mapping(catalogue_row, kind, options)
            if exclusive_kinds:
                require_idle(session, catalogue_row.id, exclusive_kinds)
            if priority != URGENT:  # jobs that switch an index are never refused: at most one is open
                self._require_room(session, catalogue_row)
            if sweep_count is not None:
                require_no_sweep(session, sweep_count)
            job_id = add_job(
                session,
                catalogue_row,
                kind,
                items,
                source=source,
                options=options,
                index_version=index_version,
                priority=priority,
                caller=self._caller,
            )
            store_idempotency_key(session, _SCOPE, idempotency, job_id)
            return AcceptedRequest(job_id, True)

    def create_drop(self, catalogue: str) -> AcceptedRequest:
        """Commit the deletion of a catalogue; raises as ``catalogue_deletion.accept``."""
        with self._database.write() as session:
            return catalogue_deletion.accept(session, catalogue)

    def first_chunk(self, job_id: str) -> str:
        """Return the id of the chunk to publish first."""
        with self._database.read() as session:
            found = session.scalar(
                select(Chunk.id).where(Chunk.job_id == job_id).order_by(Chunk.number).limit(1)
            )
        if found is None:
            raise UnknownJob(f"There is no job {job_id!r}.")
        return found

    def status(self, job_id: str) -> JobOut:
        """Return the job with counts, rate and ETA, or raise UnknownJob."""
        with self._database.read() as session:
            row = session.execute(_select_jobs().where(Job.id == job_id)).one_or_none()
            if row is None:
                raise UnknownJob(f"There is no job {job_id!r}: GET /v1/jobs lists them.")
            return job_out(*row)

    def list_recent(self, catalogue: str | Collection[str] | None = None, limit: int = 50) -> list[JobOut]:
        """Return the newest jobs of one catalogue, of several, or of all; newest first."""
        query = _select_jobs().order_by(Job.created_at.desc()).limit(limit)
        if catalogue is not None:
            names = [catalogue] if isinstance(catalogue, str) else list(catalogue)
            query = query.where(display_name.in_(names))
        with self._database.read() as session:
            return readable_views(session.execute(query), lambda row: job_out(*row), "job")

    def list_unfinished(self, catalogue: str | None = None, limit: int = 50) -> list[JobOut]:
        """Return the newest jobs that have not ended, newest first."""
        query = _select_jobs().where(Job.state.in_((*OPEN_STATES, JobState.PAUSED)))
        if catalogue is not None:
            query = query.where(display_name == catalogue)
        with self._database.read() as session:
            rows = session.execute(query.order_by(Job.created_at.desc()).limit(limit))
            return readable_views(rows, lambda row: job_out(*row), "job")

    def latest_by_catalogue(self) -> dict[str, JobOut]:
        """Return the newest job of each catalogue by its name; deleted catalogues are left out."""
        rank = func.row_number().over(
            partition_by=Job.catalogue_id, order_by=(Job.created_at.desc(), Job.id.desc())
        )
        ranked = select(Job.id, rank.label("rank")).subquery()
        query = (
            _select_jobs()
            .join(ranked, ranked.c.id == Job.id)
            .where(ranked.c.rank == 1, Catalogue.deleted_name.is_(None))
        )
        with self._database.read() as session:
            return {row[1]: job_out(*row) for row in session.execute(query)}

    def failures(
        self, job_id: str, after: str | None = None, limit: int = 100, reason: str | None = None
    ) -> FailurePage:
        """Return a page of the job's failures.

        Args:
            after: ``next`` of the previous page.
            reason: only failures with this code.

        Raises:
            UnknownJob, InvalidInput.
            Expired: they were deleted, ``jobs.keep_rows_s`` after the end of the job.
        """
        if after is not None and not (after.isdecimal() and len(after) <= 10 and int(after) <= MAX_ROW_ID):
            raise InvalidInput("`after` must be the `next` of the previous page.", "after")
        with self._database.read() as session:
            job = find_job(session, job_id)
            if job.rows_deleted_at is not None and (job.failed or job.image_failures):
                raise Expired(
                    f"The failures of job {job_id} were deleted, as it ended long ago (`jobs.keep_rows_s`). "
                    "Its counts are kept."
                )
            rows = list(
                session.scalars(
                    select(JobFailure)
                    .where(JobFailure.job_id == job_id, JobFailure.id > int(after or 0))
                    .where(*([JobFailure.reason == reason] if reason is not None else []))
                    .order_by(JobFailure.id)
                    .limit(limit + 1)
                )
            )
            reasons = _reasons(session, job_id) if after is None else None
        page = [
            Failure(row=r.row, product_id=r.product_id, image=r.image, reason=r.reason, message=r.message)
            for r in rows[:limit]
        ]
        following = str(rows[limit - 1].id) if len(rows) > limit else None
        return FailurePage(reasons=reasons, failures=page, next=following)

    def pause(self, job_id: str) -> JobOut:
        """Pause the job; raises as ``job_control.pause``."""
        with self._database.write() as session:
            job_control.pause(session, job_id)
        return self.status(job_id)

    def resume(self, job_id: str) -> JobOut:
        """Resume a paused job; raises as ``job_control.resume``. Publish its ``first_chunk`` afterwards."""
        with self._database.write() as session:
            job_control.resume(session, job_id)
        return self.status(job_id)

    def cancel(self, job_id: str) -> JobOut:
        """Cancel the job; raises as ``job_control.cancel``."""
        with self._database.write() as session:
            job_control.cancel(session, job_id)
        return self.status(job_id)

    def retry(self, job_id: str, reason: str | None, chunk_items: int) -> AcceptedRequest:
        """Create a job that retries failures; raises as ``job_control.retry``, and Overloaded."""
        with self._database.write() as session:
            self._require_room(session, session.get(Catalogue, find_job(session, job_id).catalogue_id))
            new_id = job_control.retry(session, job_id, reason, chunk_items)
            find_job(session, new_id).caller = self._caller
            return AcceptedRequest(new_id, True)

    def archive(self, job_id: str) -> str | None:
        """Return the name of the upload that the job reads, or None."""
        with self._database.read() as session:
            found: str | None = as_object(find_job(session, job_id).source).get("archive")
            return found


def _select_jobs() -> Any:
    return select(Job, display_name).join(Catalogue, Catalogue.id == Job.catalogue_id)


def _reasons(session: Session, job_id: str) -> dict[str, int]:
    """Count failures by reason, most frequent first."""
    counted = session.execute(
        select(JobFailure.reason, func.count())
        .where(JobFailure.job_id == job_id)
        .group_by(JobFailure.reason)
        .order_by(func.count().desc(), JobFailure.reason)
    )
    return dict(counted.all())


def _find_or_hide(
    session: Session, kind: str, name: str, options: dict[str, Any] | None, lock: CatalogueLock
) -> Catalogue:
    """Return the catalogue of a new job.

    The dry run of an import into a catalogue that does not exist creates none: its job belongs to a hidden
    row that no client can name.
    """
    try:
        return find_catalogue(session, name, lock)
    except UnknownCatalogue:
        if kind != "import" or not (options or {}).get("dry_run"):
            raise
    hidden = Catalogue(name=f"{DRY_RUN_PREFIX}{uuid.uuid4().hex}", deleted_name=name, created_at=now_s())
    session.add(hidden)
    session.flush()
    return hidden


def _keep_mapping(catalogue: Catalogue, kind: str, options: dict[str, Any] | None) -> None:
    """Keep what an import says of its columns for the next one."""
    options = options or {}
    if kind == "import" and options.get("mapping") is not None and not options.get("dry_run"):
        catalogue.import_mapping = options["mapping"] or None
