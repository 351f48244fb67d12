"""Define the schema and the index of collections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pymilvus import DataType, MilvusClient

from shared.filters.facts import MAX_TOKENS
from worker.vector_index.filters import FACTS, ORDERED
from worker.vector_index.rows import MAX_BYTES

_HNSW = {"M": 16, "efConstruction": 200}


@dataclass(frozen=True)
class Shape:
    """Dimensions of a collection's embeddings, and the names of its fields."""

    dim: int
    fields: frozenset[str]


def new_schema(dim: int) -> Any:
    """Return the schema of new collections; those of the first version lack the facts."""
    schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("key", DataType.VARCHAR, is_primary=True, max_length=MAX_BYTES["key"])
    for name in ("product_id", "image_id", "category"):
        schema.add_field(name, DataType.VARCHAR, max_length=MAX_BYTES[name])
    schema.add_field("number", DataType.INT64)
    schema.add_field("price", DataType.DOUBLE)
    schema.add_field(FACTS, DataType.ARRAY, element_type=DataType.INT64, max_capacity=MAX_TOKENS)
    schema.add_field(ORDERED, DataType.JSON)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=dim)
    return schema


def index_params() -> Any:
    """Return the index parameters of new collections."""
    params = MilvusClient.prepare_index_params()
    # HNSW only: Lite accepts any name, and then cannot load the collection after a restart.
    params.add_index("embedding", index_type="HNSW", metric_type="COSINE", params=_HNSW)
    return params


def to_shape(description: dict[str, Any]) -> Shape:
    """Convert the client's description of a collection."""
    fields = description["fields"]
    params = next(field["params"] for field in fields if field["name"] == "embedding")
    return Shape(int(params["dim"]), frozenset(field["name"] for field in fields))
