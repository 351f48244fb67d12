"""The catalogue lane: does one chunk of a job at a time, of any kind."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from shared.contracts import Contract, ImportOptions, ReconcileRequest
from shared.contracts.duplicates import DuplicatesRequest
from shared.contracts.indexes import PromoteRequest, PruneRequest, ReprocessRequest, RollbackRequest
from shared.contracts.states import ChunkStage
from shared.contracts.stored import READS, needs_of, read_stored
from shared.database.statistics import refresh_statistics
from shared.errors import IndexUnavailable, OutOfMemory, Unavailable, UnreadableRow, VitrineError
from shared.jobs.plan import write_plan
from shared.jobs.states import BULK, URGENT
from shared.jobs.work import (
    ChunkClaim,
    Item,
    JobPreempted,
    LostLease,
    NewerWorkerRequired,
    Outcome,
    Problem,
    WorkerStopping,
)
from worker.jobs import JobKind
from worker.jobs.calibrate import Calibrate
from worker.jobs.dropping import Drop
from worker.jobs.duplicates import FindDuplicates
from worker.jobs.imports import DeleteProducts, ImportProducts
from worker.jobs.lease_keeper import LeaseKeeper
from worker.jobs.leftovers import remove_leftovers, try_to_remove_leftovers
from worker.jobs.outage import MIN_DELAY_S, Outage
from worker.jobs.promotion import Promote, Rollback
from worker.jobs.pruning import Prune
from worker.jobs.rebuild import Rebuild
from worker.jobs.reconcile import Reconcile
from worker.jobs.reprocess import Reprocess
from worker.products.context import JobContext
from worker.products.pipeline_runner import LIGHT_CHUNK

log = logging.getLogger(__name__)

_MAX_BACK_OFF_S = 120.0
#: How long a task waits for Milvus before it passes its message on.
_OUTAGE_WAIT_S = 5.0
#: Interval in which planning checks for waiting single updates.
_POLL_INTERVAL_S = 0.2
#: Delay before a chunk with items of a newer version is tried again.
_NEWER_RETRY_S = 30.0
#: Jobs that read no picture: their chunks are large.
_LIGHT = ("rebuild",)


#: Contract of the options by kind of job; other kinds have none.
_OPTIONS: dict[str, type[Contract]] = {
    "import": ImportOptions,
    "reprocess": ReprocessRequest,
    "promote": PromoteRequest,
    "rollback": RollbackRequest,
    "prune": PruneRequest,
    "reconcile": ReconcileRequest,
    "duplicates": DuplicatesRequest,
}


class CatalogueLane:
    """Works on chunks.

    Args:
        chunk_items: products a chunk.
        hang_s: how long a chunk may record nothing before this process is replaced.
    """

    def __init__(self, context: JobContext, chunk_items: int, hang_s: float = 300.0) -> None:
        self.context = replace(context, give_way=self._give_way)
        self._kinds = job_kinds(self.context)
        self._chunk_items = chunk_items
        self._hang_s = hang_s
        self._outage = Outage(lambda: self.context.index.healthy())
        self._outage_chunk: str | None = None
        # Since when something else that chunks need has been away, by the monotonic clock.
        self._unavailable_since: float | None = None

    def work_one(self) -> list[str] | None:
        """Do the chunk that goes first; return the chunks to publish next, None if there was none.

        While Milvus is away nothing is claimed: the task waits a few seconds for it, and returns the chunk
        that failed last, so that its message goes on and the lane continues when Milvus is back.
        """
        desk = self.context.desk
        if desk.stop_requested():
            return None
        deadline = time.monotonic() + _OUTAGE_WAIT_S
        while True:
            if not self._outage.is_away():
                claim = desk.claim()
                if claim is not None:
                    return self._do(claim)
                # Whatever failed is done, waits for its next try, or its job was stopped.
                self._outage.record_success()
                self._outage_chunk = None
                return None
            if desk.stop_requested() or time.monotonic() >= deadline:
                return [] if self._outage_chunk is None else [self._outage_chunk]
            time.sleep(_POLL_INTERVAL_S)

    def _give_way(self, claim: ChunkClaim) -> None:
        """Do the single updates that wait, in the middle of a bulk chunk.

        Raises:
            WorkerStopping: this process has to end.
            JobPreempted: the system began this job, and one that was asked for waits.
        """
        desk = self.context.desk
        desk.report_progress()
        while not self._outage.is_away() and desk.has_urgent_work(claim):
            urgent = desk.claim(within=claim)
            if urgent is None:
                break  # another worker took it
            self._do(urgent)
            desk.report_progress()
        if (reason := desk.preemption_reason(claim)) is not None:
            raise JobPreempted(reason)

    def _do(self, claim: ChunkClaim) -> list[str]:
        desk = self.context.desk
        try:
            with LeaseKeeper(desk, claim, self._hang_s):
                report = self._step(claim)
            following = desk.finish(claim, report)
            self._unavailable_since = None
            if claim.stage == ChunkStage.FINISH and claim.priority > URGENT:
                # A bulk job has changed much of the tables.
                refresh_statistics(self.context.database)
            if claim.stage != ChunkStage.PLAN:
                self._outage.record_success()
            return following
        except WorkerStopping as error:
            log.info("chunk %s goes back: %s", claim.id, error.message)
            desk.postpone(claim, 0.0, error.message, count_attempt=False)
            return [claim.id]
        except JobPreempted as error:
            log.info("chunk %s goes back: %s", claim.id, error.message)
            desk.give_way(claim, error.message)
            return [claim.id]
        except LostLease as error:
            log.info("%s", error.message)
            # Still this worker's if the job was paused in the moment of the claim.
            desk.postpone(claim, 0.0, error.message, count_attempt=False)
            if claim.stage == ChunkStage.ITEMS:
                try_to_remove_leftovers(self.context, claim)
        except NewerWorkerRequired as error:
            log.warning("chunk %s waits: %s", claim.id, error.message)
            desk.postpone(claim, _NEWER_RETRY_S, error.message, count_attempt=False)
        except UnreadableRow as error:
            # A newer worker may be able to read it; after the last try the job fails with the reason.
            if desk.is_last_try(claim):
                desk.fail_job(claim, error.code, error.message)
            else:
                self._try_later(claim, error.message)
        except OutOfMemory as error:
            self._try_later(claim, error.message)
        except IndexUnavailable as error:
            log.warning("chunk %s waits: %s", claim.id, error.message)
            self._outage.record_failure()
            self._outage_chunk = claim.id
            delay_s = self._outage.delay_s(is_single=claim.priority < BULK)
            desk.postpone(claim, delay_s, error.message, count_attempt=False)
            return [claim.id]
        except Unavailable as error:
            log.warning("chunk %s waits: %s", claim.id, error.message)
            desk.postpone(claim, self._unavailable_delay_s(), error.message, count_attempt=False)
        except VitrineError as error:
            # Waiting does not fix it: the manifest or the settings are wrong.
            log.error("job %s failed: %s", claim.job_id, error.message)
            desk.fail_job(claim, error.code, error.message)
        except Exception as error:
            log.exception("chunk %s failed", claim.id)
            self._try_later(claim, f"{type(error).__name__}: {error}")
        return []

    def _unavailable_delay_s(self) -> float:
        """Return the time since the first failure, within bounds: chunks that fail together do not add up."""
        now = time.monotonic()
        if self._unavailable_since is None:
            self._unavailable_since = now
        return min(max(now - self._unavailable_since, MIN_DELAY_S), _MAX_BACK_OFF_S)

    def _try_later(self, claim: ChunkClaim, error: str) -> None:
        """Count the try against the chunk: the error may be its own."""
        log.warning("chunk %s is tried again: %s", claim.id, error)
        self.context.desk.postpone(claim, back_off_s(claim.attempts), error, count_attempt=True)

    def _step(self, claim: ChunkClaim) -> dict[str, Any] | None:
        """Do the chunk; return the job's report if this ends it.

        Raises:
            UnreadableRow: the job's options or its source are damaged.
            NewerWorkerRequired: a newer version wrote its items.
        """
        claim = _with_options(claim)
        kind, desk = self._kinds[claim.kind], self.context.desk
        if claim.stage == ChunkStage.FINISH:
            return kind.finish(claim)
        if claim.stage == ChunkStage.PLAN:
            entries = self._giving_way(claim, kind.plan(claim))
            size = self._chunk_items * (LIGHT_CHUNK if claim.kind in _LIGHT else 1)
            write_plan(desk, self.context.database, claim, entries, size, finish=kind.finishes)
        else:
            kind.work(claim, self._readable(claim, desk.items(claim)))
            if claim.attempts > 1:
                remove_leftovers(self.context, claim)
        return None

    def _readable(self, claim: ChunkClaim, items: Sequence[Item]) -> list[Item]:
        """Return the items whose payload is an object; record the others as failed.

        Raises:
            NewerWorkerRequired: one of them was written by a newer version.
        """
        if any(needs_of(item.payload) > READS for item in items):
            raise NewerWorkerRequired("It has products that a newer version of Vitrine wrote.")
        damaged = [item for item in items if not isinstance(item.payload, dict)]
        if damaged:
            text = "What was stored of this product cannot be read: the row is damaged. Send it again."
            outcomes = [
                Outcome(i, "failed", problems=[Problem(i.row, i.product_id, None, "unreadable_row", text)])
                for i in damaged
            ]
            with self.context.database.write() as session:
                self.context.desk.record(session, claim, outcomes)
        return [item for item in items if isinstance(item.payload, dict)]

    def _giving_way(self, claim: ChunkClaim, entries: Iterable[Item | Problem]) -> Iterator[Item | Problem]:
        checked_at = time.monotonic()
        for entry in entries:
            yield entry
            if time.monotonic() - checked_at > _POLL_INTERVAL_S:
                self._give_way(claim)
                checked_at = time.monotonic()


def _with_options(claim: ChunkClaim) -> ChunkClaim:
    """Return the claim with its options checked, and those that an older version left out filled in.

    Raises:
        UnreadableRow: they are damaged, or the source is.
    """
    if not (isinstance(claim.options, dict) and isinstance(claim.source, dict)):
        raise UnreadableRow("The options of this job cannot be read: the row is damaged.")
    contract = _OPTIONS.get(claim.kind)
    if contract is None:
        return claim
    options = read_stored(contract, claim.options, "The options of this job")
    return replace(claim, options={**claim.options, **options.model_dump(mode="json")})


def back_off_s(tries: int) -> float:
    """Return the delay after a number of tries: 1 s, 4 s, 16 s and so on up to two minutes."""
    return min(4.0 ** (min(tries, 9) - 1), _MAX_BACK_OFF_S)


def job_kinds(context: JobContext) -> dict[str, JobKind]:
    """Return every kind of job by its stored name."""
    imports = ImportProducts(context)
    return {
        "import": imports,
        "put": imports,
        "delete": DeleteProducts(context),
        "drop": Drop(context),
        "rebuild": Rebuild(context),
        "reprocess": Reprocess(context),
        "promote": Promote(context),
        "rollback": Rollback(context),
        "prune": Prune(context),
        "reconcile": Reconcile(context),
        "calibrate": Calibrate(context),
        "duplicates": FindDuplicates(context),
    }
