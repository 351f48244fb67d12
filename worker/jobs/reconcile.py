"""The proof that a job ends with: the collection holds what the database says, key by key.

Both sides are read as streams in the order of their keys and merged, so that memory does not grow with
the catalogue. Milvus is written before the database and both are read while others write, so a
difference is a suspicion only: it counts when it is still there after everything that was on its way
has arrived.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

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

#: Differences that are looked at together.
_SUSPECTS = 1000
#: Keys that are compared at once.
_STRETCH = 2000
#: Keys that a report names of each kind.
_NAMED = 100
#: After so many looks, what is still wrong is left wrong.
_LOOKS = 3


@dataclass
class Report:
    """What a reconciliation found.

    Attributes:
        scope: ``all`` of the index version, or only the products of the ``job``.
        expected: rows that the database wants in the collection.
        found: rows that the collection had.
        missing: rows that the collection lacked, of which the first hundred are named; searches do not
            find their products.
        orphans: rows of pictures that the catalogue has not, the first hundred named; searches drop them.
        repaired: there was something wrong, and now there is not.
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
        """Return what jobs keep under ``reconcile`` of their reports."""
        return asdict(self)


def reconcile(
    tools: JobContext,
    claim: ChunkClaim,
    version: IndexVersion,
    *,
    repair: bool = False,
    collection: str | None = None,
    products: Iterable[Sequence[str]] | None = None,
) -> Report:
    """Compare an index version's collection with the database, and mend it if asked to.

    Safe while products are written and deleted. Renews the claim's lease, and gives way to what is put
    by hand.

    Args:
        repair: write missing rows from their stored embeddings, delete orphans.
        collection: to compare instead of the version's own.
        products: only these, given in lists of some hundred ids; None for all.

    Raises:
        NotFound: there is no such collection.
        LostLease, Unavailable: as for any step of a job.
    """
    comparison = _Comparison(tools, claim, version, collection or version.collection, repair)
    try:
        return comparison.of_all() if products is None else comparison.of_products(products)
    except NotFound as error:
        raise NotFound(
            f"The collection {comparison.collection} is gone from Milvus: "
            f"`vitrine rebuild {claim.catalogue}` brings it back from the database."
        ) from error


@dataclass(frozen=True)
class Reconcile(Once):
    """The job that does nothing but compare, and repair if its options say so."""

    tools: JobContext

    def finish(self, claim: ChunkClaim) -> dict[str, Any] | None:
        version = named_or_live(self.tools, claim)
        if version is None:
            return {"reconcile": Report("all").as_json()}
        report = reconcile(self.tools, claim, version, repair=bool(claim.options.get("repair")))
        return {"reconcile": report.as_json()}


class _Comparison:
    def __init__(
        self, tools: JobContext, claim: ChunkClaim, version: IndexVersion, collection: str, repair: bool
    ) -> None:
        self._tools = tools
        self._claim = claim
        self._version = version
        self.collection = collection
        self._repair = repair
        self._report = Report("all")
        self._left = 0
        self._pulse = Pulse(tools, claim)

    def of_all(self) -> Report:
        suspects: list[str] = []
        expected = expected_keys(self._tools.database, self._version.id)
        found = self._tools.index.sorted_keys(self.collection)
        for wanted, there in _aligned(expected, found):
            self._pulse()
            if wanted == there:
                self._agree(len(wanted))
                continue
            self._agree(len({*wanted}.intersection(there)))
            suspects += sorted({*wanted}.symmetric_difference(there))
            while len(suspects) >= _SUSPECTS:
                self._judge(suspects[:_SUSPECTS])
                del suspects[:_SUSPECTS]
        self._judge(suspects)
        return self._told()

    def of_products(self, products: Iterable[Sequence[str]]) -> Report:
        self._report.scope = "job"
        for some in products:
            self._pulse()
            with self._tools.database.read() as session:
                expected = keys_of_products(session, self._version.id, self._claim.catalogue_id, some)
            found = set(self._tools.index.sorted_keys(self.collection, matches("product_id", some)))
            self._agree(len(expected & found))
            self._judge(sorted(expected ^ found))
        return self._told()

    def _agree(self, count: int) -> None:
        self._report.expected += count
        self._report.found += count

    def _told(self) -> Report:
        wrong = self._report.missing + self._report.orphans
        self._report.repaired = bool(wrong) and self._repair and not self._left
        return self._report

    def _judge(self, suspects: Sequence[str]) -> None:
        """Look at differences again, and again after mending them: others may have written meanwhile."""
        for look in range(_LOOKS):
            if not suspects:
                return
            self._settle()
            with self._tools.database.read() as session:
                wanted = known_keys(session, self._version.id, suspects)
            there = set(self._tools.index.sorted_keys(self.collection, matches("key", suspects)))
            missing, orphans = sorted(wanted - there), sorted(there - wanted)
            if look == 0:
                self._agree(len(wanted & there))
                self._note(missing, orphans)
            if not self._repair:
                self._left += len(missing) + len(orphans)
                return
            self._mend(missing, orphans)
            suspects = [*missing, *orphans]
        self._left += len(suspects)

    def _note(self, missing: Sequence[str], orphans: Sequence[str]) -> None:
        report = self._report
        report.expected += len(missing)
        report.found += len(orphans)
        report.missing += len(missing)
        report.orphans += len(orphans)
        report.missing_keys += missing[: _NAMED - len(report.missing_keys)]
        report.orphan_keys += orphans[: _NAMED - len(report.orphan_keys)]

    def _mend(self, missing: Sequence[str], orphans: Sequence[str]) -> None:
        if missing:
            with self._tools.database.read() as session:
                rows = rows_of_keys(session, self._version.id, missing)
            self._tools.index.upsert(self.collection, rows)
        if orphans:
            self._tools.index.delete(self.collection, orphans)

    def _settle(self) -> None:
        """Wait until what other workers had written to Milvus by now is in the database too.

        A micro-batch is recorded in the transaction that commits it. A chunk whose worker died is done
        again, under the same keys.
        """
        desk, catalogue_id = self._tools.desk, self._claim.catalogue_id
        writing = desk.read_concurrent_chunks(catalogue_id)
        while writing:
            now = desk.read_concurrent_chunks(catalogue_id)
            writing = {chunk: mark for chunk, mark in writing.items() if now.get(chunk) == mark}
            if writing:
                time.sleep(0.1)
                self._pulse()


def _aligned(left: Iterator[str], right: Iterator[str]) -> Iterator[tuple[list[str], list[str]]]:
    """Cut two ascending streams into stretches of the same range of keys.

    A key that both have is in both halves of one pair. Equal stretches are told by one comparison, which
    is what nearly all are.
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
