"""Real Milvus of both kinds for tests, one of each a session; the server is conftest's ``milvus``.

``index`` is for what every index must do, the one in memory that other tests use as well;
``milvus_index`` is for what is about Milvus.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from pymilvus import MilvusClient

from cli.services.milvus import EmbeddedMilvus, MilvusLite
from tests.memory_index import MemoryIndex
from tests.servers import PATIENCE_S
from worker.vector_index import MilvusIndex
from worker.vector_index.contract import IndexRow
from worker.vision import Embeddings

DIM = 16


@contextmanager
def running(milvus: EmbeddedMilvus) -> Iterator[EmbeddedMilvus]:
    """Start it, wait until it is ready, and leave no process behind."""
    try:
        milvus.start()
        milvus.wait_ready(PATIENCE_S)
        yield milvus
    finally:
        milvus.stop()


@pytest.fixture(scope="session")
def milvus_server(milvus: EmbeddedMilvus) -> EmbeddedMilvus:
    """The session's Milvus, where it is the server."""
    if milvus.kind != "server":
        # Elsewhere users get Milvus Lite, and the same tests run on that.
        pytest.skip("no Milvus server here")  # reason: its wheel is for Linux on x86-64 only
    return milvus


@pytest.fixture(scope="session")
def milvus_lite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedMilvus]:
    with running(MilvusLite(tmp_path_factory.mktemp("milvus-lite"))) as lite:
        yield lite


@pytest.fixture(params=["lite", "server"])
def each_milvus(request: pytest.FixtureRequest) -> EmbeddedMilvus:
    """Lite and the server in turn."""
    found: EmbeddedMilvus = request.getfixturevalue(f"milvus_{request.param}")
    return found


@pytest.fixture
def milvus_index(each_milvus: EmbeddedMilvus) -> Iterator[MilvusIndex]:
    """An index client on each kind in turn."""
    client = MilvusIndex(each_milvus.uri, timeout_s=PATIENCE_S)
    yield client
    client.close()


@pytest.fixture(params=["memory", "lite", "server"])
def index(request: pytest.FixtureRequest) -> Iterator[MilvusIndex | MemoryIndex]:
    """Each index in turn: they must do the same."""
    if request.param == "memory":
        yield MemoryIndex()
        return
    milvus: EmbeddedMilvus = request.getfixturevalue(f"milvus_{request.param}")
    client = MilvusIndex(milvus.uri, timeout_s=PATIENCE_S)
    yield client
    client.close()


@pytest.fixture(scope="session")
def spare_collections() -> dict[str, list[str]]:
    """Empty collections of ``DIM`` by the address of their server: to make one takes a server 3 s."""
    return {}


@pytest.fixture
def new_collection(
    request: pytest.FixtureRequest, spare_collections: dict[str, list[str]]
) -> Iterator[Callable[[], str]]:
    """Return a function that hands out an empty collection of ``DIM`` of the test's index."""
    asked = "milvus_index" if "milvus_index" in request.fixturenames else "index"
    index: MilvusIndex | MemoryIndex = request.getfixturevalue(asked)
    server = index if isinstance(index, MilvusIndex) else None
    spare = spare_collections.setdefault(server._uri, []) if server else []
    used: list[str] = []

    def make() -> str:
        used.append(spare.pop() if spare else unique("products"))
        index.create(used[-1], DIM)
        return used[-1]

    yield make
    if server is None:
        return
    existing = server.collections()
    for name in used:
        if name in existing:
            server.delete(name, list(server.sorted_keys(name)))
            # A strong read, after which a weaker one cannot see the old rows either.
            assert server.count(name) == 0
            for alias in server._call("list_aliases", name)["aliases"]:
                server._call("drop_alias", alias)
            spare.append(name)


def drop_all(uri: str, prefix: str) -> None:
    """Drop the collections of a test that is over: a server that comes back loads all it has."""
    client = MilvusClient(uri, timeout=PATIENCE_S)
    for name in client.list_collections():
        if name.startswith(prefix):
            for alias in client.list_aliases(name)["aliases"]:
                client.drop_alias(alias)
            client.drop_collection(name)
    client.close()


def unique(prefix: str) -> str:
    """Return a name that nothing else has."""
    return f"{prefix}_{uuid.uuid4().hex[:12]}"


def unit_vectors(count: int, dim: int = DIM, seed: int = 0) -> Embeddings:
    """Return ``(count, dim) float32``, seeded, each of length 1."""
    vectors = np.random.default_rng(seed).normal(size=(count, dim))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


UNIT = unit_vectors(1)[0]


def index_rows(
    count: int, dim: int = DIM, seed: int = 0, product: str = "product", category: str = "chairs"
) -> list[IndexRow]:
    """Return rows with keys ``image0-0``, ``image1-0`` and so on."""
    return [
        IndexRow(f"image{i}-0", f"{product}-{i}", f"image{i}", 0, category, 9.5 + i, vector)
        for i, vector in enumerate(unit_vectors(count, dim, seed))
    ]
