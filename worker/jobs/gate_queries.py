"""Queries of the quality gate: golden queries, shoppers' photos, pictures of products."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from sqlalchemy import select

from shared.contracts.base import Box
from shared.database.tables import GoldenQuery, Product, Search
from shared.database.tables import Image as ImageRow
from worker.indexes.versions import IndexVersion
from worker.products.context import JobContext
from worker.products.pictures import decode_stored
from worker.vision import Image
from worker.vision.pipeline import Pipeline, QueryOptions

TOP = 10
_OVER_FETCH = 4
#: Shorter side of a catalogue picture as a query, in pixels: a phone's photo is no copy.
_QUERY_PX = 256


@dataclass(frozen=True)
class Query:
    """A photo; ``product_id`` is the right answer where it is known.

    Attributes:
        source: golden | shopper | catalogue.
        key: of the photo in the image store.
    """

    image: Image
    box: Box | None = None
    product_id: str | None = None
    source: str = "catalogue"
    key: str = ""


def golden_queries(context: JobContext, catalogue_id: int, limit: int) -> list[Query]:
    """Return the golden queries whose product and photo still exist."""
    with context.database.read() as session:
        rows = session.execute(
            select(GoldenQuery.sha256, GoldenQuery.box, GoldenQuery.product_id)
            .join(
                Product,
                (Product.catalogue_id == GoldenQuery.catalogue_id)
                & (Product.product_id == GoldenQuery.product_id),
            )
            .where(GoldenQuery.catalogue_id == catalogue_id)
            .order_by(GoldenQuery.id)
            .limit(limit)
        ).all()
    images = decode_stored(context, [row.sha256 for row in rows], "golden")
    return [
        Query(image, _box(row.box), row.product_id, "golden", row.sha256)
        for row, image in zip(rows, images, strict=True)
        if image is not None
    ]


def live_queries(context: JobContext, catalogue_id: int, limit: int) -> list[Query]:
    """Return the last photos searched that are still stored; their right answer is unknown."""
    with context.database.read() as session:
        keys = session.scalars(
            select(Search.query_key)
            .where(
                Search.catalogue_id == catalogue_id,
                Search.state == "succeeded",
                Search.query_key.is_not(None),
            )
            .order_by(Search.created_at.desc())
            .limit(4 * limit)
        ).all()
    unique = list(dict.fromkeys(key for key in keys if key is not None))[:limit]
    images = decode_stored(context, unique, "queries")
    return [
        Query(image, source="shopper", key=key)
        for key, image in zip(unique, images, strict=True)
        if image is not None
    ]


def known_queries(context: JobContext, catalogue_id: int, version: IndexVersion, limit: int) -> list[Query]:
    """Return some of the catalogue's pictures, slightly changed; the same ones for the same version."""
    # Ids of images are hashes: those after any point are a fair sample.
    start = hashlib.sha256(version.collection.encode()).hexdigest()[:32]
    base = (
        select(ImageRow.sha256, Product.product_id)
        .join(Product, Product.id == ImageRow.product)
        .where(Product.catalogue_id == catalogue_id)
        .order_by(ImageRow.id)
    )
    with context.database.read() as session:
        rows = list(session.execute(base.where(ImageRow.id >= start).limit(limit)))
        if len(rows) < limit:
            rows += session.execute(base.where(ImageRow.id < start).limit(limit - len(rows))).all()
    images = decode_stored(context, [row.sha256 for row in rows])
    return [
        Query(_perturb(image), None, row.product_id, "catalogue", row.sha256)
        for row, image in zip(rows, images, strict=True)
        if image is not None
    ]


def ranked(
    context: JobContext, version: IndexVersion, pipeline: Pipeline, queries: Sequence[Query]
) -> Iterator[list[tuple[str, float]]]:
    """Yield the best products of each query with their scores, at most ten, as a search would.

    The query's box, or else its most prominent object, or else the whole photo is searched for.
    """
    size = max(context.micro_batch, 1)
    for start in range(0, len(queries), size):
        batch = queries[start : start + size]
        options = [QueryOptions(box=query.box) for query in batch]
        embedded = pipeline.embed_query([query.image for query in batch], options)
        rows = np.stack([each.embeddings[0] for each in embedded])
        for hits in context.index.search(version.collection, rows, TOP * _OVER_FETCH):
            best: dict[str, float] = {}
            for hit in sorted(hits, key=lambda h: -h.score):
                best.setdefault(hit.product_id, hit.score)
            yield list(best.items())[:TOP]


def _box(values: list[float] | None) -> Box | None:
    if values is None:
        return None
    x0, y0, x1, y1 = values
    return x0, y0, x1, y1


def _perturb(image: Image) -> Image:
    """Return a picture cropped a little, scaled down and darkened: the same thing, not the same picture."""
    height, width = image.shape[:2]
    dy, dx = height // 32, width // 32
    cut = image[dy : height - dy, dx : width - dx]
    scale = min(1.0, _QUERY_PX / max(min(cut.shape[:2]), 1))
    size = max(int(cut.shape[1] * scale), 8), max(int(cut.shape[0] * scale), 8)
    small = cv2.resize(np.ascontiguousarray(cut), size, interpolation=cv2.INTER_AREA)
    return np.asarray(np.clip(small.astype(np.float32) * 0.93, 0, 255), np.uint8)
