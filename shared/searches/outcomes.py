"""Read the outcomes of searches for task events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, select

from shared.contracts.states import OPEN_STATES
from shared.database import Database
from shared.database.tables import Search

_OUTCOMES = select(
    Search.id,
    Search.state,
    Search.started_at,
    Search.finished_at,
    Search.error_code,
    Search.error_message,
).where(Search.id.in_(bindparam("ids", expanding=True)))


@dataclass(frozen=True, slots=True)
class SearchOutcome:
    """The state of a search after its task.

    Attributes:
        state: as its client polls it.
        runtime_s: from the claim to the answer; 0 where it was never claimed or has not ended.
        error: code and message of a failed search.
    """

    id: str
    state: str
    runtime_s: float
    error: str

    @property
    def has_ended(self) -> bool:
        """Whether the search stays as it is."""
        return self.state not in OPEN_STATES


def search_outcomes(database: Database, search_ids: Sequence[str]) -> list[SearchOutcome]:
    """Read the outcomes of these searches, in any order; unknown ids are left out."""
    with database.read_connection() as connection:
        rows = connection.execute(_OUTCOMES, {"ids": list(search_ids)}).all()
    return [
        SearchOutcome(
            id=row.id,
            state=row.state,
            runtime_s=max((row.finished_at or 0.0) - (row.started_at or row.finished_at or 0.0), 0.0),
            error=f"{row.error_code}: {row.error_message}" if row.error_code else "",
        )
        for row in rows
    ]
