"""Fixtures of Milvus, of both kinds, and of the compose file."""

from tests.compose_file import compose, secrets, services
from tests.services_milvus import (
    each_milvus,
    index,
    milvus_lite,
    milvus_server,
    new_collection,
    spare_collections,
)

__all__ = [
    "compose",
    "each_milvus",
    "index",
    "milvus_lite",
    "milvus_server",
    "new_collection",
    "secrets",
    "services",
    "spare_collections",
]
