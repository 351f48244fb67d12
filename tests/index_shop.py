"""A catalogue with both lanes in this process, whose chunks a test does one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import select

from cli.services.milvus import EmbeddedMilvus
from shared.catalogue import CatalogueStore
from shared.contracts import JobOut, ProductIn, SearchOptions, SearchResult, TaskStatus
from shared.database.migrate import migrate
from shared.database.tables import Catalogue
from shared.ledger.indexes import IndexLedger
from shared.ledger.jobs import JobLedger
from shared.ledger.searches import SearchLedger
from shared.open_parts import open_database, open_image_store
from shared.settings import JobSettings, MilvusSettings, ModelSettings, Settings
from shared.task_names import Lane
from tests import builders
from tests.packing import archive
from tests.servers import wait_for
from worker.index_versions import LiveIndex, kept_indexes, live_index
from worker.jobs.expected_rows import expected_keys
from worker.lanes import WorkerProcess, build_process

CHUNK = 4


def photo(seed: int) -> bytes:
    return builders.jpeg(seed=seed, width=160, height=120)


class IndexShop:
    """The catalogue ``shop``; its products ``p0``, ``p1``... have the picture of that seed each."""

    def __init__(
        self, folder: Path, milvus: EmbeddedMilvus, prefix: str, chunk: int = CHUNK, **settings: Any
    ) -> None:
        self.settings = Settings(
            data_dir=folder,
            milvus=MilvusSettings(uri=milvus.uri, prefix=prefix),
            models=ModelSettings(detector="none", embedder="colour-histogram", micro_batch=2),
            jobs=JobSettings(chunk_items=chunk),
            **settings,
        )
        self.database = open_database(self.settings)
        migrate(self.database)
        self.catalogue = CatalogueStore(self.database)
        self.catalogue.create("shop")
        self.indexes = IndexLedger(self.database)
        self.jobs, self.searches = JobLedger(self.database), SearchLedger(self.database)
        self.store = open_image_store(self.settings)
        self.worker = self.new_worker()
        self.index = self.worker.index

    def new_worker(self) -> WorkerProcess:
        """Another process of the catalogue lane, as after a death."""
        return build_process(self.settings, Lane.CATALOGUE, "catalogue@test")

    def close(self) -> None:
        self.worker.close()
        self.database.close()

    def fill(self, count: int) -> None:
        """Import so many products."""
        name = "0" * 64 + "-archive.zip"
        self.store.put_stream(
            name, [archive({f"p{n}.jpg": photo(n) for n in range(count)})], "imports", 10**8
        )
        job = self.jobs.create_import("shop", {"archive": name}).id
        self.work()
        assert self.jobs.status(job).counts.new == count

    def work(self, chunks: int | None = None) -> int:
        """Do chunks until none waits, or so many; return how many were done."""
        done = 0
        while done != chunks and self.worker.catalogue.work_one() is not None:
            done += 1
        return done

    def put(self, product_id: str, *seeds: int, **product: Any) -> JobOut:
        keys = [self.store.put(photo(seed), "images") for seed in seeds] or None
        return self.done(self.jobs.create_put("shop", product_id, ProductIn(**product), keys).id)

    def delete(self, product_id: str) -> JobOut:
        return self.done(self.jobs.create_delete("shop", [product_id]).id)

    def done(self, job: str) -> JobOut:
        """Do chunks until the job has ended."""

        def ended() -> JobOut | None:
            status = self.jobs.status(job)
            if status.state not in ("queued", "running"):
                return status
            self.work(1)
            return None

        return wait_for(f"job {job} ends", ended)

    def ask(self, seed: int, **options: Any) -> TaskStatus:
        """Search with a product's picture; the search may be left waiting."""
        wanted = SearchOptions.model_validate({"catalogue": "shop", **options})
        key = self.store.put(photo(seed), "queries")
        search = self.searches.accept("shop", wanted, query_key=key, ttl_s=600).id
        self.worker.search.answer_waiting()
        return self.searches.status(search)

    def search(self, seed: int, **options: Any) -> SearchResult:
        status = self.ask(seed, **options)
        assert status.result is not None, status
        return status.result

    def found(self, seed: int, **options: Any) -> list[str]:
        """The products of the whole image, with all that was written by now."""
        self.rows()
        return [hit.product_id for hit in self.search(seed, **options).whole.hits]

    def rows(self) -> int:
        """Rows of the live collection; searches see from now on what was written by now."""
        return self.index.count(self.live().collection)

    def live(self) -> LiveIndex:
        with self.database.read() as session:
            # A deleted catalogue may have been followed by another of its name.
            own = session.scalars(select(Catalogue.id).where(Catalogue.name == "shop")).one()
            live = live_index(session, own)
        assert live is not None
        return live

    def versions(self) -> dict[int, LiveIndex]:
        """By number, those that have a collection."""
        with self.database.read() as session:
            return {version.number: version for version in kept_indexes(session, 1)}

    def assert_exact(self, version: LiveIndex, count: int | None = None) -> None:
        """The version's collection holds what the database says, row for row."""
        expected = set(expected_keys(self.database, version.id))
        assert self.index.keys(version.collection) == expected
        assert count is None or len(expected) == count
