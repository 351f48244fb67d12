"""Find pairs of products with near-duplicate pictures, by perceptual hash and embedding.

Candidates are nearest neighbours of embeddings in the index, and pictures whose hashes agree in a quarter of
their bits. Both measures must agree before two products count as duplicates.
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

#: Number of nearest neighbours per picture.
_NEIGHBOURS = 32
#: A hash has four bands of 16 bits.
_BANDS, _BAND_BITS = 4, 16
_BAND_VALUES = 1 << _BAND_BITS
#: Maximum number of hashes in memory.
_MAX_HASHES = 200_000
#: In buckets of equal bands that are larger, such as those of blank pictures, each picture is compared only
#: with the next ones in the order of their hashes.
_MAX_BUCKET, _NEXT_IN_BUCKET = 256, 32
#: Candidates per batch.
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of a duplicate: maximum number of differing bits of 64, and minimum cosine."""

    bits: int
    score: float


@dataclass(frozen=True, slots=True)
class HashedPicture:
    """A picture with its hash and the embedding of its main object, None where missing."""

    product: int
    image_id: str
    sha256: str
    hash: int | None
    embedding: NDArray[np.float32] | None


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures of two products; ``score`` is the cosine of their main objects."""

    left: HashedPicture
    right: HashedPicture
    score: float


def load_pictures(
    session: Session, catalogue_id: int, version: int, product_ids: Sequence[str]
) -> list[HashedPicture]:
    """Load pictures of products with a hash and an embedding in an index version."""
    query = _select_pictures(version).where(Product.catalogue_id == catalogue_id)
    rows = session.execute(query.where(Product.product_id.in_(product_ids)))
    return [picture for picture in map(_to_picture, rows) if picture.hash is not None]


def find_neighbour_pairs(
    database: Database,
    index: VectorIndex,
    version: IndexVersion,
    pictures: Sequence[HashedPicture],
    limits: Limits,
) -> list[Pair]:
    """Return pairs of pictures with their nearest neighbours in the index.

    Raises:
        NotFound: the collection is missing.
    """
    if not pictures:
        return []
    queries = np.stack([p.embedding for p in pictures if p.embedding is not None])
    try:
        found = index.search(version.collection, queries, _NEIGHBOURS)
    except NotFound as error:
        raise NotFound(
            f"The collection {version.collection} is missing in Milvus: run `vitrine rebuild`."
        ) from error
    near = [
        (picture, hit)
        for picture, hits in zip(pictures, found, strict=True)
        for hit in hits
        if hit.score >= limits.score and hit.number == 0 and hit.image_id != picture.image_id
    ]
    with database.read() as session:
        others = _load_by_id(session, version.id, sorted({hit.image_id for _, hit in near}))
    candidates = [
        Pair(picture, others[hit.image_id], min(hit.score, 1.0))
        for picture, hit in near
        if hit.image_id in others
    ]
    return _filter_by_hash(candidates, limits)


def generate_banded_pairs(
    database: Database, catalogue_id: int, version: IndexVersion, limits: Limits
) -> Iterator[list[Pair]]:
    """Yield pairs of pictures whose hashes agree in one of four bands; empty lists report progress.

    All pairs that differ in at most three bits are among them, and most of those that differ in a few more.
    """
    with database.read() as session:
        count = session.scalar(_select_hashed(catalogue_id, func.count(Image.id))) or 0
    parts = -(-count // _MAX_HASHES)
    for band in range(_BANDS):
        for part in range(parts):
            first, end = (_BAND_VALUES * k // parts for k in (part, part + 1))
            waiting: list[tuple[str, str]] = []
            for couples in _generate_couples(database, catalogue_id, band, first, end, limits):
                waiting += couples
                while len(waiting) >= _BATCH:
                    yield _judge(database, version, waiting[:_BATCH], limits)
                    waiting = waiting[_BATCH:]
                yield []
            yield _judge(database, version, waiting, limits)


def write_pairs(session: Session, job_id: str, pairs: Sequence[Pair]) -> None:
    """Store pairs of products for the end of the job, each with its highest score."""
    best: dict[tuple[int, int], Pair] = {}
    for pair in pairs:
        left, right = pair.left, pair.right
        ordered = pair if left.product < right.product else Pair(right, left, pair.score)
        key = ordered.left.product, ordered.right.product
        if key not in best or best[key].score < ordered.score:
            best[key] = ordered
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
    """Assign the pairs of an earlier job to the job that continues it."""
    own = aliased(DuplicatePair)
    known = exists().where(
        own.job_id == job_id,
        own.left_product == DuplicatePair.left_product,
        own.right_product == DuplicatePair.right_product,
    )
    session.execute(
        update(DuplicatePair)
        .where(DuplicatePair.job_id == earlier, ~known)
        .values(job_id=job_id)
        .execution_options(synchronize_session=False)
    )


def _select_pictures(version: int) -> Any:
    return (
        select(
            Image.product, Image.id, Image.sha256, Image.perceptual_hash.label("hash"), Detection.embedding
        )
        .join(Product, Product.id == Image.product)
        .join(Detection, Detection.image_id == Image.id)
        .where(Detection.index_version == version, Detection.number == 0)
    )


def _to_picture(row: Any) -> HashedPicture:
    return HashedPicture(row.product, row.id, row.sha256, row.hash, unpack_embedding(row.embedding))


def _load_by_id(session: Session, version: int, image_ids: Sequence[str]) -> dict[str, HashedPicture]:
    found: dict[str, HashedPicture] = {}
    for start in range(0, len(image_ids), _BATCH):
        batch = image_ids[start : start + _BATCH]
        rows = session.execute(_select_pictures(version).where(Image.id.in_(batch)))
        found |= {row.id: _to_picture(row) for row in rows}
    return found


def _filter_by_hash(candidates: Sequence[Pair], limits: Limits) -> list[Pair]:
    """Return candidates of different products and bytes whose hashes are similar."""
    distinct = [
        pair
        for pair in candidates
        if pair.left.product != pair.right.product and pair.left.sha256 != pair.right.sha256
        and pair.left.hash is not None and pair.right.hash is not None
    ]  # fmt: skip
    left = np.array([pair.left.hash for pair in distinct], np.int64)
    right = np.array([pair.right.hash for pair in distinct], np.int64)
    is_close = hamming_distances(left, right) <= limits.bits
    return [pair for pair, close in zip(distinct, is_close, strict=True) if close]


def _select_hashed(catalogue_id: int, *columns: Any) -> Any:
    return (
        select(*columns)
        .join(Product, Product.id == Image.product)
        .where(Product.catalogue_id == catalogue_id, Image.perceptual_hash.is_not(None))
    )


def _generate_couples(
    database: Database, catalogue_id: int, band: int, first: int, end: int, limits: Limits
) -> Iterator[list[tuple[str, str]]]:
    """Yield couples of image ids by bucket of one band, whose value is from ``first`` up to ``end``."""
    shift = band * _BAND_BITS
    # PostgreSQL shifts only by an INTEGER, and a bound number would have the column's type.
    shifted = Image.perceptual_hash.op(">>", return_type=BigInteger())(literal(shift, Integer()))
    band_value = shifted.op("&", return_type=BigInteger())(_BAND_VALUES - 1)
    with database.read() as session:
        rows = session.execute(
            _select_hashed(catalogue_id, Image.id, Image.product, Image.perceptual_hash).where(
                band_value >= first, band_value < end
            )
        ).all()
    if not rows:
        return
    ids = np.array([row[0] for row in rows])
    products = np.array([row[1] for row in rows], np.int64)
    hashes = np.array([row[2] for row in rows], np.int64)
    values = (hashes >> shift) & (_BAND_VALUES - 1)
    order = np.lexsort((hashes, values))
    starts = np.flatnonzero(np.diff(values[order], prepend=-1))
    for start, stop in zip(starts, [*starts[1:], len(order)], strict=True):
        if stop - start > 1:
            bucket = order[start:stop]
            left, right = _pairs_in_bucket(len(bucket))
            left, right = bucket[left], bucket[right]
            close = (products[left] != products[right]) & _is_new_in_band(hashes[left] ^ hashes[right], band)
            close &= np.bitwise_count((hashes[left] ^ hashes[right]).view(np.uint64)) <= limits.bits
            yield list(zip(ids[left[close]].tolist(), ids[right[close]].tolist(), strict=True))


def _pairs_in_bucket(count: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the indices of pictures of a bucket, ordered by hash, that are compared."""
    if count <= _MAX_BUCKET:
        left, right = np.triu_indices(count, 1)
        return left, right
    left = np.repeat(np.arange(count), _NEXT_IN_BUCKET)
    right = left + np.tile(np.arange(1, _NEXT_IN_BUCKET + 1), count)
    return left[right < count], right[right < count]


def _is_new_in_band(differing: NDArray[np.int64], band: int) -> NDArray[np.bool_]:
    """Return whether no earlier band agrees; otherwise the pair was yielded there."""
    is_new = np.ones(len(differing), bool)
    for earlier in range(band):
        is_new &= ((differing >> (earlier * _BAND_BITS)) & (_BAND_VALUES - 1)) != 0
    return is_new


def _judge(
    database: Database, version: IndexVersion, couples: Sequence[tuple[str, str]], limits: Limits
) -> list[Pair]:
    """Return the couples whose embeddings and hashes are similar, as pairs."""
    image_ids = sorted({image_id for couple in couples for image_id in couple})
    with database.read() as session:
        pictures = _load_by_id(session, version.id, image_ids)
    candidates = []
    for left, right in couples:
        if left in pictures and right in pictures:
            score = _cosine(pictures[left].embedding, pictures[right].embedding)
            if score >= limits.score:
                candidates.append(Pair(pictures[left], pictures[right], score))
    return _filter_by_hash(candidates, limits)


def _cosine(left: Embeddings | None, right: Embeddings | None) -> float:
    return -1.0 if left is None or right is None else min(float(left @ right), 1.0)
