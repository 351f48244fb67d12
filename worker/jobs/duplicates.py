"""The job that finds products of a catalogue which show the same thing: see docs/duplicates.md."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select

from shared.catalogue.duplicates import KIND, last_job
from shared.contracts import ENDED_STATES
from shared.contracts.duplicates import DuplicateKind, DuplicatesRequest
from shared.database.bulk import insert_rows
from shared.database.tables import Duplicate, DuplicatePair, Image, Job, Product
from shared.jobs.work import ChunkClaim, Item, Outcome, Problem
from worker.duplicates.groups import (
    Duplicates,
    Member,
    ProductRanking,
    exact_duplicates,
    generate_groups,
    load_product_ids,
    near_duplicates,
    rank_products,
    select_in_pairs,
    select_sharing_bytes,
)
from worker.duplicates.pairs import (
    Limits,
    adopt_pairs,
    find_neighbour_pairs,
    generate_banded_pairs,
    load_pictures,
    write_pairs,
)
from worker.indexes.versions import IndexVersion, live_index
from worker.jobs.heartbeat import Pulse
from worker.jobs.stored_products import list_products
from worker.products.context import JobContext

#: Products whose neighbours are searched in one batch.
_BATCH_PRODUCTS = 64
#: Rows of groups that are committed together.
_COMMIT_ROWS = 1000


@dataclass(frozen=True)
class FindDuplicates:
    """Finds duplicates, as a ``DuplicatesRequest`` says."""

    context: JobContext
    finishes = True

    def plan(self, claim: ChunkClaim) -> Iterable[Item | Problem]:
        """Yield the products to compare for near duplicates; exact ones need the database only."""
        if claim.read_options(DuplicatesRequest).near and self._live(claim) is not None:
            yield from list_products(self.context, claim)

    def work(self, claim: ChunkClaim, items: Sequence[Item]) -> None:
        for start in range(0, len(items), _BATCH_PRODUCTS):
            self.context.give_way(claim)
            self._look_up(claim, items[start : start + _BATCH_PRODUCTS])

    def finish(self, claim: ChunkClaim) -> dict[str, Any] | None:
        return _Finish(self.context, claim, self._live(claim)).report()

    def _look_up(self, claim: ChunkClaim, items: Sequence[Item]) -> None:
        context, live = self.context, self._live(claim)
        assert live is not None, "a catalogue never loses its live index"
        with context.database.read() as session:
            pictures = load_pictures(session, claim.catalogue_id, live.id, [i.product_id for i in items])
        pairs = find_neighbour_pairs(context.database, context.index, live, pictures, read_limits(claim))
        with context.database.write() as session:
            write_pairs(session, claim.job_id, pairs)
            context.desk.record(session, claim, [Outcome(item, "unchanged") for item in items])

    def _live(self, claim: ChunkClaim) -> IndexVersion | None:
        with self.context.database.read() as session:
            return live_index(session, claim.catalogue_id)


def read_limits(claim: ChunkClaim) -> Limits:
    """Return the limits within which the job counts pictures as alike."""
    request = claim.read_options(DuplicatesRequest)
    return Limits(request.max_bits, request.min_score)


class _Finish:
    """Writes the groups; starts over after an interruption."""

    def __init__(self, context: JobContext, claim: ChunkClaim, live: IndexVersion | None) -> None:
        self._context = context
        self._claim = claim
        self._live = live
        self._rows: list[tuple[int, DuplicateKind, list[Member]]] = []
        self._waiting = 0
        self._pulse = Pulse(context, claim)
        self._counts: Counter[str] = Counter()
        self._numbered = 1

    def report(self) -> dict[str, Any]:
        claim, near = self._claim, self._claim.read_options(DuplicatesRequest).near
        self._clear()
        if near and self._live is not None:
            self._compare_hashes(self._live)
        exact = self._group(
            "exact", select_sharing_bytes(claim.catalogue_id), exact_duplicates(claim.catalogue_id)
        )
        if near:
            self._group("near", select_in_pairs(claim.job_id), near_duplicates(claim.job_id, exact))
        counts = self._counts
        return {
            "duplicates": {
                kind: {"groups": counts[f"{kind} groups"], "products": counts[f"{kind} products"]}
                for kind in ("exact", "near")
            }
            | {"without_hash": self._without_hash() if near else 0}
        }

    def _clear(self) -> None:
        """Delete what an earlier try and earlier jobs left; keep the groups that are on display."""
        claim = self._claim
        with self._context.database.write() as session:
            self._context.desk.renew_lease(session, claim)
            shown = last_job(session, claim.catalogue_id)
            old = select(Job.id).where(
                Job.catalogue_id == claim.catalogue_id,
                Job.kind == KIND,
                Job.state.in_(ENDED_STATES),
                Job.id != (shown.id if shown is not None else ""),
            )
            session.execute(
                delete(Duplicate).where((Duplicate.job_id == claim.job_id) | Duplicate.job_id.in_(old))
            )
            if claim.retry_of is not None:
                adopt_pairs(session, claim.retry_of, claim.job_id)
            ended = select(Job.id).where(
                Job.catalogue_id == claim.catalogue_id, Job.kind == KIND, Job.state.in_(ENDED_STATES)
            )
            session.execute(delete(DuplicatePair).where(DuplicatePair.job_id.in_(ended)))

    def _compare_hashes(self, live: IndexVersion) -> None:
        context, claim = self._context, self._claim
        for pairs in generate_banded_pairs(context.database, claim.catalogue_id, live, read_limits(claim)):
            self._pulse()
            if pairs:
                with context.database.write() as session:
                    context.desk.renew_lease(session, claim)
                    write_pairs(session, claim.job_id, pairs)

    def _group(self, kind: DuplicateKind, products: Any, duplicates: Duplicates) -> ProductRanking:
        """Write the groups of a kind; return the products with the numbers of their groups."""
        order = ProductRanking(rank_products(self._context.database, self._claim.catalogue_id, products))
        found = generate_groups(self._context.database, order, duplicates, self._numbered, self._pulse)
        for number, members in found:
            self._numbered = number + 1
            self._counts[f"{kind} groups"] += 1
            self._counts[f"{kind} products"] += len(members)
            self._rows.append((number, kind, members))
            self._waiting += len(members)
            if self._waiting >= _COMMIT_ROWS:
                self._write()
        self._write()
        return order

    def _write(self) -> None:
        claim = self._claim
        with self._context.database.write() as session:
            self._context.desk.renew_lease(session, claim)
            names = load_product_ids(session, [m.product for _, _, members in self._rows for m in members])
            rows = [
                {
                    "job_id": claim.job_id,
                    "group_number": number,
                    "product_id": names[member.product],
                    "image_id": member.image_id,
                    "kind": kind,
                    "score": member.score,
                    "keep": place == 0,
                }
                for number, kind, members in self._rows
                for place, member in enumerate(members)
                if member.product in names
            ]
            insert_rows(session, Duplicate, rows)
        self._rows, self._waiting = [], 0

    def _without_hash(self) -> int:
        """Count the pictures that are older than the hash: they are not compared."""
        with self._context.database.read() as session:
            query = select(func.count(Image.id)).join(Product, Product.id == Image.product)
            return (
                session.scalar(
                    query.where(
                        Product.catalogue_id == self._claim.catalogue_id, Image.perceptual_hash.is_(None)
                    )
                )
                or 0
            )
