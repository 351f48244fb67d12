"""Examples of what is wanted and of what is not, as a move of the query (Rocchio 1971).

J. J. Rocchio, "Relevance feedback in information retrieval", The SMART Retrieval System, 1971; the weights
are those that Manning, Raghavan and Schuetze, Introduction to Information Retrieval (2008), section 9.1.1,
call reasonable: wanted examples weigh three quarters of the query, unwanted ones a seventh.
"""

from __future__ import annotations

import numpy as np

from worker.vision import Embeddings

LIKED, UNLIKED = 0.75, 0.15


def moved(queries: Embeddings, liked: Embeddings, unliked: Embeddings) -> Embeddings:
    """Return ``q + 0.75 mean(liked) - 0.15 mean(unliked)`` for each query, normalised.

    Args:
        queries: ``(N, D)``; zeros where there are examples only.
        liked: ``(P, D)``, P may be 0.
        unliked: ``(U, D)``, U may be 0.

    Returns:
        ``(N, D)``. A query that its examples cancel out stays as it is.
    """
    found = queries.astype(np.float32, copy=True)
    if len(liked):
        found += LIKED * liked.mean(axis=0)
    if len(unliked):
        found -= UNLIKED * unliked.mean(axis=0)
    norms = np.linalg.norm(found, axis=1, keepdims=True)
    lost = norms < 1e-4
    moved_: Embeddings = np.where(lost, queries, found / np.where(lost, 1.0, norms)).astype(np.float32)
    return moved_
