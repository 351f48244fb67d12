"""Store the embeddings of a search's photo, so that a repeated search needs neither decoding nor models.

Stored are the objects that were detected or drawn, and the whole image, with their embeddings. They are
enough for another filter, page, language or number of hits, for another catalogue with the same models, and
for a box that equals an object's.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from shared.contracts import SearchOptions
from shared.contracts.base import Box as StoredBox
from shared.contracts.base import Contract
from shared.contracts.stored import read_stored
from shared.errors import UnreadableRow
from shared.searches.queue import StoredEmbeddings
from worker.vision import Detection, Embeddings
from worker.vision.pipeline import QueryEmbedding

#: Maximum number of drawn boxes that are stored with a search; the oldest is dropped first.
MAX_DRAWN = 16
#: Maximum distance of a box's edges from an object's, as fractions, at which both count as equal.
SAME_BOX = 0.002

Box = tuple[float, float, float, float]


class _Entry(Contract):
    """One stored object; the last one is the whole image and has no box."""

    kind: str
    box: StoredBox | None = None
    label: str = ""
    confidence: float = 0.0
    detected: bool = False


def validate_stored(stored: StoredEmbeddings | None, dim: int) -> StoredEmbeddings | None:
    """Return stored embeddings, or None if unreadable, so that the photo is embedded again."""
    if stored is None:
        return None
    try:
        entries = [read_stored(_Entry, each, "A stored object") for each in stored.objects]
    except UnreadableRow:
        return None
    values = np.frombuffer(stored.embeddings, dtype=np.uint8)
    if not entries or len(values) != 2 * dim * len(entries) or not np.isfinite(_values(stored)).all():
        return None
    *objects, whole = entries
    known = whole.kind == "whole" and all(entry.box is not None for entry in objects)
    return stored if known and (np.linalg.norm(_values(stored), axis=1) > 0).all() else None


def round_embeddings(embeddings: Embeddings) -> Embeddings:
    """Round ``(N, D)`` to the stored precision, normalised, so that a repeated search has the same scores."""
    return _unit(embeddings.astype("<f2").astype(np.float32))


def merge_stored(
    found: QueryEmbedding, options: SearchOptions, models: int, before: StoredEmbeddings | None
) -> StoredEmbeddings:
    """Return what to store of an embedded photo.

    Args:
        found: its embeddings after ``round_embeddings``.
        models: row id of the model versions that made them.
        before: what an earlier search with the same photo stored.
    """
    detected = options.detect and options.box is None
    kind = "drawn" if options.box is not None else "found"
    entries = [
        ({"kind": kind, "box": list(d.box), "label": d.label, "confidence": d.confidence}, row)
        for d, row in zip(found.objects, found.embeddings[:-1], strict=True)
    ]
    whole_row = found.embeddings[-1]
    if before is not None and before.models == models:
        *known, (whole, whole_row) = zip(before.objects, _embeddings(before), strict=True)
        entries += [(entry, row) for entry, row in known if not (detected and entry["kind"] == "found")]
        detected = detected or bool(whole.get("detected"))
    objects = [entry for entry in entries if entry[0]["kind"] == "found"]
    objects += [entry for entry in entries if entry[0]["kind"] == "drawn"][:MAX_DRAWN]
    objects.append(({"kind": "whole", "detected": detected}, whole_row))
    embeddings = np.stack([row for _, row in objects])
    return StoredEmbeddings([entry for entry, _ in objects], embeddings.astype("<f2").tobytes(), models)


def reuse(stored: StoredEmbeddings, options: SearchOptions) -> QueryEmbedding | None:
    """Return the embeddings of a search with these options, or None if a model must run."""
    embeddings = _embeddings(stored)
    *objects, whole = stored.objects
    if options.box is not None:
        chosen = _with_box(objects, options.box)
        if chosen is None:
            return None
        numbers = [chosen]
    elif not options.detect:
        numbers = []
    elif whole.get("detected"):
        numbers = [n for n, entry in enumerate(objects) if entry["kind"] == "found"]
    else:
        return None
    found = tuple(_detection(objects[n], options.box) for n in numbers)
    return QueryEmbedding(found, embeddings[[*numbers, -1]], {})


def _with_box(objects: list[dict[str, Any]], box: Box) -> int | None:
    distances = [max(abs(a - b) for a, b in zip(entry["box"], box, strict=True)) for entry in objects]
    if not distances or min(distances) > SAME_BOX:
        return None
    return distances.index(min(distances))


def _detection(entry: dict[str, Any], drawn: Box | None) -> Detection:
    x0, y0, x1, y1 = drawn or entry["box"]
    return Detection((x0, y0, x1, y1), entry.get("label", ""), entry.get("confidence", 0.0))


def _embeddings(stored: StoredEmbeddings) -> Embeddings:
    return _unit(_values(stored))


def _values(stored: StoredEmbeddings) -> Embeddings:
    values = np.frombuffer(stored.embeddings, dtype="<f2").astype(np.float32)
    return values.reshape(len(stored.objects), -1)


def _unit(embeddings: Embeddings) -> Embeddings:
    unit: Embeddings = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    return unit
