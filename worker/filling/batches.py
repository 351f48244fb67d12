"""What an index version has of products and what it lacks, read from the database: a filler's batches."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.catalogue.store import load_images
from shared.database.tables import Detection, ModelVersion, Product
from shared.database.tables import Image as ImageRow
from worker.indexes.versions import IndexVersion, find_model_version
from worker.vision import Detection as Seen
from worker.vision import Image
from worker.vision.packing import unpack_embedding
from worker.vision.pipeline import Pipeline

#: Which pictures are embedded: those that the version lacks; those and what other models made; every one.
Scope = Literal["missing", "stale", "all"]


@dataclass(slots=True)
class Found:
    """An object of a picture: its place, and its embedding in this version."""

    seen: Seen
    embedding: NDArray[np.float32]
    colours: list[str] | None = None


@dataclass(slots=True)
class Content:
    """One content of pictures, read and embedded once however many products show it.

    Attributes:
        boxes: what an earlier detection found, None where the detector must look.
        found: None until it was embedded, and where it could not be.
        problem: reason and message, if it could not be.
    """

    sha256: str
    boxes: list[Found] | None = None
    pixels: Image | None = None
    found: list[Found] | None = None
    problem: tuple[str, str] | None = None


@dataclass(slots=True)
class Batch:
    """Products on their way into the version.

    Attributes:
        kept: what the version has of pictures that are not embedded.
        numbers: how many objects it had of those that are.
    """

    products: dict[str, Product]
    images: dict[int, list[ImageRow]]
    kept: dict[str, list[Detection]]
    numbers: dict[str, int]
    contents: dict[str, Content]
    spent: dict[str, float] = field(default_factory=dict)

    def fresh(self, product_id: str) -> list[tuple[ImageRow, Content]]:
        """The pictures of a product that were to be embedded."""
        rows = self.images.get(self.products[product_id].id, [])
        return [(row, self.contents[row.sha256]) for row in rows if row.id not in self.kept]


@dataclass(frozen=True)
class BatchReader:
    """Reads products with what one version has of them."""

    catalogue_id: int
    version: IndexVersion
    scope: Scope
    pipeline: Pipeline

    def read(self, session: Session, product_ids: list[str]) -> Batch:
        """Return the products with their pictures; those that are gone are left out."""
        query = select(Product).where(
            Product.catalogue_id == self.catalogue_id, Product.product_id.in_(product_ids)
        )
        products = {row.product_id: row for row in session.scalars(query)}
        images = load_images(session, [row.id for row in products.values()])
        rows = [row for each in images.values() for row in each]
        had = _by_image(
            session.scalars(
                select(Detection)
                .where(
                    Detection.image_id.in_([r.id for r in rows]), Detection.index_version == self.version.id
                )
                .order_by(Detection.number)
            )
        )
        models = self._models_id(session)
        wanted = [row for row in rows if self._wants(models, had.get(row.id, []))]
        fresh = {row.id for row in wanted}
        return Batch(
            products=products,
            images=images,
            kept={row.id: had.get(row.id, []) for row in rows if row.id not in fresh},
            numbers={row.id: len(had.get(row.id, [])) for row in wanted},
            contents=self._contents(session, models, wanted),
        )

    def _wants(self, models: int | None, had: list[Detection]) -> bool:
        if self.scope == "all" or not had:
            return True
        return self.scope == "stale" and any(d.models != models for d in had)

    def _contents(
        self, session: Session, models: int | None, wanted: Sequence[ImageRow]
    ) -> dict[str, Content]:
        contents = {row.sha256: Content(row.sha256) for row in wanted}
        if self.scope != "all":
            for sha256, found in self._twins(session, models, contents).items():
                contents[sha256].found = found
        pipeline = self.pipeline
        if pipeline.detects and not pipeline.uses_masks and self.scope != "all":
            for sha256, boxes in self._boxes(session, wanted, pipeline.detector.version).items():
                contents[sha256].boxes = boxes
        return contents

    def _twins(self, session: Session, models: int | None, contents: Iterable[str]) -> dict[str, list[Found]]:
        """What this version has of identical pictures of other products, by content."""
        query = (
            select(ImageRow.sha256, Detection)
            .join(Detection, Detection.image_id == ImageRow.id)
            .where(
                ImageRow.sha256.in_(list(contents)),
                Detection.index_version == self.version.id,
                Detection.models == models,
            )
            .order_by(Detection.image_id, Detection.number)
        )
        first: dict[str, list[Detection]] = {}
        for sha256, detection in session.execute(query):
            same = first.setdefault(sha256, [detection])
            if same[0].image_id == detection.image_id and same[-1] is not detection:
                same.append(detection)
        return {
            sha256: [Found(_seen(d), unpack_embedding(d.embedding), d.colours) for d in ds]
            for sha256, ds in first.items()
        }

    def _boxes(self, session: Session, wanted: Sequence[ImageRow], detector: str) -> dict[str, list[Found]]:
        """What the same detector found in these pictures for another version, by content."""
        content = {row.id: row.sha256 for row in wanted}
        query = (
            select(Detection)
            .join(ModelVersion, ModelVersion.id == Detection.models)
            .where(Detection.image_id.in_(list(content)), ModelVersion.detector == detector)
            .order_by(Detection.index_version, Detection.number)
        )
        found: dict[str, list[Detection]] = {}
        for detection in session.scalars(query):
            same = found.setdefault(content[detection.image_id], [detection])
            first = same[0]
            if (first.image_id, first.index_version) == (detection.image_id, detection.index_version):
                same.extend([] if same[-1] is detection else [detection])
        nothing = np.zeros(0, np.float32)
        return {sha: [Found(_seen(d), nothing, d.colours) for d in ds] for sha, ds in found.items()}

    def _models_id(self, session: Session) -> int | None:
        """Id of the models in use; None while no detection is theirs."""
        return find_model_version(session, self.pipeline.detector.version, self.pipeline.embedder.version)


def _by_image(detections: Iterable[Detection]) -> dict[str, list[Detection]]:
    found: dict[str, list[Detection]] = {}
    for detection in detections:
        found.setdefault(detection.image_id, []).append(detection)
    return found


def _seen(row: Detection) -> Seen:
    return Seen((row.x0, row.y0, row.x1, row.y1), row.label, row.confidence)
