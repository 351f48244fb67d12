"""The catalogue lane: one chunk of a job at a time, whatever kind of job it is."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from shared.errors import OutOfMemory, Unavailable, VitrineError
from shared.ledger.job_plan import write_plan
from shared.ledger.work import ChunkClaim, Item, LostLease, Problem
from worker.jobs import JobKind, Tools
from worker.jobs.imports import DeleteProducts, ImportProducts
from worker.jobs.rebuild import Rebuild

log = logging.getLogger(__name__)

_RETRY_S = 5.0
#: While a plan is made, how often it is looked whether somebody waits.
_LOOK_S = 0.2


class CatalogueLane:
    """Works on chunks.

    Args:
        chunk_items: products a chunk.
    """

    def __init__(self, tools: Tools, chunk_items: int) -> None:
        self.tools = replace(tools, give_way=self._give_way)
        self._kinds = job_kinds(self.tools)
        self._chunk_items = chunk_items

    def work_one(self) -> list[str] | None:
        """Do the chunk that goes first; return the chunks to ring next, None if there was none."""
        claim = self.tools.desk.claim()
        return None if claim is None else self._do(claim)

    def _give_way(self, claim: ChunkClaim) -> None:
        """In the middle of a bulk chunk, do what was put or deleted by hand meanwhile."""
        desk = self.tools.desk
        while desk.urgent_waits(claim):
            urgent = desk.claim(within=claim)
            if urgent is None:
                return  # another worker took it
            self._do(urgent)

    def _do(self, claim: ChunkClaim) -> list[str]:
        desk = self.tools.desk
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
        kind, desk = self._kinds[claim.kind], self.tools.desk
        if claim.stage == "finish":
            return kind.finish(claim)
        if claim.stage == "plan":
            entries = self._giving_way(claim, kind.plan(claim))
            write_plan(desk, self.tools.database, claim, entries, self._chunk_items, finish=kind.finishes)
        else:
            kind.work(claim, desk.items(claim))
        return None

    def _giving_way(self, claim: ChunkClaim, entries: Iterable[Item | Problem]) -> Iterator[Item | Problem]:
        looked_at = time.monotonic()
        for entry in entries:
            yield entry
            if time.monotonic() - looked_at > _LOOK_S:
                self._give_way(claim)
                looked_at = time.monotonic()


def job_kinds(tools: Tools) -> dict[str, JobKind]:
    """Every kind of job, by the name that the ledger has for it."""
    imports = ImportProducts(tools)
    return {
        "import": imports,
        "put": imports,
        "delete": DeleteProducts(tools),
        "rebuild": Rebuild(tools),
    }
