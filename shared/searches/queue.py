"""The worker's side of the searches: take what waits, answer it, give back what could not be done.

A row is taken with a lease and a fence number. Whoever comes back late finds the fence moved and is
told no, so an answer is written once.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, NamedTuple

from sqlalchemy import Row, delete, or_, select, update

from shared.contracts import SearchOptions, SearchResult, TaskStatus
from shared.contracts.states import SearchState
from shared.contracts.stored import read_stored
from shared.database import Database, WrittenJson, execute_rowcount
from shared.database.clock import now_s, to_datetime
from shared.database.tables import Idempotency, Search
from shared.errors import UnreadableRow
from shared.searches.metrics import note_timings
from shared.searches.statements import (
    ANSWER,
    ANSWER_AND_KEEP,
    IS_WAITING,
    OTHERS,
    OWN,
    TAKE,
    WAITING,
    WAITING_COUNT,
)

log = logging.getLogger(__name__)

#: Back-off before a search that could not be read is tried again, perhaps by a newer worker.
_UNREADABLE_RETRY_S = 2.0
#: How long an expired search still answers 410 before it is forgotten (404).
_REMEMBER_S = 86_400.0
#: Maximum interval between two messages for one waiting search.
_MAX_REPUBLISH_S = 60.0
_NO_OPTIONS = SearchOptions()


@dataclass(frozen=True, slots=True)
class StoredEmbeddings:
    """What a search's photos were found to show, kept so that it can be asked again without a model.

    Attributes:
        objects: one an embedding; ``worker.search.embedding_reuse`` knows what is in them.
        embeddings: ``(len(objects), D)`` float16, little endian.
        models: the id of the models' versions.
    """

    objects: list[dict[str, Any]]
    embeddings: bytes
    models: int


@dataclass(frozen=True, slots=True)
class FirstPage:
    """The search that a further page belongs to."""

    options: SearchOptions
    result: SearchResult


@dataclass(frozen=True, slots=True)
class Claim:
    """A search that this worker holds until its lease ends.

    Attributes:
        currency: of prices in its catalogue.
        photos: keys of its photos, all of one thing; none when it is by product or by examples.
        stored: what an earlier search with the same photos found.
    """

    id: str
    fence: int
    attempts: int
    catalogue_id: int
    catalogue: str
    currency: str
    options: SearchOptions
    photos: tuple[str, ...]
    product_id: str | None
    stored: StoredEmbeddings | None
    created_at: float
    started_at: float

    @property
    def query_key(self) -> str | None:
        """The key of the first photo."""
        return self.photos[0] if self.photos else None


class SearchAnswer(NamedTuple):
    """A search whose answer is committed.

    Attributes:
        status: its ``TaskStatus`` as JSON; empty where the web has prices to convert in it.
    """

    id: str
    status: str


class SearchQueue:
    """Claims and finishes searches.

    Args:
        holder: this worker's name; a process that starts under it takes over from a dead one.
        lease_s: how long a claim holds.
        max_attempts: claims after which a search is given up.
    """

    def __init__(self, database: Database, holder: str, lease_s: float, max_attempts: int) -> None:
        self._database = database
        self._holder = holder
        self._lease_s = lease_s
        self._max_attempts = max_attempts

    def claim(self, limit: int, own: str | None = None) -> list[Claim]:
        """Claim up to ``limit`` waiting searches, oldest first.

        A search that was tried before is claimed alone: if it kills the process, it takes no other with it.
        One that cannot be read counts an attempt and is put back, or fails with ``unreadable_row``.

        Args:
            own: the search that a task was published for. It comes first, and where it does not wait,
                nothing is claimed: every other search has a task of its own.
        """
        while taken := self._take(limit, own):
            if claims := [claim for row, now in taken if (claim := self._read(row, now)) is not None]:
                return claims
        return []

    def _take(self, limit: int, own: str | None) -> list[tuple[Row[Any], float]]:
        """Lease waiting rows in one transaction; return each with the time of the claim."""
        now = now_s()
        if own is not None and not self._is_waiting(own, now):
            return []
        with self._database.write_connection() as connection:
            if own is None:
                rows = connection.execute(WAITING, {"now": now, "most": limit}).all()
                chosen = list(takewhile(lambda row: row.attempts == 0, rows)) or list(rows[:1])
            else:
                chosen = list(connection.execute(OWN, {"now": now, "own": own}))
                if chosen and chosen[0].attempts == 0 and limit > 1:
                    others = {"now": now, "own": own, "most": limit - 1}
                    chosen += connection.execute(OTHERS, others)
            for row in chosen:
                connection.execute(
                    TAKE,
                    {
                        "taken": row.id,
                        "holder": self._holder,
                        "until": now + self._lease_s,
                        "started": row.started_at or now,
                    },
                )
        return [(row, now) for row in chosen]

    def _read(self, row: Row[Any], now: float) -> Claim | None:
        """Make a claim of a taken row; put it back, or fail it, if it cannot be read."""
        started_at = row.started_at or now
        try:
            return _claim(row, started_at)
        except UnreadableRow as error:
            log.error("search %s: %s", row.id, error.message)
            unread = _unread_claim(row, started_at)
            self.postpone([unread], _UNREADABLE_RETRY_S, error.code, error.message, count_attempt=True)
            return None

    def _is_waiting(self, search_id: str, now: float) -> bool:
        """Return whether the search may be claimed; unlike a claim, this read blocks no writer."""
        with self._database.read_connection() as connection:
            return connection.scalar(IS_WAITING, {"own": search_id, "now": now}) is not None

    def answer(
        self,
        answers: Sequence[tuple[Claim, SearchResult]],
        embeddings: Mapping[str, StoredEmbeddings] | None = None,
    ) -> list[SearchAnswer]:
        """Write results; return those whose claims still held.

        Args:
            embeddings: to store with a search, by its id; a search without an entry keeps what it has.
        """
        known, now, held, answered = embeddings or {}, now_s(), [], []
        with self._database.write_connection() as connection:
            for claim, result in answers:
                text = result.model_dump_json()
                done = {"of": claim.id, "held": claim.fence, "now": now, "answer": WrittenJson(text)}
                statement = ANSWER
                if (new := known.get(claim.id)) is not None:
                    statement = ANSWER_AND_KEEP
                    done |= {"seen": new.objects, "rows": new.embeddings, "made_by": new.models}
                if not connection.execute(statement, done).rowcount:
                    continue
                held.append((claim.created_at, result.timings_ms))
                converted = claim.options.currency is not None
                answered.append(SearchAnswer(claim.id, "" if converted else _as_polled(claim, now, text)))
            note_timings(connection, held)
        return answered

    def first_page(self, search_id: str) -> FirstPage | None:
        """Return the answer to a search and what it was asked with, None when it is no longer there."""
        with self._database.read() as session:
            row = session.get(Search, search_id)
            if row is None or row.result is None:
                return None
            return FirstPage(
                read_stored(SearchOptions, row.options, "The options of the first page"),
                read_stored(SearchResult, row.result, "The first page"),
            )

    def fail(self, claim: Claim, code: str, message: str) -> int:
        return self._finish(
            claim, {"state": SearchState.FAILED, "error_code": code, "error_message": message}
        )

    def postpone(
        self, claims: Sequence[Claim], delay_s: float, code: str, message: str, count_attempt: bool
    ) -> None:
        """Give searches back, to be tried after ``delay_s``.

        Args:
            count_attempt: the search itself may be the cause, so the attempt counts, and the last one fails
                it with ``code``. Otherwise it waits for the unavailable service until it expires.
        """
        for claim in claims:
            if count_attempt and claim.attempts >= self._max_attempts:
                self.fail(claim, code, message)
                continue
            attempts = claim.attempts if count_attempt else claim.attempts - 1
            later = {"lease_until": now_s() + delay_s, "finished_at": None, "published_at": 0.0}
            self._finish(claim, {"state": SearchState.QUEUED, "attempts": attempts, **later})

    def _finish(self, claim: Claim, change: dict[str, Any]) -> int:
        with self._database.write() as session:
            return execute_rowcount(
                session,
                update(Search)
                .where(
                    Search.id == claim.id, Search.fence == claim.fence, Search.state == SearchState.RUNNING
                )
                .values({"finished_at": now_s(), "holder": None, **change}),
            )

    def take_over(self) -> int:
        """Put back what an earlier process of this name held when it died."""
        return self._put_back(Search.holder == self._holder)

    def sweep(self) -> int:
        """Put back searches whose lease ran out, and give up those tried too often."""
        return self._put_back(Search.lease_until < now_s())

    def _put_back(self, which: Any) -> int:
        with self._database.write() as session:
            lost = list(session.scalars(select(Search).where(Search.state == SearchState.RUNNING, which)))
            for search in lost:
                search.fence += 1
                search.holder = None
                if search.attempts >= self._max_attempts:
                    search.state, search.finished_at = SearchState.FAILED, now_s()
                    search.error_code = "worker_lost"
                    search.error_message = (
                        f"The search was given up: its worker ended {search.attempts} times over it."
                    )
                else:
                    search.state, search.lease_until, search.published_at = SearchState.QUEUED, 0.0, 0.0
            return len(lost)

    def list_overdue(self, age_s: float, limit: int) -> list[str]:
        """List searches that wait and whose message seems lost, oldest first.

        The first time that is ``age_s`` after the message was published. Each time after that, the search
        waits as long as it has waited until then, at most ``_MAX_REPUBLISH_S``: the interval doubles.
        """
        now, published_at = now_s(), Search.published_at
        is_due = or_(
            published_at <= now - _MAX_REPUBLISH_S, published_at + (published_at - Search.created_at) <= now
        )
        waits = (Search.state == SearchState.QUEUED, Search.lease_until <= now, published_at <= now - age_s)
        with self._database.read() as session:
            return list(
                session.scalars(
                    select(Search.id).where(*waits, is_due).order_by(Search.created_at).limit(limit)
                )
            )

    def count_waiting(self) -> int:
        """Count the searches that no worker holds."""
        with self._database.read_connection() as connection:
            return connection.scalar(WAITING_COUNT) or 0

    def note_published(self, search_ids: Sequence[str]) -> None:
        """Record that a message for each of these searches was published now."""
        with self._database.write() as session:
            session.execute(
                update(Search).where(Search.id.in_(list(search_ids))).values(published_at=now_s())
            )

    def delete_expired(self) -> int:
        """Delete searches long expired, and idempotency keys of the day before."""
        horizon = now_s() - _REMEMBER_S
        with self._database.write() as session:
            session.execute(delete(Idempotency).where(Idempotency.created_at < horizon))
            return execute_rowcount(session, delete(Search).where(Search.expires_at < horizon))


def _claim(row: Row[Any], started_at: float) -> Claim:
    """Make a claim of a row of ``WAITING``, as the row is once it was taken.

    Raises:
        UnreadableRow: its options or its photos cannot be read.
    """
    unread = _unread_claim(row, started_at)
    options = read_stored(SearchOptions, row.options, "The options of this search")
    first = [] if row.query_key is None else [row.query_key]
    more = row.more_photos or []
    if not (isinstance(more, list) and all(isinstance(key, str) for key in more)):
        raise UnreadableRow("The photos of this search cannot be read: the row is damaged.")
    stored = None
    # Damaged ones are left out: they are a cache, and the photo is embedded again.
    if isinstance(row.objects, list) and row.embeddings is not None and row.models is not None:
        stored = StoredEmbeddings(row.objects, row.embeddings, row.models)
    return replace(unread, options=options, photos=(*first, *more), stored=stored)


def _unread_claim(row: Row[Any], started_at: float) -> Claim:
    """Make a claim without what has to be read: enough to put the row back, or to fail it."""
    return Claim(
        id=row.id,
        fence=row.fence + 1,
        attempts=row.attempts + 1,
        catalogue_id=row.catalogue_id,
        catalogue=row.catalogue,
        currency=row.currency,
        options=_NO_OPTIONS,
        photos=(),
        product_id=row.product_id,
        stored=None,
        created_at=row.created_at,
        started_at=started_at,
    )


def _as_polled(claim: Claim, finished_at: float, result: str) -> str:
    """Return the JSON of an answered search's ``TaskStatus``, the result's text put in as it is."""
    status = TaskStatus.model_validate(
        {
            "id": claim.id,
            "state": SearchState.SUCCEEDED,
            "created_at": to_datetime(claim.created_at),
            "started_at": to_datetime(claim.started_at),
            "finished_at": to_datetime(finished_at),
        }
    )
    return f'{status.model_dump_json(exclude={"result"})[:-1]},"result":{result}}}'
