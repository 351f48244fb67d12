"""The catalogue lane: one chunk of a job at a time, whatever kind of job it is."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.errors import OutOfMemory, Unavailable, VitrineError
from shared.ledger.job_plan import write_plan
from shared.ledger.work import ChunkClaim, LostLease
from worker.jobs import JobKind, Tools
from worker.jobs.imports import DeleteProducts, ImportProducts
from worker.jobs.rebuild import Rebuild

log = logging.getLogger(__name__)

_RETRY_S = 5.0


@dataclass(frozen=True)
class CatalogueLane:
    """Works on chunks.

    Attributes:
        kinds: what each kind of job does, by the name that the ledger has for it.
        chunk_items: products a chunk.
    """

    tools: Tools
    kinds: Mapping[str, JobKind]
    chunk_items: int

    def work_one(self) -> list[str] | None:
        """Do the chunk that goes first; return the chunks to ring next, None if there was none."""
        desk = self.tools.desk
        claim = desk.claim()
        if claim is None:
            return None
        try:
            return desk.finish(claim, self._step(claim))
        except LostLease as error:
            log.info("%s", error.message)
        except Unavailable as error:
            log.warning("chunk %s waits: %s", claim.id, error.message)
            desk.postpone(claim, _RETRY_S, error.message, blame=isinstance(error, OutOfMemory))
        except VitrineError as error:
            # Nothing that waiting mends: the manifest or the settings are wrong.
            log.error("job %s failed: %s", claim.job_id, error.message)
            desk.fail_job(claim, error.code, error.message)
        except Exception as error:
            log.exception("chunk %s failed", claim.id)
            desk.postpone(claim, _RETRY_S, f"{type(error).__name__}: {error}", blame=True)
        return []

    def _step(self, claim: ChunkClaim) -> dict[str, Any] | None:
        """Do the chunk; return the job's report if this ends it."""
        kind, desk = self.kinds[claim.kind], self.tools.desk
        if claim.stage == "finish":
            return kind.finish(claim)
        if claim.stage == "plan":
            entries = kind.plan(claim)
            write_plan(desk, self.tools.database, claim, entries, self.chunk_items, finish=kind.finishes)
        else:
            kind.work(claim, desk.items(claim))
        return None


def job_kinds(tools: Tools) -> dict[str, JobKind]:
    """Every kind of job, by the name that the ledger has for it."""
    imports = ImportProducts(tools)
    return {
        "import": imports,
        "put": imports,
        "delete": DeleteProducts(tools),
        "rebuild": Rebuild(tools),
    }
