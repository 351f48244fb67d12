"""A catalogue with both lanes in this process, whose chunks a test does one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cli.services.milvus import EmbeddedMilvus
from shared.contracts import JobOut, ProductIn, SearchResult, TaskStatus
from shared.settings import JobSettings, MilvusSettings, ModelSettings, Settings
from tests import builders
from tests.bare_shop import BareShop
from tests.memory_index import MemoryIndex
from tests.packing import archive
from tests.servers import PATIENCE_S
from worker.indexes.expected_rows import expected_keys
from worker.indexes.versions import IndexVersion, kept_indexes

CHUNK = 4


def photo(seed: int) -> bytes:
    return builders.jpeg(seed=seed, width=160, height=120)


class IndexShop(BareShop):
    """The catalogue ``shop``; its products ``p0``, ``p1``... have the picture of that seed each."""

    def __init__(
        self,
        folder: Path,
        index: EmbeddedMilvus | MemoryIndex,
        prefix: str = "t",
        chunk: int = CHUNK,
        **settings: Any,
    ) -> None:
        super().__init__(
            Settings(
                data_dir=folder,
                milvus=MilvusSettings(uri=index.uri, prefix=prefix, timeout_s=PATIENCE_S),
                models=ModelSettings(detector="none", embedder="colour-histogram", micro_batch=2),
                jobs=JobSettings(chunk_items=chunk),
                **settings,
            ),
            index if isinstance(index, MemoryIndex) else None,
        )

    def fill(self, count: int) -> None:
        """Import so many products."""
        name = "0" * 64 + "-archive.zip"
        self.store.put_stream(
            name, [archive({f"p{n}.jpg": photo(n) for n in range(count)})], "imports", 10**8
        )
        job = self.jobs.create_import("shop", {"archive": name}).id
        self.work()
        assert self.jobs.status(job).counts.new == count

    def put(self, product_id: str, *seeds: int, **product: Any) -> JobOut:
        keys = [self.store.put(photo(seed), "images") for seed in seeds] or None
        return self.done(self.jobs.create_put("shop", product_id, ProductIn(**product), keys).id)

    def delete(self, product_id: str) -> JobOut:
        return self.done(self.jobs.create_delete("shop", [product_id]).id)

    def ask(self, seed: int, **options: Any) -> TaskStatus:
        """Search with a product's picture; the search may be left waiting."""
        search = self.accept_search(photo(seed), **options)
        self.worker.search.answer_waiting()
        return self.searches.status(search)

    def search(self, seed: int, **options: Any) -> SearchResult:
        status = self.answered(self.accept_search(photo(seed), **options))
        assert status.result is not None, status
        return status.result

    def found(self, seed: int, **options: Any) -> list[str]:
        """The products of the whole image, with all that was written by now."""
        self.rows()
        return [hit.product_id for hit in self.search(seed, **options).whole.hits]

    def versions(self) -> dict[int, IndexVersion]:
        """By number, those that have a collection."""
        with self.database.read() as session:
            return {version.number: version for version in kept_indexes(session, 1)}

    def assert_exact(self, version: IndexVersion, count: int | None = None) -> None:
        """The version's collection holds what the database says, row for row."""
        expected = set(expected_keys(self.database, version.id))
        assert self.keys(version.collection) == expected
        assert count is None or len(expected) == count
