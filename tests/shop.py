"""A catalogue with both lanes in the test's own process, on a real database and image store.

It is the one builder of a filled catalogue behind the web; ``tests.web_builders`` has the web's side.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from sqlalchemy import exists, select

from cli.services.milvus import EmbeddedMilvus
from shared.broker.task_names import Lane
from shared.catalogue.indexes import IndexRepository
from shared.catalogue.store import CatalogueStore
from shared.contracts import JobOut, ProductIn, SearchOptions, SearchResult, TaskStatus
from shared.contracts.indexes import PromoteRequest, PruneRequest, ReprocessRequest, RollbackRequest
from shared.database.clock import now_s
from shared.database.tables import Catalogue, Chunk
from shared.factories import open_database, open_image_store
from shared.jobs.repository import JobRepository
from shared.searches.repository import SearchRepository, SearchSource
from shared.settings import (
    DatabaseSettings,
    ImageSettings,
    JobSettings,
    MilvusSettings,
    ModelSettings,
    Settings,
)
from tests import builders
from tests.databases import new_postgres_database, open_migrated
from tests.memory_index import MemoryIndex
from tests.packing import archive
from tests.servers import PATIENCE_S, patiently, wait_for
from worker.indexes.expected_rows import expected_keys
from worker.indexes.versions import IndexVersion, kept_indexes, live_index
from worker.process import WorkerProcess, build_process

#: The embedder of a new catalogue, and another to re-process it with.
OLD, NEW = "colour-histogram", "perceptual-hash"
CHUNK = 4
_OPEN = ("queued", "running")


def photo(seed: int) -> bytes:
    return builders.jpeg(seed=seed, width=160, height=120)


class Shop:
    """The catalogue ``shop``, and a worker process that works when a test tells it to.

    Milvus may be too busy to answer at once; chunks and searches are put off then, and waited for here.
    Photos are bytes, or a number: the seed of a picture that is drawn.

    Args:
        folder: of the data, and of SQLite's database unless ``database_url`` names another.
        index: a Milvus, in which ``prefix`` keeps tests apart, or an index in memory.
        strong_reads: whether searches see at once what ``work`` wrote; otherwise within 2 s.
        settings: further groups of the settings.
    """

    def __init__(
        self,
        folder: Path,
        index: EmbeddedMilvus | MemoryIndex,
        prefix: str = "t",
        database_url: str | None = None,
        *,
        micro_batch: int = 4,
        strong_reads: bool = True,
        **settings: Any,
    ) -> None:
        self.settings = Settings(
            data_dir=folder,
            database=DatabaseSettings(url=SecretStr(database_url) if database_url else None),
            milvus=MilvusSettings(uri=index.uri, prefix=prefix, timeout_s=PATIENCE_S),
            models=ModelSettings(detector="none", embedder=OLD, micro_batch=micro_batch),
            **{"images": ImageSettings(max_bytes=2_000_000), **settings},
        )
        self.memory = index if isinstance(index, MemoryIndex) else None
        self._strong_reads = strong_reads
        open_migrated(self.settings.database_url).close()
        self.database = open_database(self.settings)
        self.catalogue = CatalogueStore(self.database)
        self.catalogue.create("shop")
        self.indexes = IndexRepository(self.database)
        self.jobs, self.searches = JobRepository(self.database), SearchRepository(self.database)
        self.store = open_image_store(self.settings)
        self.worker = self.new_worker()
        self.index = self.worker.index

    @classmethod
    def in_small_steps(
        cls,
        folder: Path,
        index: EmbeddedMilvus | MemoryIndex,
        prefix: str = "t",
        database_url: str | None = None,
        *,
        chunk: int = CHUNK,
        **settings: Any,
    ) -> Shop:
        """Make a shop whose jobs take many chunks and micro-batches, which a test does one by one."""
        jobs = JobSettings(chunk_items=chunk)
        images = settings.pop("images", ImageSettings())
        return cls(
            folder, index, prefix, database_url,
            micro_batch=2, strong_reads=False, jobs=jobs, images=images, **settings,
        )  # fmt: skip

    def new_worker(self) -> WorkerProcess:
        """Another process of the catalogue lane, as after a death."""
        return build_process(self.settings, Lane.CATALOGUE, "catalogue@test", self.memory)

    def close(self) -> None:
        self.worker.close()
        self.database.close()

    # Work.

    def work(self, chunks: int | None = None) -> int:
        """Do chunks until none waits, or at most ``chunks``; return how many were done."""
        done, until = 0, time.monotonic() + PATIENCE_S
        while done != chunks:
            began_at = now_s()
            worked = self.worker.catalogue.work_one() is not None
            if self._was_put_off(began_at):
                assert time.monotonic() < until, "Milvus stays busy"
                time.sleep(0.05)
            elif worked:
                done += 1
            else:
                break
        if self._strong_reads and self.catalogue.get("shop").index_version is not None:
            self.rows()
        return done

    def _was_put_off(self, began_at: float) -> bool:
        """Whether a chunk waits for a Milvus that could not answer."""
        late = (Chunk.state == "waiting", Chunk.lease_until > began_at, Chunk.error.like("Milvus %"))
        with self.database.read() as session:
            return bool(session.scalar(select(exists().where(*late))))

    def done(self, job: str) -> JobOut:
        """Do chunks until the job has ended."""

        def ended() -> JobOut | None:
            status = self.jobs.status(job)
            if status.state not in _OPEN:
                return status
            self.work(1)
            return None

        return wait_for(f"job {job} ends", ended)

    # Products.

    def fill(self, count: int) -> None:
        """Import products ``p0``, ``p1``..., with the picture of that seed each."""
        job = self.accept_import({f"p{n}.jpg": photo(n) for n in range(count)})
        self.work()
        assert self.jobs.status(job).counts.new == count

    def accept_import(
        self, files: Mapping[str, bytes | str], catalogue: str = "shop", **options: object
    ) -> str:
        """Accept an import without working on it."""
        name = f"{secrets.token_hex(32)}-archive.zip"
        self.store.put_stream(name, [archive(files)], "imports", 10**8)
        return self.jobs.create_import(catalogue, {"archive": name}, options=options).id

    def import_files(self, files: Mapping[str, bytes | str], **options: object) -> str:
        job = self.accept_import(files, "shop", **options)
        self.done(job)
        return job

    def put(self, product_id: str, product: ProductIn, photos: list[bytes] | None) -> str:
        keys = None if photos is None else [self.store.put(photo, "images") for photo in photos]
        job = self.jobs.create_put("shop", product_id, product, keys).id
        self.work()
        return job

    def put_drawn(self, product_id: str, *seeds: int, **product: Any) -> JobOut:
        """Put a product with the pictures of these seeds; without any it keeps those it has."""
        keys = [self.store.put(photo(seed), "images") for seed in seeds] or None
        return self.done(self.jobs.create_put("shop", product_id, ProductIn(**product), keys).id)

    def delete(self, product_id: str) -> JobOut:
        return self.done(self.jobs.create_delete("shop", [product_id]).id)

    # Searches.

    def accept_search(
        self,
        photo_: bytes | int | None = None,
        *,
        product_id: str | None = None,
        asked: SearchSource | None = None,
        **options: object,
    ) -> str:
        """Accept a search without answering it."""
        wanted = SearchOptions.model_validate({"catalogue": "shop", **options})
        data = photo(photo_) if isinstance(photo_, int) else photo_
        key = None if data is None else self.store.put(data, "queries")
        return self.searches.accept(
            "shop", wanted, asked or SearchSource(query_key=key, product_id=product_id), ttl_s=600
        ).id

    def answered(self, search: str) -> TaskStatus:
        """Answer what waits until the search has ended."""

        def ended() -> TaskStatus | None:
            self.worker.search.answer_waiting()
            status = self.searches.status(search)
            return None if status.state in _OPEN else status

        return wait_for(f"search {search} ends", ended)

    def ask(self, photo: bytes | int, **options: Any) -> TaskStatus:
        """Answer what waits once; the search may be left waiting."""
        search = self.accept_search(photo, **options)
        self.worker.search.answer_waiting()
        return self.searches.status(search)

    def search(
        self, photo: bytes | int | None = None, product_id: str | None = None, **options: Any
    ) -> SearchResult:
        status = self.answered(self.accept_search(photo, product_id=product_id, **options))
        assert status.result is not None, status
        return status.result

    def found(self, photo: bytes | int, **options: Any) -> list[str]:
        """The products of the whole image, with all that was written by now."""
        self.rows()
        return found(self.search(photo, **options))

    # Index versions: each of these makes a job and returns its id.

    def reprocess(self, **options: object) -> str:
        wanted = ReprocessRequest.model_validate({"embedder": NEW, **options})
        return self.indexes.reprocess("shop", wanted).id

    def promote(self, **options: object) -> str:
        return self.indexes.promote("shop", PromoteRequest.model_validate(options)).id

    def rollback(self, **options: object) -> str:
        return self.indexes.rollback("shop", RollbackRequest.model_validate(options)).id

    def prune(self, **options: object) -> str:
        return self.indexes.prune("shop", PruneRequest.model_validate(options)).id

    # What the index holds.

    def live(self) -> IndexVersion:
        with self.database.read() as session:
            # A deleted catalogue may have been followed by another of its name.
            own = session.scalars(select(Catalogue.id).where(Catalogue.name == "shop")).one()
            live = live_index(session, own)
        assert live is not None
        return live

    def versions(self) -> dict[int, IndexVersion]:
        """By number, those that have a collection."""
        with self.database.read() as session:
            return {version.number: version for version in kept_indexes(session, 1)}

    def rows(self) -> int:
        """Rows of the live collection; searches see from now on what was written by now."""
        return self.rows_of(self.live().collection)

    def rows_of(self, collection: str) -> int:
        return patiently("rows are counted", lambda: self.index.count(collection))

    def keys(self, collection: str) -> set[str]:
        """Keys of the rows that a collection has by now."""
        return patiently("rows are listed", lambda: set(self.index.sorted_keys(collection)))

    def assert_exact(self, version: IndexVersion, count: int | None = None) -> None:
        """The version's collection holds what the database says, row for row."""
        expected = set(expected_keys(self.database, version.id))
        assert self.keys(version.collection) == expected
        assert count is None or len(expected) == count


@pytest.fixture
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    """On SQLite and an index in memory; a test may name ``postgresql``, or ``milvus`` for a real one."""
    which = getattr(request, "param", "sqlite")
    index: EmbeddedMilvus | MemoryIndex = MemoryIndex()
    url, prefix = None, "t"
    if which == "postgresql":
        url = new_postgres_database(request.getfixturevalue("postgres"))
    elif which == "milvus":
        index, prefix = request.getfixturevalue("milvus"), request.getfixturevalue("prefix")
    with closing(Shop(tmp_path, index, prefix, url)) as opened:
        yield opened


def found(result: SearchResult) -> list[str]:
    return [hit.product_id for hit in result.whole.hits]


def shown(result: SearchResult) -> tuple[str, list[tuple[str, float]]]:
    """The embedder that an answer names, and the products with their scores, rounded."""
    hits = [(hit.product_id, round(hit.score, 3)) for hit in result.whole.hits]
    return result.models["embedder"], sorted(hits)


def reasons(shop: Shop, job: str) -> dict[str | int, str]:
    return {f.image or f.product_id or f.row: f.reason for f in shop.jobs.failures(job).failures}
