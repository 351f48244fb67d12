"""Convert rows to Milvus entities, validated, and its hits to ours."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np

from shared.errors import InvalidInput
from worker.vector_index.contract import IndexHit, IndexRow
from worker.vector_index.filters import FACTS, ORDERED
from worker.vision import NORM_TOLERANCE, Embeddings

#: Maximum length of each text column, in bytes of UTF-8.
MAX_BYTES = {"key": 64, "product_id": 128, "image_id": 64, "category": 256}
#: Price of rows whose product has none: Milvus 2.3 has no nulls.
NO_PRICE = -1.0
# The client inserts keys into its own filters unquoted.
_KEY = re.compile(r"[A-Za-z0-9_.:-]{1,64}")


def check_embeddings(embeddings: Embeddings) -> None:
    """Validate ``(N, D)`` embeddings.

    Raises:
        InvalidInput: a value is not finite, or a row is not normalised.
    """
    if not np.isfinite(embeddings).all():
        raise InvalidInput("An embedding has a value that is not a finite number.")
    norms = np.linalg.norm(embeddings.astype(np.float64), axis=1)
    if (np.abs(norms - 1) >= NORM_TOLERANCE).any():
        raise InvalidInput("An embedding is not normalised: its norm is not 1.")


def to_entity(row: IndexRow, fields: Collection[str]) -> dict[str, Any]:
    """Return a row as a Milvus entity, with only those optional fields that the collection has.

    Raises:
        InvalidInput: a text is too long or not valid Unicode, or the price is negative or not finite.
    """
    texts = {name: str(getattr(row, name)) for name in MAX_BYTES}
    for name, text in texts.items():
        try:
            length = len(text.encode())
        except UnicodeEncodeError as error:
            raise InvalidInput(f"{name} is not valid Unicode text.", name) from error
        if length > MAX_BYTES[name]:
            raise InvalidInput(f"{name} takes at most {MAX_BYTES[name]} bytes, not {length}.", name)
    if not _KEY.fullmatch(row.key):
        raise InvalidInput("key must be 1 to 64 characters of A-Z, a-z, 0-9 and _ . : -", "key")
    price = NO_PRICE if row.price is None else float(row.price)
    if not np.isfinite(price) or (row.price is not None and price < 0):
        raise InvalidInput("price must be a finite number of 0 or more.", "price")
    embedding = np.ascontiguousarray(row.embedding, dtype=np.float32)
    entity = {**texts, "number": int(row.number), "price": price, "embedding": embedding}
    facts = {FACTS: list(row.facts.tokens), ORDERED: dict(row.facts.order)}
    return entity | {name: value for name, value in facts.items() if name in fields}


def split_by_bytes(entities: Sequence[dict[str, Any]], max_bytes: int) -> Iterator[list[dict[str, Any]]]:
    """Yield batches of about ``max_bytes`` at most, with at least one entity each."""
    batch: list[dict[str, Any]] = []
    size = 0
    for entity in entities:
        added = entity["embedding"].nbytes + sum(MAX_BYTES.values())
        added += 10 * len(entity.get(FACTS, ())) + 200 * len(entity.get(ORDERED, ()))
        if batch and size + added > max_bytes:
            yield batch
            batch, size = [], 0
        batch.append(entity)
        size += added
    yield batch


def to_hit(hit: Any) -> IndexHit:
    """Convert a hit of the client to ours."""
    # Bypass the client's own lookup, which tries an older interface first for each value.
    get = dict.__getitem__
    entity = get(hit, "entity")
    # Milvus 2.3 returns the primary key as "id", whatever its name.
    key = get(hit, "key" if "key" in hit else "id")
    # Milvus calls the cosine a distance, although larger is nearer.
    return IndexHit(key, entity["product_id"], entity["image_id"], entity["number"], get(hit, "distance"))
