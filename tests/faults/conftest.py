"""A stack with small chunks, and what "nothing lost, nothing doubled" means."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from cli.services.milvus import EmbeddedMilvus
from shared.database import Database
from shared.database.tables import Detection, IndexVersionRow
from tests.servers import PATIENCE_S
from tests.stack import Stack
from worker.vector_index import MilvusIndex


@pytest.fixture
def stack(tmp_path: Path, milvus: EmbeddedMilvus, prefix: str) -> Iterator[Stack]:
    settings = {
        # Above what a slow machine takes for one step: nobody but the dead shall lose a lease.
        "VITRINE_SEARCH__LEASE_S": "20",
        "VITRINE_JOBS__LEASE_S": "20",
        "VITRINE_JOBS__CHUNK_ITEMS": "16",
        "VITRINE_MODELS__MICRO_BATCH": "4",
    }
    running = Stack(tmp_path, milvus.uri, prefix, settings)
    yield running
    running.stop()


def assert_index_is_the_catalogue(stack: Stack, products: int) -> None:
    """Every product has its one row in Milvus and in the database, and there is no other row."""
    database = Database(stack.database_url)
    with database.read() as session:
        live = session.scalars(select(IndexVersionRow)).one()
        rows = session.execute(select(Detection.image_id, Detection.number)).all()
    database.close()
    index = MilvusIndex(stack.env["VITRINE_MILVUS__URI"], timeout_s=PATIENCE_S)
    assert len(rows) == products
    assert set(index.sorted_keys(live.collection)) == {f"{image}-{number}" for image, number in rows}
    assert index.count(live.collection) == products
