"""Convert embeddings to and from their form in the database."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from worker.vision import Embeddings


def pack_embedding(embedding: Embeddings) -> bytes:
    """Pack ``(D,)`` as float16 bytes: half the size, and cosines change by less than 1e-3."""
    return embedding.astype("<f2").tobytes()


def unpack_embedding(blob: bytes) -> Embeddings:
    """Unpack one embedding to ``(D,) float32``, normalised again."""
    values = np.frombuffer(blob, dtype="<f2").astype(np.float32)
    unit: Embeddings = values / np.linalg.norm(values)
    return unit


def unpack_embeddings(blobs: Sequence[bytes]) -> Embeddings:
    """Unpack embeddings of one length to ``(N, D) float32``, normalised again."""
    values = np.frombuffer(b"".join(blobs), dtype="<f2").reshape(len(blobs), -1).astype(np.float32)
    unit: Embeddings = values / np.linalg.norm(values, axis=1, keepdims=True)
    return unit
