"""Calibration of an index version's scores, measured with photos composed of the catalogue's pictures."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import aliased

from shared.database.clock import now_s
from shared.database.tables import Calibration as CalibrationRow
from shared.database.tables import Image as ImageRow
from shared.database.tables import Product
from shared.jobs.work import ChunkClaim
from worker.calibration.calibration_store import Calibration
from worker.calibration.composed import CataloguePicture, Photo, Studio
from worker.calibration.fitting import HITS, MIN_RIGHT
from worker.calibration.learning import LabelledQuery, Lessons, expected_answers, fit_calibration
from worker.indexes.versions import IndexVersion
from worker.jobs import Once
from worker.jobs.versions import required_version
from worker.products.context import JobContext
from worker.products.pictures import decode_stored
from worker.search.choosing import to_shown
from worker.vision.pipeline import QueryEmbedding

#: Pictures that photos are composed of, and maximum number of uses of each in a small catalogue.
PICTURES, MAX_PASSES = 960, 4
#: Minimum number of products: among fewer, scores say little about correctness.
MIN_PRODUCTS = 50
#: Pictures whose photos are composed, embedded and searched in one batch.
_BATCH = 16
_OVER_FETCH = 4


@dataclass(frozen=True)
class _Picture:
    product_id: str
    image_id: str
    key: str
    alone: bool


@dataclass(frozen=True)
class Calibrate(Once):
    """Searches an index version for what composed photos show, and stores what its scores mean."""

    context: JobContext

    def finish(self, claim: ChunkClaim) -> dict[str, Any] | None:
        """Compose photos, search, fit, and store the calibration, or why there is none."""
        version = required_version(self.context, claim)
        pictures = self._pictures(claim, version)
        products = len({picture.product_id for picture in pictures})
        lessons, why, photos = Lessons(), None, 0
        if products < MIN_PRODUCTS:
            why = f"It has {products} products with pictures, and {MIN_PRODUCTS} are needed."
        else:
            photos = self._ask(claim, version, pictures, lessons)
            if not lessons.enough():
                why = (
                    f"Only {lessons.right} products were found again in {photos} photos composed of their "
                    f"pictures, and {MIN_RIGHT} are needed: pictures on a plain ground, or a detector, let "
                    "more be cut out."
                )
        about = {"index": version.number, "pictures": len(pictures), "photos": photos}
        if why is not None:
            report = {"calibrated": False, "why_not": f"{why} Scores stay as they are.", **about}
            self._keep(claim, version, None, report)
        else:
            calibration, found = fit_calibration(lessons)
            report = {"calibrated": True, "why_not": None, **about, **found}
            self._keep(claim, version, calibration, report)
        return {"calibrate": report}

    def _pictures(self, claim: ChunkClaim, version: IndexVersion) -> list[_Picture]:
        """Return a fair sample of the pictures (ids are hashes), the same one for the same version."""
        start = hashlib.sha256(version.collection.encode()).hexdigest()[:32]
        others = aliased(ImageRow)
        count = select(func.count(others.id)).where(others.product == Product.id).scalar_subquery()
        base = (
            select(Product.product_id, ImageRow.id, ImageRow.sha256, count)
            .join(Product, Product.id == ImageRow.product)
            .where(Product.catalogue_id == claim.catalogue_id)
            .order_by(ImageRow.id)
        )
        with self.context.database.read() as session:
            rows = list(session.execute(base.where(ImageRow.id >= start).limit(PICTURES)))
            if len(rows) < PICTURES:
                rows += session.execute(base.where(ImageRow.id < start).limit(PICTURES - len(rows))).all()
        return [_Picture(product, image, key, total == 1) for product, image, key, total in rows]

    def _ask(
        self, claim: ChunkClaim, version: IndexVersion, pictures: Sequence[_Picture], lessons: Lessons
    ) -> int:
        """Learn from photos of all pictures; return their number. Gives way between two batches."""
        pipeline = self.context.pipelines.of(version)
        studio = Studio(version.number)
        passes = min(-(-PICTURES // len(pictures)), MAX_PASSES)
        starts = [at for _ in range(passes) for at in range(0, len(pictures), _BATCH)]
        photos = 0
        for number, at in enumerate(starts):
            self.context.give_way(claim)
            shown = list(self._decoded(pictures[at : at + _BATCH]))
            made = list(studio.photos(shown, pipeline.detector, number))
            if not made:
                continue
            embedded = pipeline.embed_query([photo.image for photo in made])
            questions = self._questions(version, made, embedded, photos)
            categories = self._categories(claim, questions)
            for question in questions:
                lessons.learn(question, categories)
            photos += len(made)
        return photos

    def _decoded(self, pictures: Sequence[_Picture]) -> Iterator[CataloguePicture]:
        images = decode_stored(self.context, [picture.key for picture in pictures])
        for picture, image in zip(pictures, images, strict=True):
            if image is not None:
                yield CataloguePicture(picture.product_id, None if picture.alone else picture.image_id, image)

    def _questions(
        self, version: IndexVersion, photos: Sequence[Photo], embedded: Sequence[QueryEmbedding], first: int
    ) -> list[LabelledQuery]:
        """Search for every object and every whole photo.

        A product's source picture does not count as a hit where the product has other pictures: a shopper's
        photo is a copy of none of them.
        """
        rows = np.concatenate([each.embeddings for each in embedded])
        found = iter(self.context.index.search(version.collection, rows, HITS * _OVER_FETCH))
        questions = []
        for number, (photo, each) in enumerate(zip(photos, embedded, strict=True), first):
            own = {shown.image_id for shown in photo.shows}
            for part, right in expected_answers(photo, each):
                hits: dict[str, float] = {}
                for hit in next(found):
                    if hit.image_id not in own:
                        hits.setdefault(hit.product_id, to_shown(hit.score))
                products = frozenset(photo.shows[n].product_id for n in right)
                questions.append(LabelledQuery(number, part, products, list(hits.items())[:HITS]))
        return questions

    def _categories(self, claim: ChunkClaim, questions: Sequence[LabelledQuery]) -> dict[str, str]:
        wanted = {product for each in questions for product in (*each.right, *(p for p, _ in each.hits))}
        with self.context.database.read() as session:
            rows = session.execute(
                select(Product.product_id, Product.category).where(
                    Product.catalogue_id == claim.catalogue_id, Product.product_id.in_(wanted)
                )
            )
            return {row.product_id: row.category for row in rows}

    def _keep(
        self,
        claim: ChunkClaim,
        version: IndexVersion,
        calibration: Calibration | None,
        report: dict[str, Any],
    ) -> None:
        with self.context.database.write() as session:
            self.context.desk.renew_lease(session, claim)
            session.merge(
                CalibrationRow(
                    index_version=version.id,
                    curves={} if calibration is None else calibration.as_json(),
                    report=report,
                    created_at=now_s(),
                )
            )
