"""The calibrations that searches answer with: of an index version, or the one shipped with its models."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import Connection, select

from shared.database.tables import Calibration as CalibrationRow
from shared.errors import Misconfigured
from worker.calibration.category import SPREAD
from worker.calibration.score_map import ScoreMap
from worker.indexes.versions import IndexVersion
from worker.vision.models import embedding_space

log = logging.getLogger(__name__)

#: In the folder of the models: what ``vitrine calibrate`` found with them on the demo catalogue.
DEFAULTS = "calibrations.json"
#: What asked: an object of a photo; the whole photo, of which objects say something too; or the whole photo
#: alone, where no object was found, or none was looked for.
Part = Literal["object", "whole", "alone"]
#: What is said of a hit: that it is the product asked for, or one of its category.
What = Literal["same", "kind"]


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the scores of one index version mean.

    Attributes:
        source: ``catalogue``: made of its own pictures; ``default``: shipped with the models.
        same, kind: maps to the probability that a hit is the product asked for, and that it is of its
            category; a part is missing where there was too little to learn from.
        spread: of the votes for a category: ``predict_category`` has it.
    """

    source: Literal["catalogue", "default"]
    same: Mapping[Part, ScoreMap]
    kind: Mapping[Part, ScoreMap]
    spread: float = SPREAD

    def map_of(self, what: What, part: Part) -> ScoreMap | None:
        """Return the map of a part; that of the other kind of whole photo where it has none of its own."""
        maps = self.same if what == "same" else self.kind
        if part == "object" or part in maps:
            return maps.get(part)
        return maps.get("alone" if part == "whole" else "whole")

    def as_json(self) -> dict[str, Any]:
        """Return what ``read`` takes."""
        return {
            "same": {part: each.as_json() for part, each in self.same.items()},
            "kind": {part: each.as_json() for part, each in self.kind.items()},
            "category_spread": self.spread,
        }


def read(found: dict[str, Any], source: Literal["catalogue", "default"]) -> Calibration | None:
    """Return the calibration that was stored, None where it says that there was too little to learn from."""
    if not found.get("same"):
        return None
    maps: list[dict[Part, ScoreMap]] = [
        {part: ScoreMap.from_json(each) for part, each in found[what].items()} for what in ("same", "kind")
    ]
    return Calibration(source, maps[0], maps[1], float(found["category_spread"]))


class Calibrations:
    """Knows the calibration of each index version; reads it anew when it was made anew.

    Args:
        folder: of the models, whose defaults serve until a catalogue has its own.

    Raises:
        Misconfigured: the defaults cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._known: dict[int, tuple[float, Calibration | None]] = {}
        self._defaults = _defaults(folder / DEFAULTS)

    def of(self, connection: Connection, version: IndexVersion, made_at: float | None) -> Calibration | None:
        """Return the version's own, else that of its models, else None. Never another version's.

        Args:
            made_at: when the version's own was made, None where it has none.
        """
        if made_at is None:
            self._known.pop(version.id, None)
            return self._defaults.get(calibration_key(version.detector, version.embedder))
        known = self._known.get(version.id)
        if known is None or known[0] != made_at:
            row = connection.execute(
                select(CalibrationRow.created_at, CalibrationRow.curves).where(
                    CalibrationRow.index_version == version.id
                )
            ).one()
            known = row.created_at, _read_own(row.curves, version)
            self._known[version.id] = known
        return known[1]


def _read_own(curves: Any, version: IndexVersion) -> Calibration | None:
    """Read the calibration of a version; one that cannot be read counts as none, and is logged."""
    try:
        return read(curves, "catalogue")
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        log.error(
            "the calibration of %s cannot be read (%s: %s): `vitrine calibrate` makes a new one",
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


def calibration_key(detector: str, embedder: str) -> tuple[str, str]:
    """Return what index versions share whose scores mean the same: thresholds and precision move them little.

    Args:
        detector, embedder: the versions' names of their models.
    """
    return detector.split("+", 1)[0], embedding_space(embedder)
