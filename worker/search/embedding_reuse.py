"""What a search keeps of its photo, so that it can be asked again without decoding and without a model.

Stored are the objects that were found or drawn, and the whole image, with their embeddings. Another filter,
catalogue with the same models, page, language or number of hits needs nothing else, nor does a box that one
of the objects has.
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

#: Most drawn boxes that are kept with a search; the oldest goes first.
MAX_DRAWN = 16
#: A box whose edges are no further from an object's, as fractions, is that object.
SAME_BOX = 0.002

Box = tuple[float, float, float, float]


class _Entry(Contract):
    """One kept object; the last one is the whole image and has no box."""

    kind: str
    box: StoredBox | None = None
    label: str = ""
    confidence: float = 0.0
    detected: bool = False


def readable(kept: StoredEmbeddings | None, dim: int) -> StoredEmbeddings | None:
    """Return what was kept, None if this version cannot read it: the photo is then embedded again."""
    if kept is None:
        return None
    try:
        entries = [read_stored(_Entry, each, "A kept object") for each in kept.objects]
    except UnreadableRow:
        return None
    values = np.frombuffer(kept.embeddings, dtype=np.uint8)
    if not entries or len(values) != 2 * dim * len(entries) or not np.isfinite(_values(kept)).all():
        return None
    *objects, whole = entries
    known = whole.kind == "whole" and all(entry.box is not None for entry in objects)
    return kept if known and (np.linalg.norm(_values(kept), axis=1) > 0).all() else None


def rounded(embeddings: Embeddings) -> Embeddings:
    """Return ``(N, D)`` as it will be kept, normalised: so a search asked again finds the same scores."""
    return _unit(embeddings.astype("<f2").astype(np.float32))


def keep(
    found: QueryEmbedding, options: SearchOptions, models: int, before: StoredEmbeddings | None
) -> StoredEmbeddings:
    """Return what is to be kept of an embedded photo.

    Args:
        found: its embeddings after ``rounded``.
        models: id of the versions that made them.
        before: what an earlier search with the same photo kept.
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


def reuse(kept: StoredEmbeddings, options: SearchOptions) -> QueryEmbedding | None:
    """Return the embeddings that a search with these options would make, None where a model is needed."""
    embeddings = _embeddings(kept)
    *objects, whole = kept.objects
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


def _embeddings(kept: StoredEmbeddings) -> Embeddings:
    return _unit(_values(kept))


def _values(kept: StoredEmbeddings) -> Embeddings:
    values = np.frombuffer(kept.embeddings, dtype="<f2").astype(np.float32)
    return values.reshape(len(kept.objects), -1)


def _unit(embeddings: Embeddings) -> Embeddings:
    unit: Embeddings = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    return unit
