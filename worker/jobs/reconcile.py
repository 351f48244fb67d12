"""Reconciliation: compares a collection with the database, key by key.

Both sides are read as streams in the order of their keys and merged, so that memory does not grow with
the catalogue. Milvus is written before the database, and both are read while other jobs write. So a
difference counts only if it remains after all writes in progress are committed.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

from shared.contracts import ReconcileRequest
from shared.errors import NotFound
from shared.jobs.work import ChunkClaim
from worker.indexes.expected_rows import expected_keys, keys_of_products, known_keys
from worker.indexes.stored_rows import rows_of_keys
from worker.indexes.versions import IndexVersion
from worker.jobs import Once
from worker.jobs.heartbeat import Pulse
from worker.jobs.versions import named_or_live
from worker.products.context import JobContext
from worker.vector_index import matches

#: Differences that are checked in one batch.
_BATCH_KEYS = 1000
#: Keys that are compared in one step.
_STRETCH = 2000
#: Maximum number of keys of each kind in a report.
_MAX_NAMED = 100
#: Maximum number of checks of a difference, after which it is left unrepaired.
_MAX_CHECKS = 3


@dataclass
class Report:
    """Result of a reconciliation.

    Attributes:
        scope: ``all`` of the index version, or only the products of the ``job``.
        expected: rows that the database wants in the collection.
        found: rows that the collection had.
        missing: rows that the collection lacked, of which the first hundred are named; searches do not
            find their products.
        orphans: rows of pictures that the catalogue has not, the first hundred named; searches drop them.
        repaired: there were differences, and all were repaired.
    """

    scope: str
    expected: int = 0
    found: int = 0
    missing: int = 0
    orphans: int = 0
    missing_keys: list[str] = field(default_factory=list)
    orphan_keys: list[str] = field(default_factory=list)
    repaired: bool = False

    def as_json(self) -> dict[str, Any]:
        """Return the ``reconcile`` part of a job's report."""
        return asdict(self)


def reconcile(
    context: JobContext,
    claim: ChunkClaim,
    version: IndexVersion,
    *,
    repair: bool = False,
    collection: str | None = None,
    products: Iterable[Sequence[str]] | None = None,
) -> Report:
    """Compare an index version's collection with the database, and repair it on request.

    Safe while products are written and deleted. Renews the claim's lease, and gives way to single updates.

    Args:
        repair: write missing rows from their stored embeddings, delete orphans.
        collection: to compare instead of the version's own.
        products: only these, given in lists of some hundred ids; None for all.

    Raises:
        NotFound: there is no such collection.
        LostLease, Unavailable: as for any step of a job.
    """
    comparison = _Comparison(context, claim, version, collection or version.collection, repair)
    try:
        return comparison.of_all() if products is None else comparison.of_products(products)
    except NotFound as error:
        raise NotFound(
            f"The collection {comparison.collection} is gone from Milvus: "
            f"`vitrine rebuild {claim.catalogue}` brings it back from the database."
        ) from error


@dataclass(frozen=True)
class Reconcile(Once):
    """The job that only compares, and repairs if its options say so."""

    context: JobContext

    def finish(self, claim: ChunkClaim) -> dict[str, Any] | None:
        version = named_or_live(self.context, claim)
        if version is None:
            return {"reconcile": Report("all").as_json()}
        report = reconcile(self.context, claim, version, repair=claim.read_options(ReconcileRequest).repair)
        return {"reconcile": report.as_json()}


class _Comparison:
    def __init__(
        self, context: JobContext, claim: ChunkClaim, version: IndexVersion, collection: str, repair: bool
    ) -> None:
        self._context = context
        self._claim = claim
        self._version = version
        self.collection = collection
        self._repair = repair
        self._report = Report("all")
        self._left = 0
        self._pulse = Pulse(context, claim)

    def of_all(self) -> Report:
        suspects: list[str] = []
        expected = expected_keys(self._context.database, self._version.id)
        found = self._context.index.sorted_keys(self.collection)
        for wanted, there in _aligned(expected, found):
            self._pulse()
            if wanted == there:
                self._agree(len(wanted))
                continue
            self._agree(len({*wanted}.intersection(there)))
            suspects += sorted({*wanted}.symmetric_difference(there))
            while len(suspects) >= _BATCH_KEYS:
                self._judge(suspects[:_BATCH_KEYS])
                del suspects[:_BATCH_KEYS]
        self._judge(suspects)
        return self._finished_report()

    def of_products(self, products: Iterable[Sequence[str]]) -> Report:
        self._report.scope = "job"
        for ids in products:
            self._pulse()
            with self._context.database.read() as session:
                expected = keys_of_products(session, self._version.id, self._claim.catalogue_id, ids)
            found = set(self._context.index.sorted_keys(self.collection, matches("product_id", ids)))
            self._agree(len(expected & found))
            self._judge(sorted(expected ^ found))
        return self._finished_report()

    def _agree(self, count: int) -> None:
        self._report.expected += count
        self._report.found += count

    def _finished_report(self) -> Report:
        wrong = self._report.missing + self._report.orphans
        self._report.repaired = bool(wrong) and self._repair and not self._left
        return self._report

    def _judge(self, suspects: Sequence[str]) -> None:
        """Check differences again, before and after repairing them: other jobs write concurrently."""
        for check in range(_MAX_CHECKS):
            if not suspects:
                return
            self._await_writers()
            with self._context.database.read() as session:
                wanted = known_keys(session, self._version.id, suspects)
            there = set(self._context.index.sorted_keys(self.collection, matches("key", suspects)))
            missing, orphans = sorted(wanted - there), sorted(there - wanted)
            if check == 0:
                self._agree(len(wanted & there))
                self._note(missing, orphans)
            if not self._repair:
                self._left += len(missing) + len(orphans)
                return
            self._repair_keys(missing, orphans)
            suspects = [*missing, *orphans]
        self._left += len(suspects)

    def _note(self, missing: Sequence[str], orphans: Sequence[str]) -> None:
        report = self._report
        report.expected += len(missing)
        report.found += len(orphans)
        report.missing += len(missing)
        report.orphans += len(orphans)
        report.missing_keys += missing[: _MAX_NAMED - len(report.missing_keys)]
        report.orphan_keys += orphans[: _MAX_NAMED - len(report.orphan_keys)]

    def _repair_keys(self, missing: Sequence[str], orphans: Sequence[str]) -> None:
        if missing:
            with self._context.database.read() as session:
                rows = rows_of_keys(session, self._version.id, missing)
            self._context.index.upsert(self.collection, rows)
        if orphans:
            self._context.index.delete(self.collection, orphans)

    def _await_writers(self) -> None:
        """Wait until everything that other workers have written to Milvus so far is in the database too.

        A micro-batch is recorded in the transaction that commits it. A chunk whose worker died is done
        again, under the same keys.
        """
        desk, catalogue_id = self._context.desk, self._claim.catalogue_id
        writing = desk.read_concurrent_chunks(catalogue_id)
        while writing:
            now = desk.read_concurrent_chunks(catalogue_id)
            writing = {chunk: mark for chunk, mark in writing.items() if now.get(chunk) == mark}
            if writing:
                time.sleep(0.1)
                self._pulse()


def _aligned(left: Iterator[str], right: Iterator[str]) -> Iterator[tuple[list[str], list[str]]]:
    """Cut two ascending streams into stretches of the same range of keys.

    A key that both have is in both halves of one pair. Nearly all stretches are equal, which one comparison
    shows.
    """
    a: list[str] = []
    b: list[str] = []
    while True:
        a += islice(left, _STRETCH - len(a))
        b += islice(right, _STRETCH - len(b))
        if not a and not b:
            return
        # Up to here both are known; of a stream that has ended, all is.
        upto = min(a[-1], b[-1]) if a and b else max([*a[-1:], *b[-1:]])
        k, n = bisect_right(a, upto), bisect_right(b, upto)
        yield a[:k], b[:n]
        del a[:k], b[:n]
