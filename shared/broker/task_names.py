"""Names of the Celery tasks and of their lanes.

A message has the id of a database row and nothing else. The names are a public interface, because dashboards
use them as labels.
"""

from __future__ import annotations

from enum import StrEnum


class Lane(StrEnum):
    """A queue with its own worker processes."""

    SEARCH = "search"
    CATALOGUE = "catalogue"


class TaskName(StrEnum):
    """Name of a task in Celery and Flower."""

    ANSWER_SEARCH = "search.answer"
    WORK_CHUNK = "catalogue.work_chunk"


LANE_OF: dict[TaskName, Lane] = {
    TaskName.ANSWER_SEARCH: Lane.SEARCH,
    TaskName.WORK_CHUNK: Lane.CATALOGUE,
}
