"""Embeddings as the database keeps them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from worker.vision import Embeddings


def pack_embedding(embedding: Embeddings) -> bytes:
    """Return ``(D,)`` as float16 bytes: half the room, and the cosine changes by less than 1e-3."""
    return embedding.astype("<f2").tobytes()


def unpack_embedding(blob: bytes) -> Embeddings:
    """Undo ``pack_embedding``; the result is normalised again."""
    values = np.frombuffer(blob, dtype="<f2").astype(np.float32)
    unit: Embeddings = values / np.linalg.norm(values)
    return unit


def unpack_embeddings(blobs: Sequence[bytes]) -> Embeddings:
    """Undo ``pack_embedding`` for many of one length: ``(N, D) float32``, normalised again."""
    values = np.frombuffer(b"".join(blobs), dtype="<f2").reshape(len(blobs), -1).astype(np.float32)
    unit: Embeddings = values / np.linalg.norm(values, axis=1, keepdims=True)
    return unit
