"""Store feedback on hits: search, product, rank and time, but no user and no address."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shared.contracts import SearchResult
from shared.contracts.base import Box
from shared.contracts.feedback import FeedbackIn, FeedbackOut
from shared.contracts.states import ENDED_STATES
from shared.contracts.stored import read_stored, readable_views
from shared.database import Database, execute_rowcount
from shared.database.catalogue_rows import find_catalogue
from shared.database.clock import now_s, to_datetime
from shared.database.tables import Feedback, Search
from shared.errors import Conflict, InvalidInput, NotFound
from shared.searches.repository import find_search

#: Kind of feedback photos in the image store.
PHOTOS = "feedback"
#: A shopper sends less than this for one search.
MAX_FEEDBACK_PER_SEARCH = 100
_PHOTOS_PER_QUERY = 500


@dataclass(frozen=True, slots=True)
class CheckedFeedback:
    """Feedback that matches a hit of its search.

    Attributes:
        photo: key of the search's photo among the query images; None if it is not to be stored.
    """

    feedback: FeedbackIn
    catalogue_id: int
    rank: int
    score: float
    box: Box | None
    photo: str | None

    @property
    def key(self) -> str:
        """Deduplication key: equal for repeated feedback on one hit."""
        w = self.feedback
        text = f"{w.query_id}|{w.object}|{w.product_id}|{w.kind}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]


class FeedbackRepository:
    def __init__(self, database: Database) -> None:
        self._database = database

    def check(self, feedback: FeedbackIn) -> CheckedFeedback:
        """Find the hit that the feedback is about.

        Raises:
            UnknownTask, Expired: the search does not exist, or no longer.
            Conflict: the search has no result, or the maximum amount of feedback.
            InvalidInput: the result has no such object, or the object no such product.
        """
        with self._database.read() as session:
            row = find_search(session, feedback.query_id)
            if row.result is None:
                ended = row.state in ENDED_STATES
                raise Conflict("This search failed." if ended else "This search is not answered yet.")
            checked = _match_hit(
                feedback, row, read_stored(SearchResult, row.result, "The result of this search")
            )
            count = session.scalar(select(func.count()).where(Feedback.search_id == row.id)) or 0
            known = session.scalar(select(Feedback.id).where(Feedback.key == checked.key))
            if count >= MAX_FEEDBACK_PER_SEARCH and known is None:
                raise Conflict(f"This search has the maximum of {count} feedback entries already.")
            return checked

    def add(self, checked: CheckedFeedback, photo: str | None) -> tuple[FeedbackOut, bool]:
        """Store feedback; return it, and whether it is new.

        Args:
            photo: key of its photo, kind ``PHOTOS`` in the image store, if that was stored.
        """
        try:
            with self._database.write() as session:
                row = _find_by_key(session, checked.key)
                if row is not None:
                    return _out(row), False
                row = Feedback(
                    catalogue_id=checked.catalogue_id,
                    search_id=checked.feedback.query_id,
                    object_number=checked.feedback.object,
                    product_id=checked.feedback.product_id,
                    kind=checked.feedback.kind,
                    rank=checked.rank,
                    score=checked.score,
                    photo=photo,
                    box=None if checked.box is None else list(checked.box),
                    key=checked.key,
                    created_at=now_s(),
                )
                session.add(row)
                session.flush()
                return _out(row), True
        except IntegrityError:  # the same feedback was committed concurrently
            with self._database.read() as session:
                found = _find_by_key(session, checked.key)
                assert found is not None
                return _out(found), False

    def list_page(self, catalogue: str, after: int = 0, limit: int = 1000) -> list[FeedbackOut]:
        """Return a page of a catalogue's feedback, oldest first. Raises UnknownCatalogue."""
        with self._database.read() as session:
            catalogue_row = find_catalogue(session, catalogue)
            rows = session.scalars(
                select(Feedback)
                .where(Feedback.catalogue_id == catalogue_row.id, Feedback.id > after)
                .order_by(Feedback.id)
                .limit(limit)
            )
            return readable_views(rows, _out, "feedback")

    def iterate_all(self, catalogue: str, page: int = 1000) -> Iterator[FeedbackOut]:
        """Yield all feedback of a catalogue, a page per transaction. Raises UnknownCatalogue."""
        after = 0
        while found := self.list_page(catalogue, after, page):
            yield from found
            after = found[-1].id

    def photo(self, feedback_id: int) -> str:
        """Return the key of a feedback's photo in the image store, or raise NotFound."""
        with self._database.read() as session:
            key = session.scalar(select(Feedback.photo).where(Feedback.id == feedback_id))
        if key is None:
            raise NotFound("There is no such feedback, or its photo was not stored.")
        return key

    def delete_expired(self, keep_s: float) -> int:
        """Delete feedback older than ``keep_s`` seconds; ``unused_photos`` then yields its photos."""
        with self._database.write() as session:
            return execute_rowcount(session, delete(Feedback).where(Feedback.created_at < now_s() - keep_s))

    def unused_photos(self, keys: Iterable[str]) -> Iterator[str]:
        """Yield the keys that no feedback refers to."""
        remaining = iter(keys)
        while batch := list(islice(remaining, _PHOTOS_PER_QUERY)):
            with self._database.read() as session:
                used = set(session.scalars(select(Feedback.photo).where(Feedback.photo.in_(batch))))
            yield from (key for key in batch if key not in used)


def _find_by_key(session: Session, key: str) -> Feedback | None:
    found: Feedback | None = session.scalar(select(Feedback).where(Feedback.key == key))
    return found


def _match_hit(feedback: FeedbackIn, row: Search, result: SearchResult) -> CheckedFeedback:
    if feedback.object is None:
        hits, box = result.whole.hits, None
    elif feedback.object < len(result.objects):
        group = result.objects[feedback.object]
        hits, box = group.hits, group.box
    else:
        raise InvalidInput(f"The answer has {len(result.objects)} objects, counted from 0.", "object")
    for rank, hit in enumerate(hits, start=1):
        if hit.product_id == feedback.product_id:
            # A wrong hit does not show which product is right, so its photo is of no use.
            photo = None if feedback.kind == "not_this" else row.query_key
            return CheckedFeedback(feedback, row.catalogue_id, rank, hit.score, box, photo)
    raise InvalidInput(f"{feedback.product_id!r} is not among the hits of this group.", "product_id")


def _out(row: Feedback) -> FeedbackOut:
    fields: dict[str, Any] = {
        "id": row.id,
        "query_id": row.search_id,
        "product_id": row.product_id,
        "kind": row.kind,
        "object": row.object_number,
        "rank": row.rank,
        "score": row.score,
        "box": row.box,
        "photo": row.photo is not None,
        "created_at": to_datetime(row.created_at),
    }
    return FeedbackOut.model_validate(fields)
