"""Queue of searches: workers claim waiting searches, write their results, or put them back.

A claim has a lease and a fence number. The fence changes when a claim is lost, so that a late worker cannot
write its result.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, delete, insert, or_, select, update

from shared.contracts import SearchOptions, SearchResult, TaskStatus
from shared.contracts.states import SearchState
from shared.contracts.stored import read_stored
from shared.database import Database, WrittenJson, execute_rowcount
from shared.database.clock import now_s, to_datetime
from shared.database.tables import Idempotency, Search, Timing
from shared.errors import UnreadableRow
from shared.searches.metrics import TOTAL
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

#: Delay before an unreadable search is retried, perhaps by a newer worker.
_UNREADABLE_RETRY_S = 2.0
#: How long an expired search is answered with 410 before its row is deleted (404).
_KEEP_EXPIRED_S = 86_400.0
#: Maximum interval between two messages for one waiting search.
_MAX_REPUBLISH_S = 60.0
_NO_OPTIONS = SearchOptions()
# Built at import: constructing a statement costs more than executing it.
_INSERT_TIMING = insert(Timing)


@dataclass(frozen=True, slots=True)
class StoredEmbeddings:
    """Objects and embeddings of a search's photos, stored so that it can be repeated without inference.

    Attributes:
        objects: one per embedding; ``worker.search.embedding_reuse`` defines their content.
        embeddings: ``(len(objects), D)`` float16, little endian.
        models: row id of the model versions.
    """

    objects: list[dict[str, Any]]
    embeddings: bytes
    models: int


@dataclass(frozen=True, slots=True)
class FirstPage:
    """The search whose next page is requested."""

    options: SearchOptions
    result: SearchResult


@dataclass(frozen=True, slots=True)
class Claim:
    """A search that this worker holds until its lease ends.

    Attributes:
        currency: of prices in its catalogue.
        photos: keys of its photos, all of one object; empty for a search by product or by examples.
        stored: embeddings of an earlier search with the same photos.
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
        """Key of the first photo."""
        return self.photos[0] if self.photos else None


class SearchAnswer(NamedTuple):
    """A search whose result is committed.

    Attributes:
        status: its ``TaskStatus`` as JSON; empty if the web has to convert prices in it.
        runtime_s: from the claim to the answer.
    """

    id: str
    status: str
    runtime_s: float


class SearchQueue:
    """Claims and finishes searches.

    Args:
        holder: this worker's name; a process that starts with it takes over from a dead one.
        lease_s: validity of a claim.
        max_attempts: number of claims after which a search is given up.
    """

    def __init__(self, database: Database, holder: str, lease_s: float, max_attempts: int) -> None:
        self._database = database
        self._holder = holder
        self._lease_s = lease_s
        self._max_attempts = max_attempts

    def claim(self, limit: int, own: str | None = None) -> list[Claim]:
        """Claim up to ``limit`` waiting searches, oldest first.

        A search that was tried before is claimed alone, so that it cannot kill the process with others. An
        unreadable one counts an attempt and is put back, or fails with ``unreadable_row``.

        Args:
            own: the search of the current task. It is claimed first. If it does not wait, nothing is claimed,
                because every other search has a task of its own.
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
        """Convert a leased row to a claim; put it back or fail it if it is unreadable."""
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
        """Write results; return those whose claims were still valid.

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
                status = "" if converted else _as_polled(claim, now, text)
                answered.append(SearchAnswer(claim.id, status, max(now - claim.started_at, 0.0)))
            _record_timings(connection, held)
        return answered

    def first_page(self, search_id: str) -> FirstPage | None:
        """Return the options and result of a search, None if it has expired."""
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
        """Put searches back, to be retried after ``delay_s``.

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
        """Put back the searches that an earlier process of this name held when it died."""
        return self._put_back(Search.holder == self._holder)

    def sweep(self) -> int:
        """Put back searches whose lease has expired, and give up those with too many attempts."""
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
                        f"The search was given up: its worker died {search.attempts} times processing it."
                    )
                else:
                    search.state, search.lease_until, search.published_at = SearchState.QUEUED, 0.0, 0.0
            return len(lost)

    def list_overdue(self, age_s: float, limit: int) -> list[str]:
        """List waiting searches whose message seems lost, oldest first.

        A message counts as lost ``age_s`` after it was published. The interval then doubles with each
        republication, up to ``_MAX_REPUBLISH_S``.
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
        """Count the searches that wait for a worker."""
        with self._database.read_connection() as connection:
            return connection.scalar(WAITING_COUNT) or 0

    def note_published(self, search_ids: Sequence[str]) -> None:
        """Record that messages for these searches were published now."""
        with self._database.write() as session:
            session.execute(
                update(Search).where(Search.id.in_(list(search_ids))).values(published_at=now_s())
            )

    def delete_expired(self) -> int:
        """Delete searches and idempotency keys that expired over a day ago; return the number of searches."""
        horizon = now_s() - _KEEP_EXPIRED_S
        with self._database.write() as session:
            session.execute(delete(Idempotency).where(Idempotency.created_at < horizon))
            return execute_rowcount(session, delete(Search).where(Search.expires_at < horizon))


def _claim(row: Row[Any], started_at: float) -> Claim:
    """Convert a row of ``WAITING`` to a claim, with the values after ``TAKE``.

    Raises:
        UnreadableRow: its options or photos cannot be read.
    """
    unread = _unread_claim(row, started_at)
    options = read_stored(SearchOptions, row.options, "The options of this search")
    first = [] if row.query_key is None else [row.query_key]
    more = row.more_photos or []
    if not (isinstance(more, list) and all(isinstance(key, str) for key in more)):
        raise UnreadableRow("The photos of this search cannot be read: the row is damaged.")
    stored = None
    # Embeddings are a cache: damaged ones are ignored, and the photo is embedded again.
    if isinstance(row.objects, list) and row.embeddings is not None and row.models is not None:
        stored = StoredEmbeddings(row.objects, row.embeddings, row.models)
    return replace(unread, options=options, photos=(*first, *more), stored=stored)


def _unread_claim(row: Row[Any], started_at: float) -> Claim:
    """Return a claim without parsed fields, enough to put the row back or to fail it."""
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
    """Return the ``TaskStatus`` of an answered search as JSON, with the result's text inserted as it is."""
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


def _record_timings(connection: Connection, searches: Iterable[tuple[float, dict[str, float]]]) -> None:
    """Write the stage durations of searches, from the acceptance time and milliseconds by stage of each."""
    now = now_s()
    rows = [
        {
            "finished_at": now,
            "stages": {**stages, TOTAL: round(1000 * max(now - accepted_at, 0.0), 2)},
            "counted": False,
        }
        for accepted_at, stages in searches
    ]
    if rows:
        connection.execute(_INSERT_TIMING, rows)
