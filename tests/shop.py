"""A catalogue and both lanes in the test's own process; a test brings its pictures and manifests."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from cli.services.milvus import EmbeddedMilvus
from shared.contracts import ProductIn, SearchResult
from shared.settings import DatabaseSettings, ImageSettings, MilvusSettings, ModelSettings, Settings
from tests.bare_shop import BareShop
from tests.databases import new_postgres_database
from tests.memory_index import MemoryIndex
from tests.packing import archive
from tests.servers import PATIENCE_S


class Shop(BareShop):
    def __init__(
        self,
        folder: Path,
        index: EmbeddedMilvus | MemoryIndex,
        prefix: str = "t",
        database_url: str | None = None,
    ) -> None:
        super().__init__(
            Settings(
                data_dir=folder,
                database=DatabaseSettings(url=SecretStr(database_url) if database_url else None),
                milvus=MilvusSettings(uri=index.uri, prefix=prefix, timeout_s=PATIENCE_S),
                models=ModelSettings(detector="none", embedder="colour-histogram", micro_batch=4),
                images=ImageSettings(max_bytes=2_000_000),
            ),
            index if isinstance(index, MemoryIndex) else None,
        )

    def work(self, chunks: int | None = None) -> int:
        """The same; searches see from then on what was written."""
        done = super().work(chunks)
        if self.catalogue.get("shop").index_version is not None:
            # Within 2 s they would by themselves; a strong read makes them see it at once.
            self.rows()
        return done

    def accept_import(
        self, files: Mapping[str, bytes | str], catalogue: str = "shop", **options: object
    ) -> str:
        """Accept an import that nobody works on yet."""
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

    def search(
        self, photo: bytes | None = None, product_id: str | None = None, **options: Any
    ) -> SearchResult:
        status = self.answered(self.accept_search(photo, product_id=product_id, **options))
        assert status.result is not None, status
        return status.result


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


def reasons(shop: Shop, job: str) -> dict[str | int, str]:
    return {f.image or f.product_id or f.row: f.reason for f in shop.jobs.failures(job).failures}
