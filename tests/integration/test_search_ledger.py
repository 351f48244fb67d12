"""The ledger of searches, on SQLite and on PostgreSQL."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.catalogue.store import CatalogueStore
from shared.contracts import SearchOptions, SearchResult, WholeImage
from shared.database import Database
from shared.database.idempotency import Idempotent
from shared.errors import Conflict, Expired, UnknownCatalogue, UnknownProduct, UnknownTask
from shared.searches.queue import Claim, SearchQueue
from shared.searches.repository import SearchRepository, SearchSource

KEY = "a" * 64


@pytest.fixture
def ledger(database: Database) -> SearchRepository:
    CatalogueStore(database).create("shop")
    return SearchRepository(database)


def desk(database: Database, holder: str = "one", lease_s: float = 30, max_attempts: int = 4) -> SearchQueue:
    return SearchQueue(database, holder, lease_s, max_attempts)


def accept(ledger: SearchRepository, ttl_s: int = 600, key: Idempotent | None = None) -> str:
    options = SearchOptions(catalogue="shop")
    return ledger.accept("shop", options, SearchSource(query_key=KEY), ttl_s=ttl_s, idempotency=key).id


def result(claim: Claim, index: str = "one") -> SearchResult:
    return SearchResult(
        query_id=claim.id,
        catalogue="shop",
        objects=[],
        whole=WholeImage(hits=[]),
        timings_ms={},
        models={"index": index},
    )


def test_a_search_goes_from_accepted_to_answered(database: Database, ledger: SearchRepository) -> None:
    search_id = accept(ledger)
    assert ledger.status(search_id).state == "queued"
    assert ledger.count_waiting() == 1
    worker = desk(database)
    (claim,) = worker.claim(10)
    assert (claim.id, claim.query_key, claim.catalogue, claim.attempts) == (search_id, KEY, "shop", 1)
    assert ledger.status(search_id).state == "running"
    assert len(worker.answer([(claim, result(claim))])) == 1
    status = ledger.status(search_id)
    assert status.state == "succeeded"
    assert status.result is not None
    assert status.result.query_id == search_id
    assert worker.claim(10) == []


def test_ids_that_mean_nothing_any_more(ledger: SearchRepository) -> None:
    with pytest.raises(UnknownTask):
        ledger.status("00000000-0000-0000-0000-000000000000")
    with pytest.raises(Expired):
        ledger.status(accept(ledger, ttl_s=-1))
    with pytest.raises(UnknownCatalogue):
        ledger.accept("other", SearchOptions(), SearchSource(query_key=KEY), ttl_s=600)
    with pytest.raises(UnknownProduct):
        ledger.accept("shop", SearchOptions(), SearchSource(product_id="nothing"), ttl_s=600)


def test_one_key_makes_one_search_however_many_ask_at_once(
    database: Database, ledger: SearchRepository
) -> None:
    with ThreadPoolExecutor(12) as pool:
        ids = set(pool.map(lambda _: accept(ledger, key=Idempotent("k", "same")), range(24)))
    assert len(ids) == 1
    assert ledger.count_waiting() == 1
    with pytest.raises(Conflict):
        accept(ledger, key=Idempotent("k", "another request"))


def test_two_workers_never_take_the_same_search(database: Database, ledger: SearchRepository) -> None:
    wanted = {accept(ledger) for _ in range(40)}
    taken: list[str] = []
    lock = threading.Lock()

    def work(holder: str) -> None:
        worker = desk(database, holder)
        while claims := worker.claim(3):
            with lock:
                taken.extend(claim.id for claim in claims)

    threads = [threading.Thread(target=work, args=(f"w{n}",), daemon=True) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(wanted)


def test_a_late_answer_is_refused_and_the_newer_one_stays(
    database: Database, ledger: SearchRepository
) -> None:
    search_id = accept(ledger)
    slow, quick = desk(database, "slow", lease_s=-1), desk(database, "quick")
    (late,) = slow.claim(1)
    assert quick.sweep() == 1
    (claim,) = quick.claim(1)
    assert len(quick.answer([(claim, result(claim, "quick"))])) == 1
    assert slow.answer([(late, result(late, "slow"))]) == []
    answered = ledger.status(search_id).result
    assert answered is not None
    assert answered.models["index"] == "quick"


def test_a_search_whose_worker_always_dies_fails_with_the_reason(
    database: Database, ledger: SearchRepository
) -> None:
    search_id = accept(ledger)
    worker = desk(database, lease_s=-1, max_attempts=3)
    for _ in range(3):
        assert len(worker.claim(1)) == 1
        worker.sweep()
    assert worker.claim(1) == []
    status = ledger.status(search_id)
    assert status.state == "failed"
    assert status.error is not None
    assert status.error.code == "worker_lost"


def test_a_search_that_was_tried_before_is_tried_alone(database: Database, ledger: SearchRepository) -> None:
    suspects = {accept(ledger) for _ in range(2)}
    worker = desk(database)
    assert {c.id for c in worker.claim(10)} == suspects
    fresh = accept(ledger)
    assert worker.take_over() == 2
    batches = [[c.id for c in worker.claim(10)] for _ in range(3)]
    assert [len(batch) for batch in batches] == [1, 1, 1]
    assert {batches[0][0], batches[1][0]} == suspects
    assert batches[2] == [fresh]


def test_waiting_for_a_service_that_is_away_costs_no_attempt(
    database: Database, ledger: SearchRepository
) -> None:
    search_id = accept(ledger)
    worker = desk(database, max_attempts=2)
    for _ in range(5):
        claims = worker.claim(1)
        worker.postpone(claims, -1.0, "index_unavailable", "Milvus is away", count_attempt=False)
    assert ledger.status(search_id).state == "queued"
    for _ in range(2):
        worker.postpone(worker.claim(1), -1.0, "out_of_memory", "too large", count_attempt=True)
    status = ledger.status(search_id)
    assert status.state == "failed"
    assert status.error is not None
    assert status.error.code == "out_of_memory"


def test_a_postponed_search_is_left_alone_until_its_time(
    database: Database, ledger: SearchRepository
) -> None:
    accept(ledger)
    worker = desk(database)
    worker.postpone(worker.claim(1), 60.0, "index_unavailable", "Milvus is away", count_attempt=False)
    assert worker.claim(1) == []
    assert worker.list_overdue(0, 10) == []


def test_a_new_process_takes_over_only_what_its_own_name_held(
    database: Database, ledger: SearchRepository
) -> None:
    first = accept(ledger)
    desk(database, "one").claim(1)
    second = accept(ledger)
    desk(database, "two").claim(1)
    assert desk(database, "one").take_over() == 1
    assert ledger.status(first).state == "queued"
    assert ledger.status(second).state == "running"


def test_a_cancelled_search_takes_no_answer(database: Database, ledger: SearchRepository) -> None:
    waiting, running = accept(ledger), accept(ledger)
    worker = desk(database)
    claims = worker.claim(2)
    assert ledger.cancel(running).state == "cancelled"
    answers = [(claim, result(claim)) for claim in claims]
    assert len(worker.answer(answers)) == 1
    assert ledger.status(running).state == "cancelled"
    assert ledger.status(waiting).state == "succeeded"
    assert ledger.cancel(waiting).state == "succeeded"
