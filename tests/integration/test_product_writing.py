"""What reaches the index versions and the catalogue: equal pictures once, every version, nothing stale."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select, update

from shared.broker.task_names import Lane
from shared.contracts import ProductIn
from shared.database.clock import now_s
from shared.database.tables import Detection, IndexVersionRow
from shared.database.tables import Image as ImageRow
from shared.errors import IndexUnavailable
from shared.filters import category_is, parse
from shared.images import ImageLimits, decode
from tests import builders
from tests.packing import pictures
from tests.shop import Shop, found
from worker.process import build_process
from worker.products.writing import ProductStages

pytestmark = pytest.mark.slow

both_databases = pytest.mark.parametrize("shop", ["sqlite", "postgresql"], indirect=True)


def add_version(shop: Shop, number: int, state: str, embedder: str = "perceptual-hash") -> str:
    """Make a second index version of the shop, with its collection; return the collection's name."""
    collection = f"{shop.settings.milvus.prefix}_1_v{number}"
    with shop.worker.database.write() as session:
        session.add(
            IndexVersionRow(
                catalogue_id=1,
                number=number,
                collection=collection,
                alias=f"{shop.settings.milvus.prefix}_1",
                detector="none",
                embedder=embedder,
                detector_name="none",
                embedder_name=embedder,
                dim=256,
                state=state,
                created_at=now_s(),
            )
        )
    shop.worker.index.create(collection, 256)
    return collection


def wanted_keys(shop: Shop, collection: str) -> set[str]:
    """The keys that the database says the collection has."""
    with shop.worker.database.read() as session:
        rows = session.execute(
            select(Detection.image_id, Detection.number)
            .join(IndexVersionRow, IndexVersionRow.id == Detection.index_version)
            .where(IndexVersionRow.collection == collection)
        )
        return {f"{image_id}-{number}" for image_id, number in rows}


@both_databases
def test_equal_pictures_are_decoded_and_embedded_once_in_a_database(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos = pictures(3)
    files = {**photos, "copy.jpg": photos["p0.jpg"]}
    first = shop.jobs.status(shop.import_files(files))
    assert (first.counts.new, first.images, first.images_reused) == (4, 3, 1)
    assert set(found(shop.search(photos["p0.jpg"]))[:2]) == {"p0", "copy"}

    shop.catalogue.create("other")
    with monkeypatch.context() as patch:
        patch.setattr("shared.sandbox.pool.PictureSandbox.decode", lambda *_: pytest.fail("decoded again"))
        job = shop.accept_import(files, "other")
        shop.work()
    again = shop.jobs.status(job)
    assert (again.counts.new, again.images, again.images_reused) == (4, 0, 4)
    with shop.worker.database.read() as session:
        rows = session.execute(
            select(
                ImageRow.sha256, ImageRow.width, ImageRow.perceptual_hash, Detection.embedding, Detection.x1
            )
            .join(Detection, Detection.image_id == ImageRow.id)
            .order_by(ImageRow.sha256)
        ).all()
    assert len(rows) == 8
    assert len({row.sha256 for row in rows}) == len({tuple(row) for row in rows}) == 3
    assert all(row.perceptual_hash is not None for row in rows)
    assert shop.rows_of(f"{shop.settings.milvus.prefix}_2_v1") == 4


def test_other_models_look_for_themselves(shop: Shop) -> None:
    """The control of the test above: what is copied hangs on the models, not on the bytes alone."""
    photos = dict(pictures(2))
    shop.import_files(photos)
    shop.catalogue.create("other")
    changed = shop.settings.model_copy(
        update={"models": shop.settings.models.model_copy(update={"embedder": "perceptual-hash"})}
    )
    shop.worker.close()
    shop.worker = build_process(changed, Lane.CATALOGUE, "catalogue@other", shop.memory)
    status = shop.done(shop.accept_import(photos, "other"))
    assert (status.counts.new, status.images, status.images_reused) == (2, 2, 0)


@pytest.mark.parametrize("shop", ["sqlite", "postgresql", "milvus"], indirect=True)
def test_products_are_written_to_and_deleted_from_every_index_version(shop: Shop) -> None:
    first, second, third = (builders.jpeg(seed=n, width=200, height=200) for n in range(3))
    shop.put("lamp", ProductIn(category="Light"), [first])
    live = f"{shop.settings.milvus.prefix}_1_v1"
    building = add_version(shop, 2, "building")
    shop.put("vase", ProductIn(category="Glass"), [second, third])
    index = shop.worker.index
    assert shop.keys(building) == wanted_keys(shop, building)
    assert len(shop.keys(building)) == 2, "the lamp is the re-process's to add"
    assert shop.keys(live) == wanted_keys(shop, live)
    with shop.worker.database.read() as session:
        made_by = session.execute(select(Detection.index_version, Detection.models).distinct()).all()
    assert len(made_by) == len({models for _, models in made_by}) == 2

    shop.put("vase", ProductIn(category="Vessel"), None)
    for collection in (live, building):
        vectors = shop.worker.pipelines.default.embed_query([decode(second, ImageLimits())])[0].embeddings
        hits = index.search(collection, vectors[-1:], 5, category_is("Vessel"))[0]
        assert {hit.product_id for hit in hits} == {"vase"}
    shop.put("vase", ProductIn(category="Vessel"), [third])
    assert len(shop.keys(building)) == 1
    with shop.worker.database.write() as session:
        session.execute(
            update(IndexVersionRow).where(IndexVersionRow.collection == building).values(state="retired")
        )
    shop.jobs.create_delete("shop", ["vase"])
    shop.work()
    assert shop.keys(building) == set(), "a retired version keeps nothing that was deleted"
    assert shop.keys(live) == wanted_keys(shop, live)


@pytest.mark.parametrize("guarded", [True, False])
def test_a_product_put_by_hand_in_the_middle_of_its_import_leaves_no_strange_rows(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    by_hand, bulk = pictures(6), pictures(6, first=10)
    shop.put("p0", ProductIn(), [by_hand["p1.jpg"]])
    embed = ProductStages.embed
    waits = [True]

    def embed_while_somebody_puts(stages: ProductStages, batch: Any) -> None:
        if stages.claim.kind == "import" and waits.pop():
            key = shop.store.put(by_hand["p2.jpg"], "images")
            shop.jobs.create_put("shop", "p0", ProductIn(), [key])
            waits.append(False)
        embed(stages, batch)

    monkeypatch.setattr(ProductStages, "embed", embed_while_somebody_puts)
    if not guarded:
        monkeypatch.setattr("worker.products.manifest_source.require_unchanged", lambda *_: None)
    waits = [True]
    manifest = "product_id,images\n" + "\n".join(f"p{n},p{n + 10}.jpg" for n in range(6))
    status = shop.jobs.status(shop.import_files({**bulk, "manifest.csv": manifest}))
    # The put was accepted after the import, and wins.
    assert status.counts.changed == (0 if guarded else 1)
    live = f"{shop.settings.milvus.prefix}_1_v1"
    assert len(wanted_keys(shop, live)) == 6
    # Without the guard the picture that was put in between stays in the index, and nobody knows of it.
    assert (shop.keys(live) == wanted_keys(shop, live)) is guarded


@both_databases
def test_an_index_that_is_away_for_one_write_costs_no_product(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    upsert = shop.worker.index.upsert
    calls = []

    def fail_once(collection: str, rows: Any) -> None:
        calls.append(collection)
        if len(calls) == 2:
            raise IndexUnavailable("Milvus does not answer (a test's word).")
        upsert(collection, rows)

    monkeypatch.setattr(shop.worker.index, "upsert", fail_once)
    job = shop.accept_import(pictures(14))
    status = shop.done(job)
    assert (status.state, status.counts.new, status.images, status.image_failures) == ("succeeded", 14, 14, 0)
    live = f"{shop.settings.milvus.prefix}_1_v1"
    assert shop.keys(live) == wanted_keys(shop, live)
    assert len(calls) > 4


def test_the_colours_of_the_object_are_kept_and_can_be_filtered_by(shop: Shop) -> None:
    red = np.full((120, 120, 3), (200, 20, 30), np.uint8)
    blue = np.full((120, 120, 3), (20, 40, 180), np.uint8)
    shop.put("red", ProductIn(), [builders.encoded(red)])
    shop.put("blue", ProductIn(), [builders.encoded(blue)])
    with shop.worker.database.read() as session:
        assert sorted(c or [] for c in session.scalars(select(Detection.colours))) == [["blue"], ["red"]]
    filtered = shop.worker.index.search(
        f"{shop.settings.milvus.prefix}_1", np.eye(1, 256, dtype=np.float32), 5, parse('colour = "blue"')
    )
    assert [hit.product_id for hit in filtered[0]] == ["blue"]


def test_stage_seconds_are_counted(shop: Shop) -> None:
    seconds = shop.jobs.status(shop.import_files(pictures(6))).stages_s
    assert min(seconds.decode, seconds.embed, seconds.write) > 0


@both_databases
def test_a_price_is_the_same_however_it_is_written(shop: Shop) -> None:
    """Databases give 99 back as 99.0000: a change of something else would count as one of the price too."""
    shop.put("chair", ProductIn(price=Decimal(99)), [builders.jpeg(seed=1)])
    for patch, result in (
        ({}, "unchanged"),
        ({"price": "99.0"}, "unchanged"),
        ({"price": "99.5"}, "changed"),
    ):
        job = shop.jobs.create_patch("shop", "chair", patch).id
        shop.work()
        assert getattr(shop.jobs.status(job).counts, result) == 1, patch
