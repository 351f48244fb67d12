"""A Celery worker with one of the things off that make imports resumable: ``FORGETS`` says which.

``celery -A tests.faults.forgetful_worker``:

- ``keys``: an object's row has another key each time it is written, and what an abandoned try wrote is not
  removed (the control of M24);
- ``place``: a worker that starts does the jobs from their beginning (the control of M27).

Its models have the gate of a trapped worker.
"""

from __future__ import annotations

import os
import secrets

from sqlalchemy import update

from shared.database.tables import Chunk, JobItem
from shared.jobs.queue import JobQueue
from shared.jobs.work import ChunkClaim
from tests.faults import trapped_worker
from worker.app import app
from worker.indexes import expected_rows
from worker.indexes import rows as index_rows
from worker.jobs import lane
from worker.products.context import JobContext

# So that the pool's spawned child imports this module too.
app.conf.include = [*app.conf.include, trapped_worker.__name__, __name__]


def _another_key(image_id: str, number: int) -> str:
    return f"{image_id}-{number}-{secrets.token_hex(4)}"


def _leave(context: JobContext, claim: ChunkClaim) -> None:
    return None


def _begin_again(self: JobQueue) -> int:
    with self._database.write() as session:
        session.execute(update(JobItem).values(state="waiting"))
        begun = Chunk.stage.in_(("items",)) & Chunk.state.in_(("running", "done"))
        session.execute(
            update(Chunk).where(begun).values(state="waiting", fence=Chunk.fence + 1, lease_until=0.0)
        )
    return 0


if os.environ.get("FORGETS") == "keys":
    # The proof, which has the name already, goes on to expect the right ones.
    assert vars(expected_rows)["row_key"] is index_rows.row_key
    index_rows.row_key = _another_key
    vars(lane)["remove_leftovers"] = _leave
if os.environ.get("FORGETS") == "place":
    JobQueue.take_over = _begin_again  # type: ignore[method-assign]
