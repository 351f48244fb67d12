"""Load the calibration of an index version, or the default that is shipped with its models."""

from __future__ import annotations

import json
import logging
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, select

from shared.database.tables import Calibration as CalibrationRow
from shared.errors import Misconfigured
from worker.calibration.score_map import ScoreMap
from worker.indexes.versions import IndexVersion
from worker.vision.models import embedding_space

log = logging.getLogger(__name__)

#: File in the models folder with default calibrations, which `vitrine calibrate` made on the demo catalogue.
DEFAULTS = "calibrations.json"
#: The part of a photo that a query embeds: an object; the whole photo of a query that has objects too; or the
#: whole photo alone, where no object was found or searched for.
QueryPart = Literal["object", "whole", "alone"]
#: What a probability means: that a hit is the same product, or that it has the same category.
MatchKind = Literal["same", "kind"]
#: Maximum number of hits that vote.
VOTERS = 10
#: Default difference in score that divides the weight of a vote by e.
SPREAD = 0.03
#: Values from which a calibration chooses.
SPREADS = (0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.15)


@dataclass(frozen=True, slots=True)
class Calibration:
    """The meaning of the scores of one index version.

    Attributes:
        source: ``catalogue``, made of its own pictures, or ``default``, shipped with the models.
        same, kind: maps to the probability that a hit is the same product, and that it has the same
            category; parts with too few examples are missing.
        spread: of the votes for a category, see ``predict_category``.
    """

    source: Literal["catalogue", "default"]
    same: Mapping[QueryPart, ScoreMap]
    kind: Mapping[QueryPart, ScoreMap]
    spread: float = SPREAD

    def map_of(self, what: MatchKind, part: QueryPart) -> ScoreMap | None:
        """Return the map of a part; the two kinds of whole photo substitute for one another."""
        maps = self.same if what == "same" else self.kind
        if part == "object" or part in maps:
            return maps.get(part)
        return maps.get("alone" if part == "whole" else "whole")

    def as_json(self) -> dict[str, Any]:
        """Return the form that ``read`` takes."""
        return {
            "same": {part: each.as_json() for part, each in self.same.items()},
            "kind": {part: each.as_json() for part, each in self.kind.items()},
            "category_spread": self.spread,
        }


def read(found: dict[str, Any], source: Literal["catalogue", "default"]) -> Calibration | None:
    """Read a stored calibration, None where it had too few examples."""
    if not found.get("same"):
        return None
    maps: list[dict[QueryPart, ScoreMap]] = [
        {part: ScoreMap.from_json(each) for part, each in found[what].items()} for what in ("same", "kind")
    ]
    return Calibration(source, maps[0], maps[1], float(found["category_spread"]))


class Calibrations:
    """Caches the calibration of each index version, and reads a newer one.

    Args:
        folder: of the models, whose defaults apply until a catalogue has its own.

    Raises:
        Misconfigured: the defaults cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._cache: dict[int, tuple[float, Calibration | None]] = {}
        self._defaults = _defaults(folder / DEFAULTS)

    def of(self, connection: Connection, version: IndexVersion, made_at: float | None) -> Calibration | None:
        """Return the version's own calibration, else the default of its models, else None.

        Args:
            made_at: creation time of the version's own calibration; None where it has none.
        """
        if made_at is None:
            self._cache.pop(version.id, None)
            return self._defaults.get(calibration_key(version.detector, version.embedder))
        cached = self._cache.get(version.id)
        if cached is None or cached[0] != made_at:
            row = connection.execute(
                select(CalibrationRow.created_at, CalibrationRow.curves).where(
                    CalibrationRow.index_version == version.id
                )
            ).one()
            cached = row.created_at, _read_own(row.curves, version)
            self._cache[version.id] = cached
        return cached[1]


def _read_own(curves: Any, version: IndexVersion) -> Calibration | None:
    """Read the calibration of a version; an unreadable one is logged and counts as missing."""
    try:
        return read(curves, "catalogue")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        log.error(
            "the calibration of %s cannot be read (%s: %s): run `vitrine calibrate`",
            version.collection,
            type(error).__name__,
            error,
        )
        return None


def _defaults(path: Path) -> dict[tuple[str, str], Calibration]:
    if not path.exists():
        return {}
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))["calibrations"]
        found = {
            calibration_key(entry["detector"], entry["embedder"]): read(entry["curves"], "default")
            for entry in entries
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Misconfigured(f"{path} cannot be read: {error}. Restore it, or delete it.") from error
    return {models: each for models, each in found.items() if each is not None}


@lru_cache(maxsize=256)
def calibration_key(detector: str, embedder: str) -> tuple[str, str]:
    """Return the key of index versions that can share a calibration.

    Thresholds and precision change scores little, and are not part of the key.

    Args:
        detector, embedder: versions of the models.
    """
    return detector.split("+", 1)[0], embedding_space(embedder)


def predict_category(hits: Sequence[tuple[str, float]], spread: float = SPREAD) -> tuple[str, float] | None:
    """Return the category with most votes, and its share of all votes.

    A vote weighs ``exp(score / spread)``. Votes of hits without a category lower the share.

    Args:
        hits: category and score of each, best first; ten vote.

    Returns:
        None where no hit has a category. Of categories with equal votes, the first one.
    """
    votes: dict[str, float] = defaultdict(float)
    for category, score in hits[:VOTERS]:
        votes[category] += math.exp((score - hits[0][1]) / spread)
    named = {category: weight for category, weight in votes.items() if category}
    if not named:
        return None
    best = max(named, key=lambda category: named[category])
    return best, named[best] / sum(votes.values())


def fit_spread(examples: Sequence[tuple[Sequence[tuple[str, float]], str]]) -> float:
    """Return the spread with the lowest log loss.

    Args:
        examples: hits as ``predict_category`` takes them, and the right category.
    """

    def loss(spread: float) -> float:
        total = 0.0
        for hits, right in examples:
            found = predict_category(hits, spread)
            likelihood = 0.0 if found is None else found[1] if found[0] == right else 1 - found[1]
            total -= math.log(max(likelihood, 1e-3))
        return total

    return min(SPREADS, key=loss) if examples else SPREAD
