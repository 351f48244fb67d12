"""Feedback: clicks and verdicts on hits. Kept are search, product, place and moment; no name, no address."""

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
from shared.contracts.feedback import FeedbackIn, FeedbackOut
from shared.contracts.states import ENDED_STATES
from shared.contracts.stored import read_stored
from shared.database import Database, execute_rowcount
from shared.database.catalogue_rows import find_catalogue
from shared.database.clock import now_s, to_datetime
from shared.database.tables import Feedback, Search
from shared.errors import Conflict, InvalidInput, NotFound
from shared.searches.repository import find_search

#: Where photos that feedback is about are kept, in the image store.
PHOTOS = "feedback"
#: More about one search is no shopper's doing.
MAX_FEEDBACK_PER_SEARCH = 100
_TOGETHER = 500


@dataclass(frozen=True, slots=True)
class CheckedFeedback:
    """Feedback that fits its search.

    Attributes:
        photo: key of the search's photo among the query images; None where it is not kept for this.
    """

    wanted: FeedbackIn
    catalogue_id: int
    rank: int
    score: float
    box: tuple[float, float, float, float] | None
    photo: str | None

    @property
    def key(self) -> str:
        """The same for the same thing said of the same hit."""
        w = self.wanted
        text = f"{w.query_id}|{w.object}|{w.product_id}|{w.kind}"
        return hashlib.sha256(text.encode()).hexdigest()[:32]


class FeedbackRepository:
    def __init__(self, database: Database) -> None:
        self._database = database

    def check(self, wanted: FeedbackIn) -> CheckedFeedback:
        """Return the hit that the feedback is about.

        Raises:
            UnknownTask, Expired: there is no such search, or no longer.
            Conflict: it has no answer yet, or so much was said of it already.
            InvalidInput: the answer has no such object, or not this product there.
        """
        with self._database.read() as session:
            row = find_search(session, wanted.query_id)
            if row.result is None:
                ended = row.state in ENDED_STATES
                raise Conflict("This search failed." if ended else "This search is not answered yet.")
            said = _said(wanted, row, read_stored(SearchResult, row.result, "The answer to this search"))
            count = session.scalar(select(func.count()).where(Feedback.search_id == row.id)) or 0
            known = session.scalar(select(Feedback.id).where(Feedback.key == said.key))
            if count >= MAX_FEEDBACK_PER_SEARCH and known is None:
                raise Conflict(f"{count} things were said of this search already.")
            return said

    def add(self, said: CheckedFeedback, photo: str | None) -> tuple[FeedbackOut, bool]:
        """Keep it; return it, and whether it is new.

        Args:
            photo: key of its photo, kind ``PHOTOS`` in the image store, where that could be kept.
        """
        try:
            with self._database.write() as session:
                row = _known(session, said.key)
                if row is not None:
                    return _out(row), False
                row = Feedback(
                    catalogue_id=said.catalogue_id,
                    search_id=said.wanted.query_id,
                    object_number=said.wanted.object,
                    product_id=said.wanted.product_id,
                    kind=said.wanted.kind,
                    rank=said.rank,
                    score=said.score,
                    photo=photo,
                    box=None if said.box is None else list(said.box),
                    key=said.key,
                    created_at=now_s(),
                )
                session.add(row)
                session.flush()
                return _out(row), True
        except IntegrityError:  # said twice at the same moment: the other one has committed
            with self._database.read() as session:
                found = _known(session, said.key)
                assert found is not None
                return _out(found), False

    def list_page(self, catalogue: str, after: int = 0, limit: int = 1000) -> list[FeedbackOut]:
        """Return a page of what was said in a catalogue, the oldest first. Raises UnknownCatalogue."""
        with self._database.read() as session:
            catalogue_row = find_catalogue(session, catalogue)
            rows = session.scalars(
                select(Feedback)
                .where(Feedback.catalogue_id == catalogue_row.id, Feedback.id > after)
                .order_by(Feedback.id)
                .limit(limit)
            )
            return [_out(row) for row in rows]

    def iterate_all(self, catalogue: str, page: int = 1000) -> Iterator[FeedbackOut]:
        """Yield all that was said, page by page. Raises UnknownCatalogue."""
        after = 0
        while found := self.list_page(catalogue, after, page):
            yield from found
            after = found[-1].id

    def photo(self, feedback_id: int) -> str:
        """Return the key of a photo in the image store. Raises NotFound: there is none."""
        with self._database.read() as session:
            key = session.scalar(select(Feedback.photo).where(Feedback.id == feedback_id))
        if key is None:
            raise NotFound("There is no such feedback, or its photo was not kept.")
        return key

    def delete_expired(self, keep_s: float) -> int:
        """Delete what is older than so many seconds; its photos go with ``unused_photos``."""
        with self._database.write() as session:
            return execute_rowcount(session, delete(Feedback).where(Feedback.created_at < now_s() - keep_s))

    def unused_photos(self, keys: Iterable[str]) -> Iterator[str]:
        """Yield those of the photos that no feedback is about any more."""
        waiting = iter(keys)
        while some := list(islice(waiting, _TOGETHER)):
            with self._database.read() as session:
                used = set(session.scalars(select(Feedback.photo).where(Feedback.photo.in_(some))))
            yield from (key for key in some if key not in used)


def _known(session: Session, key: str) -> Feedback | None:
    found: Feedback | None = session.scalar(select(Feedback).where(Feedback.key == key))
    return found


def _said(wanted: FeedbackIn, row: Search, result: SearchResult) -> CheckedFeedback:
    if wanted.object is None:
        hits, box = result.whole.hits, None
    elif wanted.object < len(result.objects):
        group = result.objects[wanted.object]
        hits, box = group.hits, group.box
    else:
        raise InvalidInput(f"The answer has {len(result.objects)} objects, counted from 0.", "object")
    for rank, hit in enumerate(hits, start=1):
        if hit.product_id == wanted.product_id:
            # What it is not teaches no search what it is.
            photo = None if wanted.kind == "not_this" else row.query_key
            return CheckedFeedback(wanted, row.catalogue_id, rank, hit.score, box, photo)
    raise InvalidInput(f"{wanted.product_id!r} is not among the hits of this group.", "product_id")


def _out(row: Feedback) -> FeedbackOut:
    said: dict[str, Any] = {
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
    return FeedbackOut.model_validate(said)
