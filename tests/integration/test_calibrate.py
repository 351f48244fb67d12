"""From composed photos to probabilities in answers; on a real database and image store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, select, update

from shared.catalogue.indexes import IndexRepository
from shared.catalogue.ranking import RankingRepository
from shared.contracts import SearchResult
from shared.contracts.indexes import PromoteRequest, ReprocessRequest, RollbackRequest
from shared.contracts.search import Hit
from shared.database.tables import Calibration as CalibrationRow
from shared.database.tables import IndexVersionRow
from shared.errors import Conflict, NotFound
from tests import builders
from tests.shop import NEW, Shop
from worker.calibration.calibration_store import DEFAULTS, Calibrations
from worker.indexes.versions import live_index
from worker.jobs.calibrate import MIN_PRODUCTS

pytestmark = pytest.mark.slow

PRODUCTS = 60


def product_photo(number: int) -> bytes:
    """Two colours of the product's own, on white: what can be cut out, and what tells it from others."""
    random = np.random.default_rng(number)
    image = np.full((96, 96, 3), 255, np.uint8)
    image[12:84, 18:78] = random.integers(0, 230, 3)
    image[30:60, 18:78] = random.integers(0, 230, 3)
    return builders.encoded(image)


def goods(count: int) -> dict[str, bytes | str]:
    rows = ["product_id,title,category,images"]
    rows += [f"p{n},Thing {n},{'odd' if n % 2 else 'even'},p{n}.jpg" for n in range(count)]
    return {**{f"p{n}.jpg": product_photo(n) for n in range(count)}, "manifest.csv": "\n".join(rows)}


def ranking(shop: Shop) -> RankingRepository:
    return RankingRepository(shop.worker.database)


def calibrate(shop: Shop, number: int | None = None) -> dict[str, object]:
    job = ranking(shop).calibrate("shop", number).id
    shop.work()
    done = shop.jobs.status(job)
    assert done.state == "succeeded", done.error
    assert done.report is not None
    report: dict[str, object] = done.report["calibrate"]
    return report


def failure(shop: Shop, photo: bytes | None = None, product_id: str | None = None, **options: Any) -> str:
    error = shop.answered(shop.accept_search(photo, product_id=product_id, **options)).error
    assert error is not None
    return f"{error.code}: {error.message}"


def sure(hits: list[Hit]) -> list[float]:
    found = [hit.probability for hit in hits]
    assert all(each is not None for each in found)
    return [each for each in found if each is not None]


def unsure(result: SearchResult) -> bool:
    hits = [*result.whole.hits, *(hit for each in result.objects for hit in each.hits)]
    return result.calibration is None and all(h.probability is h.probability_kind is None for h in hits)


def test_scores_become_probabilities_of_their_own_index_version_only(shop: Shop) -> None:
    shop.import_files(goods(PRODUCTS))
    photo = product_photo(7)
    assert unsure(shop.search(photo))
    assert "not calibrated" in failure(shop, photo, min_probability=0.5)

    report = calibrate(shop)
    assert report["calibrated"], report["why_not"]
    assert str(report["diagram"]).startswith("<svg")
    known = ranking(shop).calibrations("shop")
    assert [(each.index, each.live, each.calibrated) for each in known] == [(1, True, True)]

    first = shop.search(photo, top_k=40)
    said = sure(first.whole.hits)
    assert first.calibration == "catalogue"
    assert first.whole.hits[0].product_id == "p7"
    assert said == sorted(said, reverse=True)
    assert 0 <= said[-1] < said[0] <= 1
    assert all(hit.probability_kind is not None for hit in first.whole.hits)

    # A probability taken from an answer is a limit that includes it; pages say the same as the first.
    limit = said[1]
    some = shop.search(photo, top_k=40, min_probability=limit)
    assert [h.product_id for h in some.whole.hits] == [
        h.product_id for h, p in zip(first.whole.hits, said, strict=True) if p >= limit
    ]
    assert shop.search(photo, min_probability=1.0).whole.hits == []
    short = shop.search(photo, top_k=1)
    assert sure(short.whole.hits) == said[:1]

    # What is near to a product's own picture, or to examples, was not calibrated.
    assert unsure(shop.search(product_id="p3"))
    assert unsure(shop.search(photo, like=["p3"]))
    assert "by photo" in failure(shop, product_id="p3", min_probability=0.5)

    # Another version's scores are others: nothing is said of them before it has a calibration of its own.
    indexes = IndexRepository(shop.worker.database)
    indexes.reprocess("shop", ReprocessRequest(embedder=NEW))
    shop.work()
    indexes.promote("shop", PromoteRequest(force=True))
    shop.work()
    promoted = shop.search(photo)
    assert promoted.models["embedder"].startswith(NEW)
    assert unsure(promoted)
    with shop.worker.database.read() as session:
        assert session.scalar(select(CalibrationRow.index_version)) is not None, "the old one is kept"
    indexes.rollback("shop", RollbackRequest(force=True))
    shop.work()
    assert sure(shop.search(photo, top_k=40).whole.hits) == said
    # The control: a row of the live version's is what makes the difference.
    with shop.worker.database.write() as session:
        session.execute(delete(CalibrationRow))
    assert unsure(shop.search(photo))


def test_a_small_catalogue_says_so_and_keeps_its_scores(shop: Shop) -> None:
    with pytest.raises(NotFound, match="is empty"):
        ranking(shop).calibrate("shop")
    shop.import_files(goods(5))
    with pytest.raises(NotFound, match="no index 9"):
        ranking(shop).calibrate("shop", 9)
    report = calibrate(shop)
    assert not report["calibrated"]
    assert f"5 products with pictures, and {MIN_PRODUCTS} are needed" in str(report["why_not"])
    assert unsure(shop.search(product_photo(1)))
    # That is known now: a calibration that comes with the models would not be used either.
    with shop.worker.database.read() as session:
        live = live_index(session, 1)
        assert live is not None
        own = Calibrations(shop.settings.models_folder)
        own._defaults[live.detector, live.embedder] = object()  # type: ignore[assignment]
        made_at = session.scalar(select(CalibrationRow.created_at))
        assert own.of(session.connection(), live, made_at) is None
    with shop.worker.database.write() as session:
        session.execute(delete(CalibrationRow))
    with shop.worker.database.read() as session:
        assert own.of(session.connection(), live, None) is own._defaults[live.detector, live.embedder]


def test_nothing_is_learnt_where_no_product_can_be_cut_out(shop: Shop) -> None:
    files = goods(PRODUCTS) | {f"p{n}.jpg": builders.jpeg(n) for n in range(PRODUCTS)}
    shop.import_files(files)
    report = calibrate(shop)
    assert not report["calibrated"]
    assert "were found again in 0 photos" in str(report["why_not"])


def test_one_is_made_at_a_time_and_of_no_pruned_version(shop: Shop) -> None:
    shop.import_files(goods(3))
    ranking(shop).calibrate("shop")
    with pytest.raises(Conflict):
        ranking(shop).calibrate("shop")
    shop.work()
    with shop.worker.database.write() as session:
        session.execute(update(IndexVersionRow).values(state="pruned"))
    with pytest.raises(Conflict, match="pruned"):
        ranking(shop).calibrate("shop", 1)


def test_the_shipped_models_have_a_calibration() -> None:
    folder = Path(__file__).parents[2] / "models"
    assert (folder / DEFAULTS).exists()
    assert Calibrations(folder)._defaults
