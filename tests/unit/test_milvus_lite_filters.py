"""Filters by columns find what Milvus Lite finds row by row."""

from __future__ import annotations

import json
import random

import pyarrow as pa
import pytest
from milvus_lite.schema.types import CollectionSchema, DataType, FieldSchema
from milvus_lite.search.filter import compile_filter
from milvus_lite.search.filter.eval.python_backend import evaluate_python

from shared.filters import facts_of, parse
from tests.filter_builders import random_filter, random_product
from worker.milvus_lite.filters import evaluate
from worker.vector_index.filters import FACTS, ORDERED, expression

SCHEMA = CollectionSchema(
    fields=[
        FieldSchema(name="product_id", dtype=DataType.VARCHAR, is_primary=True, max_length=128),
        FieldSchema(name="category", dtype=DataType.VARCHAR, max_length=256),
        FieldSchema(name="price", dtype=DataType.DOUBLE),
        FieldSchema(name=FACTS, dtype=DataType.ARRAY, element_type=DataType.INT64, max_capacity=1024),
        FieldSchema(name=ORDERED, dtype=DataType.JSON),
        FieldSchema(name="embedding", dtype=DataType.FLOAT_VECTOR, dim=4),
    ]
)


@pytest.fixture(scope="module")
def table() -> pa.Table:
    chance = random.Random(7)
    products = [random_product(chance, number) for number in range(60)]
    facts = [facts_of(made).with_colours(made.colours) for made in products]
    columns = {
        "product_id": [made.product_id for made in products],
        "category": [made.category for made in products],
        "price": [-1.0 if made.price is None else float(made.price) for made in products],
        FACTS: pa.array([list(each.tokens) for each in facts], pa.list_(pa.int64())),
        ORDERED: [json.dumps(dict(each.order)) for each in facts],
        "embedding": pa.array([[0.0] * 4] * 60, pa.list_(pa.float32(), 4)),
    }
    return pa.table(columns)


def test_random_filters(table: pa.Table) -> None:
    chance = random.Random(8)
    looked = 0
    for _ in range(300):
        written = expression(parse(random_filter(chance)[0]), [FACTS, ORDERED])
        compiled = compile_filter(written, SCHEMA)
        expected = evaluate_python(compiled, table).to_pylist()
        assert evaluate(compiled, table).to_pylist() == expected, written
        looked += 0 < sum(expected) < len(expected)
    assert looked > 100


@pytest.mark.parametrize(
    "written",
    [
        f"array_contains_all({FACTS}, [])",
        f"array_contains_any({FACTS}, [])",
        f"not array_contains({FACTS}, 5)",
        f"array_length({FACTS}) > 10 and price < 5",
        f'{ORDERED}["nothing"] < 5 or not ({ORDERED}["nothing"] < 5)',
    ],
)
def test_what_filters_do_not_ask_today(table: pa.Table, written: str) -> None:
    compiled = compile_filter(written, SCHEMA)
    assert evaluate(compiled, table).to_pylist() == evaluate_python(compiled, table).to_pylist()


def test_empty_and_chunked_tables(table: pa.Table) -> None:
    token = table.column(FACTS)[0].as_py()[0]
    compiled = compile_filter(f"array_contains({FACTS}, {token}) and price >= -1.0", SCHEMA)
    whole = evaluate(compiled, table).to_pylist()
    chunked = pa.concat_tables([table.slice(0, 7), table.slice(7, 20), table.slice(27)])
    assert evaluate(compiled, chunked).to_pylist() == whole
    assert evaluate(compiled, table.slice(10, 5)).to_pylist() == whole[10:15]
    assert evaluate(compiled, table.slice(0, 0)).to_pylist() == []
