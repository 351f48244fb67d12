"""Business boosts: what a shop would rather show first, among what is near."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from shared.contracts.search import LEAST_FACTOR, MOST_FACTOR, Boost
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

    @classmethod
    def stored(cls, boosts: Iterable[dict[str, Any]] | None) -> Boosting:
        """Read what the owner of a catalogue set, None where nothing is."""
        return cls.of([Boost.model_validate(each) for each in boosts or ()])


def factor_of(boosts: Sequence[Boost]) -> float:
    """Return the product of the factors, 0.5 to 2: many boosts do not make a stranger the nearest."""
    total = 1.0
    for boost in boosts:
        total *= boost.factor
    return min(max(total, LEAST_FACTOR), MOST_FACTOR)


@lru_cache(maxsize=512)
def _parsed(text: str) -> Filter:
    return parse(text)
