"""What index and database can hold is checked when a row is read, in the unit of the stricter side."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import pytest
from pydantic import TypeAdapter, ValidationError

from shared.contracts import NewProductId, ProductId, ProductIn
from shared.contracts.catalogue import MAX_CATEGORY_BYTES
from shared.database import Database
from shared.database.migrate import migrate
from shared.database.tables import Catalogue, Product
from shared.errors import InvalidInput
from shared.filters import filter_fields
from shared.filters.facts import MAX_TOKENS
from shared.imports.manifest import Row, read_rows
from worker.vector_index.contract import IndexRow
from worker.vector_index.rows import MAX_BYTES, to_entity
from worker.vector_index.schema import new_schema

DOCS = Path(__file__).parents[2] / "docs" / "import.md"
#: Of a JSON field and of a text field in Milvus, in bytes; the one of texts is set by our schema.
MILVUS_JSON_BYTES = 65_536


class Alone:
    """A source with one manifest."""

    def __init__(self, manifest: str, data: bytes) -> None:
        self.manifest = manifest
        self._data = data

    def names(self) -> Iterator[str]:
        yield self.manifest

    def open(self, name: str) -> BinaryIO:
        return io.BytesIO(self._data)


def rows_of(*records: str) -> list[Row]:
    return list(read_rows(Alone("manifest.jsonl", "\n".join(records).encode())))


def row_of(**fields: Any) -> Row:
    return rows_of(json.dumps({"product_id": "p1", "image": "a.jpg", **fields}))[0]


REFUSED: dict[str, dict[str, Any]] = {
    "a category of 257 letters": {"category": "c" * 257},
    "a category of 129 umlauts": {"category": "ü" * 129},
    "a category of 86 ideographs": {"category": "椅" * 86},
    "a category of 65 emojis": {"category": "🪑" * 65},
    "a category with NUL": {"category": "a\0b"},
    "half a character": {"category": "\ud83e"},
    "half a character in a title": {"title": "a\udc00"},
    "half a character in a key": {"attributes": {"a\udc00": 1}},
    "NUL in a key": {"attributes": {"a\0": 1}},
    "NUL in a tag": {"tags": ["a\0"]},
    "a long title": {"title": "t" * 501},
    "a long tag": {"tags": ["t" * 129]},
    "many tags": {"tags": ["t"] * 101},
    "a price of 15 digits": {"price": "12345678901.2345"},
    "a price of 5 decimals": {"price": "1.00001"},
    "a negative price": {"price": -1},
    "a price that is none": {"price": "NaN"},
    "an infinite price": {"price": "Infinity"},
    "a price in words": {"price": "ten"},
    "a currency of four letters": {"currency": "EURX"},
    "a long address": {"url": "https://shop.example/" + "a" * 2048},
    "an address on two lines": {"url": "http://a.example\njavascript:alert(1)"},
    "an address without a host": {"url": "https://[cdn]/"},
    "a locale that is none": {"titles": {"english": "Chair"}},
    "attributes without end": {"attributes": json.loads('{"a":' * 20 + "1" + "}" * 20)},
    "a number of 2,000 digits": {"attributes": {"n": 10**2000}},
    "a product id `.`": {"product_id": "."},
    "a product id `..`": {"product_id": ".."},
    "a product id of 129 bytes": {"product_id": "p" * 129},
    "a product id of 65 umlauts": {"product_id": "ü" * 65},
    "a product id on two lines": {"product_id": "a\nb"},
    "a product id that leads up": {"product_id": "a/../b"},
    "a product id with a space at its end": {"product_id": "\u00a0a"},
    "more decimals than the currency has": {"price": "1.999"},
    "a fraction of a yen": {"price": "99.50", "currency": "JPY"},
}
TAKEN: dict[str, dict[str, Any]] = {
    "a category of 256 letters": {"category": "c" * 256},
    "a category of 128 umlauts": {"category": "ü" * 128},
    "a category of 64 emojis": {"category": "🪑" * 64},
    "a title of 500 emojis": {"title": "🪑" * 500},
    "a tag of 128 ideographs": {"tags": ["椅" * 128]},
    "the largest price": {"price": "9999999999.9999", "currency": "CLF"},
    "three decimals of a dinar": {"price": 1.999, "currency": "KWD"},
    "a price padded with zeros": {"price": "12.5000"},
    "a product id of 128 letters": {"product_id": "p" * 128},
    "a product id of 64 umlauts": {"product_id": "ü" * 64},
    "a product id of all sorts": {"product_id": "SKU 12/34 #5?x=1&y=%20+\"'<>|椅"},
    "large numbers": {"attributes": {"a": 1.7e308, "b": 10**40, "c": -(2**63) - 1, "d": 5e-324}},
    "dots in product ids": {"product_id": "..."},
    "a dot before a product id": {"product_id": ".a"},
    "two dots before a product id": {"product_id": "..a"},
    "old dates": {"attributes": {"made": "0001-01-01", "sold": "99999-99-99"}},
}


@pytest.mark.parametrize("fields", REFUSED.values(), ids=REFUSED)
def test_a_row_over_a_limit_is_refused_when_it_is_read(fields: dict[str, Any]) -> None:
    before, bad, after = rows_of(
        *(
            json.dumps({"product_id": f"p{n}", "image": "a.jpg", **(fields if n == 2 else {})})
            for n in (1, 2, 3)
        )
    )
    assert (before.problem, after.problem) == (None, None)
    assert bad.problem is not None
    assert bad.product is None
    assert "Value error" not in bad.problem[1]


@pytest.mark.parametrize(("name", "fields"), TAKEN.items(), ids=TAKEN)
def test_a_row_at_the_limit_is_read_indexed_and_stored(
    name: str, fields: dict[str, Any], tmp_path: Path
) -> None:
    row = row_of(**fields)
    assert row.problem is None, row.problem
    assert row.product is not None
    assert row.product_id is not None
    to_entity(index_row(row.product_id, row.product), {"facts", "ordered"})
    database = Database(f"sqlite:///{tmp_path}/x.sqlite3")
    migrate(database)
    store(database, row.product_id, row.product)
    database.close()


def index_row(product_id: str, product: ProductIn) -> IndexRow:
    import numpy as np

    embedding = np.zeros(4, np.float32)
    embedding[0] = 1
    return IndexRow(
        key="k-0",
        product_id=product_id,
        image_id="i",
        number=0,
        category=product.category,
        price=None if product.price is None else float(product.price),
        embedding=embedding,
        facts=filter_fields(product),
    )


def store(database: Database, product_id: str, product: ProductIn) -> None:
    with database.write() as session:
        session.add(Catalogue(id=1, name="shop", created_at=0.0))
        session.flush()
        session.add(
            Product(
                catalogue_id=1,
                product_id=product_id,
                **product.model_dump(),
                facts=filter_fields(product).as_json(),
                digest="",
                updated_at=0.0,
            )
        )


def test_an_overlong_number_is_refused_and_not_made_null() -> None:
    (row,) = rows_of('{"product_id": "p1", "image": "a.jpg", "weight": 1e400}')
    assert row.problem is not None
    assert row.problem[0] == "invalid_row"
    assert "1e400" in row.problem[1]


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1" * 41 + ".5"])
def test_an_overlong_number_in_a_request_is_refused(number: str) -> None:
    from werkzeug.exceptions import BadRequest

    from web.http.bodies import parse_json

    with pytest.raises(BadRequest):
        parse_json(f'{{"attributes": {{"a": {number}}}}}')
    assert parse_json('{"a": 1e308}') == {"a": 1e308}


def test_infinite_cells_of_parquet_are_refused_and_missing_ones_are_left_out() -> None:
    arrow = pytest.importorskip("shared.imports.arrow")
    assert arrow._plain(float("nan")) is None
    with pytest.raises(ValueError, match="infinite"):
        arrow._plain(float("inf"))


def test_product_ids_that_exist_already_can_still_be_named() -> None:
    new, old = TypeAdapter(NewProductId), TypeAdapter(ProductId)
    for name in (".", ".."):
        assert old.validate_python(name) == name
        with pytest.raises(ValidationError):
            new.validate_python(name)


def test_the_limit_of_categories_is_the_index_and_the_index_checks_it_too() -> None:
    fields = {field.name: field for field in new_schema(8).fields}
    assert fields["category"].params["max_length"] == MAX_BYTES["category"] == MAX_CATEGORY_BYTES
    product = ProductIn.model_construct(category="ü" * 129, titles={}, tags=[], attributes={}, price=None)
    with pytest.raises(InvalidInput, match="256 bytes"):
        to_entity(index_row("p", product), ())


@pytest.mark.parametrize("char", ["\\", '"', "é", "漢", "😀", "a", "\x7f"])
def test_what_is_ordered_by_always_fits_a_json_field(char: str) -> None:
    """However many attributes there are: the tokens bound them, and texts are short."""
    text = char * (150 // len(char.encode()))
    facts = filter_fields(ProductIn(attributes={f"attribute {n}": text for n in range(3000)}))
    assert len(orjson.dumps(dict(facts.order))) < MILVUS_JSON_BYTES
    assert len(facts.tokens) <= MAX_TOKENS


def test_documented_limits_are_those_of_the_contract() -> None:
    text = DOCS.read_text("utf-8")
    for limit in (
        "256 bytes",
        "500 characters",
        "128 characters",
        "2,048 characters",
        "14 digits",
        "16 levels",
    ):
        assert limit in text, limit
