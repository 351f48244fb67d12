"""Fixtures of Milvus, of both kinds."""

from tests.services_milvus import (
    each_milvus,
    index,
    milvus_lite,
    milvus_server,
    new_collection,
    spare_collections,
)

__all__ = ["each_milvus", "index", "milvus_lite", "milvus_server", "new_collection", "spare_collections"]
