"""What workers report of Milvus: that it does not answer, and which catalogue lacks its collection."""

from __future__ import annotations

from typing import Any

from shared.catalogue.store import CatalogueStore
from shared.database import Database
from shared.database.tables import Detection, Image, IndexVersionRow, Product
from shared.errors import IndexUnavailable
from worker.indexes.probe import IndexProbe


class Milvus:
    """What a probe asks, with the collections that a test says."""

    def __init__(self, *collections: str) -> None:
        self.names: tuple[str, ...] | None = collections

    def collections(self, timeout_s: float | None = None) -> list[str]:
        if self.names is None:
            raise IndexUnavailable("no answer in 2 s")
        return list(self.names)

    def describe(self) -> dict[str, Any]:
        return {"kind": "server"}


def test_an_index_that_is_away_and_one_that_lacks_a_collection(database: Database) -> None:
    CatalogueStore(database).create("shop")
    milvus = Milvus()
    probe = IndexProbe(database, milvus)
    assert probe.details() == {"index": {"kind": "server"}, "index_problem": None}
    version = IndexVersionRow(
        catalogue_id=1,
        number=1,
        collection="vitrine_1_v1",
        alias="a",
        detector="d",
        embedder="e",
        dim=4,
        state="live",
        created_at=0.0,
    )
    with database.write() as session:
        session.add(version)
    assert "missing_collections" not in [probe.details() for _ in range(2)][-1], "nothing was imported yet"
    fill(database)
    assert "missing_collections" not in probe.details(), "a rebuild may replace it between two reads"
    assert probe.details()["missing_collections"] == [{"catalogue": "shop", "collection": "vitrine_1_v1"}]
    milvus.names = ("vitrine_1_v1",)
    assert "missing_collections" not in probe.details()
    milvus.names = None
    found = probe.details()
    assert found["index_problem"] == "Milvus not answering: no answer in 2 s"
    milvus.names = ("vitrine_1_v1",)
    assert probe.details()["index_problem"] is None


def fill(database: Database) -> None:
    """Give the version a row."""
    product = Product(
        id=1,
        catalogue_id=1,
        product_id="p1",
        titles={},
        category="",
        categories={},
        currency="EUR",
        tags=[],
        attributes={},
        facts={},
        digest="",
        updated_at=0.0,
    )
    box = {"x0": 0, "y0": 0, "x1": 1, "y1": 1, "label": "", "confidence": 1, "embedding": b""}
    with database.write() as session:
        session.add(product)
        session.flush()
        session.add(Image(id="i1", product=1, position=0, sha256="", width=1, height=1))
        session.flush()
        session.add(Detection(image_id="i1", number=0, index_version=1, **box))
