"""A catalogue goes from one embedder to another, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.errors import Conflict, NotFound
from shared.settings import GateSettings, SearchSettings
from tests.databases import new_postgres_database
from tests.memory_index import MemoryIndex
from tests.shop import CHUNK, NEW, OLD, Shop
from worker.products.batch import Batch
from worker.products.writing import ProductStages
from worker.vision.baselines import PerceptualHash

pytestmark = pytest.mark.slow


@pytest.fixture
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    """On an index in memory; a test names a Milvus, by its fixture, where it is about that."""
    index, prefix = MemoryIndex(), "t"
    if which := getattr(request, "param", None):
        index, prefix = request.getfixturevalue(which), request.getfixturevalue("prefix")
    opened = Shop.in_small_steps(tmp_path, index, prefix)
    yield opened
    opened.close()


@pytest.fixture(params=["memory", "milvus"])
def each_shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    """In memory with SQLite, on Milvus with PostgreSQL."""
    index, prefix, url = MemoryIndex(), "t", None
    if request.param == "milvus":
        index, prefix = request.getfixturevalue("milvus"), request.getfixturevalue("prefix")
        url = new_postgres_database(request.getfixturevalue("postgres"))
    opened = Shop.in_small_steps(tmp_path, index, prefix, url)
    yield opened
    opened.close()


def test_from_one_embedder_to_another_and_back_with_changes_all_along(each_shop: Shop) -> None:
    shop = each_shop
    shop.fill(12)
    job = shop.reprocess()
    shop.work(2)  # the plan, and the first chunk: p0 to p3
    assert shop.versions()[2].state == "building"
    assert shop.search(5).models["embedder"] == OLD

    shop.put_drawn("p1", 1, category="Changed after it was filled")
    shop.put_drawn("p8", 88, category="Changed before")
    shop.put_drawn("new", 50)
    shop.delete("p2")
    shop.delete("p10")
    status = shop.done(job)
    assert status.state == "succeeded", status
    assert status.report is not None
    assert status.report["gate"]["verdict"] == "passed", status.report
    assert status.report["promoted"] is False
    assert status.report["index"] == 2
    assert (shop.live().number, shop.versions()[2].state) == (1, "ready")
    for version in shop.versions().values():
        shop.assert_exact(version, 11)

    shop.put_drawn("late", 60)
    assert shop.done(shop.promote()).state == "succeeded"
    assert shop.live().number == 2
    assert shop.index.resolve_alias(shop.live().alias) == shop.live().collection
    shop.assert_exact(shop.live(), 12)
    result = shop.search(88, category="Changed before")
    assert [h.product_id for h in result.whole.hits] == ["p8"]
    assert (result.models["embedder"], result.models["index"]) == (NEW, shop.live().collection)
    assert shop.found(1, category="Changed after it was filled") == ["p1"]
    assert {shop.found(seed)[0] for seed in (50, 60)} == {"new", "late"}

    # What changes now, the retired version does not get; a deletion reaches it at once.
    shop.put_drawn("p3", 33, category="After the promotion")
    shop.put_drawn("later", 70)
    shop.delete("p4")
    retired = shop.versions()[1]
    assert retired.stale_since is not None
    status = shop.done(shop.rollback())
    assert status.state == "succeeded", status
    assert shop.live().number == 1
    assert shop.live().stale_since is None
    shop.assert_exact(shop.live(), 12)
    assert shop.found(33, category="After the promotion") == ["p3"]
    assert shop.found(70)[0] == "later"
    assert shop.search(0).models["embedder"] == OLD


@pytest.mark.parametrize("job", ["reprocess", "rebuild", "in place"])
@pytest.mark.parametrize("guarded", [True, False])
def test_what_changes_between_reading_and_writing_a_chunk_is_right_in_the_end(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, job: str, guarded: bool
) -> None:
    """The chunk has read p0 to p1 when they change: it then writes old rows over the new ones."""
    shop.fill(6)
    embed = ProductStages.embed
    done: list[bool] = []

    def embed_late(stages: ProductStages, batch: Batch) -> None:
        if not done and "p0" in {item.product_id for item in batch.items}:
            done.append(True)
            shop.put_drawn("p0", 0, category="Moved concurrently")
            shop.delete("p1")
        embed(stages, batch)

    # A rebuild embeds nothing, but has this stage too.
    monkeypatch.setattr(ProductStages, "embed", embed_late)
    if not guarded:
        for module in ("reprocess", "rebuild"):
            monkeypatch.setattr(f"worker.jobs.{module}.catch_up", only_finish)
    start = {
        "reprocess": shop.reprocess,
        "rebuild": lambda: shop.indexes.rebuild("shop").id,
        "in place": lambda: shop.reprocess(embedder=None, scope="all"),
    }
    status = shop.done(start[job]())
    assert done
    assert status.state == "succeeded", status
    assert status.report is not None
    for version in shop.versions().values():
        shop.assert_exact(version, 5)
    if job == "reprocess":
        shop.done(shop.promote())
    shop.rows()
    assert shop.found(0, category="Moved concurrently") == (["p0"] if guarded else [])


def only_finish(context: Any, claim: Any, source: Any, since: int, complete: Any) -> None:
    """The end of a job without catching up."""
    with context.database.write() as session:
        complete(session)


class Killed(BaseException):
    """Ends the process, as far as the code under test can tell."""


def test_killed_at_any_point_it_goes_on_and_does_at_most_one_chunk_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # More deaths than a chunk is allowed: its last step is killed four times here.
    shop = Shop.in_small_steps(tmp_path, MemoryIndex(), search=SearchSettings(max_attempts=20))
    shop.fill(12)
    embedded: list[int] = []
    embed = ProductStages.embed

    def counted(stages: ProductStages, batch: Batch) -> None:
        embedded.append(sum(content.pixels is not None for content in batch.contents))
        embed(stages, batch)

    monkeypatch.setattr(ProductStages, "embed", counted)
    job = shop.reprocess(promote="auto")
    places = [
        ("tests.memory_index.MemoryIndex.create", 1, "after"),  # a collection, and no row yet
        ("shared.jobs.queue.JobQueue.record", 1, "before"),
        ("tests.memory_index.MemoryIndex.upsert", 1, "after"),  # in the index, not in the database
        ("tests.memory_index.MemoryIndex.upsert", 2, "before"),
        ("shared.jobs.queue.JobQueue.finish", 1, "before"),
        ("worker.jobs.reprocess.reconcile", 1, "after"),
        ("worker.jobs.reprocess.judge", 1, "after"),
        ("tests.memory_index.MemoryIndex.set_alias", 1, "after"),  # the alias ahead of the database
        ("worker.jobs.reprocess.promote", 1, "after"),  # live, and the job not finished
    ]
    for place, count, when in places:
        with monkeypatch.context() as patch:
            kill_at(patch, place, count, when)
            with pytest.raises(Killed):
                shop.done(job)
        shop.worker.close()
        shop.worker = shop.new_worker()
    status = shop.done(job)
    assert status.state == "succeeded", status
    assert status.report is not None
    assert status.report["promoted"] is True
    assert shop.live().number == 2
    shop.assert_exact(shop.live(), 12)
    assert shop.search(5).models["embedder"] == NEW
    assert status.images == 12, "each picture counts once"
    assert sum(embedded) <= 12 + CHUNK * len(places)
    shop.close()


def kill_at(patch: pytest.MonkeyPatch, place: str, count: int, when: str) -> None:
    from pkgutil import resolve_name

    module, _, name = place.rpartition(".")
    owner = resolve_name(module)
    original = getattr(owner, name)
    calls: list[Any] = []

    def fatal(*args: Any, **kwargs: Any) -> Any:
        if len(calls) + 1 == count and when == "before":
            raise Killed
        result = original(*args, **kwargs)
        calls.append(1)
        if len(calls) == count:
            raise Killed
        return result

    patch.setattr(owner, name, fatal)


@pytest.mark.parametrize("guarded", [True, False])
def test_the_gate_refuses_an_index_with_one_bad_vector_in_a_hundred(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guarded: bool
) -> None:
    """M29; the control has no limit for failures."""
    gate = GateSettings() if guarded else GateSettings(max_failed_share=1.0)
    shop = Shop.in_small_steps(tmp_path, MemoryIndex(), chunk=50, gate=gate)
    shop.fill(100)
    embed = PerceptualHash.embed
    bad: list[bool] = []

    def now_and_then_bad(self: PerceptualHash, crops: Any) -> Any:
        rows = embed(self, crops)
        if not bad and len(crops) > 1:
            rows[0] = np.nan
            bad.append(True)
        return rows

    alias = shop.live().alias
    job = shop.reprocess(promote="auto")
    shop.work(1)
    monkeypatch.setattr(PerceptualHash, "embed", now_and_then_bad)
    status = shop.done(job)
    assert bad
    assert status.report is not None
    reasons = {f.reason for f in shop.jobs.failures(job).failures}
    assert reasons == {"bad_embedding"}
    verdict = "failed" if guarded else "passed"
    assert status.report["gate"]["verdict"] == verdict, status.report["gate"]
    assert status.report["promoted"] is not guarded
    live = shop.live()
    assert live.number == (1 if guarded else 2)
    assert shop.index.resolve_alias(alias) == live.collection
    assert len(shop.found(3, top_k=100)) == (100 if guarded else 99)
    if guarded:
        refused = next(c for c in status.report["gate"]["checks"] if c["passed"] is False)
        assert refused["name"] == "failed_share"
        assert refused["value"] == pytest.approx(0.01)
        with pytest.raises(Conflict):
            shop.promote()
        shop.done(shop.promote(force=True))
        assert shop.live().number == 2
    shop.close()


@pytest.mark.parametrize("shop", [None, "milvus"], indirect=True)
def test_prune_keeps_the_live_index_and_the_one_to_go_back_to(shop: Shop) -> None:
    shop.fill(5)
    for embedder in (NEW, OLD):
        shop.done(shop.reprocess(embedder=embedder, promote="auto"))
    assert {v.number: v.state for v in shop.versions().values()} == {1: "retired", 2: "retired", 3: "live"}
    with pytest.raises(Conflict):
        shop.prune(index=3)
    first = shop.versions()[1].collection
    assert shop.done(shop.prune()).report == {"pruned": [1]}
    assert first not in shop.index.collections()
    assert sorted(shop.versions()) == [2, 3]
    assert shop.found(2)[0] == "p2"
    with pytest.raises(NotFound):
        shop.rollback(index=1)
    assert shop.done(shop.prune(all=True)).report == {"pruned": [2]}
    assert list(shop.versions()) == [3]
    shop.assert_exact(shop.live(), 5)


@pytest.mark.parametrize("shop", ["milvus"], indirect=True)
def test_what_cannot_be_gone_back_to_is_left_alone(shop: Shop) -> None:
    """Milvus lost the retired collection: products must not wait for it ever after."""
    shop.fill(4)
    shop.done(shop.reprocess(promote="auto"))
    lost = shop.versions()[1]
    shop.index.drop(lost.collection)
    status = shop.done(shop.rollback())
    assert status.error is not None
    assert status.error.code == "misconfigured"
    assert "--index 1" in status.error.message
    assert (shop.live().number, shop.versions()[1].state) == (2, "retired")
    shop.put_drawn("late", 60)
    assert shop.found(60)[0] == "late"

    shop.done(shop.indexes.rebuild("shop", 1).id)
    shop.done(shop.rollback())
    assert shop.live().number == 1
    shop.assert_exact(shop.live(), 5)


def test_in_place_only_what_the_scope_names_is_done(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlalchemy import delete, update

    from shared.database.tables import Detection

    shop.fill(6)
    with shop.database.write() as session:
        images = sorted(session.scalars(Detection.__table__.select().with_only_columns(Detection.image_id)))
        session.execute(delete(Detection).where(Detection.image_id == images[0]))
        session.execute(update(Detection).where(Detection.image_id == images[1]).values(models=None))
    failed = shop.done(shop.reprocess(embedder=None, scope="failed"))
    assert (failed.images, failed.total) == (1, 1)
    stale = shop.done(shop.reprocess(embedder=None, scope="stale"))
    assert (stale.images, stale.total) == (1, 1)
    assert shop.done(shop.reprocess(embedder=None, scope="stale")).total == 0
    shop.put_drawn("p2", category="Chair")
    chairs = shop.done(shop.reprocess(embedder=None, filter='category = "Chair"'))
    assert (chairs.images, chairs.total) == (1, 1)
    assert shop.done(shop.reprocess(embedder=OLD)).images == 6, "the live index's own name means in place"
    assert list(shop.versions()) == [1]
    shop.assert_exact(shop.live(), 6)


def test_one_at_a_time_and_no_part_of_a_catalogue_goes_to_other_models(shop: Shop) -> None:
    shop.fill(CHUNK + 1)
    job = shop.reprocess()
    with pytest.raises(Conflict):
        shop.reprocess()
    shop.work(2)
    shop.jobs.cancel(job)
    # What was given up can be gone on with: what it has is not done again.
    again = shop.done(shop.reprocess())
    assert (again.state, again.images) == ("succeeded", 1)
    shop.done(shop.prune(index=2))
    part = shop.done(shop.reprocess(scope="failed"))
    assert part.state == "failed"
    assert part.error is not None
    assert part.error.code == "invalid_input"
    nobody = shop.done(shop.reprocess(embedder="no-such-model"))
    assert nobody.error is not None
    assert nobody.error.code == "misconfigured"
    assert shop.found(1)[0] == "p1"
