"""Dry run of an import: decodes no picture, and writes nothing but the job."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import exists, func, select
from sqlalchemy.orm import Session

from shared.contracts import Failure, ImportOptions
from shared.contracts.stored import as_object
from shared.database.clock import now_s
from shared.database.tables import Catalogue, Detection, Image, Job, JobFailure, JobItem, ModelVersion
from shared.errors import ImageTooLarge, Unavailable, VitrineError
from shared.imports.sources import Source
from shared.jobs.work import ChunkClaim, Item, Outcome, Problem
from worker.indexes.versions import IndexVersion
from worker.jobs.sync import refusal
from worker.products.batch import ExistingProduct
from worker.products.context import JobContext
from worker.products.existing_embeddings import load_existing_products
from worker.products.manifest_source import digest_of, image_id_of, stored_product
from worker.products.pictures import reason_code

_NAMED = 100
_EXAMPLES = 5
_RECENT = 5
#: Minimum number of images: imports with fewer say little about the rate.
_MIN_IMAGES = 16


@dataclass
class Appraised:
    """An item, and the outcome that an import would have.

    Attributes:
        result: new | changed | unchanged | deleted | failed.
        contents: SHA-256 of the pictures that the product does not have yet.
    """

    item: Item
    result: str
    contents: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    images: int = 0


@dataclass(frozen=True)
class DryRunStages:
    """Stages that compare instead of importing.

    Attributes:
        live: the version that an import would write to; None where nothing was ever imported.
    """

    context: JobContext
    claim: ChunkClaim
    live: IndexVersion | None
    source: Source

    def load(self, items: Sequence[Item]) -> list[Appraised]:
        with self.context.database.read() as session:
            known = load_existing_products(session, self.claim.catalogue_id, [i.product_id for i in items])
        batch = list(self.context.decoders.map(lambda i: self._appraise(i, known.get(i.product_id)), items))
        with self.context.database.read() as session:
            missing = self._never_embedded(session, {c for a in batch for c in a.contents})
        for appraised in batch:
            appraised.images = len(appraised.contents & missing)
            missing -= appraised.contents
        return batch

    def embed(self, batch: list[Appraised]) -> None:
        """Do nothing: a dry run embeds no picture."""

    def write(self, batch: list[Appraised]) -> None:
        outcomes = [Outcome(a.item, a.result, a.images, a.problems) for a in batch]
        with self.context.database.write() as session:
            self.context.desk.record(session, self.claim, outcomes)

    def _appraise(self, item: Item, before: ExistingProduct | None) -> Appraised:
        if "delete" in item.payload:
            return Appraised(item, "deleted")
        product = stored_product(item)
        moved = before is not None and before.row.digest != digest_of(product)
        if "images" in item.payload:  # data only
            if before is None:
                return Appraised(item, "failed", problems=[unknown_product(item)])
            return Appraised(item, "changed" if moved else "unchanged")
        seen, contents, problems = self._pictures(item, before)
        if not seen:
            return Appraised(item, "failed", problems=problems)
        if before is None:
            return Appraised(item, "new", contents, problems)
        changed = contents or moved or [*before.images] != seen
        return Appraised(item, "changed" if changed else "unchanged", contents, problems)

    def _pictures(
        self, item: Item, before: ExistingProduct | None
    ) -> tuple[list[str], set[str], list[Problem]]:
        """Return the ids of the item's usable pictures, the contents that are new, and the problems."""
        indexed = {} if before is None or self.live is None else before.numbers.get(self.live.id, {})
        seen: list[str] = []
        contents: set[str] = set()
        problems: list[Problem] = []
        for name in item.payload["files"]:
            try:
                data = self._read(name)
                sha256 = hashlib.sha256(data).hexdigest()
                image_id = image_id_of(self.claim.catalogue_id, item.product_id, sha256)
                if image_id not in indexed:
                    self.context.pictures.probe(data)
                    contents.add(sha256)
            except Unavailable:
                raise
            except VitrineError as error:
                problems.append(
                    Problem(item.row, item.product_id, name[:500], reason_code(error), error.message)
                )
                continue
            if image_id not in seen:
                seen.append(image_id)
        return seen, contents, problems

    def _read(self, name: str) -> bytes:
        limit = self.context.limits.max_bytes
        with self.source.open(name) as file:
            data = file.read(limit + 1)
        if len(data) > limit:
            raise ImageTooLarge(f"{name!r} is larger than {limit:,} bytes: make it smaller.")
        return data

    def _never_embedded(self, session: Session, contents: set[str]) -> set[str]:
        """Return the contents that the same models never embedded."""
        models = self.live or self.context.pipelines.default.versions
        if isinstance(models, IndexVersion):
            models = {"detector": models.detector, "embedder": models.embedder}
        version = select(ModelVersion.id).filter_by(**models).scalar_subquery()
        known = session.scalars(
            select(Image.sha256)
            .where(
                Image.sha256.in_(contents),
                exists().where(Detection.image_id == Image.id, Detection.models == version),
            )
            .distinct()
        )
        return contents - set(known)


def unknown_product(item: Item) -> Problem:
    """Return the problem of data for a product that the catalogue does not have."""
    text = f"There is no product {item.product_id!r} yet: import it with its pictures first."
    return Problem(item.row, item.product_id, None, "unknown_product", text)


def dry_run_report(session: Session, claim: ChunkClaim, options: ImportOptions) -> dict[str, Any]:
    """Return the ``dry_run`` part of a job's report."""
    job = session.get_one(Job, claim.job_id)
    torn = session.scalar(
        select(func.count()).where(
            JobFailure.job_id == job.id, JobFailure.product_id.is_(None), JobFailure.reason == "invalid_row"
        )
    )
    seconds, measured = _estimate(session, job)
    return {
        "new": job.new,
        "changed": job.changed,
        "unchanged": job.unchanged,
        "delete": job.deleted,
        "bad_rows": job.failed,
        "bad": _bad(session, job.id),
        "examples": {result: _examples(session, job.id, result) for result in ("new", "changed", "deleted")},
        "images_to_embed": job.images,
        "estimated_s": seconds,
        "measured": measured,
        "refused": refusal(session, claim, options, job.deleted, torn or 0)
        if options.mode == "sync"
        else None,
    }


def _bad(session: Session, job_id: str) -> list[dict[str, Any]]:
    rows = session.scalars(
        select(JobFailure).where(JobFailure.job_id == job_id).order_by(JobFailure.id).limit(_NAMED)
    )
    return [
        Failure(
            row=r.row, product_id=r.product_id, image=r.image, reason=r.reason, message=r.message
        ).model_dump(mode="json")
        for r in rows
    ]


def _examples(session: Session, job_id: str, result: str) -> list[str]:
    query = select(JobItem.product_id).where(JobItem.job_id == job_id, JobItem.result == result)
    return list(session.scalars(query.order_by(JobItem.number).limit(_EXAMPLES)))


def _estimate(session: Session, job: Job) -> tuple[list[float] | None, str]:
    """Return the minimum and maximum duration of the import in seconds, and what they are measured by.

    An import reads and hashes what the dry run did, and embeds new pictures at the rate of earlier imports.
    """
    own_s = now_s() - (job.started_at or now_s())
    if not job.images:
        return [round(0.5 * own_s, 1), round(2 * own_s, 1)], "this dry run: no image would be embedded"
    here = _image_seconds(session, job, Job.catalogue_id == job.catalogue_id)
    paces = here or _image_seconds(session, job, Job.catalogue_id != job.catalogue_id)
    if not paces:
        return None, "no import has embedded images here so far"
    whose = "this catalogue's" if here else "other catalogues'"
    # One measurement is no range: take 50 % either way.
    low, high = (min(paces), max(paces)) if len(paces) > 1 else (paces[0] / 1.5, paces[0] * 1.5)
    seconds = [round(0.5 * own_s + job.images * low, 1), round(2 * own_s + job.images * high, 1)]
    return seconds, f"the rate of {whose} last {len(paces)} imports"


def _image_seconds(session: Session, job: Job, where: Any) -> list[float]:
    """Return the seconds per image of the last imports, without pauses."""
    rows = session.scalars(
        select(Job)
        .join(Catalogue, Catalogue.id == Job.catalogue_id)
        .where(Job.kind == "import", Job.state == "succeeded", Job.images >= _MIN_IMAGES, where)
        .order_by(Job.created_at.desc())
        .limit(10 * _RECENT)
    )
    done = [r for r in rows if not as_object(r.options).get("dry_run") and r.started_at and r.finished_at]
    return [((r.finished_at or 0) - (r.started_at or 0) - r.paused_s) / r.images for r in done[:_RECENT]]
