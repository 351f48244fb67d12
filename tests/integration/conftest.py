"""Fixtures of Milvus, of both kinds, of the compose file, and of a catalogue with both lanes."""

from tests.compose_file import compose, secrets, services
from tests.services_milvus import (
    each_milvus,
    index,
    milvus_index,
    milvus_lite,
    milvus_server,
    new_collection,
    spare_collections,
)
from tests.shop import shop

__all__ = [
    "compose",
    "each_milvus",
    "index",
    "milvus_index",
    "milvus_lite",
    "milvus_server",
    "new_collection",
    "secrets",
    "services",
    "shop",
    "spare_collections",
]
