"""Pictures that nothing refers to go; one that somebody has just stored stays, whatever the moment."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import update
from sqlalchemy.orm import Session

from cli.main import app
from shared.contracts import ProductIn
from shared.database import Database
from shared.database.clock import now_s
from shared.database.tables import Job
from shared.database.tables.catalogue import PictureSweep
from shared.retention import picture_sweep
from shared.retention.picture_sweep import PicturesSwept, PictureSweeper, read_sweep_count, require_no_sweep
from shared.settings import get_settings
from shared.storage.image_store import SHARDS, ImageStore, rendition_name
from tests import builders
from tests.servers import wait_for
from tests.shop import Shop
from tests.web_builders import open_shop, upload
from worker.products import manifest_source
from worker.products import writing as product_writing
from worker.products.embedding import embed_contents

pytestmark = pytest.mark.slow

BOTH = pytest.mark.parametrize("shop", ["sqlite", "postgresql"], indirect=True)
#: Seconds: what is older goes.
AGE_S = 3_600.0


def photo(seed: int) -> bytes:
    return builders.jpeg(seed=seed, width=120, height=90)


def make_old(store: ImageStore, *keys: str) -> None:
    then = time.time() - 2 * AGE_S
    for key in keys:
        path = Path(store._path(key, "images"))
        os.utime(path, (then, then))


def sweeper(shop: Shop) -> PictureSweeper:
    return PictureSweeper(shop.worker.database, shop.store, AGE_S, 600.0)


@BOTH
def test_only_what_nothing_refers_to_goes(shop: Shop) -> None:
    shop.import_files({"kept.jpg": photo(1)})
    of_product = shop.catalogue.product("shop", "kept").images[0].image_id
    kept = shop.catalogue.image_key(of_product)
    loose, young = shop.store.put(photo(2)), shop.store.put(photo(3))
    waits, failed = shop.store.put(photo(4)), shop.store.put(b"no picture at all")
    shop.jobs.create_put("shop", "bad", ProductIn(), [failed])
    shop.work()
    shop.jobs.create_put("shop", "later", ProductIn(), [waits])
    shop.store.put_named(rendition_name(loose, 160), b"small", "renditions")
    make_old(shop.store, kept, loose, waits, failed)

    pictures = sweeper(shop)
    assert [key for keys in pictures.unreferenced() for key in keys] == [loose]
    assert pictures.sweep([s for s in SHARDS if s != loose[:2]]) == 0
    assert pictures.sweep([loose[:2]]) == 1
    assert not shop.store.exists(loose)
    assert not shop.store.exists(rendition_name(loose, 160), "renditions")
    assert all(map(shop.store.exists, (kept, young, waits, failed)))
    # Nobody tries the failed one again any more.
    with shop.worker.database.write() as session:
        session.execute(update(Job).values(finished_at=now_s() - 3600))
    assert pictures.sweep() == 1
    assert not shop.store.exists(failed)
    shop.work()
    assert shop.catalogue.product("shop", "later").images


def test_it_stops_soon_after_what_it_may_delete(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(picture_sweep, "BATCH_PICTURES", 2)
    keys = [shop.store.put(photo(seed)) for seed in range(7)]
    make_old(shop.store, *keys)
    assert sweeper(shop).sweep(most=3) == 4
    assert sweeper(shop).sweep() == 3


def swept_while_embedded(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> str:
    """Import a picture that is there, old, and nobody's; a sweep comes between its storing and its row."""
    key = shop.store.put(photo(1))
    make_old(shop.store, key)
    real = embed_contents
    swept: list[int] = []

    def embed(*arguments: Any) -> None:
        if not swept:
            # Held up since it looked at the file's age, before the import touched it.
            make_old(shop.store, key)
            swept.append(sweeper(shop).sweep())
        real(*arguments)

    monkeypatch.setattr(product_writing, "embed_contents", embed)
    shop.import_files({"chair.jpg": photo(1)})
    assert swept == [1]
    assert shop.catalogue.product("shop", "chair").images
    return key


@BOTH
def test_a_picture_that_an_import_found_there_is_stored_again(
    shop: Shop,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert shop.store.exists(swept_while_embedded(shop, monkeypatch))


@BOTH
def test_without_the_count_its_picture_is_lost(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control."""
    monkeypatch.setattr(manifest_source, "require_no_sweep", lambda session, since: None)
    assert not shop.store.exists(swept_while_embedded(shop, monkeypatch))


def test_a_sweep_waits_for_a_row_on_its_way(database: Database, tmp_path: Path) -> None:
    """The writer has compared and not committed: the sweep must not look before it has."""
    store = ImageStore((tmp_path / "store").as_uri())
    pictures = PictureSweeper(database, store, AGE_S, 600.0)
    key = store.put(photo(1))
    make_old(store, key)
    since = read_sweep_count(database)
    gone: list[int] = []
    with database.write() as session:
        require_no_sweep(session, since)
        sweeping = threading.Thread(target=lambda: gone.append(pictures.sweep()), daemon=True)
        sweeping.start()
        wait_for("the sweep is at it", lambda: not sweeping.is_alive() or waits_for_lock(database))
        add_image(session, key)
    sweeping.join()
    assert gone == [0]
    assert store.exists(key)


def test_a_row_waits_for_a_sweep_on_its_way(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sweep has looked and not deleted: the writer must not pass before it has."""
    store = ImageStore((tmp_path / "store").as_uri())
    pictures = PictureSweeper(database, store, AGE_S, 600.0)
    key = store.put(photo(1))
    make_old(store, key)
    refused: list[bool] = []
    since = read_sweep_count(database)

    def write() -> None:
        try:
            with database.write() as session:
                require_no_sweep(session, since)
        except PicturesSwept:
            refused.append(True)

    writing = threading.Thread(target=write, daemon=True)
    real = ImageStore.delete_all

    def delete(self: ImageStore, keys: list[str], kind: str = "images") -> None:
        if not refused and not writing.is_alive():
            writing.start()
            wait_for("the writer is at it", lambda: not writing.is_alive() or waits_for_lock(database))
        real(self, keys, kind)

    monkeypatch.setattr(ImageStore, "delete_all", delete)
    assert pictures.sweep() == 1
    writing.join()
    assert refused == [True]


def test_a_sweep_that_died_holds_nobody_up(database: Database, tmp_path: Path) -> None:
    store = ImageStore((tmp_path / "store").as_uri())
    with database.write() as session:
        session.execute(update(PictureSweep).values(count=7))
    since = read_sweep_count(database)
    assert since == 8
    with database.write() as session:
        require_no_sweep(session, since)
    with database.write() as session:
        session.execute(update(PictureSweep).values(count=9))
    with pytest.raises(PicturesSwept), database.write() as session:
        require_no_sweep(session, since)
    make_old(store, store.put(photo(1)))
    assert PictureSweeper(database, store, AGE_S, 600.0).sweep() == 1
    assert read_sweep_count(database) == 12


def waits_for_lock(database: Database) -> bool:
    """Whether a transaction waits for another; SQLite does not tell: there it gets a moment to begin."""
    if database.is_sqlite:
        time.sleep(0.2)
        return True
    with database.read() as session:
        asked = session.connection().exec_driver_sql("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(asked.scalar())


def add_image(session: Session, key: str) -> None:
    from shared.database.tables import Catalogue, Image, Product

    session.add(Catalogue(id=1, name="shop", created_at=0.0))
    session.flush()
    facts: dict[str, Any] = {"titles": {}, "category": "", "categories": {}, "tags": [], "attributes": {}}
    session.add(Product(id=1, catalogue_id=1, product_id="p", digest="", updated_at=0.0, **facts))
    session.flush()
    session.add(Image(id="0" * 32, product=1, position=0, sha256=key, width=1, height=1))


def test_a_product_put_over_http_keeps_its_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sweep between the upload and its job: the web stores the picture again."""
    web = open_shop(tmp_path)
    store = web.parts.store
    pictures = PictureSweeper(web.parts.database, store, AGE_S, 600.0)
    make_old(store, store.put(photo(1)))
    swept: list[int] = []
    real = ImageStore.put

    def put(self: ImageStore, data: bytes, kind: str = "images") -> str:
        key = real(self, data, kind)
        if not swept:
            make_old(store, key)
            swept.append(pictures.sweep())
        return key

    monkeypatch.setattr(ImageStore, "put", put)
    address = "/v1/catalogues/demo/products/chair-2"
    assert web.client.put(address, **upload(photo(1), product="{}")).status_code == 202
    assert swept == [1]
    # The next upload that is the same finds it there, and so does the worker.
    assert [*store.older_than("images", -5)].count(real(store, photo(1))) == 1


def test_the_command_counts_and_deletes(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    make_old(shop.store, *[shop.store.put(photo(seed)) for seed in range(3)])
    monkeypatch.setenv("VITRINE_DATA_DIR", str(shop.settings.data_dir))
    monkeypatch.setenv("VITRINE_SWEEP__PICTURES_AFTER_S", str(AGE_S))
    get_settings.cache_clear()
    for words, expected in (
        (["--dry-run"], {"unreferenced": 3, "deleted": 0}),
        ([], {"unreferenced": 3, "deleted": 3}),
        ([], {"unreferenced": 0, "deleted": 0}),
    ):
        ran = CliRunner().invoke(
            app, ["sweep", "--json", *words], standalone_mode=False, catch_exceptions=False
        )
        assert json.loads(ran.stdout) == expected
    get_settings.cache_clear()
