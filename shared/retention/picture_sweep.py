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

Whichever locks the row second reads the result of the first: the sweep finds the reference and keeps the
picture, or the writer detects the sweep and stores the picture again. No clock is involved. The minimum age
of deleted pictures (``sweep.pictures_after_s``) only saves work, and keeps pictures that may be imported
again. A sweep that was killed leaves the count odd; the next writer or sweep makes it even.
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
from shared.storage.image_store import RENDITIONS_PX, ImageStore, is_key, rendition_name

#: Maximum number of pictures per transaction, which bounds its duration.
BATCH_PICTURES = 250


class PicturesSwept(Unavailable):
    """Pictures may have been deleted since the caller started to store some: store them again."""

    code = "pictures_swept"


def read_sweep_count(database: Database) -> int:
    """Return the count of sweeps; read it before storing pictures, and pass it to ``require_no_sweep``."""
    with database.read() as session:
        count = _count(session)
    if count % 2 == 0:
        return count
    # A sweep is running, and the row is locked until its end; or it died, and this call ends it.
    with database.write() as session:
        _end(session, count)
        return _count(session)


def require_no_sweep(session: Session, since: int) -> None:
    """Raise PicturesSwept if a sweep has started since ``read_sweep_count`` returned this count.

    Call it in the transaction that writes the references to the pictures; no sweep can start until its end.
    """
    locked = select(PictureSweep.count).where(PictureSweep.id == 1).with_for_update(read=True)
    if session.scalar(locked) != since:
        raise PicturesSwept("Unreferenced pictures were deleted concurrently: the step is repeated.")


class PictureSweeper:
    """Finds and deletes unreferenced pictures.

    Args:
        after_s: minimum age of deleted pictures.
        keep_failed_s: how long the pictures of a job's failed products are kept after its end, for a retry.
    """

    def __init__(self, database: Database, store: ImageStore, after_s: float, keep_failed_s: float) -> None:
        self._database = database
        self._store = store
        self._after_s = after_s
        self._keep_failed_s = keep_failed_s

    def unreferenced(self, shards: Iterable[str] = ()) -> Iterator[list[str]]:
        """Yield the keys of unreferenced pictures in batches.

        Args:
            shards: only keys that start with one of these two digits; empty for all.
        """
        old = (key for key in self._store.older_than("images", self._after_s, shards) if is_key(key))
        while batch := list(islice(old, BATCH_PICTURES)):
            with self._database.read() as session:
                found = self._find_unreferenced(session, batch)
            if found:
                yield found

    def sweep(self, shards: Iterable[str] = (), most: int | None = None) -> int:
        """Delete unreferenced pictures, at least ``most`` of them if given; return their number."""
        gone = 0
        for keys in self.unreferenced(shards):
            gone += self._delete(keys)
            if most is not None and gone >= most:
                break
        return gone

    def _delete(self, keys: Sequence[str]) -> int:
        """Delete the keys that are still unreferenced; return their number."""
        count = read_sweep_count(self._database)
        with self._database.write() as session:
            # Committed before the deletion, so that the count shows a sweep that did not end.
            begun = update(PictureSweep).where(PictureSweep.count == count).values(count=count + 1)
            if not execute_rowcount(session, begun):
                return 0  # another sweeper is running; the rest is found again later
        with self._database.write() as session:
            # First, so that the row is locked while the references are checked.
            if not _end(session, count + 1):
                return 0
            doomed = self._find_unreferenced(session, keys)
            self._store.delete_all(doomed, "images")
        derived = [rendition_name(key, size) for key in doomed for size in RENDITIONS_PX]
        self._store.delete_all(derived, "renditions")
        return len(doomed)

    def _find_unreferenced(self, session: Session, keys: Sequence[str]) -> list[str]:
        needed = set(session.scalars(select(Image.sha256).where(Image.sha256.in_(keys))))
        if len(needed) < len(set(keys)):
            needed |= self._keys_of_jobs(session)
        return [key for key in keys if key not in needed]

    def _keys_of_jobs(self, session: Session) -> set[str]:
        """Return the pictures of single updates that are not in the catalogue yet."""
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
        # Any text in a payload may be a key, because a row of another version may use other fields.
        return set(iterate_texts(list(payloads)))


def _count(session: Session) -> int:
    return session.scalars(select(PictureSweep.count).where(PictureSweep.id == 1)).one()


def _end(session: Session, odd: int) -> bool:
    """End the sweep of this count in the caller's transaction; return False if it has ended already."""
    return bool(
        execute_rowcount(session, update(PictureSweep).where(PictureSweep.count == odd).values(count=odd + 1))
    )
