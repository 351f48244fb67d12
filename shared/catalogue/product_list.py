"""List the products of a catalogue for its administrator, by page, id or title."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from sqlalchemy import Boolean, ColumnElement, String, bindparam, or_, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import Session
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

from shared.catalogue.display import choose_title, image_url, trim_price
from shared.catalogue.store import load_images
from shared.contracts.base import Box
from shared.contracts.states import IndexState
from shared.database import Database
from shared.database.catalogue_rows import find_catalogue
from shared.database.tables import Catalogue, Detection, IndexVersionRow, Product


@dataclass(frozen=True)
class ProductSummary:
    """A product in the list; ``image_url`` is the URL of its first picture, or None."""

    product_id: str
    title: str
    category: str
    price: Decimal | None
    currency: str
    pictures: int
    image_url: str | None


@dataclass(frozen=True)
class ListPage:
    """A page of products ordered by id; pass ``next`` as ``after`` for the next page."""

    products: list[ProductSummary]
    next: str | None


@dataclass(frozen=True)
class DetectedObject:
    """An object that the detector of the live index found in a picture; the main object has number 0."""

    number: int
    box: Box
    label: str
    confidence: float


class ProductList:
    """Reads pages without counting the catalogue. A search by text reads every product."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(
        self, catalogue: str, text: str = "", after: str = "", limit: int = 24, locale: str = "en"
    ) -> ListPage:
        """Return a page.

        Args:
            text: only products whose id or any title contains it; case-insensitive for A to Z.
            after: ``next`` of the previous page.

        Raises:
            UnknownCatalogue.
        """
        with self._database.read() as session:
            catalogue_row = find_catalogue(session, catalogue)
            query = select(Product).where(
                Product.catalogue_id == catalogue_row.id, Product.product_id > after
            )
            if text:
                query = query.where(_contains(text))
            rows = list(session.scalars(query.order_by(Product.product_id).limit(limit + 1)))
            pictures = load_images(session, [row.id for row in rows[:limit]])
            listed = [
                ProductSummary(
                    product_id=row.product_id,
                    title=choose_title(row.titles, locale, row.product_id),
                    category=row.category,
                    price=trim_price(row.price),
                    currency=row.currency or catalogue_row.currency,
                    pictures=len(pictures.get(row.id, ())),
                    image_url=image_url(pictures[row.id][0].id) if pictures.get(row.id) else None,
                )
                for row in rows[:limit]
            ]
        return ListPage(listed, listed[-1].product_id if len(rows) > limit else None)

    def read_titles(
        self, catalogue: str, product_ids: Iterable[str], locale: str = "en"
    ) -> dict[str, tuple[str, str | None]]:
        """Return title and first picture's URL, or None, of the products that exist, by id."""
        query = select(Product).join(Catalogue, Catalogue.id == Product.catalogue_id)
        query = query.where(Catalogue.name == catalogue, Product.product_id.in_(list(product_ids)))
        with self._database.read() as session:
            rows = list(session.scalars(query))
            images = load_images(session, [row.id for row in rows])
            return {
                row.product_id: (
                    choose_title(row.titles, locale, row.product_id),
                    image_url(images[row.id][0].id) if images.get(row.id) else None,
                )
                for row in rows
            }

    def read_objects(self, image_ids: Iterable[str]) -> dict[str, list[DetectedObject]]:
        """Return the objects in pictures that the live index has, main objects first."""
        with self._database.read() as session:
            return _load_objects(session, list(image_ids))


def _load_objects(session: Session, image_ids: list[str]) -> dict[str, list[DetectedObject]]:
    found: dict[str, list[DetectedObject]] = defaultdict(list)
    rows = session.scalars(
        select(Detection)
        .join(IndexVersionRow, IndexVersionRow.id == Detection.index_version)
        .where(Detection.image_id.in_(image_ids), IndexVersionRow.state == IndexState.LIVE)
        .order_by(Detection.image_id, Detection.number)
    )
    for row in rows:
        box = (row.x0, row.y0, row.x1, row.y1)
        found[row.image_id].append(DetectedObject(row.number, box, row.label, row.confidence))
    return found


def _contains(text: str) -> ColumnElement[bool]:
    return or_(
        Product.product_id.icontains(text, autoescape=True),
        _HasTitle(Product.titles, bindparam(None, _pattern(text), String)),
    )


def _pattern(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


class _HasTitle(FunctionElement[bool]):
    """``(titles, pattern)``: whether a title in any language matches the LIKE pattern.

    Damaged JSON counts as no titles, because the JSON functions of both databases would fail the whole query.
    """

    type = Boolean()
    inherit_cache = True


@compiles(_HasTitle, "sqlite")
def _(element: _HasTitle, compiler: SQLCompiler, **options: object) -> str:
    titles, pattern = (compiler.process(clause, **options) for clause in element.clauses)
    # The fragments are compiled names of a column and a parameter, never values.
    titles = f"CASE WHEN json_valid({titles}) THEN {titles} ELSE '{{}}' END"
    return rf"EXISTS (SELECT 1 FROM json_each({titles}) AS t WHERE t.value LIKE {pattern} ESCAPE '\')"  # noqa: S608


@compiles(_HasTitle, "postgresql")
def _(element: _HasTitle, compiler: SQLCompiler, **options: object) -> str:
    titles, pattern = (compiler.process(clause, **options) for clause in element.clauses)
    titles = f"CASE WHEN jsonb_typeof({titles}) = 'object' THEN {titles} ELSE '{{}}' END"
    found = rf"FROM jsonb_each_text({titles}) AS t WHERE t.value ILIKE {pattern} ESCAPE '\'"
    return f"EXISTS (SELECT 1 {found})"
