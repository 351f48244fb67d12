"""Names of the Celery tasks, and the lane each runs in.

A message is a doorbell: it carries the id of a row in the ledger and nothing else. The names are
a public interface, since dashboards label by them.
"""

from __future__ import annotations

from enum import StrEnum


class Lane(StrEnum):
    """A queue with worker processes of its own."""

    SEARCH = "search"
    CATALOGUE = "catalogue"


class TaskName(StrEnum):
    """A task, as Celery and Flower show it."""

    ANSWER_SEARCHES = "search.answer"
    WORK_CHUNK = "catalogue.work_chunk"


#: Who is called for a search looks out so long for one that is not committed yet.
LOOK_OUT_S = 0.05

LANE_OF: dict[TaskName, Lane] = {
    TaskName.ANSWER_SEARCHES: Lane.SEARCH,
    TaskName.WORK_CHUNK: Lane.CATALOGUE,
}
