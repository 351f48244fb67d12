"""From neighbours in the index to products in an answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from sqlalchemy import select

from shared.catalogue import image_url, main_boxes, tidy_price, title_in
from shared.contracts import FoundObject, Hit, SearchOptions, SearchResult, WholeImage
from shared.database import Database
from shared.database.tables import Catalogue, Detection, Image, Product
from shared.errors import UnknownProduct
from worker.vision import Detection as SeenObject
from worker.vision import Embeddings, IndexHit

Box = tuple[float, float, float, float]


class Hydrator:
    """Looks up, in one read, all products that a batch of searches of one catalogue found."""

    def __init__(
        self,
        database: Database,
        catalogue_id: int,
        index_version: int,
        product_ids: Iterable[str],
        image_ids: Iterable[str],
    ):
        with database.read() as session:
            rows = session.scalars(
                select(Product).where(
                    Product.catalogue_id == catalogue_id, Product.product_id.in_(set(product_ids))
                )
            )
            self._products = {row.product_id: row for row in rows}
            self._boxes: dict[str, Box] = main_boxes(session, set(image_ids), index_version)
            self._currency = session.scalar(select(Catalogue.currency).where(Catalogue.id == catalogue_id))

    def group(
        self, hits: Sequence[IndexHit], options: SearchOptions, without: str | None = None
    ) -> list[Hit]:
        """Return one hit a product, best first, at most ``options.top_k``.

        A row whose product is gone (deleted a moment ago) is left out.

        Args:
            without: a product that is not wanted: the one that was searched with.
        """
        found: dict[str, Hit] = {}
        for hit in sorted(hits, key=lambda h: -h.score):
            product = self._products.get(hit.product_id)
            if product is None or hit.product_id in found or hit.product_id == without:
                continue
            # Compared as it is shown, so that a score taken from an answer is a limit that includes it.
            if options.min_score is not None and _shown(hit.score) < options.min_score:
                break
            if options.category is not None and product.category != options.category:
                continue  # the product moved to another category and the index does not know yet
            found[hit.product_id] = self._hit(hit, product, options.locale)
            if len(found) == options.top_k:
                break
        return list(found.values())

    def _hit(self, hit: IndexHit, product: Product, locale: str) -> Hit:
        return Hit(
            product_id=hit.product_id,
            score=_shown(hit.score),
            image_id=hit.image_id,
            image_url=image_url(hit.image_id),
            title=title_in(product.titles, locale, hit.product_id),
            category=product.category,
            price=tidy_price(product.price),
            currency=(product.currency or self._currency) if product.price is not None else None,
            url=product.url,
            box=_unit(box) if (box := self._boxes.get(hit.image_id)) else None,
        )


def photo_result(
    query_id: str,
    catalogue: str,
    options: SearchOptions,
    objects: Sequence[SeenObject],
    hits: Sequence[Sequence[IndexHit]],
    hydrator: Hydrator,
    models: dict[str, str],
) -> SearchResult:
    """Put together the answer to a photo.

    Args:
        hits: of each object in order, and of the whole image last.
    """
    found = [
        FoundObject(
            box=_unit(seen.box),
            label=seen.label,
            confidence=round(seen.confidence, 4),
            hits=hydrator.group(rows, options),
        )
        for seen, rows in zip(objects, hits[:-1], strict=True)
    ]
    return SearchResult(
        query_id=query_id,
        catalogue=catalogue,
        objects=found,
        whole=WholeImage(hits=hydrator.group(hits[-1], options)),
        timings_ms={},
        models=models,
    )


def product_result(
    query_id: str,
    catalogue: str,
    options: SearchOptions,
    product_id: str,
    hits: Sequence[Sequence[IndexHit]],
    hydrator: Hydrator,
    models: dict[str, str],
) -> SearchResult:
    """Put together what is similar to a product: by any of its images, itself left out."""
    rows = [hit for part in hits for hit in part]
    return SearchResult(
        query_id=query_id,
        catalogue=catalogue,
        objects=[],
        whole=WholeImage(hits=hydrator.group(rows, options, without=product_id)),
        timings_ms={},
        models=models,
    )


def product_embeddings(
    database: Database, catalogue_id: int, index_version: int, product_id: str
) -> Embeddings:
    """Return the stored embeddings of a product's images, ``(N, D)``; no model is needed.

    Raises:
        UnknownProduct: the product is gone, or has no image in the index.
    """
    with database.read() as session:
        blobs = session.scalars(
            select(Detection.embedding)
            .join(Image, Image.id == Detection.image_id)
            .join(Product, Product.id == Image.product)
            .where(
                Product.catalogue_id == catalogue_id,
                Product.product_id == product_id,
                Detection.index_version == index_version,
            )
        ).all()
    if not blobs:
        raise UnknownProduct(f"Product {product_id!r} has no picture in the index.", "product_id")
    return np.stack([unpack_embedding(blob) for blob in blobs])


def pack_embedding(embedding: Embeddings) -> bytes:
    """Return ``(D,)`` as float16 bytes: half the room, and the cosine changes by less than 1e-3."""
    return embedding.astype("<f2").tobytes()


def unpack_embedding(blob: bytes) -> Embeddings:
    """Undo ``pack_embedding``; the result is normalised again."""
    values = np.frombuffer(blob, dtype="<f2").astype(np.float32)
    unit: Embeddings = values / np.linalg.norm(values)
    return unit


def _shown(score: float) -> float:
    return round(min(score, 1.0), 5)


def _unit(box: Box) -> Box:
    """Cut off what rounding left outside of the picture."""
    x0, y0, x1, y1 = (round(min(max(float(v), 0.0), 1.0), 5) for v in box)
    return x0, y0, x1, y1
