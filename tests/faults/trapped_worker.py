"""A Celery worker that is held up, meets a picture that kills, or has one of its guards off.

``celery -A tests.faults.trapped_worker``; which, the variable ``TRAPS`` says, in words:

- ``gated``: a micro-batch waits at its models until the file ``GATE`` allows it: that holds how many
  have ever been let through;
- ``poison``: a picture ``POISON_WIDTH_PX`` wide kills the process that looks at it;
- ``deaf``: the child does not hear that its worker was told to stop (the control of M10);
- ``stubborn``: a stopped job's worker is not told no (the control of M32);
- ``blameless``: it is not noted which product is tried (the control of M05).
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from shared.database import execute_rowcount
from shared.database.tables import Chunk
from shared.jobs.queue import JobQueue
from tests.faults.chunks import POISON_WIDTH_PX
from worker import shutdown
from worker.app import app
from worker.vision.pipeline import Pipeline

_TRAPS = os.environ.get("TRAPS", "").split()

# So that the pool's spawned child imports this module too.
app.conf.include = [*app.conf.include, __name__]

_find_objects = Pipeline.find_objects


def _find(self: Pipeline, images: Any, *args: Any, **kwargs: Any) -> Any:
    if "gated" in _TRAPS:
        _pass_the_gate(Path(os.environ["GATE"]))
    if "poison" in _TRAPS and any(image.shape[1] == POISON_WIDTH_PX for image in images):
        os.kill(os.getpid(), signal.SIGKILL)
    return _find_objects(self, images, *args, **kwargs)


def _pass_the_gate(gate: Path) -> None:
    passed = gate.with_name("passed")
    number = passed.stat().st_size if passed.exists() else 0
    while int(gate.read_text() or 0) <= number:
        time.sleep(0.02)
    with passed.open("ab") as file:
        file.write(b".")


def _always_mine(self: JobQueue, session: Any, claim: Any) -> bool:
    from sqlalchemy import update

    return bool(execute_rowcount(session, update(Chunk).where(Chunk.id == claim.id).values(error=None)))


Pipeline.find_objects = _find  # type: ignore[method-assign]
if "deaf" in _TRAPS:
    shutdown.install_handler = lambda: signal.signal(signal.SIGUSR2, signal.SIG_IGN)  # type: ignore[assignment]
if "stubborn" in _TRAPS:
    JobQueue._renew = _always_mine  # type: ignore[method-assign]
if "blameless" in _TRAPS:
    JobQueue.count_item_attempt = lambda self, claim, item: 1  # type: ignore[method-assign]
