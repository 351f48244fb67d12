"""Imports, and products put or deleted one at a time."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from shared.errors import VitrineError
from shared.imports.sources import Source
from shared.ledger.work import ChunkClaim, Item, Problem
from shared.manifest import Row, read_rows
from worker.index_versions import live_index, open_index
from worker.jobs import Tools
from worker.product_flow import do_items
from worker.product_loading import Loader
from worker.product_writing import ProductStages, delete_products

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImportProducts:
    """Reads a manifest and writes its products; a product put by hand is an import of one."""

    tools: Tools
    finishes = True

    def plan(self, claim: ChunkClaim) -> Iterator[Item | Problem]:
        with self._source(claim) as source:
            for row in read_rows(source):
                yield _entry(row)

    def work(self, claim: ChunkClaim, items: Sequence[Item]) -> None:
        tools = self.tools
        live = open_index(
            tools.database,
            tools.index,
            claim.catalogue_id,
            tools.pipelines.default,
            tools.prefix,
        )
        with self._source(claim) as source:
            loader = Loader(tools.store, source, tools.limits, tools.decoders)
            do_items(tools, claim, items, ProductStages(tools, claim, live, loader))

    def finish(self, claim: ChunkClaim) -> dict[str, Any] | None:
        """Let Milvus build its index over what was written; until then those rows are scanned."""
        with self.tools.database.read() as session:
            live = live_index(session, claim.catalogue_id)
        if live is not None:
            try:
                self.tools.index.flush(live.collection)
            except VitrineError as error:
                log.warning("the index of %s is not sealed: %s", claim.catalogue, error.message)
        return None

    def _source(self, claim: ChunkClaim) -> AbstractContextManager[Source]:
        """Open what the job reads from."""
        return self.tools.sources.open(claim.job_id, claim.source, self.tools.desk.go_on)


@dataclass(frozen=True)
class DeleteProducts:
    """Takes products out of index and catalogue."""

    tools: Tools
    finishes = False

    def plan(self, claim: ChunkClaim) -> Iterable[Item | Problem]:
        return ()

    def work(self, claim: ChunkClaim, items: Sequence[Item]) -> None:
        delete_products(self.tools, claim, items)

    def finish(self, claim: ChunkClaim) -> dict[str, Any] | None:
        return None


def _entry(row: Row) -> Item | Problem:
    """Turn a manifest's row into what the ledger plans with."""
    if row.problem is not None or row.product is None or row.product_id is None:
        reason, message = row.problem or ("invalid_row", "This row is no product.")
        return Problem(row.number, row.product_id, None, reason, message)
    payload = {"product": row.product.model_dump(mode="json"), "files": row.images}
    return Item(row.number, row.number, row.product_id, payload, 0)
