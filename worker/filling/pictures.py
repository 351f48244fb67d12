"""Pictures that the catalogue has already, into an index version: re-processing, catching up.

Pictures come from the image store and boxes from earlier detections where they can; what an identical
picture was given is used again. Products change meanwhile: the last transaction writes only what is for
pictures that are still there, and takes out of the index what went.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from shared.database.tables import Detection, Product
from shared.database.tables import Image as ImageRow
from shared.errors import Unavailable, VitrineError
from shared.filters import FilterFields
from shared.jobs.work import StageTimes
from worker.filling.batches import Batch, BatchReader, Content, Found, Scope
from worker.filling.stored import RowFiller
from worker.indexes.rows import index_row, row_key
from worker.indexes.versions import (
    IndexVersion,
    lock_catalogue_changes,
    model_version_id,
    next_change_number,
    require_same_places,
)
from worker.indexes.writes import delete_rows, write_rows
from worker.products.context import JobContext
from worker.products.embedding import colours_of
from worker.products.loading import SIDE_NEEDED_PX
from worker.vector_index.contract import IndexRow
from worker.vision import Image
from worker.vision.packing import pack_embedding, unpack_embedding
from worker.vision.pipeline import WHOLE, CatalogueEmbedding

_NORM_TOLERANCE = 1e-3


class Filler:
    """Writes products, as the database has them, into one index version.

    Args:
        version: what is filled.
        scope: which of the pictures are embedded.
    """

    def __init__(self, tools: JobContext, catalogue_id: int, version: IndexVersion, scope: Scope) -> None:
        self._tools = tools
        self._catalogue_id = catalogue_id
        self._version = version
        self._pipeline = tools.pipelines.of(version)
        self._reader = BatchReader(catalogue_id, version, scope, self._pipeline)

    def load(self, product_ids: Collection[str]) -> Batch:
        """Read products, and decode the pictures that are to be embedded."""
        started = time.perf_counter()
        with self._tools.database.read() as session:
            batch = self._reader.read(session, list(product_ids))
        waiting = [c for c in batch.contents.values() if c.found is None]
        for content, pixels in zip(waiting, self._tools.decoders.map(self._decode, waiting), strict=True):
            content.pixels = pixels
        batch.spent["decode_s"] = time.perf_counter() - started
        return batch

    def embed(self, batch: Batch) -> None:
        """Run the models over what was decoded: the detector only where no box is known."""
        started = time.perf_counter()
        waiting = [c for c in batch.contents.values() if c.pixels is not None]
        if waiting:
            pipeline = self._pipeline
            known = [c for c in waiting if c.boxes is not None]
            unseen = [c for c in waiting if c.boxes is None]
            boxes = [[b.seen for b in c.boxes or [] if b.seen != WHOLE] for c in known]
            rows = pipeline.embed_objects([_pixels(c) for c in known], boxes)
            rows += pipeline.embed_catalogue([_pixels(c) for c in unseen])
            for content, found in zip([*known, *unseen], rows, strict=True):
                _accept(content, found)
        batch.spent["embed_s"] = time.perf_counter() - started

    def write(self, batch: Batch, record: Callable[[Session, Batch, StageTimes], None] | None = None) -> None:
        """Write the rows of the index, then the detections.

        Args:
            record: called first in the transaction, with the session.

        Raises:
            Unavailable: index or database are away; the same again is safe.
        """
        started = time.perf_counter()
        rows = [row for product_id in batch.products for row in self._rows(batch, product_id)]
        self._index(rows, _surplus(batch))
        batch.spent["write_s"] = time.perf_counter() - started
        with self._tools.database.write() as session:
            self._hold(session, batch)
            if record is not None:
                record(session, batch, StageTimes(**batch.spent))
            there = set(
                session.scalars(select(ImageRow.id).where(ImageRow.id.in_({r.image_id for r in rows})))
            )
            # Before the commit: a death after it would leave them, and nobody would come back here.
            self._index([], [row.key for row in rows if row.image_id not in there])
            self._write_detections(session, batch, there)

    def rewrite(self, session: Session, product_ids: Collection[str]) -> None:
        """Write the rows of products again from what the database has in this transaction."""
        RowFiller(self._tools, self._catalogue_id, self._version).rewrite(session, product_ids)

    def bring_up(self, product_ids: Collection[str]) -> None:
        """Load, embed and write products."""
        batch = self.load(product_ids)
        self.embed(batch)
        self.write(batch)

    def _index(self, rows: Sequence[IndexRow], gone: Sequence[str]) -> None:
        index = self._tools.index
        write_rows(index, self._version, rows)
        delete_rows(index, [self._version], gone)

    def _hold(self, session: Session, batch: Batch) -> None:
        """Keep other changes away, and make sure that the rows went where they go now."""
        if self._version.state == "live" and batch.contents:
            number = next_change_number(session, self._catalogue_id)
            ids = [p.id for p in batch.products.values()]
            session.execute(update(Product).where(Product.id.in_(ids)).values(change=number))
        else:
            lock_catalogue_changes(session, self._catalogue_id)
        require_same_places(session, self._version)

    def _decode(self, content: Content) -> Image | None:
        try:
            data = self._tools.store.get(content.sha256, "images")
            return self._tools.pictures.decode(data, SIDE_NEEDED_PX)
        except Unavailable:
            raise
        except VitrineError as error:
            reason = "missing_image" if error.code == "not_found" else error.code
            content.problem = reason, error.message
            return None

    def _rows(self, batch: Batch, product_id: str) -> list[IndexRow]:
        product = batch.products[product_id]
        facts = FilterFields.from_json(product.facts)
        found: list[tuple[str, int, NDArray[np.float32], list[str] | None]] = []
        for row in batch.images.get(product.id, []):
            if row.id in batch.kept:
                found += [
                    (row.id, d.number, unpack_embedding(d.embedding), d.colours) for d in batch.kept[row.id]
                ]
                continue
            objects = batch.contents[row.sha256].found or []
            found += [(row.id, n, f.embedding, f.colours) for n, f in enumerate(objects)]
        return [index_row(product_id, product, facts, i, n, e, c) for i, n, e, c in found]

    def _write_detections(self, session: Session, batch: Batch, there: set[str]) -> None:
        fresh = [
            (row, content.found)
            for product_id in batch.products
            for row, content in batch.fresh(product_id)
            if content.found is not None and row.id in there
        ]
        session.execute(
            delete(Detection).where(
                Detection.image_id.in_([row.id for row, _ in fresh]),
                Detection.index_version == self._version.id,
            )
        )
        models = model_version_id(session, self._pipeline.detector.version, self._pipeline.embedder.version)
        for row, found in fresh:
            for number, each in enumerate(found):
                x0, y0, x1, y1 = each.seen.box
                session.add(
                    Detection(
                        image_id=row.id, number=number, index_version=self._version.id, models=models,
                        x0=x0, y0=y0, x1=x1, y1=y1, label=each.seen.label, confidence=each.seen.confidence,
                        colours=each.colours, embedding=pack_embedding(each.embedding),
                    )
                )  # fmt: skip


def _pixels(content: Content) -> Image:
    assert content.pixels is not None
    return content.pixels


def _accept(content: Content, found: Sequence[CatalogueEmbedding]) -> None:
    """Take what the models made of a picture, unless it is no direction at all."""
    pixels, content.pixels = _pixels(content), None
    rows = np.stack([each.embedding for each in found])
    with np.errstate(invalid="ignore"):
        norms = np.linalg.norm(rows.astype(np.float64), axis=1)
    if not np.isfinite(rows).all() or (np.abs(norms - 1) >= _NORM_TOLERANCE).any():
        content.problem = "bad_embedding", "The embedder's answer for this picture is not a unit vector."
        return
    colours = [b.colours for b in content.boxes] if content.boxes is not None else [None] * len(found)
    content.found = [
        Found(f.detection, f.embedding, colours_of(pixels, f.detection) if c is None else c)
        for f, c in zip(found, colours, strict=True)
    ]


def _surplus(batch: Batch) -> list[str]:
    """Keys of objects that an earlier run found and this one did not."""
    return [
        row_key(row.id, number)
        for product_id in batch.products
        for row, content in batch.fresh(product_id)
        if content.found is not None
        for number in range(len(content.found), batch.numbers[row.id])
    ]
