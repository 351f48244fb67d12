"""What one way of writing products knows, every way knows: imports, single updates, re-processing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select, update

from shared.contracts.indexes import ReprocessRequest
from shared.database.tables import Detection as DetectionRow
from shared.database.tables import Image as ImageRow
from tests.memory_index import MemoryIndex
from tests.packing import archive
from tests.shop import NEW, OLD, Shop, photo
from worker.vision import Detection, Image
from worker.vision.baselines import ColourHistogram, PerceptualHash
from worker.vision.building import BASELINES
from worker.vision.pipeline import Pipeline

pytestmark = pytest.mark.slow


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    opened = Shop.in_small_steps(tmp_path, MemoryIndex())
    yield opened
    opened.close()


class CornerDetector:
    """Finds the upper left quarter of every picture, and counts the pictures."""

    version = "corner@1"

    def __init__(self) -> None:
        self.seen = 0

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        self.seen += len(images)
        return [[Detection((0.0, 0.0, 0.5, 0.5), "product", 0.9)] for _ in images]


def detect_with(shop: Shop, detector: CornerDetector) -> None:
    """Let the catalogue lane's pipelines have this detector, whatever their embedder."""

    def build(_: str, embedder: str, crop: object = None) -> Pipeline:
        return Pipeline(detector, BASELINES[embedder](), detector_name="corner", embedder_name=embedder)

    pipelines = shop.worker.pipelines
    pipelines.default = build("corner", OLD)
    pipelines._build = build


def without_direction(monkeypatch: pytest.MonkeyPatch, embedder: type[Any], first: int) -> None:
    """Let an embedder give no unit vector for the first crops that it sees from now on."""
    embed = embedder.embed
    left = [first]

    def broken(self: Any, crops: Sequence[Image]) -> Any:
        rows = embed(self, crops)
        count = min(left[0], len(rows))
        rows[:count] = np.nan
        left[0] -= count
        return rows

    monkeypatch.setattr(embedder, "embed", broken)


def test_a_reprocess_reuses_what_another_catalogue_embedded(shop: Shop) -> None:
    shop.fill(3)
    shop.catalogue.create("other")
    name = "1" * 64 + "-archive.zip"
    shop.store.put_stream(name, [archive({f"q{n}.jpg": photo(n) for n in range(2)})], "imports", 10**8)
    shop.done(shop.jobs.create_import("other", {"archive": name}).id)
    wanted = ReprocessRequest.model_validate({"embedder": NEW})
    first = shop.done(shop.indexes.reprocess("other", wanted).id)
    assert (first.images, first.images_reused) == (2, 0), "the control: other models embed for themselves"

    second = shop.done(shop.reprocess())
    assert (second.state, second.images, second.images_reused) == ("succeeded", 1, 2)
    shop.assert_exact(shop.versions()[2], 3)
    shop.done(shop.promote())
    assert [shop.found(n)[0] for n in range(3)] == ["p0", "p1", "p2"]

    back = shop.done(shop.reprocess(embedder=OLD))
    assert (back.images, back.images_reused) == (0, 3), "the version before was made by these models"


def test_equal_pictures_count_once_in_a_reprocess(shop: Shop) -> None:
    shop.fill(1)
    shop.put_drawn("copy", 0)  # in the same micro-batch
    status = shop.done(shop.reprocess())
    assert (status.images, status.images_reused) == (1, 1)
    shop.assert_exact(shop.versions()[2], 2)


def test_an_import_takes_boxes_from_the_same_bytes(shop: Shop) -> None:
    """The product goes to a version of other models too: their embedder needs the box, and no detector."""
    detector = CornerDetector()
    detect_with(shop, detector)
    shop.fill(1)
    assert detector.seen == 1
    shop.reprocess()
    shop.work(1)
    shop.put_drawn("copy", 0)
    assert detector.seen == 1
    shop.put_drawn("new", 7)
    assert detector.seen == 2, "the control: nothing is known of these bytes, and both versions share a box"
    with shop.database.read() as session:
        rows = session.scalars(select(DetectionRow)).all()
    assert sorted(row.index_version for row in rows) == [1, 1, 1, 2, 2]
    assert {(row.x0, row.y0, row.x1, row.y1) for row in rows} == {(0.0, 0.0, 0.5, 0.5)}
    assert all(row.colours for row in rows)


def test_a_picture_without_a_direction_costs_an_import_only_itself(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_direction(monkeypatch, ColourHistogram, first=1)
    status = shop.put_drawn("two", 1, 2)
    assert (status.state, status.counts.new) == ("succeeded", 1)
    assert {f.reason for f in shop.jobs.failures(status.id).failures} == {"bad_embedding"}
    assert len(shop.catalogue.product("shop", "two").images) == 1
    shop.assert_exact(shop.live(), 1)


def test_a_product_whose_only_picture_has_no_direction_fails_with_the_reason(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_direction(monkeypatch, ColourHistogram, first=1)
    status = shop.put_drawn("one", 1)
    assert status.counts.failed == 1
    assert {f.reason for f in shop.jobs.failures(status.id).failures} == {"bad_embedding"}


def test_a_version_that_is_being_filled_costs_the_live_one_no_product(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.fill(2)
    shop.reprocess()
    shop.work(1)
    without_direction(monkeypatch, PerceptualHash, first=1)
    status = shop.put_drawn("new", 50)
    assert (status.state, status.counts.new) == ("succeeded", 1)
    assert {f.reason for f in shop.jobs.failures(status.id).failures} == {"bad_embedding"}
    assert shop.found(50)[0] == "new"
    shop.assert_exact(shop.live(), 3)
    shop.assert_exact(shop.versions()[2], 0)


def test_a_reprocess_gives_older_pictures_their_perceptual_hash(shop: Shop) -> None:
    shop.fill(3)
    with shop.database.write() as session:
        before = set(session.scalars(select(ImageRow.perceptual_hash)))
        session.execute(update(ImageRow).values(perceptual_hash=None))
    shop.done(shop.reprocess(embedder=None, scope="all"))
    with shop.database.read() as session:
        assert set(session.scalars(select(ImageRow.perceptual_hash))) == before


class Endless(BaseException):
    """A job that catches up again and again."""


def test_a_picture_that_is_gone_does_not_keep_a_rollback_catching_up(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trying it again must not count as a change of its product: that would be caught up with as well."""
    shop.fill(3)
    shop.done(shop.reprocess(promote="auto"))
    shop.put_drawn("late", 60)
    with shop.database.read() as session:
        key = session.scalars(select(ImageRow.sha256).order_by(ImageRow.product.desc())).first()
    assert key is not None
    shop.store.delete(key)
    give_way = shop.worker.catalogue._give_way
    rounds: list[int] = []

    def counted(claim: Any) -> None:
        rounds.append(1)
        if len(rounds) > 20:
            raise Endless
        give_way(claim)

    lane = shop.worker.catalogue
    object.__setattr__(lane.context, "give_way", counted)
    status = shop.done(shop.rollback())
    assert status.state == "succeeded", status
    assert rounds
    assert shop.live().number == 1
    shop.assert_exact(shop.live(), 3)
