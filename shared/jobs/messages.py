"""Publish chunks of jobs, labelled for Flower with their job, its kind and its catalogue."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from shared.broker.publisher import TaskPublisher
from shared.broker.task_names import TaskName
from shared.database import Database
from shared.database.catalogue_rows import display_name
from shared.database.tables import Catalogue, Chunk, Job


def publish_chunks(publisher: TaskPublisher, database: Database, chunk_ids: Sequence[str]) -> list[str]:
    """Publish a message for each chunk; return the chunks whose message the broker accepted."""
    if not chunk_ids:
        return []
    labels = _labels(database, chunk_ids)
    return [id_ for id_ in chunk_ids if publisher.publish(TaskName.WORK_CHUNK, id_, labels.get(id_))]


def _labels(database: Database, chunk_ids: Sequence[str]) -> dict[str, dict[str, str]]:
    of_chunks = (
        select(Chunk.id, Job.id.label("job"), Job.kind, display_name.label("catalogue"))
        .join(Job, Job.id == Chunk.job_id)
        .join(Catalogue, Catalogue.id == Job.catalogue_id)
        .where(Chunk.id.in_(list(chunk_ids)))
    )
    with database.read_connection() as connection:
        rows = connection.execute(of_chunks).all()
    return {row.id: {"job": row.job, "kind": row.kind, "catalogue": row.catalogue} for row in rows}
