"""A filtered search returns the true nearest of what passes, whatever share of the rows that is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from cli.services.milvus import EmbeddedMilvus
from shared.contracts import ProductIn
from shared.filters import filter_fields, parse
from tests.servers import PATIENCE_S, wait_for
from tests.services_milvus import unique
from worker.indexes.rows import index_row
from worker.vector_index import MilvusIndex
from worker.vision import Embeddings

pytestmark = pytest.mark.services
ROWS, DIM, QUERIES, K = 8000, 96, 50, 10
SHARES = (0.002, 0.01, 0.1, 0.5)
#: Small shares are searched exactly, larger ones by the graph.
LEAST = {0.002: 1.0, 0.01: 1.0, 0.1: 0.97, 0.5: 0.97}


#: Embeddings, the rank of each by how far it lies from the queries (0 is farthest), and the queries.
World = tuple[Embeddings, np.ndarray, Embeddings]


def unit(vectors: np.ndarray) -> Embeddings:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


@pytest.fixture(scope="module")
def world() -> World:
    """Embeddings in clusters; the rank of each by how far it lies from the queries; the queries."""
    chance = np.random.default_rng(4)
    centres = unit(chance.normal(size=(ROWS // 20, DIM)))
    embeddings = unit(centres[np.arange(ROWS) % len(centres)] + 0.08 * chance.normal(size=(ROWS, DIM)))
    rank = np.argsort(np.argsort(embeddings @ centres[0])) / ROWS
    near = chance.choice(np.flatnonzero(rank > 0.9), size=QUERIES)
    return embeddings, rank, unit(embeddings[near] + 0.04 * chance.normal(size=(QUERIES, DIM)))


@pytest.fixture(scope="module", params=["lite", "server"])
def filled(request: pytest.FixtureRequest, world: World) -> Iterator[tuple[MilvusIndex, str]]:
    """A collection whose rows all lie in segments with a graph."""
    milvus: EmbeddedMilvus = request.getfixturevalue(f"milvus_{request.param}")
    index, name = MilvusIndex(milvus.uri, timeout_s=PATIENCE_S), unique("recall")
    index.create(name, DIM)
    rows = []
    for number, (embedding, rank) in enumerate(zip(world[0], world[1], strict=True)):
        product = ProductIn(attributes={"rank": float(rank)}, tags=["all"])
        rows.append(index_row(f"p{number}", product, filter_fields(product), f"i{number}", 0, embedding))
    index.upsert(name, rows)
    index.flush(name)

    def graph_is_built() -> bool:
        told = index._call("describe_index", name, "embedding")
        return told["state"] == "Finished" and int(told["pending_index_rows"]) == 0

    wait_for("the graph", graph_is_built)
    wait_for("all rows", lambda: len(index.search(name, world[2][:1], ROWS, parse("exists tags"))[0]) == ROWS)
    yield index, name
    index.drop(name)
    index.close()


def recall(index: MilvusIndex, name: str, world: World, share: float) -> float:
    embeddings, rank, queries = world
    kept = np.flatnonzero(rank < share)
    true = kept[np.argsort(-(queries @ embeddings[kept].T), axis=1)[:, :K]]
    hits = index.search(name, queries, K, parse(f"attributes.rank < {share}"))
    found = [
        {hit.product_id for hit in each} & {f"p{n}" for n in nearest}
        for each, nearest in zip(hits, true, strict=True)
    ]
    return sum(map(len, found)) / true.size


@pytest.mark.parametrize("share", SHARES)
def test_the_nearest_that_pass(filled: tuple[MilvusIndex, str], world: World, share: float) -> None:
    assert recall(*filled, world, share) >= LEAST[share]


@pytest.mark.parametrize("filled", ["server"], indirect=True)
def test_a_narrow_search_would_lose_them(
    filled: tuple[MilvusIndex, str], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control. Lite answers a search of so few rows exactly in any case: see its own tests."""
    monkeypatch.setattr("worker.vector_index.index._EF_FILTERED", 1)
    assert min(recall(*filled, world, share) for share in SHARES) < 0.93
