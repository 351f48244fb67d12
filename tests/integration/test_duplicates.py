"""Products that show the same thing are found, and products that do not are left alone."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from sqlalchemy import select, update

from shared.catalogue.duplicates import DuplicateRepository
from shared.contracts import JobOut, ProductIn
from shared.contracts.duplicates import DuplicatesRequest
from shared.contracts.states import JobKind
from shared.database.bulk import insert_rows
from shared.database.clock import now_s
from shared.database.tables import Detection, Duplicate, DuplicatePair, Image, Job, Product
from tests import builders
from tests.memory_index import MemoryIndex
from tests.packing import pictures
from tests.shop import Shop
from worker.duplicates import groups as duplicate_groups
from worker.duplicates import pairs as duplicate_pairs
from worker.duplicates.groups import Member, ProductRanking, generate_groups
from worker.indexes.versions import live_index
from worker.jobs.duplicates import FindDuplicates
from worker.vision.packing import pack_embedding

pytestmark = pytest.mark.slow

BOTH = pytest.mark.parametrize("shop", ["sqlite", "postgresql"], indirect=True)


def photo(seed: int, quality: int = 95, width: int = 480, mirror: bool = False) -> bytes:
    """A picture with large coloured shapes, in some size and compression."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    image = cv2.resize(coarse, (480, 360), interpolation=cv2.INTER_CUBIC)
    if mirror:
        image = image[:, ::-1]
    image = cv2.resize(image, (width, width * 3 // 4), interpolation=cv2.INTER_AREA)
    ok, packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    assert ok
    return packed.tobytes()


def look(shop: Shop, **wanted: object) -> JobOut:
    options = DuplicatesRequest.model_validate(wanted).model_dump()
    job = shop.jobs.create(JobKind.DUPLICATES, "shop", options).id
    shop.work()
    done = shop.jobs.status(job)
    assert done.state == "succeeded", done
    return done


def shown(shop: Shop, **how: object) -> list[tuple[str, list[str]]]:
    """The groups, each with the product to keep first."""
    ledger = DuplicateRepository(shop.worker.database)
    return [(g.kind, [p.product_id for p in g.products]) for g in ledger.groups("shop", **how).groups]  # type: ignore[arg-type]


@BOTH
def test_exact_and_near_duplicates_are_told_from_other_products(shop: Shop) -> None:
    files = {f"other{n}.jpg": photo(100 + n) for n in range(8)}
    files |= {"a.jpg": photo(1), "a2.jpg": photo(1)}
    files |= {"b.jpg": photo(2), "b2.jpg": photo(2, width=300), "b3.jpg": photo(2, quality=35)}
    files |= {"c.jpg": photo(3), "c2.jpg": photo(3, mirror=True)}
    shop.import_files(files)
    done = look(shop)
    (exact, near, turned) = shown(shop)
    assert exact == ("exact", ["a", "a2"])
    assert (near[0], near[1][0], set(near[1])) == ("near", "b", {"b", "b2", "b3"})
    assert turned == ("near", ["c", "c2"])
    assert (done.total, done.done, done.counts.unchanged) == (15, 15, 15)
    assert done.report == {
        "duplicates": {
            "exact": {"groups": 1, "products": 2},
            "near": {"groups": 2, "products": 5},
            "without_hash": 0,
        }
    }
    found = DuplicateRepository(shop.worker.database).groups("shop").groups
    assert all(p.similarity == 1 for p in found[0].products)
    assert all(0.9 <= p.similarity < 1 for p in found[1].products[1:])
    assert all(p.image_url.startswith("/v1/images/") for g in found for p in g.products)

    look(shop, near=False)
    assert shown(shop) == [("exact", ["a", "a2"])], "the last job is what is shown"


def test_both_measures_must_agree(shop: Shop) -> None:
    """Pictures with the same colours and another shape have one embedding here, and other hashes."""
    chance = np.random.default_rng(4)
    cells = chance.integers(0, 256, (36, 3)).astype(np.uint8)
    files = {
        name: np.kron(order.reshape(6, 6, 3), np.ones((32, 32, 1), np.uint8))
        for name, order in (("one.png", cells), ("other.png", chance.permutation(cells)))
    }
    shop.import_files({name: builders.encoded(pixels, "PNG") for name, pixels in files.items()})
    look(shop)
    assert shown(shop) == [], "the hashes differ"
    look(shop, max_bits=32)
    assert shown(shop) == [("near", ["one", "other"])], "control: the embeddings alone do not tell them"

    # And the other way round: the same hash, another embedding.
    with shop.worker.database.write() as session:
        hashes = session.scalars(select(Image.perceptual_hash)).all()
        session.execute(update(Image).values(perceptual_hash=hashes[0]))
        live = live_index(session, 1)
        assert live is not None
        image_id = session.scalars(select(Image.id)).first()
        other = np.zeros(live.dim, np.float32)
        other[0] = 1
        session.execute(
            update(Detection).where(Detection.image_id == image_id).values(embedding=pack_embedding(other))
        )
    shop.worker.index.delete(live.collection, list(shop.keys(live.collection)))
    assert shop.rows() == 0
    look(shop)
    assert shown(shop) == []
    look(shop, min_score=0)
    assert shown(shop) == [("near", ["one", "other"])], "control: found by hash alone, without the index"


def test_what_the_index_does_not_give_is_found_by_hash(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.import_files({"b.jpg": photo(2), "b2.jpg": photo(2, width=440), "other.jpg": photo(9)})
    live = shop.catalogue.get("shop").index_version
    assert live is not None
    shop.worker.index.delete(live, list(shop.keys(live)))
    assert shop.rows() == 0
    look(shop)
    assert shown(shop) == [("near", ["b", "b2"])]
    monkeypatch.setattr("worker.jobs.duplicates.generate_banded_pairs", lambda *_: iter(()))
    look(shop)
    assert shown(shop) == [], "control: it was the hashes"


def test_which_product_is_kept(shop: Shop) -> None:
    """Most pictures, then most fields, then the oldest."""
    shop.put("oldest", ProductIn(), [photo(1)])
    shop.put("described", ProductIn(titles={"en": "Chair"}, price=3), [photo(1)])
    look(shop)
    assert shown(shop)[0] == ("exact", ["described", "oldest"])
    shop.put("pictured", ProductIn(), [photo(1), photo(5)])
    shop.put("newest", ProductIn(), [photo(1)])
    look(shop)
    kept = DuplicateRepository(shop.worker.database).groups("shop").groups[0]
    assert kept.keep == "pictured"
    assert {p.product_id for p in kept.products} == {"pictured", "described", "oldest", "newest"}
    shop.jobs.create_delete("shop", ["newest", "described", "oldest"])
    shop.work()
    assert shown(shop) == [], "a group of one is none"


def test_a_chain_does_not_make_one_group() -> None:
    """Each is like the next one only; joined by their pairs all would be one group."""
    chain = list(range(1, 8))
    pairs = set(pairwise(chain))

    def duplicates(_: object, product: int) -> list[tuple[str, Member]]:
        near = [b if a == product else a for a, b in pairs if product in (a, b)]
        return [("picture", Member(each, "picture", 0.95)) for each in near]

    class Reads:
        def __enter__(self) -> None:
            return None

        def __exit__(self, *_: object) -> None:
            return None

    class Nowhere:
        def read(self) -> Reads:
            return Reads()

    order = ProductRanking(np.array(chain, np.int64))
    found = list(generate_groups(Nowhere(), order, duplicates, 1, lambda: None))  # type: ignore[arg-type]
    assert [[m.product for m in members] for _, members in found] == [[1, 2], [3, 4], [5, 6]]
    for _, members in found:
        kept = members[0].product
        assert all(tuple(sorted((kept, m.product))) in pairs for m in members[1:])


def test_a_picture_that_many_share_makes_groups_of_a_bounded_size(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(duplicate_groups, "MAX_MEMBERS", 4)
    shop.import_files({f"p{n}.jpg": photo(1) for n in range(10)})
    done = look(shop)
    assert [len(group) for _, group in shown(shop)] == [4, 4, 2]
    assert done.report is not None
    assert done.report["duplicates"]["near"]["groups"] == 0, "what is exact is not told again as near"


def test_large_buckets_are_compared_in_part_and_pairs_met_once() -> None:
    left, right = duplicate_pairs._pairs_in_bucket(duplicate_pairs._MAX_BUCKET + 1)
    assert len(left) < (duplicate_pairs._MAX_BUCKET + 1) * duplicate_pairs._NEXT_IN_BUCKET
    assert (right > left).all()
    assert len(duplicate_pairs._pairs_in_bucket(5)[0]) == 10
    # Two quarters agree: only the first of them offers the pair.
    differing = np.array([0x0001_0000_0000_0001], np.int64)
    met = [bool(duplicate_pairs._is_new_in_band(differing, band)[0]) for band in range(4)]
    assert met == [True, True, False, False]
    assert [int((differing[0] >> (16 * band)) & 0xFFFF) for band in range(4)] == [1, 0, 0, 1]


def test_a_job_that_is_cut_off_begins_its_last_step_anew(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.import_files(
        {"a.jpg": photo(1), "a2.jpg": photo(1), "b.jpg": photo(2), "b2.jpg": photo(2, width=300)}
    )
    job = shop.jobs.create(JobKind.DUPLICATES, "shop", DuplicatesRequest().model_dump()).id
    original = FindDuplicates.finish
    died: list[int] = []

    def dies(self: FindDuplicates, claim: object) -> object:
        report = original(self, claim)  # type: ignore[arg-type]
        if not died:
            died.append(1)
            raise RuntimeError("the process ends here")
        return report

    monkeypatch.setattr(FindDuplicates, "finish", dies)
    monkeypatch.setattr("worker.jobs.lane.back_off_s", lambda _: 0.0)
    shop.work()
    assert died
    assert shop.jobs.status(job).state == "succeeded"
    assert shown(shop) == [("exact", ["a", "a2"]), ("near", ["b", "b2"])]
    with shop.worker.database.read() as session:
        assert len(session.scalars(select(Duplicate)).all()) == 4, "nothing is there twice"


def test_the_rest_of_a_cancelled_job_knows_what_that_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Or the last step would find the pair by itself.
    monkeypatch.setattr("worker.jobs.duplicates.generate_banded_pairs", lambda *_: iter(()))
    shop = Shop.in_small_steps(tmp_path, MemoryIndex())
    for n, data in enumerate((photo(1), photo(1, width=300), *(photo(50 + n) for n in range(4)))):
        shop.done(shop.jobs.create_put("shop", f"p{n}", ProductIn(), [shop.store.put(data, "images")]).id)
    shop.rows()
    job = shop.jobs.create(JobKind.DUPLICATES, "shop", DuplicatesRequest().model_dump()).id
    assert shop.work(2) == 2, "the plan, and the first of two chunks"
    shop.jobs.cancel(job)
    with shop.database.read() as session:
        assert len(session.scalars(select(DuplicatePair)).all()) == 1
    rest = shop.done(shop.jobs.retry(job, None, 4).id)
    assert (rest.state, rest.total) == ("succeeded", 2)
    (group,) = DuplicateRepository(shop.database).groups("shop").groups
    assert [p.product_id for p in group.products] == ["p0", "p1"]
    shop.close()


def test_earlier_groups_are_shown_until_there_are_new_ones_and_then_go(shop: Shop) -> None:
    assert shown(shop) == []
    shop.import_files({"a.jpg": photo(1), "a2.jpg": photo(1)})
    first = look(shop)
    shop.jobs.create(JobKind.DUPLICATES, "shop", DuplicatesRequest().model_dump())
    assert DuplicateRepository(shop.worker.database).groups("shop").job_id == first.id
    shop.work()
    look(shop)
    with shop.worker.database.read() as session:
        left = set(session.scalars(select(Duplicate.job_id)))
        assert first.id not in left
        assert len(left) == 2
        assert not session.scalars(select(DuplicatePair)).all()
    assert shown(shop) == [("exact", ["a", "a2"])]


def test_memory_does_not_grow_with_the_pairs(shop: Shop) -> None:
    """Groups are made of numbers, eight bytes a product, and the pairs stay in the database."""
    shop.import_files(dict(pictures(2)))
    database = shop.worker.database
    with database.write() as session:
        template = session.scalars(select(Product)).first()
        assert template is not None
        values = {c.name: getattr(template, c.name) for c in Product.__table__.columns}
        count = 20_000
        insert_rows(
            session, Product, [{**values, "id": 100 + n, "product_id": f"x{n}"} for n in range(count)]
        )
        job = Job(
            id="j" * 36, kind="duplicates", catalogue_id=1, state="running", source={}, created_at=now_s()
        )
        session.add(job)
        session.flush()
        insert_rows(
            session,
            DuplicatePair,
            [
                {
                    "job_id": job.id, "left_product": 100 + n, "right_product": 101 + n,
                    "left_image": "i", "right_image": "i", "score": 0.95,
                }
                for n in range(count - 1)
            ],
        )  # fmt: skip
    tracemalloc.start()
    ranked = duplicate_groups.rank_products(database, 1, duplicate_groups.select_in_pairs("j" * 36))
    order = ProductRanking(ranked)
    near = duplicate_groups.near_duplicates("j" * 36, ProductRanking(np.zeros(0, np.int64)))
    found = generate_groups(database, order, near, 1, lambda: None)
    for _ in range(500):
        next(found)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(ranked) == count
    assert peak < 8_000_000, f"{peak:,} bytes"
