"""Combine embeddings: several photos of one item, and a query with examples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from worker.vision import Detection, Embeddings
from worker.vision.pipeline import QueryEmbedding

LIKED, UNLIKED = 0.75, 0.15


def apply_examples(queries: Embeddings, liked: Embeddings, unliked: Embeddings) -> Embeddings:
    """Return ``q + 0.75 mean(liked) - 0.15 mean(unliked)`` for each query, normalised.

    This is Rocchio's relevance feedback: J. J. Rocchio, "Relevance feedback in information retrieval", The
    SMART Retrieval System, 1971. The weights are those that Manning, Raghavan and Schuetze, Introduction to
    Information Retrieval (2008), section 9.1.1, call reasonable.

    Args:
        queries: ``(N, D)``; zeros where there are examples only.
        liked: ``(P, D)``, P may be 0.
        unliked: ``(U, D)``, U may be 0.

    Returns:
        ``(N, D)``. A query that its examples cancel out is returned unchanged.
    """
    moved = queries.astype(np.float32, copy=True)
    if len(liked):
        moved += LIKED * liked.mean(axis=0)
    if len(unliked):
        moved -= UNLIKED * unliked.mean(axis=0)
    norms = np.linalg.norm(moved, axis=1, keepdims=True)
    lost = norms < 1e-4
    unit: Embeddings = np.where(lost, queries, moved / np.where(lost, 1.0, norms)).astype(np.float32)
    return unit


def merge_photos(photos: Sequence[QueryEmbedding]) -> QueryEmbedding:
    """Return one embedding of an item that several photos show: the mean of its main objects.

    Where a photo shows no object, the whole photo counts as the item. A single photo is returned unchanged.
    """
    if len(photos) == 1:
        return photos[0]
    wholes = _mean([photo.embeddings[-1] for photo in photos])
    found = next((photo.objects[0] for photo in photos if photo.objects), None)
    if found is None:
        return QueryEmbedding((), wholes, photos[0].timings_ms)
    main = photos[0].objects[0].box if photos[0].objects else (0.0, 0.0, 1.0, 1.0)
    # The first row is the main object's, or the whole photo's where there is none.
    rows = np.concatenate([_mean([photo.embeddings[0] for photo in photos]), wholes])
    return QueryEmbedding((Detection(main, found.label, found.confidence),), rows, photos[0].timings_ms)


def _mean(rows: Sequence[Embeddings]) -> Embeddings:
    total = np.stack(rows).mean(axis=0)
    unit: Embeddings = (total / max(float(np.linalg.norm(total)), 1e-6))[np.newaxis]
    return unit
