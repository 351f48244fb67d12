"""A catalogue and both lanes in the test's own process, on a real Milvus, database and image store."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from pydantic import SecretStr

from cli.services.milvus import EmbeddedMilvus
from shared.catalogue import CatalogueStore
from shared.contracts import ENDED_STATES, JobOut, ProductIn, SearchOptions, SearchResult
from shared.database.migrate import migrate
from shared.ledger.jobs import JobLedger
from shared.ledger.searches import SearchLedger
from shared.open_parts import open_database, open_image_store
from shared.settings import DatabaseSettings, ImageSettings, MilvusSettings, ModelSettings, Settings
from shared.task_names import Lane
from tests.conftest import new_postgres_database
from tests.packing import archive
from tests.servers import PATIENCE_S, wait_for
from worker.lanes import WorkerProcess, build_process


class Shop:
    """A catalogue, and a worker process that works when it is told to."""

    def __init__(self, folder: Path, milvus: EmbeddedMilvus, prefix: str, database_url: str | None) -> None:
        self.settings = Settings(
            data_dir=folder,
            database=DatabaseSettings(url=SecretStr(database_url) if database_url else None),
            milvus=MilvusSettings(uri=milvus.uri, prefix=prefix, timeout_s=PATIENCE_S),
            models=ModelSettings(detector="none", embedder="colour-histogram", micro_batch=4),
            images=ImageSettings(max_bytes=2_000_000),
        )
        database = open_database(self.settings)
        migrate(database)
        self.catalogue = CatalogueStore(database)
        self.catalogue.create("shop")
        self.jobs, self.searches = JobLedger(database), SearchLedger(database)
        self.store = open_image_store(self.settings)
        self.worker: WorkerProcess = build_process(self.settings, Lane.CATALOGUE, "catalogue@test")

    def work(self) -> None:
        while self.worker.catalogue.work_one() is not None:
            pass
        # Searches see writes within 2 s; a strong read makes them see these at once.
        if self.catalogue.get("shop").index_version is not None:
            self.rows()

    def accept_import(
        self, files: Mapping[str, bytes | str], catalogue: str = "shop", **options: object
    ) -> str:
        """Accept an import that nobody works on yet."""
        name = f"{secrets.token_hex(32)}-archive.zip"
        self.store.put_stream(name, [archive(files)], "imports", 10**8)
        return self.jobs.create_import(catalogue, {"archive": name}, options=options).id

    def done(self, job: str) -> JobOut:
        """Work until the job has ended; a chunk may wait a moment, where Milvus is too busy to answer."""

        def ended() -> JobOut | None:
            self.work()
            status = self.jobs.status(job)
            return status if status.state in ENDED_STATES else None

        return wait_for(f"job {job} ends", ended)

    def import_files(self, files: Mapping[str, bytes | str], **options: object) -> str:
        job = self.accept_import(files, "shop", **options)
        self.done(job)
        return job

    def put(self, product_id: str, product: ProductIn, photos: list[bytes] | None) -> str:
        keys = None if photos is None else [self.store.put(photo, "images") for photo in photos]
        job = self.jobs.create_put("shop", product_id, product, keys).id
        self.work()
        return job

    def search(
        self, photo: bytes | None = None, product_id: str | None = None, **options: object
    ) -> SearchResult:
        wanted = SearchOptions.model_validate({"catalogue": "shop", **options})
        key = None if photo is None else self.store.put(photo, "queries")
        search = self.searches.accept("shop", wanted, query_key=key, product_id=product_id, ttl_s=600).id
        self.worker.search.answer_waiting()
        status = self.searches.status(search)
        assert status.result is not None, status
        return status.result

    def rows(self) -> int:
        return self.worker.index.count(f"{self.settings.milvus.prefix}_1")


@pytest.fixture
def shop(
    request: pytest.FixtureRequest, tmp_path: Path, milvus: EmbeddedMilvus, prefix: str
) -> Iterator[Shop]:
    """On SQLite, or on the database that a test names."""
    url = None
    if getattr(request, "param", "sqlite") == "postgresql":
        url = new_postgres_database(request.getfixturevalue("postgres"))
    opened = Shop(tmp_path, milvus, prefix, url)
    yield opened
    opened.worker.close()


def found(result: SearchResult) -> list[str]:
    return [hit.product_id for hit in result.whole.hits]


def reasons(shop: Shop, job: str) -> dict[str | int, str]:
    return {f.image or f.product_id or f.row: f.reason for f in shop.jobs.failures(job).failures}
