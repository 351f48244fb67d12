"""The index anew from the database, when Milvus was wiped or replaced: no model, no picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from shared.database.tables import Product
from shared.ledger.work import ChunkClaim, Item, Problem
from worker.index_versions import live_index, make_collection
from worker.jobs import Tools
from worker.product_writing import rebuild_products

_PAGE = 1000


@dataclass(frozen=True)
class Rebuild:
    """Writes the rows of the catalogue's live index version from the stored embeddings."""

    tools: Tools
    finishes = True

    def plan(self, claim: ChunkClaim) -> Iterator[Item | Problem]:
        """The products that the catalogue has, page by page."""
        number = after = 0
        while True:
            with self.tools.database.read() as session:
                page = session.execute(
                    select(Product.id, Product.product_id)
                    .where(Product.catalogue_id == claim.catalogue_id, Product.id > after)
                    .order_by(Product.id)
                    .limit(_PAGE)
                ).all()
            for row_id, product_id in page:
                number, after = number + 1, row_id
                yield Item(number, number, product_id, {}, 0)
            if len(page) < _PAGE:
                return

    def work(self, claim: ChunkClaim, items: Sequence[Item]) -> None:
        tools = self.tools
        with tools.database.read() as session:
            live = live_index(session, claim.catalogue_id)
        assert live is not None  # there is no product without one
        make_collection(tools.index, live)
        rebuild_products(tools, claim, live, items)

    def finish(self, claim: ChunkClaim) -> dict[str, Any] | None:
        """Let Milvus build its index over what was written."""
        with self.tools.database.read() as session:
            live = live_index(session, claim.catalogue_id)
        if live is not None:
            self.tools.index.flush(live.collection)
        return None
