"""Steps that re-processing, rebuild and rollback share: list products, fill a version, catch up."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import select
from sqlalchemy.orm import Session

from shared.database.tables import Product
from shared.jobs.work import ChunkClaim, Item, Outcome, Problem, StageTimes
from worker.filling.batches import Batch
from worker.filling.pictures import Filler
from worker.filling.stored import RowFiller
from worker.indexes.stored_rows import StoredRows
from worker.indexes.versions import lock_catalogue_changes
from worker.products.context import JobContext

_PAGE = 1000
#: Products that are caught up with together; and with all other changes kept waiting.
_TOGETHER, _LAST = 64, 64


def products_of(tools: JobContext, claim: ChunkClaim, *conditions: Any) -> Iterator[Item]:
    """Yield the catalogue's products that meet the conditions, page by page, as items of a job."""
    number = after = 0
    while True:
        with tools.database.read() as session:
            page = session.execute(
                select(Product.id, Product.product_id)
                .where(Product.catalogue_id == claim.catalogue_id, Product.id > after, *conditions)
                .order_by(Product.id)
                .limit(_PAGE)
            ).all()
        for row_id, product_id in page:
            number, after = number + 1, row_id
            yield Item(number, number, product_id, {}, 0)
        if len(page) < _PAGE:
            return


@dataclass(frozen=True)
class FillStages:
    """A chunk's products on their way into an index version."""

    tools: JobContext
    claim: ChunkClaim
    filler: Filler

    def load(self, items: Sequence[Item]) -> tuple[Sequence[Item], Batch]:
        return items, self.filler.load([item.product_id for item in items])

    def embed(self, batch: tuple[Sequence[Item], Batch]) -> None:
        self.filler.embed(batch[1])

    def write(self, batch: tuple[Sequence[Item], Batch]) -> None:
        def record(session: Session, filled: Batch, spent: StageTimes) -> None:
            outcomes = [_outcome(item, filled) for item in batch[0]]
            self.tools.desk.record(session, self.claim, outcomes, spent)

        self.filler.write(batch[1], record)


@dataclass(frozen=True)
class RowStages:
    """A chunk's products whose rows alone are written; each batch is its items, its rows, and the seconds
    that reading them took."""

    tools: JobContext
    claim: ChunkClaim
    filler: RowFiller

    def load(self, items: Sequence[Item]) -> tuple[Sequence[Item], StoredRows, float]:
        started = time.perf_counter()
        stored = self.filler.load([item.product_id for item in items])
        return items, stored, time.perf_counter() - started

    def embed(self, batch: tuple[Sequence[Item], StoredRows, float]) -> None:
        """There is nothing to embed."""

    def write(self, batch: tuple[Sequence[Item], StoredRows, float]) -> None:
        items, stored, read_s = batch

        def record(session: Session, write_s: float) -> None:
            there = stored.product_ids
            outcomes = [Outcome(i, "unchanged" if i.product_id in there else "deleted") for i in items]
            self.tools.desk.record(
                session, self.claim, outcomes, StageTimes(decode_s=read_s, write_s=write_s)
            )

        self.filler.write(stored, record)


def _outcome(item: Item, filled: Batch) -> Outcome:
    if item.product_id not in filled.products:
        return Outcome(item, "deleted")
    contents = [content for _, content in filled.fresh(item.product_id)]
    problems = [
        Problem(item.row, item.product_id, c.sha256, c.problem[0], c.problem[1])
        for c in contents
        if c.problem
    ]
    embedded = sum(c.found is not None for c in contents)
    kept = filled.images.get(filled.products[item.product_id].id, [])
    if problems and not embedded and len(problems) == len(kept):
        return Outcome(item, "failed", 0, problems)
    return Outcome(item, "changed" if contents else "unchanged", embedded, problems)


class BringsUp(Protocol):
    """What writes products that changed into an index version: ``Filler``, or ``RowFiller``."""

    def bring_up(self, product_ids: Collection[str]) -> None:
        """Write products as they are now, embedded if they have to be."""
        ...

    def rewrite(self, session: Session, product_ids: Collection[str]) -> None:
        """Write their rows from what the database has in this transaction."""
        ...


def catch_up(
    tools: JobContext,
    claim: ChunkClaim,
    filler: BringsUp,
    since: int,
    done: Callable[[Session], None],
) -> None:
    """Write again what changed after change ``since``, until nothing is left, then call ``done``.

    Whoever filled the version and whoever changed its products wrote to Milvus in any order; this gives
    the database's word, which is the last. ``done`` is called in a transaction in which no other change
    can come, and must make a new epoch of the version: products that are on their way are then written
    again by those who write them.

    Raises:
        LostLease, Unavailable: as for any step of a job.
    """
    while True:
        with tools.database.read() as session:
            waiting = _changed(session, claim.catalogue_id, since)
        for start in range(0, len(waiting), _TOGETHER):
            tools.give_way(claim)
            filler.bring_up([product_id for _, product_id in waiting[start : start + _TOGETHER]])
        since = max([since, *(change for change, _ in waiting)])
        if len(waiting) == _PAGE:
            continue
        with tools.database.write() as session:
            tools.desk.renew_lease(session, claim)
            lock_catalogue_changes(session, claim.catalogue_id)
            last = _changed(session, claim.catalogue_id, since)
            if len(last) <= _LAST:
                # Pictures that came lately were embedded for this version by who brought them.
                filler.rewrite(session, [product_id for _, product_id in last])
                done(session)
                return


def _changed(session: Session, catalogue_id: int, since: int) -> list[tuple[int, str]]:
    """The first products, by their last change, that changed after ``since``; a change is never split."""
    query = (
        select(Product.change, Product.product_id)
        .where(Product.catalogue_id == catalogue_id, Product.change > since)
        .order_by(Product.change, Product.id)
    )
    rows = [(change, product_id) for change, product_id in session.execute(query.limit(_PAGE))]
    if len(rows) == _PAGE:
        last = rows[-1][0]
        rows = [row for row in rows if row[0] < last]
        same = query.where(Product.change == last)
        rows += [(change, product_id) for change, product_id in session.execute(same)]
    return rows
