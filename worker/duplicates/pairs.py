"""Pairs of products of which a picture each shows the same: alike by perceptual hash and by embedding.

Candidates come from two sides: the embeddings' nearest neighbours in the index, and pictures whose hashes
agree in a quarter of their bits. Both measures must agree before two products are taken for the same thing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import BigInteger, Integer, exists, func, literal, select, update
from sqlalchemy.orm import Session, aliased

from shared.database import Database
from shared.database.bulk import upsert_rows
from shared.database.tables import Detection, DuplicatePair, Image, Product
from shared.errors import NotFound
from worker.duplicates.perceptual import hamming_distances
from worker.indexes.versions import IndexVersion
from worker.vector_index.contract import VectorIndex
from worker.vision import Embeddings
from worker.vision.packing import unpack_embedding

#: Neighbours of a picture that are looked at.
_NEIGHBOURS = 32
_BANDS, _BAND_BITS = 4, 16
_BAND_VALUES = 1 << _BAND_BITS
#: Hashes that are in memory at a time.
_IN_MEMORY = 200_000
#: In larger buckets of equal quarters, such as those of blank pictures, only the next few are compared.
_BUCKET, _NEXT = 256, 32
#: Candidates that are judged together.
_TOGETHER = 1000


@dataclass(frozen=True, slots=True)
class Limits:
    """What is alike enough: most bits of 64 that differ, and least cosine."""

    bits: int
    score: float


@dataclass(frozen=True, slots=True)
class Seen:
    """A picture with its main object's embedding, None where that is not asked for or not there."""

    product: int
    image_id: str
    sha256: str
    hash: int | None
    embedding: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures of two products; ``score`` is the cosine of their main objects."""

    left: Seen
    right: Seen
    score: float


def pictures_of(session: Session, catalogue_id: int, version: int, product_ids: Sequence[str]) -> list[Seen]:
    """Return the pictures of products that have a hash and an embedding in an index version."""
    rows = session.execute(
        _pictures(version).where(Product.catalogue_id == catalogue_id, Product.product_id.in_(product_ids))
    )
    return [seen for seen in map(_seen, rows) if seen.hash is not None]


def neighbours(
    database: Database,
    index: VectorIndex,
    version: IndexVersion,
    pictures: Sequence[Seen],
    limits: Limits,
) -> list[Pair]:
    """Return the pairs that the index's nearest neighbours of some pictures make.

    Raises:
        NotFound: the collection is gone.
    """
    if not pictures:
        return []
    queries = np.stack([p.embedding for p in pictures if p.embedding is not None])
    try:
        found = index.search(version.collection, queries, _NEIGHBOURS)
    except NotFound as error:
        raise NotFound(
            f"The collection {version.collection} is gone from Milvus: `vitrine rebuild` brings it back."
        ) from error
    near = [
        (picture, hit)
        for picture, hits in zip(pictures, found, strict=True)
        for hit in hits
        if hit.score >= limits.score and hit.number == 0 and hit.image_id != picture.image_id
    ]
    with database.read() as session:
        others = _by_id(session, version.id, sorted({hit.image_id for _, hit in near}))
    offered = [
        Pair(picture, others[hit.image_id], min(hit.score, 1.0))
        for picture, hit in near
        if hit.image_id in others
    ]
    return _alike(offered, limits)


def generate_banded_pairs(
    database: Database, catalogue_id: int, version: IndexVersion, limits: Limits
) -> Iterator[list[Pair]]:
    """Yield pairs of pictures whose hashes agree in one of four quarters; often none, to show progress.

    Every pair that differs in up to three bits is among them, and most of those that differ in a few more.
    """
    with database.read() as session:
        count = session.scalar(_hashed(catalogue_id, func.count(Image.id))) or 0
    parts = -(-count // _IN_MEMORY)
    for band in range(_BANDS):
        for part in range(parts):
            first, end = (_BAND_VALUES * k // parts for k in (part, part + 1))
            waiting: list[tuple[str, str]] = []
            for some in _in_buckets(database, catalogue_id, band, first, end, limits):
                waiting += some
                while len(waiting) >= _TOGETHER:
                    yield _judged(database, version, waiting[:_TOGETHER], limits)
                    waiting = waiting[_TOGETHER:]
                yield []
            yield _judged(database, version, waiting, limits)


def write_pairs(session: Session, job_id: str, pairs: Sequence[Pair]) -> None:
    """Keep pairs for the job's end; of two products' pairs the one most alike."""
    best: dict[tuple[int, int], Pair] = {}
    for pair in pairs:
        left, right = pair.left, pair.right
        turned = pair if left.product < right.product else Pair(right, left, pair.score)
        key = turned.left.product, turned.right.product
        if key not in best or best[key].score < turned.score:
            best[key] = turned
    rows = [
        {
            "job_id": job_id,
            "left_product": left,
            "right_product": right,
            "left_image": pair.left.image_id,
            "right_image": pair.right.image_id,
            "score": pair.score,
        }
        for (left, right), pair in best.items()
    ]
    upsert_rows(session, DuplicatePair, rows, ("job_id", "left_product", "right_product"))


def adopt_pairs(session: Session, earlier: str, job_id: str) -> None:
    """Give a job that does the rest of an earlier one the pairs which that one found."""
    ours = aliased(DuplicatePair)
    known = exists().where(
        ours.job_id == job_id,
        ours.left_product == DuplicatePair.left_product,
        ours.right_product == DuplicatePair.right_product,
    )
    session.execute(
        update(DuplicatePair)
        .where(DuplicatePair.job_id == earlier, ~known)
        .values(job_id=job_id)
        .execution_options(synchronize_session=False)
    )


def _pictures(version: int) -> Any:
    return (
        select(
            Image.product, Image.id, Image.sha256, Image.perceptual_hash.label("hash"), Detection.embedding
        )
        .join(Product, Product.id == Image.product)
        .join(Detection, Detection.image_id == Image.id)
        .where(Detection.index_version == version, Detection.number == 0)
    )


def _seen(row: Any) -> Seen:
    return Seen(row.product, row.id, row.sha256, row.hash, unpack_embedding(row.embedding))


def _by_id(session: Session, version: int, image_ids: Sequence[str]) -> dict[str, Seen]:
    found: dict[str, Seen] = {}
    for start in range(0, len(image_ids), _TOGETHER):
        some = image_ids[start : start + _TOGETHER]
        found |= {row.id: _seen(row) for row in session.execute(_pictures(version).where(Image.id.in_(some)))}
    return found


def _alike(offered: Sequence[Pair], limits: Limits) -> list[Pair]:
    """Those of different products and bytes that are alike by hash too."""
    apart = [
        pair
        for pair in offered
        if pair.left.product != pair.right.product and pair.left.sha256 != pair.right.sha256
        and pair.left.hash is not None and pair.right.hash is not None
    ]  # fmt: skip
    left = np.array([pair.left.hash for pair in apart], np.int64)
    right = np.array([pair.right.hash for pair in apart], np.int64)
    few = hamming_distances(left, right) <= limits.bits
    return [pair for pair, close in zip(apart, few, strict=True) if close]


def _hashed(catalogue_id: int, *columns: Any) -> Any:
    return (
        select(*columns)
        .join(Product, Product.id == Image.product)
        .where(Product.catalogue_id == catalogue_id, Image.perceptual_hash.is_not(None))
    )


def _in_buckets(
    database: Database, catalogue_id: int, band: int, first: int, end: int, limits: Limits
) -> Iterator[list[tuple[str, str]]]:
    """Yield pairs of ids of pictures whose quarter is the same, one of ``first`` to ``end``, by bucket."""
    shift = band * _BAND_BITS
    # PostgreSQL shifts by an integer only, and a bound number would be as long as the column.
    moved = Image.perceptual_hash.op(">>", return_type=BigInteger())(literal(shift, Integer()))
    quarter = moved.op("&", return_type=BigInteger())(_BAND_VALUES - 1)
    with database.read() as session:
        rows = session.execute(
            _hashed(catalogue_id, Image.id, Image.product, Image.perceptual_hash).where(
                quarter >= first, quarter < end
            )
        ).all()
    if not rows:
        return
    ids = np.array([row[0] for row in rows])
    products = np.array([row[1] for row in rows], np.int64)
    hashes = np.array([row[2] for row in rows], np.int64)
    quarters = (hashes >> shift) & (_BAND_VALUES - 1)
    order = np.lexsort((hashes, quarters))
    starts = np.flatnonzero(np.diff(quarters[order], prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(order)], strict=True):
        if stop - start > 1:
            bucket = order[start:stop]
            left, right = _couples(len(bucket))
            left, right = bucket[left], bucket[right]
            close = (products[left] != products[right]) & _first_met(hashes[left] ^ hashes[right], band)
            close &= np.bitwise_count((hashes[left] ^ hashes[right]).view(np.uint64)) <= limits.bits
            yield list(zip(ids[left[close]].tolist(), ids[right[close]].tolist(), strict=True))


def _couples(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Which members of a bucket, in the order of their hashes, are compared."""
    if count <= _BUCKET:
        left, right = np.triu_indices(count, 1)
        return left, right
    left = np.repeat(np.arange(count), _NEXT)
    right = left + np.tile(np.arange(1, _NEXT + 1), count)
    return left[right < count], right[right < count]


def _first_met(differing: NDArray[np.int64], band: int) -> NDArray[np.bool_]:
    """Whether no earlier quarter agrees: such a pair was met before."""
    fresh = np.ones(len(differing), bool)
    for earlier in range(band):
        fresh &= ((differing >> (earlier * _BAND_BITS)) & (_BAND_VALUES - 1)) != 0
    return fresh


def _judged(
    database: Database, version: IndexVersion, couples: Sequence[tuple[str, str]], limits: Limits
) -> list[Pair]:
    """Those of the couples whose embeddings are alike too."""
    with database.read() as session:
        seen = _by_id(session, version.id, sorted({image_id for couple in couples for image_id in couple}))
    offered = []
    for left, right in couples:
        if left in seen and right in seen:
            score = _cosine(seen[left].embedding, seen[right].embedding)
            if score >= limits.score:
                offered.append(Pair(seen[left], seen[right], score))
    return _alike(offered, limits)


def _cosine(left: Embeddings | None, right: Embeddings | None) -> float:
    return -1.0 if left is None or right is None else min(float(left @ right), 1.0)
