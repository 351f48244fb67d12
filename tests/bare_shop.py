"""A catalogue with both lanes in the test's own process, on a real database and image store."""

from __future__ import annotations

import time

from sqlalchemy import exists, select

from shared.broker.task_names import Lane
from shared.catalogue.indexes import IndexRepository
from shared.catalogue.store import CatalogueStore
from shared.contracts import JobOut, SearchOptions, TaskStatus
from shared.database.clock import now_s
from shared.database.tables import Catalogue, Chunk
from shared.factories import open_database, open_image_store
from shared.jobs.repository import JobRepository
from shared.searches.repository import SearchRepository, SearchSource
from shared.settings import Settings
from tests.databases import open_migrated
from tests.memory_index import MemoryIndex
from tests.servers import PATIENCE_S, patiently, wait_for
from worker.indexes.versions import IndexVersion, live_index
from worker.process import WorkerProcess, build_process

_OPEN = ("queued", "running")


class BareShop:
    """The catalogue ``shop``, and a worker process that works when it is told to.

    Milvus may be too busy to answer at once; chunks and searches are put off then, and waited for here.

    Args:
        memory: the index; without it the Milvus that the settings name.
    """

    def __init__(self, settings: Settings, memory: MemoryIndex | None = None) -> None:
        self.settings = settings
        self.memory = memory
        open_migrated(settings.database_url).close()
        self.database = open_database(settings)
        self.catalogue = CatalogueStore(self.database)
        self.catalogue.create("shop")
        self.indexes = IndexRepository(self.database)
        self.jobs, self.searches = JobRepository(self.database), SearchRepository(self.database)
        self.store = open_image_store(settings)
        self.worker = self.new_worker()
        self.index = self.worker.index

    def new_worker(self) -> WorkerProcess:
        """Another process of the catalogue lane, as after a death."""
        return build_process(self.settings, Lane.CATALOGUE, "catalogue@test", self.memory)

    def close(self) -> None:
        self.worker.close()
        self.database.close()

    def work(self, chunks: int | None = None) -> int:
        """Do chunks until none waits, or so many; return how many were done."""
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

    def accept_search(
        self,
        photo: bytes | None = None,
        *,
        product_id: str | None = None,
        asked: SearchSource | None = None,
        **options: object,
    ) -> str:
        """Accept a search that nobody answers yet."""
        wanted = SearchOptions.model_validate({"catalogue": "shop", **options})
        key = None if photo is None else self.store.put(photo, "queries")
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

    def live(self) -> IndexVersion:
        with self.database.read() as session:
            # A deleted catalogue may have been followed by another of its name.
            own = session.scalars(select(Catalogue.id).where(Catalogue.name == "shop")).one()
            live = live_index(session, own)
        assert live is not None
        return live

    def rows(self) -> int:
        """Rows of the live collection; searches see from now on what was written by now."""
        return self.rows_of(self.live().collection)

    def rows_of(self, collection: str) -> int:
        return patiently("rows are counted", lambda: self.index.count(collection))

    def keys(self, collection: str) -> set[str]:
        """Keys of the rows that a collection has by now."""
        return patiently("rows are listed", lambda: set(self.index.sorted_keys(collection)))
