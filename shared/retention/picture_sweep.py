"""Delete pictures that no product refers to, without racing with writers that are storing them.

A picture is named by its content. An unreferenced one may be needed again at any moment: an import with
the same bytes finds them and stores nothing, and the row that refers to them follows only after inference.
A sweep in between would delete what that row needs. Checking the file's age does not help, because the
sweeper may pause for any time between the check and the deletion. Therefore:

- Sweeps are counted in one database row. The count is odd from before the last check of a sweep until after
  its deletion, and the sweep locks the row during that time.
- A writer reads the count before it stores pictures (``read_sweep_count``). In the transaction that refers to
  them it locks the row and compares (``require_no_sweep``). If the count has changed or is odd, it stores the
  pictures again.

Whichever locks the row second sees what the first one did: the sweep sees the reference and keeps the
picture, or the writer sees the sweep and stores the picture again. No clock is involved. The minimum age of
deleted pictures (``sweep.pictures_after_s``) only saves work, and keeps pictures that may be imported again.
A sweep that was killed leaves the count odd; the next writer or sweep makes it even.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from sqlalchemy import and_, or_, select, update
from sqlalchemy.orm import Session

from shared.contracts.states import ENDED_STATES, ItemState, JobKind
from shared.contracts.stored import iterate_texts
from shared.database import Database, execute_rowcount
from shared.database.clock import now_s
from shared.database.tables import Image, Job, JobItem
from shared.database.tables.catalogue import PictureSweep
from shared.errors import Unavailable
from shared.storage.image_names import RENDITIONS_PX, is_key, rendition_name
from shared.storage.image_store import ImageStore

#: Pictures that are looked up, and at the most deleted, together: the database waits so long.
PIECE = 250


class PicturesSwept(Unavailable):
    """Pictures were deleted since the caller began to store some: store them again."""

    code = "pictures_swept"


def read_sweep_count(database: Database) -> int:
    """Return the count of sweeps, to be read before pictures are stored and given to ``require_no_sweep``."""
    with database.read() as session:
        count = _count(session)
    if count % 2 == 0:
        return count
    # One is at it, and the row is ours when it is done; or it died, and nobody else ends it.
    with database.write() as session:
        _end(session, count)
        return _count(session)


def require_no_sweep(session: Session, since: int) -> None:
    """Raise PicturesSwept unless all is there that was stored since ``read_sweep_count`` gave this count.

    Called in the transaction that writes what refers to the pictures; until it ends, no sweep begins.
    """
    held = select(PictureSweep.count).where(PictureSweep.id == 1).with_for_update(read=True)
    if session.scalar(held) != since:
        raise PicturesSwept("Pictures that nothing referred to were deleted meanwhile: it is done again.")


class PictureSweeper:
    """Finds and deletes pictures that nothing refers to.

    Args:
        after_s: age from which they go.
        keep_failed_s: how long after its end a job's failed products keep theirs, for a retry.
    """

    def __init__(self, database: Database, store: ImageStore, after_s: float, keep_failed_s: float) -> None:
        self._database = database
        self._store = store
        self._after_s = after_s
        self._keep_failed_s = keep_failed_s

    def unreferenced(self, shards: Iterable[str] = ()) -> Iterator[list[str]]:
        """Yield the keys of such pictures, some at a time.

        Args:
            shards: only keys that begin with these two digits; none means all.
        """
        old = (key for key in self._store.older_than("images", self._after_s, shards) if is_key(key))
        while piece := list(islice(old, PIECE)):
            with self._database.read() as session:
                found = self._not_needed(session, piece)
            if found:
                yield found

    def sweep(self, shards: Iterable[str] = (), most: int | None = None) -> int:
        """Delete them, stopping soon after ``most`` of them; return how many were deleted."""
        gone = 0
        for keys in self.unreferenced(shards):
            gone += self._delete(keys)
            if most is not None and gone >= most:
                break
        return gone

    def _delete(self, keys: Sequence[str]) -> int:
        """Delete those of the keys that still nothing refers to."""
        count = read_sweep_count(self._database)
        with self._database.write() as session:
            # Committed before anything is deleted: should the end be lost, the count still tells of it.
            begun = update(PictureSweep).where(PictureSweep.count == count).values(count=count + 1)
            if not execute_rowcount(session, begun):
                return 0  # another sweeper; what it leaves is found again
        with self._database.write() as session:
            # First, so that the row is held when it is looked at who refers to what.
            if not _end(session, count + 1):
                return 0
            doomed = self._not_needed(session, keys)
            self._store.delete_all(doomed, "images")
        derived = [rendition_name(key, size) for key in doomed for size in RENDITIONS_PX]
        self._store.delete_all(derived, "renditions")
        return len(doomed)

    def _not_needed(self, session: Session, keys: Sequence[str]) -> list[str]:
        needed = set(session.scalars(select(Image.sha256).where(Image.sha256.in_(keys))))
        if len(needed) < len(set(keys)):
            needed |= self._of_jobs(session)
        return [key for key in keys if key not in needed]

    def _of_jobs(self, session: Session) -> set[str]:
        """Pictures of products that were put by hand, and are not in the catalogue yet."""
        may_be_retried = and_(Job.finished_at > now_s() - self._keep_failed_s, Job.failed > 0)
        payloads = session.scalars(
            select(JobItem.payload)
            .join(Job, Job.id == JobItem.job_id)
            .where(
                Job.kind == JobKind.PUT,
                JobItem.state != ItemState.DONE,
                or_(Job.state.not_in(ENDED_STATES), may_be_retried),
            )
        )
        # Whatever a row of another version calls it: what a payload names is needed.
        return set(iterate_texts(list(payloads)))


def _count(session: Session) -> int:
    return session.scalars(select(PictureSweep.count).where(PictureSweep.id == 1)).one()


def _end(session: Session, odd: int) -> bool:
    """End the sweep of this count in the caller's transaction; False if somebody else did."""
    return bool(
        execute_rowcount(session, update(PictureSweep).where(PictureSweep.count == odd).values(count=odd + 1))
    )
