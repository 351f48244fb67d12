"""The quality gate: decides with figures whether a filled index version may go live."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sqlalchemy import func, select

from shared.database.tables import Detection, Product
from shared.database.tables import Image as ImageRow
from shared.errors import Misconfigured, NotFound
from shared.jobs.work import ChunkClaim
from worker.indexes.gate_limits import GateLimits
from worker.indexes.versions import IndexVersion
from worker.jobs.gate_queries import Query, golden_queries, known_queries, live_queries, ranked
from worker.jobs.gate_samples import samples
from worker.products.context import JobContext

log = logging.getLogger(__name__)

#: Maximum number of stored embeddings that are checked.
_SAMPLE = 20_000
_STORED_NORM_TOLERANCE = 1e-2
#: Minimum number of shoppers' photos; below it, overlap and drift use the catalogue's own pictures too.
_MIN_PHOTOS = 20

Hits = list[tuple[str, float]]


@dataclass(frozen=True)
class Check:
    """One comparison of ``value`` with ``threshold``; ``passed`` is None where nothing was measured."""

    name: str
    value: float | None
    threshold: float
    passed: bool | None
    note: str


def judge(
    context: JobContext, claim: ChunkClaim, old: IndexVersion | None, new: IndexVersion
) -> dict[str, Any]:
    """Compare ``new`` with the live version ``old``; return the verdict, all figures and sample queries.

    Raises:
        Misconfigured: the new version's own models are not here.
        LostLease, Unavailable: as for any step of a job.
    """
    limits, catalogue_id = context.gate, claim.catalogue_id
    golden = golden_queries(context, catalogue_id, max(4 * limits.queries, 1))
    shoppers = live_queries(context, catalogue_id, limits.queries)
    known = known_queries(context, catalogue_id, new, limits.queries)
    compared = shoppers if len(shoppers) >= _MIN_PHOTOS else [*shoppers, *known]
    news = _Answers(context, new, golden, known, compared)
    try:
        olds = None if old is None else _Answers(context, old, golden, known, compared)
    except (Misconfigured, NotFound) as error:
        # Lost weights or a lost collection are a reason to leave the old version, not to stay with it.
        log.warning("the live index cannot be searched: %s", error.message)
        olds = None
    checks = [
        _failed(context, catalogue_id, new, limits),
        _finite(context, new),
        _golden(golden, olds, news, limits),
        _known(known, olds, news, limits),
        _overlap(olds, news, limits),
        _drift(olds, news, limits),
    ]
    verdict = "failed" if any(check.passed is False for check in checks) else "passed"
    asked = [*golden, *compared]
    before = None if olds is None else [*olds.golden, *olds.compared]
    kept = samples(asked, before, [*news.golden, *news.compared])
    return {"verdict": verdict, "checks": [asdict(check) for check in checks], "samples": kept}


class _Answers:
    """The answers of one version to all queries."""

    def __init__(
        self,
        context: JobContext,
        version: IndexVersion,
        golden: Sequence[Query],
        known: Sequence[Query],
        compared: Sequence[Query],
    ) -> None:
        pipeline = context.pipelines.of(version)
        self.golden = list(ranked(context, version, pipeline, golden))
        self.known = list(ranked(context, version, pipeline, known))
        only = [query for query in compared if query.product_id is None]
        self.compared = list(ranked(context, version, pipeline, only))
        if len(only) < len(compared):
            self.compared += self.known


def _failed(context: JobContext, catalogue_id: int, new: IndexVersion, limits: GateLimits) -> Check:
    """Check the share of the catalogue's pictures that the version lacks."""
    images = select(func.count(ImageRow.id)).join(Product, Product.id == ImageRow.product)
    with context.database.read() as session:
        total = session.scalar(images.where(Product.catalogue_id == catalogue_id)) or 0
        there = session.scalar(
            select(func.count(func.distinct(Detection.image_id))).where(Detection.index_version == new.id)
        )
    share = 1 - (there or 0) / total if total else 0.0
    note = f"{total - (there or 0)} of {total} pictures are not in the new version"
    return Check(
        "failed_share", round(share, 5), limits.max_failed_share, share <= limits.max_failed_share, note
    )


def _finite(context: JobContext, new: IndexVersion) -> Check:
    """Check the share of the stored embeddings that are not unit vectors."""
    with context.database.read() as session:
        blobs = session.scalars(
            select(Detection.embedding).where(Detection.index_version == new.id).limit(_SAMPLE)
        ).all()
    wrong = 0
    for blob in blobs:
        values = np.frombuffer(blob, "<f2").astype(np.float64)
        length = float(np.linalg.norm(values)) if np.isfinite(values).all() else 0.0
        wrong += len(values) != new.dim or abs(length - 1) > _STORED_NORM_TOLERANCE
    note = f"{wrong} of {len(blobs)} stored embeddings are not unit vectors"
    return Check("bad_embeddings", wrong / len(blobs) if blobs else 0.0, 0.0, not wrong, note)


def _golden(golden: Sequence[Query], olds: _Answers | None, news: _Answers, limits: GateLimits) -> Check:
    found = _first(golden, news.golden)
    if not golden or olds is None:
        note = "no golden queries" if not golden else f"{found:.1%} come first; the old one was not asked"
        return Check("golden_loss", None, limits.golden_loss, None, note)
    before = _first(golden, olds.golden)
    # Of few queries, one may always go the other way.
    most = max(limits.golden_loss, 1 / len(golden))
    note = f"the right product comes first for {found:.1%} of {len(golden)}, before {before:.1%}"
    return Check("golden_loss", round(before - found, 4), most, before - found <= most + 1e-9, note)


def _known(known: Sequence[Query], olds: _Answers | None, news: _Answers, limits: GateLimits) -> Check:
    if not known:
        return Check("known_item_loss", None, limits.known_loss, None, "the catalogue has no picture")
    found = _first(known, news.known)
    if olds is None:
        note = f"{found:.1%} of {len(known)} pictures find their product; the live version was not asked"
        least = limits.min_known_recall
        return Check("known_item", round(found, 4), least, found >= least, note)
    before = _first(known, olds.known)
    most = max(limits.known_loss, 1 / len(known))
    note = f"{found:.1%} of {len(known)} pictures find their product first, before {before:.1%}"
    return Check("known_item_loss", round(before - found, 4), most, before - found <= most + 1e-9, note)


def _overlap(olds: _Answers | None, news: _Answers, limits: GateLimits) -> Check:
    pairs = [] if olds is None else list(zip(olds.compared, news.compared, strict=True))
    shares = [
        len({p for p, _ in before} & {p for p, _ in after}) / len(before) for before, after in pairs if before
    ]
    if not shares:
        return Check("overlap", None, limits.min_overlap, None, "nothing to compare")
    value = sum(shares) / len(shares)
    note = f"of the ten nearest products of {len(shares)} queries, {value:.1%} are the same"
    return Check("overlap", round(value, 4), limits.min_overlap, value >= limits.min_overlap, note)


def _drift(olds: _Answers | None, news: _Answers, limits: GateLimits) -> Check:
    before = _mean_score([] if olds is None else olds.compared)
    after = _mean_score(news.compared)
    if before is None or after is None:
        return Check("score_drift", None, limits.max_score_drift, None, "nothing to compare")
    moved = abs(after - before)
    note = f"the mean score of first hits is {after:.3f}, before {before:.3f}"
    return Check(
        "score_drift", round(moved, 4), limits.max_score_drift, moved <= limits.max_score_drift, note
    )


def _first(queries: Sequence[Query], answers: Sequence[Hits]) -> float:
    """Return the share of the queries whose product is the first hit."""
    right = sum(
        bool(hits) and hits[0][0] == query.product_id for query, hits in zip(queries, answers, strict=True)
    )
    return right / len(queries) if queries else 0.0


def _mean_score(answers: Sequence[Hits]) -> float | None:
    scores = [hits[0][1] for hits in answers if hits]
    return sum(scores) / len(scores) if scores else None
