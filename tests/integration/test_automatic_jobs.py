"""A person's import starts at once though a job that the system began is at work (case 23)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from shared.catalogue.store import CatalogueStore
from shared.contracts.states import JobKind
from shared.database import Database
from shared.database.catalogue_rows import find_catalogue
from shared.database.migrate import migrate
from shared.jobs.chunk_reader import ChunkReader
from shared.jobs.create import add_job
from shared.jobs.repository import JobRepository
from shared.jobs.states import BACKGROUND
from shared.jobs.work import ChunkClaim, Item, Problem
from tests.job_builders import desk
from worker.jobs import Once
from worker.jobs.lane import CatalogueLane
from worker.products.context import JobContext


@pytest.fixture
def database(tmp_path: Any) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path}/vitrine.sqlite3")
    migrate(opened)
    yield opened
    opened.close()


@dataclass
class Steps(Once):
    """A calibration of five steps; a person asks for an import during the second."""

    lane: list[CatalogueLane]
    jobs: JobRepository
    done: list[str] = field(default_factory=list)
    wanted: str = ""

    def finish(self, claim: ChunkClaim) -> dict[str, Any] | None:
        for step in range(1, 6):
            self.lane[0].context.give_way(claim)
            if step == 2 and not self.wanted:
                self.wanted = self.jobs.create_import("books", {"archive": "upload"}).id
            self.done.append(f"calibrate {step}")
        return {"calibrate": {"calibrated": True}}


@dataclass
class Import:
    """An import of one product."""

    context: JobContext
    done: list[str]
    finishes = False

    def plan(self, claim: ChunkClaim) -> Iterable[Item | Problem]:
        yield Item(1, 1, "p1", {}, 0)

    def work(self, claim: ChunkClaim, items: Sequence[Item]) -> None:
        self.done.append("import")

    def finish(self, claim: ChunkClaim) -> dict[str, Any] | None:
        return None


def run(database: Database) -> tuple[Steps, str, JobRepository]:
    """Work until nothing is left; return what was done, and the automatic job."""
    for name in ("shop", "books"):
        CatalogueStore(database).create(name)
    jobs = JobRepository(database)
    with database.write() as session:
        system = add_job(session, find_catalogue(session, "shop"), JobKind.CALIBRATE, priority=BACKGROUND)
    parts: dict[str, Any] = dict.fromkeys(JobContext.__dataclass_fields__)
    parts |= {"database": database, "desk": desk(database), "give_way": lambda claim: None}
    lane = CatalogueLane(JobContext(**parts), chunk_items=10)
    steps = Steps([lane], jobs)
    lane._kinds |= {"calibrate": steps, "import": Import(lane.context, steps.done)}
    while lane.work_one() is not None:
        pass
    return steps, system, jobs


def test_the_import_starts_at_the_next_step_and_the_calibration_goes_on_once(database: Database) -> None:
    steps, system, jobs = run(database)
    assert steps.done[:3] == ["calibrate 1", "calibrate 2", "import"]
    # What it had begun is done anew, to its end, and once.
    assert steps.done[3:] == [f"calibrate {n}" for n in range(1, 6)]
    states = [(job.kind, job.state) for job in jobs.list_recent()]
    assert states == [("import", "succeeded"), ("calibrate", "succeeded")]
    assert jobs.status(system).report == {"calibrate": {"calibrated": True}}


@pytest.mark.slow
def test_control_without_giving_way_the_import_waits_for_all_of_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ChunkReader, "preemption_reason", lambda *_: None)
    steps, _, _ = run(database)
    assert steps.done == [*(f"calibrate {n}" for n in range(1, 6)), "import"]
