"""What a task claims, and which searches the maintenance process publishes again, on both databases."""

from __future__ import annotations

import threading

import pytest

from shared.catalogue.store import CatalogueStore
from shared.contracts import SearchOptions
from shared.database import Database
from shared.database.clock import now_s
from shared.database.tables import Search
from shared.searches.queue import SearchQueue
from shared.searches.repository import SearchRepository, SearchSource

AGE_S = 5.0


@pytest.fixture
def ledger(database: Database) -> SearchRepository:
    CatalogueStore(database).create("shop")
    return SearchRepository(database)


def desk(database: Database, holder: str = "one") -> SearchQueue:
    return SearchQueue(database, holder, lease_s=30, max_attempts=4)


def accept(ledger: SearchRepository) -> str:
    return ledger.accept(
        "shop", SearchOptions(catalogue="shop"), SearchSource(query_key="a" * 64), ttl_s=600
    ).id


def claimed(worker: SearchQueue, own: str, limit: int = 3) -> list[str]:
    return [claim.id for claim in worker.claim(limit, own)]


def set_times(database: Database, search_id: str, created_s_ago: float, published_s_ago: float) -> None:
    with database.write() as session:
        search = session.get_one(Search, search_id)
        search.created_at = now_s() - created_s_ago
        search.published_at = now_s() - published_s_ago


def test_a_task_claims_its_own_search_first_then_the_oldest(
    database: Database, ledger: SearchRepository
) -> None:
    first, second, third, own = (accept(ledger) for _ in range(4))
    worker = desk(database)
    assert claimed(worker, own) == [own, first, second]
    assert claimed(worker, third) == [third]


def test_a_task_whose_search_does_not_wait_claims_nothing(
    database: Database, ledger: SearchRepository
) -> None:
    held, cancelled, postponed, waiting = (accept(ledger) for _ in range(4))
    worker = desk(database)
    assert claimed(worker, held, limit=1) == [held]
    ledger.cancel(cancelled)
    worker.postpone(
        worker.claim(1, postponed), 60.0, "index_unavailable", "Milvus is away", count_attempt=False
    )
    for gone in (held, cancelled, postponed, "never-issued"):
        assert claimed(desk(database, "two"), gone) == []
    assert claimed(desk(database, "two"), waiting) == [waiting]


def test_a_search_that_was_tried_before_is_claimed_alone(
    database: Database, ledger: SearchRepository
) -> None:
    tried = accept(ledger)
    worker = desk(database)
    worker.claim(1, tried)
    worker.take_over()
    fresh, another = accept(ledger), accept(ledger)
    assert claimed(worker, fresh) == [fresh, another]
    assert claimed(worker, tried) == [tried]


def test_tasks_that_meet_never_share_a_search(database: Database, ledger: SearchRepository) -> None:
    searches = [accept(ledger) for _ in range(40)]
    taken: list[str] = []
    lock = threading.Lock()

    def work(number: int) -> None:
        worker = desk(database, f"worker-{number}")
        for own in searches:
            claims = claimed(worker, own)
            with lock:
                taken.extend(claims)

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(searches)


def test_a_search_is_published_again_at_intervals_that_double(
    database: Database, ledger: SearchRepository
) -> None:
    search_id = accept(ledger)
    worker = desk(database)

    def is_overdue(created_s_ago: float, published_s_ago: float) -> bool:
        set_times(database, search_id, created_s_ago, published_s_ago)
        return worker.list_overdue(AGE_S, 10) == [search_id]

    assert not is_overdue(4, 4)
    assert is_overdue(6, 6)
    assert not is_overdue(20, 9), "it waited 11 s until the last message, and 9 s since"
    assert is_overdue(24, 13)
    assert not is_overdue(1000, 55)
    assert is_overdue(1000, 65), "at most a minute"
    worker.note_published([search_id])
    assert worker.list_overdue(AGE_S, 10) == []


def test_a_search_that_was_put_back_is_published_again_at_once(
    database: Database, ledger: SearchRepository
) -> None:
    lost, postponed = accept(ledger), accept(ledger)
    worker = desk(database)
    worker.claim(1, lost)
    worker.take_over()
    worker.postpone(
        worker.claim(1, postponed), -1.0, "index_unavailable", "Milvus is away", count_attempt=False
    )
    assert worker.list_overdue(AGE_S, 10) == [lost, postponed]
    assert worker.count_waiting() == 2
