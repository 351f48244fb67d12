"""Micro-batches through three stages: in order, dropped after a failure, cut by pictures."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest

from shared.errors import IndexUnavailable, OutOfMemory, VitrineError
from shared.jobs.work import ChunkClaim, Item, LostLease
from worker.products.context import JobContext
from worker.products.pipeline_runner import do_items, micro_batches


def items(count: int, **payload: Any) -> list[Item]:
    return [Item(n, n, f"p{n}", payload, 0) for n in range(count)]


def tools(give_way: Callable[[Any], None] = lambda claim: None) -> JobContext:
    return cast(JobContext, SimpleNamespace(micro_batch=1, give_way=give_way, desk=None))


CLAIM = cast(ChunkClaim, SimpleNamespace(attempts=1))


@dataclass
class Stages:
    """Notes what is done; fails where it is told to."""

    fails: dict[tuple[str, int], Exception] = field(default_factory=dict)
    done: list[tuple[str, int]] = field(default_factory=list)

    def _do(self, stage: str, number: int) -> None:
        if error := self.fails.get((stage, number)):
            raise error
        self.done.append((stage, number))

    def load(self, items: Sequence[Item]) -> int:
        self._do("load", items[0].number)
        return items[0].number

    def embed(self, batch: int) -> None:
        self._do("embed", batch)

    def write(self, batch: int) -> None:
        self._do("write", batch)

    def of(self, stage: str) -> list[int]:
        return [number for done, number in self.done if done == stage]


def test_each_stage_sees_all_micro_batches_in_order() -> None:
    stages, begun = Stages(), []
    do_items(tools(), CLAIM, items(9), stages, begin=lambda: begun.append(len(stages.of("write"))))
    assert stages.of("load") == stages.of("embed") == stages.of("write") == list(range(9))
    assert begun == [0]


def test_loading_and_writing_go_on_beside_the_models() -> None:
    """Each wait would last for ever if the stages took turns."""
    loaded_ahead, written_behind = threading.Event(), threading.Event()

    class Meeting(Stages):
        def load(self, items: Sequence[Item]) -> int:
            if items[0].number == 1:
                loaded_ahead.set()
            return super().load(items)

        def embed(self, batch: int) -> None:
            if batch == 0:
                assert loaded_ahead.wait(30)
            if batch == 1:
                assert written_behind.wait(30)
            super().embed(batch)

        def write(self, batch: int) -> None:
            if batch == 0:
                written_behind.set()
            super().write(batch)

    stages = Meeting()
    do_items(tools(), CLAIM, items(3), stages)
    assert stages.of("write") == [0, 1, 2]


@pytest.mark.parametrize("error", [LostLease("gone"), IndexUnavailable("away"), RuntimeError("a bug")])
def test_after_a_failed_write_nothing_is_written(error: Exception) -> None:
    stages = Stages({("write", 2): error})
    with pytest.raises(type(error)):
        do_items(tools(), CLAIM, items(12), stages)
    assert stages.of("write") == [0, 1]
    assert max(stages.of("embed")) <= 5, "the models stop too"


@pytest.mark.parametrize("stage", ["load", "embed"])
def test_what_was_embedded_before_a_failure_is_written(stage: str) -> None:
    stages = Stages({(stage, 3): OutOfMemory("one does not fit")})
    with pytest.raises(OutOfMemory):
        do_items(tools(), CLAIM, items(6), stages)
    assert stages.of("write") == [0, 1, 2]


def test_nothing_is_written_when_the_index_cannot_be_opened() -> None:
    stages = Stages()

    def begin() -> None:
        raise IndexUnavailable("gone")

    with pytest.raises(IndexUnavailable):
        do_items(tools(), CLAIM, items(6), stages, begin=begin)
    assert stages.of("write") == []


def test_a_stop_between_micro_batches_keeps_what_was_embedded() -> None:
    stages, looks = Stages(), []

    class Stop(VitrineError):
        pass

    def give_way(claim: Any) -> None:
        looks.append(1)
        if len(looks) == 3:
            raise Stop("the worker was told to end")

    with pytest.raises(Stop):
        do_items(tools(give_way), CLAIM, items(6), stages)
    assert stages.of("write") == [0, 1]


def test_micro_batches_are_counted_in_pictures() -> None:
    few, many = {"images": ["a"]}, {"files": ["a", "b", "c"]}
    given = [Item(n, n, f"p{n}", p, 0) for n, p in enumerate([few, few, many, many, many, few, {}, {}])]
    cut = [[item.number for item in batch] for batch in micro_batches(given, 5)]
    assert cut == [[0, 1, 2], [3], [4, 5, 6], [7]]
    assert micro_batches(given[2:3], 1) == [given[2:3]], "one that has more goes alone"
    assert micro_batches([], 5) == []
