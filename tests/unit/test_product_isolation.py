"""A row that spoils its micro-batch fails alone, at whichever stage and with whatever its data raises."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

import pytest
from sqlalchemy.exc import DataError, StatementError

from shared.errors import IndexUnavailable, InvalidInput, OutOfMemory, UnreadableRow
from shared.jobs.work import ChunkClaim, Item, LostLease, Outcome
from worker.products.context import JobContext
from worker.products.pipeline_runner import do_items, do_light_items


@dataclass
class Desk:
    """Notes outcomes and tries."""

    outcomes: list[Outcome] = field(default_factory=list)
    tries: dict[int, int] = field(default_factory=dict)

    def record(self, session: object, claim: object, outcomes: list[Outcome]) -> None:
        self.outcomes += outcomes

    def report_progress(self) -> None:
        pass

    def count_item_attempt(self, claim: object, item: Item) -> int:
        self.tries[item.number] = item.attempts + 1
        return item.attempts + 1

    def reset_attempts(self, session: object, claim: object) -> None:
        pass

    @property
    def failed(self) -> dict[str, str]:
        return {o.item.product_id: o.problems[0].reason for o in self.outcomes if o.result == "failed"}


@dataclass
class Stages:
    """Fails on named products, at one stage."""

    stage: str
    bad: dict[str, Exception]
    written: list[str] = field(default_factory=list)
    loads: int = 0

    def _check(self, stage: str, batch: Sequence[Item]) -> None:
        for item in batch:
            if stage == self.stage and (error := self.bad.get(item.product_id)) is not None:
                raise error

    def load(self, items: Sequence[Item]) -> list[Item]:
        self.loads += 1
        self._check("load", items)
        return list(items)

    def embed(self, batch: list[Item]) -> None:
        self._check("embed", batch)

    def write(self, batch: list[Item]) -> None:
        self._check("write", batch)
        self.written += [item.product_id for item in batch]


def tools(desk: Desk, micro_batch: int = 16) -> JobContext:
    database = SimpleNamespace(write=lambda: nullcontext(None))
    found = SimpleNamespace(
        micro_batch=micro_batch, give_way=lambda claim: None, desk=desk, database=database
    )
    return cast(JobContext, found)


def claim(attempts: int = 1) -> ChunkClaim:
    return cast(ChunkClaim, SimpleNamespace(attempts=attempts, job_id="job"))


def items(count: int, attempts: int = 0) -> list[Item]:
    return [Item(n, n + 1, f"p{n}", {}, attempts) for n in range(count)]


DATA = [
    InvalidInput("category takes at most 256 bytes"),
    UnreadableRow("What was stored cannot be read"),
    ValueError("Invalid IPv6 URL"),
    UnicodeError("label too long"),
    OverflowError("int too large"),
    KeyError("product"),
    TypeError("not an object"),
    StatementError("wrapped", "INSERT", {}, ValueError("no date")),
]


@pytest.mark.parametrize("stage", ["load", "embed", "write"])
@pytest.mark.parametrize("error", DATA, ids=lambda e: type(e).__name__)
def test_a_row_with_bad_data_fails_alone(stage: str, error: Exception) -> None:
    desk, stages = Desk(), Stages(stage, {"p5": error, "p30": error})
    do_items(tools(desk), claim(), items(64), stages)
    assert sorted(desk.failed) == ["p30", "p5"]
    assert sorted(stages.written) == sorted(f"p{n}" for n in range(64) if n not in (5, 30))


def test_the_reason_is_the_error_and_not_a_lost_worker() -> None:
    desk = Desk()
    do_items(tools(desk), claim(), items(4), Stages("write", {"p1": InvalidInput("category is too long")}))
    (outcome,) = desk.outcomes
    assert outcome.problems[0].reason == "invalid_input"
    assert outcome.problems[0].message == "category is too long"
    assert outcome.problems[0].row == 2


def test_finding_one_row_costs_a_few_batches() -> None:
    desk, stages = Desk(), Stages("load", {"p7": ValueError("bad")})
    do_items(tools(desk), claim(), items(64), stages)
    assert stages.loads <= 4 + 2 * 4, "4 micro-batches of 16, and one of them halved four times"


def test_light_items_are_isolated_too() -> None:
    desk, stages = Desk(), Stages("write", {"p5": InvalidInput("too long")})
    do_light_items(tools(desk, 2), claim(), items(64), stages)
    assert desk.failed == {"p5": "invalid_input"}
    assert len(stages.written) == 63


@pytest.mark.parametrize(
    "error",
    [LostLease("gone"), IndexUnavailable("away"), OutOfMemory("full"), MemoryError(), RuntimeError("bug")],
    ids=lambda e: type(e).__name__,
)
@pytest.mark.parametrize("stage", ["load", "embed", "write"])
def test_what_is_no_fault_of_a_row_fails_none(stage: str, error: Exception) -> None:
    desk = Desk()
    with pytest.raises(type(error)):
        do_items(tools(desk), claim(), items(32), Stages(stage, {"p5": error}))
    assert desk.failed == {}


def test_a_service_lost_while_rows_are_isolated_fails_none() -> None:
    class Flaky(Stages):
        def load(self, items: Sequence[Item]) -> list[Item]:
            if self.loads > 4:
                raise IndexUnavailable("away")
            return super().load(items)

    desk = Desk()
    with pytest.raises(IndexUnavailable):
        do_items(tools(desk), claim(), items(64), Flaky("load", {"p5": ValueError("bad")}))
    assert desk.failed == {}


def test_a_database_that_refuses_a_value_is_data_only_through_the_database() -> None:
    """``Database`` translates the driver's errors; a raw one of another kind is not the row's."""
    desk = Desk()
    with pytest.raises(DataError):
        do_items(tools(desk), claim(), items(8), Stages("write", {"p5": DataError("x", {}, OSError())}))


def test_alone_a_row_with_bad_data_fails_at_once_with_its_reason() -> None:
    desk, stages = Desk(), Stages("load", {"p1": ValueError("Invalid IPv6 URL")})
    do_items(tools(desk), claim(attempts=2), items(3), stages)
    assert desk.failed == {"p1": "invalid_row"}
    assert "Invalid IPv6 URL" in desk.outcomes[0].problems[0].message
    assert stages.written == ["p0", "p2"]


def test_alone_an_unforeseen_error_fails_its_row_the_second_time() -> None:
    desk, stages = Desk(), Stages("embed", {"p0": RuntimeError("odd picture")})
    with pytest.raises(RuntimeError):
        do_items(tools(desk), claim(attempts=2), items(2), stages)
    do_items(tools(desk), claim(attempts=3), items(2, attempts=1), stages)
    assert desk.failed == {"p0": "invalid_row"}
    assert "odd picture" in desk.outcomes[0].problems[0].message
