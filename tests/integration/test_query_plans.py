"""No statement that a shopper, a batch of a job or a sweep waits for reads or sorts a whole catalogue.

The real code runs on a database of 100,000 products, and the plans of the statements that it sent are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import pytest

from shared.broker.task_names import Lane
from shared.catalogue.product_list import ProductList
from shared.catalogue.shop_window import ShopWindow
from shared.database.statistics import refresh_statistics
from shared.database.tables import Base
from shared.health.lanes import LaneMonitor
from shared.health.queue_counts import waiting_by_lane
from shared.jobs.work import ChunkClaim
from shared.retention.expiry import delete_dry_runs, expired_imports, unused_query_images
from tests.databases import new_postgres_database
from tests.large_catalogue import fill, product_id
from tests.memory_index import MemoryIndex
from tests.plans import Statements, recorded
from tests.shop import CHUNK, Shop, photo
from worker.duplicates.pairs import load_pictures
from worker.indexes.expected_rows import expected_keys, keys_of_products, known_keys
from worker.indexes.stored_rows import rows_of_keys, rows_of_products
from worker.jobs.stored_products import _changed_products, list_products
from worker.jobs.sync import _list_absent
from worker.products.existing_embeddings import load_existing_products

pytestmark = pytest.mark.slow

_PRODUCTS = 100_000
_IDS = [product_id(n) for n in range(1, 513)]

#: Statements that read a large table on purpose, by a part of their text, with the reason.
_WHOLE = {
    "GROUP BY products.catalogue_id": "counted once a change of the catalogue: shared/catalogue/counts.py",
    "SELECT count(*) AS count_1 FROM images": "the same, of all catalogues: 1 ms at a million",
    "GROUP BY job_failures.reason": "the failures of one job, counted for its first page",
    "FROM job_failures WHERE job_failures.job_id = ? AND job_failures.reason": "once an import, at its end",
    "count(*) AS count_1 FROM products WHERE products.catalogue_id = ": "once an import, at its end",
    "count(*) AS count_1 FROM job_items WHERE job_items.job_id = ": "once an import, at its end",
    "DELETE FROM job_": "what an interrupted plan of the same job left",
    "chunks.error LIKE": "a question of the test's own shop",
}


@pytest.fixture(scope="module")
def shops() -> Iterator[dict[str, Shop]]:
    """Shops by the kind of their database: each is filled once, in whatever order the tests run."""
    opened: dict[str, Shop] = {}
    yield opened
    for each in opened.values():
        each.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def shop(
    request: pytest.FixtureRequest, shops: dict[str, Shop], tmp_path_factory: pytest.TempPathFactory
) -> Shop:
    """Four products through the whole pipeline, then 100,000 of the same catalogue and version."""
    kind: str = request.param
    if kind not in shops:
        url = None
        if kind == "postgresql":
            url = new_postgres_database(request.getfixturevalue("postgres"))
        opened = shops[kind] = Shop.in_small_steps(
            tmp_path_factory.mktemp(kind), MemoryIndex(), database_url=url
        )
        opened.fill(CHUNK)
        fill(opened.database, _PRODUCTS, job_items=20_000, searches=20_000)
        refresh_statistics(opened.database)
    return shops[kind]


def offences(shop: Shop, statements: Statements) -> dict[str, list[str]]:
    return {
        statement: lines
        for statement, lines in statements.offences(shop.database).items()
        if not any(part in " ".join(statement.split()) for part in _WHOLE)
    }


def import_again(shop: Shop) -> None:
    """Import a known, a changed and a new product."""
    files = {"p0.jpg": photo(0), "p1.jpg": photo(21), "p9.jpg": photo(9)}
    counts = shop.done(shop.accept_import(files)).counts
    assert (counts.new, counts.changed, counts.unchanged) == (1, 1, 1)


def claim_of() -> ChunkClaim:
    """A claim on the ended job, for functions that read what a job has."""
    return ChunkClaim(
        id="ended-1",
        job_id="ended",
        number=1,
        stage="items",
        first=1,
        last=256,
        priority=10,
        attempts=1,
        fence=1,
        kind="import",
        catalogue="shop",
        catalogue_id=1,
        source={},
        options={},
        index_version=1,
        accepted_at=1.0,
    )


def test_a_search_reads_the_rows_that_it_shows(shop: Shop) -> None:
    with recorded(shop.database) as statements:
        shop.search(1)
        shop.search(2, filter='category = "chairs"')
        shop.answered(shop.accept_search(product_id="p1"))
        shop.worker.search.queue.sweep()
    assert len(statements.found) > 8
    assert offences(shop, statements) == {}


def test_a_change_of_products_reads_their_rows(shop: Shop) -> None:
    with recorded(shop.database) as statements:
        shop.put_drawn("p2", 7, titles={"en": "Another"})
        shop.put_drawn("new", 8, titles={"en": "New"})
        shop.delete("new")
        import_again(shop)
    assert len(statements.found) > 20
    assert offences(shop, statements) == {}


def test_batches_of_bulk_jobs_read_their_rows(shop: Shop) -> None:
    database, context = shop.database, shop.worker.catalogue.context
    claim = claim_of()
    with recorded(shop.database) as statements:
        with database.read() as session:
            assert len(rows_of_products(session, 1, 1, _IDS).rows) == len(_IDS)
            assert keys_of_products(session, 1, 1, _IDS)
            keys = sorted(keys_of_products(session, 1, 1, _IDS))
            assert known_keys(session, 1, keys) == set(keys)
            assert rows_of_keys(session, 1, keys)
            assert len(load_existing_products(session, 1, _IDS)) == len(_IDS)
            assert load_pictures(session, 1, 1, _IDS)
            assert _changed_products(session, 1, 500)
        assert len(list(islice(expected_keys(database, 1), 9000))) == 9000
        assert len(list(islice(list_products(context, claim), 2500))) == 2500
        assert len(list(islice(_list_absent(database, claim, ()), 2))) == 2
        assert context.desk.items(claim) == []
        assert context.desk.claim() is None
        context.desk.sweep()
    assert len(statements.found) > 15
    assert offences(shop, statements) == {}


def test_pages_and_sweeps_read_their_rows(shop: Shop) -> None:
    database = shop.database
    products, window = ProductList(database), ShopWindow(database)
    with recorded(shop.database) as statements:
        assert products.page("shop").next
        assert products.page("shop", after=product_id(5000)).next
        assert window.sample_products("shop", "en", 24, 3)
        assert shop.catalogue.product("shop", product_id(9)).images
        shop.catalogue.list_catalogues()
        waiting_by_lane(database)
        for lane in Lane:
            LaneMonitor(database, 30.0).read(lane)
        shop.jobs.failures("ended")
        shop.worker.search.queue.delete_expired()
        list(unused_query_images(database, ["a" * 64]))
        list(expired_imports(database, ["a"], 0.0))
        delete_dry_runs(database, 0.0)
    assert len(statements.found) > 12
    assert offences(shop, statements) == {}


def test_a_missing_index_is_seen(shop: Shop) -> None:
    """The control, for each kind of offence: a page that is sorted, and a join that scans."""
    database, context = shop.database, shop.worker.catalogue.context
    indexes = [
        index
        for table in Base.metadata.sorted_tables
        for index in table.indexes
        if index.name in ("ix_images_product", "ix_products_of_catalogue", "ix_detections_of_version")
    ]
    assert len(indexes) == 3
    with database.write_connection() as connection:
        for index in indexes:
            index.drop(connection)
        # That of version 0.2.
        connection.exec_driver_sql("CREATE INDEX ix_detections_index_version ON detections (index_version)")
    try:
        refresh_statistics(database)
        with recorded(shop.database) as pages:
            list(islice(expected_keys(database, 1), 9000))
            list(islice(list_products(context, claim_of()), 2500))
        with recorded(shop.database) as joins, database.read() as session:
            rows_of_products(session, 1, 1, _IDS[:3])
        assert offences(shop, joins)
        if database.is_sqlite:
            assert len(offences(shop, pages)) >= 2
    finally:
        with database.write_connection() as connection:
            connection.exec_driver_sql("DROP INDEX ix_detections_index_version")
            for index in indexes:
                index.create(connection)
        refresh_statistics(database)
