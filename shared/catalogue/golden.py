"""Store golden queries: photos with a known right product, which the quality gate searches for."""

from __future__ import annotations

import uuid

from sqlalchemy import delete, select

from shared.contracts.indexes import GoldenIn, GoldenOut
from shared.contracts.stored import readable_views
from shared.database import Database
from shared.database.catalogue_rows import find_catalogue
from shared.database.clock import now_s, to_datetime
from shared.database.tables import GoldenQuery, Product
from shared.errors import NotFound, UnknownProduct


class GoldenRepository:
    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, catalogue: str, query: GoldenIn, sha256: str) -> GoldenOut:
        """Add a golden query; it replaces one with the same photo and product.

        Args:
            sha256: key of the photo in the image store, kind ``golden``.

        Raises:
            UnknownCatalogue, UnknownProduct.
        """
        with self._database.write() as session:
            catalogue_row = find_catalogue(session, catalogue, "key_share")
            known = session.scalar(
                select(Product.id).where(
                    Product.catalogue_id == catalogue_row.id, Product.product_id == query.product_id
                )
            )
            if known is None:
                raise UnknownProduct(f"There is no product {query.product_id!r} here.", "product_id")
            session.execute(
                delete(GoldenQuery).where(
                    GoldenQuery.catalogue_id == catalogue_row.id,
                    GoldenQuery.product_id == query.product_id,
                    GoldenQuery.sha256 == sha256,
                )
            )
            row = GoldenQuery(
                id=str(uuid.uuid4()),
                catalogue_id=catalogue_row.id,
                product_id=query.product_id,
                sha256=sha256,
                box=None if query.box is None else list(query.box),
                source="upload",
                created_at=now_s(),
            )
            session.add(row)
            return _out(row)

    def list_page(self, catalogue: str, after: str | None, limit: int) -> list[GoldenOut]:
        """Return a page of the catalogue's golden queries, ordered by id."""
        with self._database.read() as session:
            catalogue_row = find_catalogue(session, catalogue)
            query = select(GoldenQuery).where(GoldenQuery.catalogue_id == catalogue_row.id)
            if after is not None:
                query = query.where(GoldenQuery.id > after)
            found = session.scalars(query.order_by(GoldenQuery.id).limit(limit))
            return readable_views(found, _out, "golden query")

    def remove(self, catalogue: str, golden_id: str) -> str | None:
        """Remove a golden query; return the key of its photo if no other query uses it.

        Raises:
            UnknownCatalogue.
            NotFound: the catalogue has no such query.
        """
        with self._database.write() as session:
            catalogue_row = find_catalogue(session, catalogue)
            row = session.get(GoldenQuery, golden_id)
            if row is None or row.catalogue_id != catalogue_row.id:
                raise NotFound(f"There is no golden query {golden_id!r} in this catalogue.")
            session.delete(row)
            session.flush()
            used = session.scalar(select(GoldenQuery.id).where(GoldenQuery.sha256 == row.sha256).limit(1))
            return None if used is not None else row.sha256


def _out(row: GoldenQuery) -> GoldenOut:
    return GoldenOut.model_validate(
        {
            "id": row.id,
            "product_id": row.product_id,
            "box": row.box,
            "source": row.source,
            "created_at": to_datetime(row.created_at),
        }
    )
