"""The catalogue lane: one chunk of a job at a time, in micro-batches that each commit.

A product's rows in Milvus are written before its rows in the database, so a death in between
leaves rows that the next try writes again under the same keys.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from shared.database import Database
from shared.database.tables import Product
from shared.errors import InvalidManifest, NotFound, OutOfMemory, Unavailable, VitrineError
from shared.image_store import ImageStore
from shared.images import ImageLimits
from shared.import_sources import ArchiveSource, FolderSource, NoSource, Source
from shared.ledger.job_desk import JobDesk
from shared.ledger.job_plan import write_plan
from shared.ledger.work import ChunkClaim, Item, LostLease, Outcome, Problem
from shared.manifest import Row, read_rows
from worker.index_versions import LiveIndex, live_index, open_index, require_same_embedder
from worker.pipeline import Pipeline
from worker.product_loading import Batch, Loader
from worker.product_writing import delete_products, rebuild_products, write_products
from worker.vision import VectorIndex

log = logging.getLogger(__name__)

_RETRY_S = 5.0


@dataclass(frozen=True)
class CatalogueLane:
    """Works on chunks.

    Attributes:
        micro_batch: products between two commits.
        chunk_items: products a chunk.
        prefix: of the collections' names.
    """

    database: Database
    desk: JobDesk
    store: ImageStore
    index: VectorIndex
    pipeline: Pipeline
    decoders: ThreadPoolExecutor
    limits: ImageLimits
    micro_batch: int
    chunk_items: int
    prefix: str

    def work_one(self) -> list[str] | None:
        """Do the chunk that goes first; return the chunks to ring next, None if there was none."""
        claim = self.desk.claim()
        if claim is None:
            return None
        try:
            with self._source(claim) as source:
                if claim.number == 0:
                    entries = self._products(claim) if claim.kind == "rebuild" else _entries(source)
                    write_plan(self.desk, self.database, claim, entries, self.chunk_items)
                else:
                    self._work(claim, source)
            following = self.desk.finish(claim)
            if not following and claim.number > 0 and claim.kind in ("import", "rebuild"):
                self._seal(claim)
            return following
        except LostLease as error:
            log.info("%s", error.message)
        except Unavailable as error:
            log.warning("chunk %s waits: %s", claim.id, error.message)
            self.desk.postpone(claim, _RETRY_S, error.message, blame=isinstance(error, OutOfMemory))
        except VitrineError as error:
            # Nothing that waiting mends: the manifest or the settings are wrong.
            log.error("job %s failed: %s", claim.job_id, error.message)
            self.desk.fail_job(claim, error.code, error.message)
        except Exception as error:
            log.exception("chunk %s failed", claim.id)
            self.desk.postpone(claim, _RETRY_S, f"{type(error).__name__}: {error}", blame=True)
        return []

    def _seal(self, claim: ChunkClaim) -> None:
        """Let Milvus build its index over what a bulk job wrote; until then those rows are scanned."""
        with self.database.read() as session:
            live = live_index(session, claim.catalogue_id)
        if live is None:
            return
        try:
            self.index.flush(live.collection)
        except VitrineError as error:
            log.warning("the index of %s is not sealed: %s", claim.catalogue, error.message)

    @contextmanager
    def _source(self, claim: ChunkClaim) -> Iterator[Source]:
        """Open what the job reads from."""
        if "archive" in claim.source:
            try:
                file = self.store.open(claim.source["archive"], "imports")
            except NotFound as error:
                raise InvalidManifest("The uploaded import is gone: upload it again.") from error
            with file:
                yield ArchiveSource(file)
        elif "path" in claim.source:
            path = Path(claim.source["path"])
            if path.suffix == ".zip":
                with path.open("rb") as file:
                    yield ArchiveSource(file)
            elif path.is_dir():
                yield FolderSource(path)
            else:
                yield FolderSource(path.parent, path.name)
        else:
            yield NoSource()

    def _work(self, claim: ChunkClaim, source: Source) -> None:
        items = self.desk.items(claim)
        if claim.kind == "delete":
            delete_products(self.database, self.index, self.desk, claim, items)
            return
        live = open_index(
            self.database,
            self.index,
            claim.catalogue_id,
            detector=self.pipeline.detector.version,
            embedder=self.pipeline.embedder.version,
            dim=self.pipeline.embedder.dim,
            prefix=self.prefix,
        )
        if claim.kind == "rebuild":
            rebuild_products(self.database, self.index, self.desk, claim, live, items)
            return
        require_same_embedder(live, self.pipeline.embedder.version, claim.catalogue)
        loader = Loader(self.store, source, self.limits, self.decoders)
        # A chunk that was tried before is done product by product, so that one which kills the
        # process is found out and the others get done.
        size = self.micro_batch if claim.attempts == 1 else 1
        self._work_items(claim, live, loader, items, size)

    def _products(self, claim: ChunkClaim) -> Iterator[Item]:
        """The products that a catalogue has, as items of a job."""
        with self.database.read() as session:
            products = session.scalars(
                select(Product.product_id)
                .where(Product.catalogue_id == claim.catalogue_id)
                .order_by(Product.id)
            ).all()
        for number, product_id in enumerate(products, start=1):
            yield Item(number, number, product_id, {}, 0)

    def _work_items(
        self, claim: ChunkClaim, live: LiveIndex, loader: Loader, items: Sequence[Item], size: int
    ) -> None:
        if size == 1:
            for item in items:
                if self.desk.blame(claim, item) > 2:
                    self._give_up(claim, item)
                else:
                    self._write(claim, live, loader.load(self.database, claim, live, [item]))
            return
        groups = [items[i : i + size] for i in range(0, len(items), size)]
        # The next micro-batch is read and decoded while this one is in the model.
        with ThreadPoolExecutor(1, "ahead") as ahead:
            coming = ahead.submit(loader.load, self.database, claim, live, groups[0]) if groups else None
            for k in range(len(groups)):
                assert coming is not None
                batch = coming.result()
                if k + 1 < len(groups):
                    coming = ahead.submit(loader.load, self.database, claim, live, groups[k + 1])
                self._write(claim, live, batch)

    def _write(self, claim: ChunkClaim, live: LiveIndex, batch: Batch) -> None:
        write_products(self.database, self.index, self.pipeline, self.desk, claim, live, batch)

    def _give_up(self, claim: ChunkClaim, item: Item) -> None:
        text = f"The worker ended {item.attempts} times while working on this product."
        problem = Problem(item.row, item.product_id, None, "worker_lost", text)
        with self.database.write() as session:
            self.desk.record(session, claim, [Outcome(item, "failed", 0, [problem])])
            self.desk.forgive(session, claim)


def _entries(source: Source) -> Iterator[Item | Problem]:
    """Turn a manifest's rows into what the ledger plans with."""
    for row in read_rows(source):
        yield _entry(row)


def _entry(row: Row) -> Item | Problem:
    if row.problem is not None or row.product is None or row.product_id is None:
        reason, message = row.problem or ("invalid_row", "This row is no product.")
        return Problem(row.number, row.product_id, None, reason, message)
    payload = {"product": row.product.model_dump(mode="json"), "files": row.images}
    return Item(row.number, row.number, row.product_id, payload, 0)
