"""A search worker without models and index: ``celery -A tests.stub_worker worker --queues search``.

Messages, claims, leases, tasks, events and notifications are those of production; only the answer is made up.
A search for ``FAILING_TOP_K`` hits fails, and each executed task is counted in Redis.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import redis
from celery import signals

from shared.broker.celery_config import make_celery
from shared.broker.publisher import TaskPublisher
from shared.broker.result_channel import ResultNotifier
from shared.contracts import SearchResult, WholeImage
from shared.errors import InvalidInput
from shared.factories import open_database
from shared.searches.queue import Claim, SearchQueue
from shared.settings import get_settings
from worker import tasks
from worker.search.lane import SearchLane

#: Where executed tasks are counted, and the ids of their searches.
TASKS_KEY = "tests:tasks"
FAILING_TOP_K = 13
BATCH = 4
_ANSWER_S = 0.01

settings = get_settings()
app = make_celery(settings.redis_url)
app.conf.include = [__name__]
tasks.register(app)


class StubLane(SearchLane):
    """Answers every search with nothing."""

    def _find_answers(self, claims: Sequence[Claim]) -> list[tuple[Any, SearchResult]]:
        time.sleep(_ANSWER_S * len(claims))
        if any(claim.options.top_k == FAILING_TOP_K for claim in claims):
            raise InvalidInput("This search fails, as it was asked to.")
        return [(_query(claim), _result(claim)) for claim in claims]


def _query(claim: Claim) -> Any:
    return SimpleNamespace(query=SimpleNamespace(claim=claim), embedded=SimpleNamespace(to_store=None))


def _result(claim: Claim) -> SearchResult:
    return SearchResult(
        query_id=claim.id,
        catalogue=claim.catalogue,
        objects=[],
        whole=WholeImage(hits=[]),
        timings_ms={"total": 1000 * _ANSWER_S},
        models={"detector": "stub"},
    )


@signals.task_prerun.connect
def _count(task_id: str, **_: Any) -> None:
    # Of each task, also of one that finds its search answered and asks nothing of the lane.
    redis.Redis.from_url(settings.redis_url).rpush(TASKS_KEY, task_id)


@signals.worker_process_init.connect
def _start(**_: Any) -> None:
    database = open_database(settings)
    queue = SearchQueue(
        database, f"stub-{os.getpid()}", settings.search.lease_s, settings.search.max_attempts
    )
    unused: Any = None
    lane = StubLane(
        database=database,
        queue=queue,
        store=unused,
        index=unused,
        pipelines=unused,
        decoders=unused,
        pictures=unused,
        batch=BATCH,
        notifier=ResultNotifier(settings.redis_url),
        probes=SimpleNamespace(note=lambda _: None),  # type: ignore[arg-type]
        calibrations=unused,
    )
    process: Any = SimpleNamespace(
        search=lane, database=database, publisher=TaskPublisher(settings.redis_url)
    )
    tasks._process = process
