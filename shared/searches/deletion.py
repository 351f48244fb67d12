"""Delete a search with its photo, vectors and all searches that repeat it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Select, delete, select, update
from sqlalchemy.orm import Session

from shared.contracts.stored import iterate_texts
from shared.database import Database, execute_rowcount
from shared.database.bulk import insert_rows
from shared.database.clock import now_s
from shared.database.tables import DeletedSearch, Feedback, Search
from shared.searches.feedback import PHOTOS
from shared.searches.repository import find_search

#: How long the id of a deleted search answers 410; 404 afterwards.
KEEP_IDS_S = 30 * 86_400.0


@dataclass(frozen=True, slots=True)
class OrphanedPhoto:
    """A stored photo that nothing refers to any more; the caller deletes its file."""

    key: str
    kind: str


class SearchDeletion:
    """Deletes searches; the caller checks the rights."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def delete(self, search_id: str, *, with_photo: bool) -> list[OrphanedPhoto]:
        """Delete a search, and with its photo all searches that have the photo from the same upload.

        Rows and vectors are gone when this returns. A worker that holds a claim on one writes nothing.

        Args:
            with_photo: also delete repeated searches with the photo, and copies that feedback holds.

        Returns:
            The photos that no other search or feedback needs.

        Raises:
            UnknownTask, Expired: as ``SearchRepository.status``.
        """
        with self._database.write() as session:
            row = find_search(session, search_id)
            keys = [key for key in (row.query_key, *(row.more_photos or ())) if key]
            ids = [row.id]
            if with_photo and row.query_key is not None:
                ids = list(session.scalars(_same_upload(row)))
            session.execute(delete(Search).where(Search.id.in_(ids)))
            now = now_s()
            insert_rows(session, DeletedSearch, [{"id": each, "deleted_at": now} for each in ids])
            copies = _forget_feedback_photos(session, ids) if with_photo else []
            return [
                *(OrphanedPhoto(key, "queries") for key in _unused_queries(session, keys)),
                *(OrphanedPhoto(key, PHOTOS) for key in copies),
            ]

    def share_photo(self, search_id: str, shared: bool) -> None:
        """Set whether others who have the address see the photo. Raises UnknownTask, Expired."""
        with self._database.write() as session:
            row = find_search(session, search_id)
            ids = [row.id] if row.query_key is None else list(session.scalars(_same_upload(row)))
            session.execute(update(Search).where(Search.id.in_(ids)).values(photo_shared=shared))

    def forget_ids(self) -> int:
        """Delete the ids of searches that were deleted long ago; return their number."""
        with self._database.write() as session:
            return execute_rowcount(
                session, delete(DeletedSearch).where(DeletedSearch.deleted_at < now_s() - KEEP_IDS_S)
            )


def _same_upload(row: Search) -> Select[str]:
    """Select the searches with the photo of a search from the same upload."""
    return select(Search.id).where(
        Search.query_key == row.query_key, Search.photo_owner.is_not_distinct_from(row.photo_owner)
    )


def _unused_queries(session: Session, keys: Sequence[str]) -> list[str]:
    """Return those of the photos that no remaining search refers to."""
    several = session.scalars(select(Search.more_photos).where(Search.more_photos.is_not(None)))
    used = set(iterate_texts(list(several)))
    used.update(session.scalars(select(Search.query_key).where(Search.query_key.in_(keys))))
    return [key for key in keys if key not in used]


def _forget_feedback_photos(session: Session, ids: Sequence[str]) -> list[str]:
    """Take the photos out of the feedback on these searches; return those that no other feedback has."""
    of_searches = Feedback.search_id.in_(ids)
    keys = set(session.scalars(select(Feedback.photo).where(of_searches, Feedback.photo.is_not(None))))
    if not keys:
        return []
    session.execute(update(Feedback).where(of_searches).values(photo=None, box=None))
    used = set(session.scalars(select(Feedback.photo).where(Feedback.photo.in_(keys))))
    return sorted(key for key in keys - used if key)
