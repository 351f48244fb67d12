"""Find expired query images and uploads, and delete expired notes of deleted products."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sqlalchemy import and_, delete, exists, func, or_, select

from shared.contracts.states import ENDED_STATES, OPEN_STATES, JobState
from shared.contracts.stored import iterate_texts
from shared.database import Database, execute_rowcount
from shared.database.catalogue_rows import DRY_RUN_PREFIX
from shared.database.clock import now_s
from shared.database.tables import Catalogue, DeletedProduct, Job, Search
from shared.imports.kinds import derived_name_prefix

#: Minimum time for which notes of deleted products are kept, because a failed job may be retried.
KEEP_DELETED_S = 30 * 86_400.0


def unused_query_images(database: Database, keys: Iterable[str], keep_s: float = 0.0) -> Iterator[str]:
    """Yield the keys that no open search uses, and no search of the last ``keep_s`` seconds.

    A photo that is sent again shortly before its file expires is kept as long as the newest result.
    """
    open_ = or_(Search.state.in_(OPEN_STATES), Search.created_at > now_s() - keep_s)
    with database.read() as session:
        several = session.scalars(select(Search.more_photos).where(open_, Search.more_photos.is_not(None)))
        also_needed = set(iterate_texts(list(several)))
    for key in keys:
        if key in also_needed:
            continue
        with database.read() as session:
            needed = session.scalar(select(Search.id).where(Search.query_key == key, open_).limit(1))
        if needed is None:
            yield key


def expired_imports(database: Database, names: Iterable[str], keep_s: float) -> Iterator[str]:
    """Yield the uploads, and files that jobs derived from them, that no job can read any more.

    An open or paused job needs its archive. A failed job, a job with failures and a dry run keep it for
    ``keep_s`` seconds after their end, for a retry or for the import.
    """
    with database.read() as session:
        jobs = session.execute(
            select(Job.id, Job.source).where(
                or_(
                    Job.state.not_in(ENDED_STATES),
                    and_(
                        Job.finished_at > now_s() - keep_s,
                        or_(
                            Job.state != JobState.SUCCEEDED,
                            Job.failed > 0,
                            Job.image_failures > 0,
                            Job.options["dry_run"].as_boolean(),
                        ),
                    ),
                )
            )
        ).all()
    # Any text in a source may be a name, because a row of another version may use other keys.
    needed = set(iterate_texts([source for _, source in jobs]))
    prefixes = {derived_name_prefix(job_id) for job_id, _ in jobs}
    for name in names:
        if name not in needed and name.partition("-")[0] not in prefixes:
            yield name


def delete_dry_runs(database: Database, keep_s: float) -> int:
    """Delete the dry runs of catalogues that were never created; return their number.

    They belong to a hidden row, and go with it when their files have expired, so that no import can start
    from them any more.
    """
    with database.write() as session:
        is_needed = exists().where(
            Job.catalogue_id == Catalogue.id,
            or_(Job.state.not_in(ENDED_STATES), Job.finished_at > now_s() - keep_s),
        )
        return execute_rowcount(
            session,
            delete(Catalogue).where(
                Catalogue.name.startswith(DRY_RUN_PREFIX, autoescape=True),
                Catalogue.created_at < now_s() - keep_s,
                ~is_needed,
            ),
        )


def forget_deleted_products(database: Database) -> int:
    """Delete the notes of deleted products that no older open job could restore; return their number."""
    with database.write() as session:
        oldest = session.scalar(select(func.min(Job.created_at)).where(Job.state.not_in(ENDED_STATES)))
        horizon = now_s() - KEEP_DELETED_S
        before = horizon if oldest is None else min(horizon, oldest)
        return execute_rowcount(session, delete(DeletedProduct).where(DeletedProduct.accepted_at < before))
