"""Business boosts: products that a shop prefers to show first, among near ones."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from shared.contracts.search import MAX_BOOST_FACTOR, MIN_BOOST_FACTOR, Boost
from shared.contracts.stored import read_stored
from shared.errors import VitrineError
from shared.filters import Filter, parse

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Boosting:
    """Parsed boosts: ``filters`` are those of ``boosts``."""

    boosts: tuple[Boost, ...]
    filters: tuple[Filter, ...]

    @classmethod
    def of(cls, boosts: Sequence[Boost]) -> Boosting:
        """Parse the filters.

        Raises:
            InvalidInput: a filter cannot be parsed.
        """
        return cls(tuple(boosts), tuple(_parsed(boost.filter) for boost in boosts))

    @classmethod
    def stored(cls, boosts: Any) -> Boosting:
        """Read the stored boosts of a catalogue; None where it has none.

        An unreadable boost is skipped and logged: it only changes the order, and must not fail the
        catalogue's searches.
        """
        rows = boosts if isinstance(boosts, list) else [boosts] if boosts is not None else []
        read = [each for row in rows if (each := _read(row)) is not None]
        return cls(tuple(boost for boost, _ in read), tuple(filter_ for _, filter_ in read))


def _read(boost: Any) -> tuple[Boost, Filter] | None:
    try:
        found = read_stored(Boost, boost, "A boost of this catalogue")
        return found, _parsed(found.filter)
    except VitrineError as error:
        log.error("a boost is skipped: %s", error.message)
        return None


def factor_of(boosts: Sequence[Boost]) -> float:
    """Return the product of the factors, 0.5 to 2, so that many boosts cannot lift a dissimilar product."""
    total = 1.0
    for boost in boosts:
        total *= boost.factor
    return min(max(total, MIN_BOOST_FACTOR), MAX_BOOST_FACTOR)


@lru_cache(maxsize=512)
def _parsed(text: str) -> Filter:
    return parse(text)


#: Of catalogues without boosts.
NO_BOOSTS = Boosting((), ())
