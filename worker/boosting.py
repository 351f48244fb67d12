"""Business boosts: what a shop would rather show first, among what is near."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.contracts.search import LEAST_FACTOR, MOST_FACTOR, Boost
from shared.database.tables import Ranking
from shared.filters import Filter, parse


@dataclass(frozen=True, slots=True)
class Boosting:
    """Boosts, read: ``filters`` are those of ``boosts``."""

    boosts: tuple[Boost, ...]
    filters: tuple[Filter, ...]

    @classmethod
    def of(cls, boosts: Sequence[Boost]) -> Boosting:
        """Read the filters.

        Raises:
            InvalidInput: one cannot be read.
        """
        return cls(tuple(boosts), tuple(_parsed(boost.filter) for boost in boosts))


def factor_of(boosts: Sequence[Boost]) -> float:
    """Return the product of the factors, 0.5 to 2: many boosts do not make a stranger the nearest."""
    total = 1.0
    for boost in boosts:
        total *= boost.factor
    return min(max(total, LEAST_FACTOR), MOST_FACTOR)


def catalogue_boosts(session: Session, catalogue_id: int) -> tuple[Boost, ...]:
    """Return what the catalogue's owner set, for searches that say nothing else."""
    found = session.scalar(select(Ranking.boosts).where(Ranking.catalogue_id == catalogue_id))
    return tuple(Boost.model_validate(each) for each in found or ())


@lru_cache(maxsize=512)
def _parsed(text: str) -> Filter:
    return parse(text)
