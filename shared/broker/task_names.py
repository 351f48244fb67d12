"""Names of the Celery tasks, and the lane that each runs in.

A message carries the id of a database row and nothing else. The names are a public interface:
dashboards label by them.
"""

from __future__ import annotations

from enum import StrEnum


class Lane(StrEnum):
    """A queue with worker processes of its own."""

    SEARCH = "search"
    CATALOGUE = "catalogue"


class TaskName(StrEnum):
    """A task, as Celery and Flower show it."""

    ANSWER_SEARCH = "search.answer"
    WORK_CHUNK = "catalogue.work_chunk"


LANE_OF: dict[TaskName, Lane] = {
    TaskName.ANSWER_SEARCH: Lane.SEARCH,
    TaskName.WORK_CHUNK: Lane.CATALOGUE,
}
