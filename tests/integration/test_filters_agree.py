"""A filter keeps the same products in memory, in SQLite, in PostgreSQL, in Milvus Lite and in a server."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from sqlalchemy import select

from shared.database import Database
from shared.database.filter_sql import where
from shared.database.tables import Catalogue, Detection, Image, IndexVersionRow, Product
from shared.errors import InvalidInput
from shared.filters import Filter, filter_fields, matches, parse
from tests.filter_builders import Made, random_filter, random_product
from tests.memory_index import MemoryIndex
from tests.servers import wait_for
from tests.services_milvus import unit_vectors
from worker.indexes.rows import index_row
from worker.vector_index import MilvusIndex

pytestmark = pytest.mark.slow

SEED = 20261121
COUNT = 150
FILTERS = 150
#: Filters by hand: injections, and every operator.
URGENT = [
    'category = "\\" or key != \\""',
    'category in ["x\\"] or key != \\"", "chair"]',
    'tags contains "\') or 1=1 --"',
    'attributes.material = "\\" or key != \\""',
    'attributes."quo\\"te" >= "\\" or key != \\""',
    'attributes."]) or key != \\"" = 1',
    'attributes.material > "\') or 1=1 --"',
    'product_id = "%"',
    'attributes.material >= "\\\\"',
    'attributes.released "2024-01-01".."2024-12-31"',
    "price between 9.99 and 120.5 or not exists price",
    "price = 9.99",
    "price in [0, 10]",
    "not (price < 1e3)",
    "attributes.width = 1e20",
    "attributes.width > 1e16",
    "attributes.width < 0.0000001",
    "not (attributes.nothing < 5 or attributes.nothing = 5)",
    "colour in [\"red\", 'blue'] and not colour = 'black'",
    "not title contains 'oak'",
]


@pytest.fixture(scope="module")
def products() -> list[Made]:
    chance = random.Random(SEED)
    return [random_product(chance, number) for number in range(COUNT)]


@pytest.fixture(scope="module")
def asked(products: list[Made]) -> list[tuple[str, Filter, set[str]]]:
    """Filters with the ids of what passes, as memory has it."""
    chance = random.Random(SEED + 1)
    texts = URGENT + [random_filter(chance)[0] for _ in range(FILTERS)]
    parsed = [(text, parse(text)) for text in texts]
    return [(t, f, {p.product_id for p in products if matches(f, p, p.colours)}) for t, f in parsed]


def test_memory_agrees_with_the_plain_meaning(products: list[Made]) -> None:
    chance = random.Random(SEED + 2)
    kept = 0
    for _ in range(1500):
        text, meaning = random_filter(chance)
        filter_ = parse(text)
        for made in products[:40]:
            assert matches(filter_, made, made.colours) == meaning(made), (text, made)
            kept += meaning(made)
    assert 10_000 < kept < 50_000  # neither everything nor nothing passes


def test_the_database_agrees(
    database: Database, products: list[Made], asked: list[tuple[str, Filter, set[str]]]
) -> None:
    with database.write() as session:
        session.add(Catalogue(id=1, name="demo", currency="EUR", created_at=0.0))
        session.flush()
        version = IndexVersionRow(
            id=1,
            catalogue_id=1,
            number=1,
            collection="c",
            alias="a",
            detector="d",
            embedder="e",
            dim=4,
            state="live",
            created_at=0.0,
        )
        session.add(version)
        for number, made in enumerate(products, start=1):
            session.add(
                Product(
                    id=number,
                    catalogue_id=1,
                    product_id=made.product_id,
                    titles=made.titles,
                    category=made.category,
                    categories={},
                    price=made.price,
                    currency=made.currency,
                    tags=made.tags,
                    attributes=made.attributes,
                    facts=filter_fields(made).as_json(),
                    digest="",
                    updated_at=0.0,
                )
            )
            session.flush()
            session.add(Image(id=f"i{number}", product=number, position=0, sha256="", width=1, height=1))
            session.flush()
            session.add(
                Detection(
                    image_id=f"i{number}",
                    number=0,
                    index_version=1,
                    x0=0,
                    y0=0,
                    x1=1,
                    y1=1,
                    label="",
                    confidence=1,
                    colours=made.colours or None,
                    embedding=b"",
                )
            )
    for text, filter_, expected in asked:
        with database.read() as session:
            found = session.scalars(select(Product.product_id).where(where(filter_))).all()
        assert set(found) == expected, text


def test_the_index_agrees(
    index: MilvusIndex | MemoryIndex,
    new_collection: Callable[[], str],
    products: list[Made],
    asked: list[tuple[str, Filter, set[str]]],
) -> None:
    name = new_collection()
    vectors = unit_vectors(COUNT)
    rows = [
        index_row(p.product_id, p, filter_fields(p), f"i{n}", 0, vector, p.colours)
        for n, (p, vector) in enumerate(zip(products, vectors, strict=True))
    ]
    # Some sealed, some not.
    index.upsert(name, rows[: COUNT // 2])
    index.flush(name)
    index.upsert(name, rows[COUNT // 2 :])
    assert index.count(name) == COUNT
    wait_for("all rows", lambda: len(index.search(name, vectors[:1], COUNT)[0]) == COUNT)
    for text, filter_, expected in asked:
        found = {hit.product_id for hit in index.search(name, vectors[:1], COUNT, filter_)[0]}
        assert found == expected, text


@pytest.mark.parametrize("text", ["", "price <", "foo = 1", "price < 5) or (1=1", "title = 'x'"])
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(text)
    assert refused.value.field == "filter"
