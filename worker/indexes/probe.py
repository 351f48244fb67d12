"""Probe of Milvus and of the collections that searches need; workers report it with their heartbeat."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from sqlalchemy import select

from shared.database import Database
from shared.database.tables import Catalogue, Detection, IndexVersionRow
from shared.errors import VitrineError

# PostgreSQL makes a join of EXISTS, and may read the whole table for it.
_HAS_ROWS = (
    select(Detection.number)
    .where(Detection.index_version == IndexVersionRow.id)
    .limit(1)
    .correlate(IndexVersionRow)
    .scalar_subquery()
    .is_not(None)
)


class Index(Protocol):
    """The methods of the index that the probe uses."""

    def collections(self, timeout_s: float | None = None) -> Iterable[str]: ...
    def describe(self) -> dict[str, Any]: ...


class IndexProbe:
    """Probes the index once per call. Not thread-safe."""

    #: A heartbeat must not wait longer for a Milvus that hangs.
    TIMEOUT_S = 2.0

    def __init__(self, database: Database, index: Index) -> None:
        self._database = database
        self._index = index
        self._description: dict[str, Any] | None = None
        self._missing_before: set[str] = set()

    def details(self) -> dict[str, Any]:
        """Return ``index`` (its kind and version), ``index_problem`` and ``missing_collections``.

        A collection counts as missing when two probes in a row lack it: between the two reads of one probe
        a rebuild may replace it. One that has no rows yet may not be created yet.

        Raises:
            DatabaseUnavailable: the live collections cannot be read.
        """
        with self._database.read() as session:
            live = session.execute(
                select(Catalogue.name, IndexVersionRow.collection)
                .join(Catalogue, Catalogue.id == IndexVersionRow.catalogue_id)
                .where(IndexVersionRow.state == "live", Catalogue.deleted_name.is_(None))
                .where(_HAS_ROWS)
                .order_by(Catalogue.name)
            ).all()
        try:
            existing = set(self._index.collections(timeout_s=self.TIMEOUT_S))
            self._description = self._description or self._index.describe()
        except VitrineError as error:
            self._description = None
            return {"index": None, "index_problem": f"Milvus not answering: {error.message}"}
        missing = [(name, collection) for name, collection in live if collection not in existing]
        confirmed = [each for each in missing if each[1] in self._missing_before]
        self._missing_before = {collection for _, collection in missing}
        found: dict[str, Any] = {"index": self._description, "index_problem": None}
        if confirmed:
            found["missing_collections"] = [{"catalogue": n, "collection": c} for n, c in confirmed]
        return found
