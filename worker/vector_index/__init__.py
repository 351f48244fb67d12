"""The vector index in Milvus; this package is the only importer of pymilvus."""

from worker.vector_index.filters import matches
from worker.vector_index.index import MAX_LIMIT, MilvusIndex
from worker.vector_index.rows import MAX_BYTES

__all__ = ["MAX_BYTES", "MAX_LIMIT", "MilvusIndex", "matches"]
