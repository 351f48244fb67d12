"""The worker's side of the searches: take what waits, answer it, give back what could not be done.

A row is taken with a lease and a fence number. Whoever comes back late finds the fence moved and is
told no, so an answer is written once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from sqlalchemy import delete, select, update

from shared.contracts import SearchOptions, SearchResult
from shared.database import Database, affected
from shared.database.tables import Catalogue, Idempotency, Search
from shared.ledger import now_s

#: How long an expired search still answers 410 before it is forgotten (404).
_REMEMBER_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Claim:
    """A search that this worker holds until its lease ends."""

    id: str
    fence: int
    attempts: int
    catalogue_id: int
    catalogue: str
    options: SearchOptions
    query_key: str | None
    product_id: str | None
    created_at: float


class SearchDesk:
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

    def claim(self, limit: int) -> list[Claim]:
        """Take up to ``limit`` waiting searches, the oldest first.

        One that was tried before is taken alone: if it kills the process, it takes nobody with it.
        """
        now = now_s()
        with self._database.write() as session:
            rows = list(
                session.execute(
                    select(Search, Catalogue.name)
                    .join(Catalogue, Catalogue.id == Search.catalogue_id)
                    .where(Search.state == "queued", Search.lease_until <= now)
                    .order_by(Search.created_at)
                    .limit(limit)
                    .with_for_update(skip_locked=True, of=Search)
                )
            )
            untried = list(takewhile(lambda row: row[0].attempts == 0, rows))
            chosen = untried or rows[:1]
            for search, _ in chosen:
                search.state = "running"
                search.attempts += 1
                search.fence += 1
                search.holder = self._holder
                search.lease_until = now + self._lease_s
                search.started_at = search.started_at or now
            return [_claim(search, name) for search, name in chosen]

    def answer(self, answers: Sequence[tuple[Claim, SearchResult]]) -> int:
        """Write results; returns how many claims still held."""
        return self._finish(
            [(c, {"state": "succeeded", "result": r.model_dump(mode="json")}) for c, r in answers]
        )

    def fail(self, claim: Claim, code: str, message: str) -> int:
        return self._finish([(claim, {"state": "failed", "error_code": code, "error_message": message})])

    def postpone(self, claims: Sequence[Claim], delay_s: float, code: str, message: str, blame: bool) -> None:
        """Give searches back, to be tried after ``delay_s``.

        Args:
            blame: the search itself may be the cause, so the attempt counts, and the last one fails
                it with ``code``; otherwise it waits for the service that is away until it expires.
        """
        for claim in claims:
            if blame and claim.attempts >= self._max_attempts:
                self.fail(claim, code, message)
                continue
            attempts = claim.attempts if blame else claim.attempts - 1
            self._finish(
                [
                    (
                        claim,
                        {
                            "state": "queued",
                            "attempts": attempts,
                            "lease_until": now_s() + delay_s,
                            "finished_at": None,
                        },
                    )
                ]
            )

    def _finish(self, changes: Sequence[tuple[Claim, dict[str, Any]]]) -> int:
        held = 0
        now = now_s()
        with self._database.write() as session:
            for claim, change in changes:
                held += affected(
                    session,
                    update(Search)
                    .where(Search.id == claim.id, Search.fence == claim.fence, Search.state == "running")
                    .values({"finished_at": now, "holder": None, **change}),
                )
        return held

    def take_over(self) -> int:
        """Put back what an earlier process of this name held when it died."""
        return self._put_back(Search.holder == self._holder)

    def sweep(self) -> int:
        """Put back searches whose lease ran out, and give up those tried too often."""
        return self._put_back(Search.lease_until < now_s())

    def _put_back(self, which: Any) -> int:
        with self._database.write() as session:
            lost = list(session.scalars(select(Search).where(Search.state == "running", which)))
            for search in lost:
                search.fence += 1
                search.holder = None
                if search.attempts >= self._max_attempts:
                    search.state, search.finished_at = "failed", now_s()
                    search.error_code = "worker_lost"
                    search.error_message = (
                        f"The search was given up: its worker ended {search.attempts} times over it."
                    )
                else:
                    search.state, search.lease_until = "queued", 0.0
            return len(lost)

    def overdue(self, age_s: float, limit: int) -> list[str]:
        """Ids of searches that have waited for ``age_s`` and may be tried now."""
        now = now_s()
        with self._database.read() as session:
            return list(
                session.scalars(
                    select(Search.id)
                    .where(
                        Search.state == "queued", Search.lease_until <= now, Search.created_at <= now - age_s
                    )
                    .order_by(Search.created_at)
                    .limit(limit)
                )
            )

    def forget(self) -> int:
        """Delete searches long expired, and idempotency keys of the day before."""
        horizon = now_s() - _REMEMBER_S
        with self._database.write() as session:
            session.execute(delete(Idempotency).where(Idempotency.created_at < horizon))
            return affected(session, delete(Search).where(Search.expires_at < horizon))


def _claim(row: Search, catalogue: str) -> Claim:
    return Claim(
        id=row.id,
        fence=row.fence,
        attempts=row.attempts,
        catalogue_id=row.catalogue_id,
        catalogue=catalogue,
        options=SearchOptions.model_validate(row.options),
        query_key=row.query_key,
        product_id=row.product_id,
        created_at=row.created_at,
    )
