"""Products into index and catalogue, and out of them again: one micro-batch, one commit.

Milvus is written before the database: a death in between leaves rows that the next try writes
again under the same keys.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from sqlalchemy import delete

from shared.database.tables import Product
from shared.filters import Facts, facts_of
from shared.ledger.work import ChunkClaim, Item, Outcome, Problem, Spent
from worker.index_rows import index_row, row_key
from worker.index_versions import LiveIndex, begin_change, kept_indexes, model_version_id, written_indexes
from worker.jobs import Tools
from worker.product_batch import Batch, Content, Prepared, Target
from worker.product_known import IndexedObject, known_products, stored_objects
from worker.product_loading import Loader
from worker.product_tables import write_rows
from worker.vision import Detection, IndexRow


@dataclass(frozen=True)
class ProductStages:
    """Products of an import, or put by hand, on their way into index and catalogue.

    Attributes:
        live: the live index version; the others that are to be written are found at the start.
    """

    tools: Tools
    claim: ChunkClaim
    live: LiveIndex
    loader: Loader
    targets: list[Target] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "targets", open_targets(self.tools, self.claim.catalogue_id))

    def load(self, items: Sequence[Item]) -> Batch:
        return self.loader.load(self.tools.database, self.claim.catalogue_id, self.targets, items)

    def embed(self, batch: Batch) -> None:
        embed_contents(batch, self.targets)

    def write(self, batch: Batch) -> None:
        write_products(self.tools, self.claim, self.targets, batch)


def open_targets(tools: Tools, catalogue_id: int) -> list[Target]:
    """Return the index versions that products are written to, the live one first, with their models.

    Raises:
        Misconfigured: the models of one are not here.
    """
    with tools.database.read() as session:
        versions = written_indexes(session, catalogue_id)
    pipelines = [tools.pipelines.of(version) for version in versions]
    with tools.database.write() as session:
        return [
            Target(version, p, model_version_id(session, p.detector.version, p.embedder.version))
            for version, p in zip(versions, pipelines, strict=True)
        ]


def embed_contents(batch: Batch, targets: Sequence[Target]) -> None:
    """Run each target's models over the contents that they have not seen; a detector runs once."""
    seen: dict[str, dict[str, list[Detection]]] = {}
    for target in targets:
        todo = [c for c in batch.contents if c.pixels is not None and target.models not in c.objects]
        if not todo:
            continue
        pipeline = target.pipeline
        found = seen.setdefault(pipeline.detector.version, {})
        began = time.perf_counter()
        unseen = [c for c in todo if c.sha256 not in found]
        boxes = pipeline.find_objects([c.pixels for c in unseen if c.pixels is not None])
        found.update(zip((c.sha256 for c in unseen), boxes, strict=True))
        batch.detect_s += time.perf_counter() - began
        began = time.perf_counter()
        pixels = [c.pixels for c in todo if c.pixels is not None]
        embedded = pipeline.embed_objects(pixels, [found[c.sha256] for c in todo])
        batch.embed_s += time.perf_counter() - began
        for content, objects in zip(todo, embedded, strict=True):
            content.objects[target.models] = [IndexedObject(o.detection, o.embedding, None) for o in objects]
            content.embedded = True


def write_products(tools: Tools, claim: ChunkClaim, targets: Sequence[Target], batch: Batch) -> None:
    """Write the index versions and the catalogue, and record the outcomes.

    Raises:
        LostLease: somebody else has the chunk; the catalogue was not touched.
        Unavailable: the index or the database is away, or rows are to go elsewhere since a moment ago;
            doing the same items again is safe.
    """
    began = time.perf_counter()
    for content in batch.contents:
        content.pixels = None
    # What was put by hand counts as written now, whatever it was before.
    usable = [p for p in batch.products if p.pictures]
    written = [p for p in usable if p.changes or claim.kind == "put"]
    _write_index(tools, claim.catalogue_id, written, targets)
    outcomes = _outcomes(batch)
    with tools.database.write() as session:
        if written:
            change = begin_change(session, claim.catalogue_id, [t.version for t in targets])
            write_rows(session, claim.catalogue_id, change, written, targets)
        spent = Spent(batch.decode_s, batch.detect_s, batch.embed_s, time.perf_counter() - began)
        tools.desk.record(session, claim, outcomes, spent)


def rebuild_products(tools: Tools, claim: ChunkClaim, live: LiveIndex, items: Sequence[Item]) -> None:
    """Write the index rows of products again from their stored embeddings."""
    with tools.database.read() as session:
        known = known_products(session, claim.catalogue_id, live.id, [i.product_id for i in items])
        stored = stored_objects(session, [i for k in known.values() for i in k.images], [live.id])
    rows = []
    for product_id, k in known.items():
        facts = facts_of(k.row)
        rows += [
            index_row(product_id, k.row, facts, image_id, number, o.embedding, o.colours)
            for image_id in k.images
            for number, o in stored.get((live.id, image_id), {}).items()
        ]
    for collection in live.collections:
        tools.index.upsert(collection, rows)
    with tools.database.write() as session:
        tools.desk.record(session, claim, [Outcome(item, "unchanged") for item in items])


def delete_products(tools: Tools, claim: ChunkClaim, items: Sequence[Item]) -> None:
    """Delete products from all index versions and the catalogue; one that is gone counts as deleted."""
    with tools.database.read() as session:
        versions = kept_indexes(session, claim.catalogue_id)
        known = known_products(session, claim.catalogue_id, -1, [i.product_id for i in items])
    for version in versions:
        keys = [
            row_key(image_id, number)
            for k in known.values()
            for image_id, numbers in k.numbers.get(version.id, {}).items()
            for number in numbers
        ]
        _delete_rows(tools, version, keys)
    with tools.database.write() as session:
        begin_change(session, claim.catalogue_id, versions)
        session.execute(delete(Product).where(Product.id.in_([k.row.id for k in known.values()])))
        tools.desk.record(session, claim, [Outcome(item, "deleted") for item in items])


def _write_index(
    tools: Tools, catalogue_id: int, products: Sequence[Prepared], targets: Sequence[Target]
) -> None:
    """Write rows of new pictures, and of known ones whose product changed; delete those too many."""
    moved = [p for p in products if _moved(p)]
    kept = [picture.image_id for p in moved for picture in p.pictures if picture.known]
    with tools.database.read() as session:
        versions = kept_indexes(session, catalogue_id)
        stored = stored_objects(session, kept, [t.version.id for t in targets])
    for target in targets:
        rows = [row for p in products for row in _new_rows(p, target)]
        for p in moved:
            rows += _moved_rows(p, target, stored)
        for collection in target.version.collections:
            tools.index.upsert(collection, rows)
    models = {t.version.id: t.models for t in targets}
    for version in versions:
        _delete_rows(
            tools,
            version,
            [key for p in products for key in _surplus_keys(p, version.id, models.get(version.id))],
        )


def _delete_rows(tools: Tools, version: LiveIndex, keys: Sequence[str]) -> None:
    if keys:
        for collection in version.collections:
            tools.index.delete(collection, keys)


def _new_rows(prepared: Prepared, target: Target) -> Iterator[IndexRow]:
    product, facts = prepared.product, facts_of(prepared.product)
    for picture in prepared.pictures:
        if not picture.known:
            for number, found in enumerate(picture.content.objects[target.models]):
                yield index_row(
                    prepared.item.product_id,
                    product,
                    facts,
                    picture.image_id,
                    number,
                    found.embedding,
                    found.colours,
                )


def _moved_rows(
    prepared: Prepared, target: Target, stored: dict[tuple[int, str], dict[int, IndexedObject]]
) -> Iterator[IndexRow]:
    product, facts = prepared.product, facts_of(prepared.product)
    for picture in prepared.pictures:
        if picture.known:
            for number, found in stored.get((target.version.id, picture.image_id), {}).items():
                yield index_row(
                    prepared.item.product_id,
                    product,
                    facts,
                    picture.image_id,
                    number,
                    found.embedding,
                    found.colours,
                )


def _moved(prepared: Prepared) -> bool:
    """Whether what rows say of the product changed."""
    if prepared.before is None:
        return False
    before, after = prepared.before.row, prepared.product
    facts: Facts = facts_of(after)
    return (before.category, before.price, before.facts) != (after.category, after.price, facts.as_json())


def _surplus_keys(prepared: Prepared, version: int, models: int | None) -> Iterator[str]:
    """Keys that an earlier state of the product has in an index version and this one has not.

    Args:
        models: what fills the version now; None for one that is no longer written.
    """
    if prepared.before is None:
        return
    pictures = {p.image_id: p for p in prepared.pictures}
    for image_id, numbers in prepared.before.numbers.get(version, {}).items():
        picture = pictures.get(image_id)
        if picture is None:
            left = 0
        elif picture.known or models is None:
            continue
        else:
            left = len(picture.content.objects[models])
        yield from (row_key(image_id, number) for number in numbers if number >= left)


def _outcomes(batch: Batch) -> list[Outcome]:
    """What became of the items. Equal contents were embedded once: for the first of their pictures."""
    counted: set[str] = set()
    return [_outcome(p, counted) for p in batch.products]


def _outcome(prepared: Prepared, counted: set[str]) -> Outcome:
    item = prepared.item
    if not prepared.pictures:
        problems = list(prepared.problems)
        if not problems:
            text = "This product has no picture: send at least one."
            problems.append(Problem(item.row, item.product_id, None, "no_image", text))
        return Outcome(item, "failed", 0, problems)
    images = sum(_counts(p.content, counted) for p in prepared.pictures)
    result = "new" if prepared.before is None else "changed" if prepared.changes else "unchanged"
    return Outcome(item, result, images, prepared.problems)


def _counts(content: Content, counted: set[str]) -> bool:
    fresh = content.embedded and content.sha256 not in counted
    counted.add(content.sha256)
    return fresh
