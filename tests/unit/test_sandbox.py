"""The fence: what a child may not do, what happens when it does, and that its parent never notices."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.errors import ImageTooLarge, OutOfMemory, Overloaded, UndecodableImage, UnsupportedFormat
from shared.images import CATALOGUE_FORMATS, ImageLimits, decode, normalise, probe, rendition
from shared.sandbox.budget import Budget, memory_for
from shared.sandbox.pool import ChildPool, PictureSandbox
from tests import builders
from tests.servers import wait_for

pytestmark = pytest.mark.slow

LIMITS = ImageLimits(formats=CATALOGUE_FORMATS)
BUDGET = Budget(memory_for(LIMITS.max_pixels), 20.0, 120.0)
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def pool() -> Iterator[ChildPool]:
    pool = ChildPool(1)
    pool.warm_up()
    yield pool
    pool.close()


def fence(pool: ChildPool, wait_s: float = 60.0, **budget: Any) -> PictureSandbox:
    return PictureSandbox(pool, LIMITS, replace(BUDGET, **budget), wait_s)


def limits_of(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
    return {line[:26].strip(): line[26:].split()[0] for line in lines}


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] == "Z"
    except OSError:
        return True


def test_it_does_what_the_same_functions_do_in_this_process(pool: ChildPool) -> None:
    data = builders.encoded(builders.gradient(1600, 1200), "PNG")
    sandbox = fence(pool)
    assert sandbox.probe(data) == probe(data, LIMITS)
    for needed_px in (None, 300):
        assert np.array_equal(sandbox.decode(data, needed_px), decode(data, LIMITS, needed_px))
    assert sandbox.normalise(data, 1280, 1_000_000) == normalise(data, LIMITS, 1280, 1_000_000)
    assert sandbox.rendition(data, 320) == rendition(data, LIMITS, 320)
    large = builders.encoded(builders.picture(width=4000, height=3000), "PNG")
    assert np.array_equal(sandbox.decode(large), decode(large, LIMITS)), (
        "through shared memory, and given back"
    )
    assert np.array_equal(sandbox.decode(data), decode(data, LIMITS))


@pytest.mark.parametrize("format", sorted(CATALOGUE_FORMATS))
def test_every_format_is_read_inside(pool: ChildPool, format: str) -> None:
    data = builders.encoded(builders.picture(3), format)
    assert np.array_equal(fence(pool).decode(data), decode(data, LIMITS))


def test_errors_come_out_as_they_are(pool: ChildPool) -> None:
    pids = pool.pids()
    with pytest.raises(UnsupportedFormat, match="web page"):
        fence(pool).probe(builders.NOT_PICTURES["html"])
    with pytest.raises(UndecodableImage, match="truncated"):
        fence(pool).decode(builders.jpeg()[:-40])
    assert pool.pids() == pids, "neither cost a child"


def test_memory_over_the_budget_is_refused_and_its_control_is_not(pool: ChildPool) -> None:
    data = builders.encoded(builders.picture(width=4000, height=4000), "PNG")
    with pytest.raises(ImageTooLarge, match="too expensive to decode"):
        fence(pool, memory_bytes=50_000_000).decode(data)
    assert fence(pool).decode(data).shape == (4000, 4000, 3)


def test_processor_time_over_the_budget_kills_the_child_and_only_the_child(pool: ChildPool) -> None:
    data = builders.encoded(np.random.default_rng(1).integers(0, 256, (2000, 2000, 3), np.uint8), "PNG")
    (before,) = pool.pids()
    with pytest.raises(ImageTooLarge, match="too expensive to decode"):
        fence(pool, cpu_s=0.01).normalise(data, 1280, 50_000)
    (after,) = pool.pids()
    assert after != before
    assert is_gone(before)
    assert fence(pool).normalise(data, 1280, 1_000_000).width == 1280


def test_a_child_that_waits_for_ever_is_replaced_at_its_deadline(pool: ChildPool) -> None:
    fence(pool).probe(builders.jpeg())
    (before,) = pool.pids()
    os.kill(before, signal.SIGSTOP)
    # It used no processor time, so it is not the picture's fault.
    with pytest.raises(Overloaded):
        fence(pool, wall_s=0.5).probe(builders.jpeg())
    assert pool.pids() != [before]
    assert fence(pool).probe(builders.jpeg()).width == 96


def test_a_child_that_was_killed_from_outside_costs_nobody_a_picture(pool: ChildPool) -> None:
    fence(pool).probe(builders.jpeg())
    (before,) = pool.pids()
    os.kill(before, signal.SIGKILL)
    assert fence(pool).probe(builders.jpeg()).width == 96


def test_a_machine_without_memory_is_said_after_the_second_try(
    pool: ChildPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = pool._take

    def doomed() -> object:
        child = take()
        child.wait_ready()
        os.kill(child.pid, signal.SIGKILL)
        wait_for("it is dead", lambda: is_gone(child.pid))
        return child

    monkeypatch.setattr(pool, "_take", doomed)
    with pytest.raises(OutOfMemory):
        fence(pool).probe(builders.jpeg())


def test_who_finds_no_free_child_is_turned_away(pool: ChildPool) -> None:
    fence(pool).probe(builders.jpeg())
    (pid,) = pool.pids()
    os.kill(pid, signal.SIGSTOP)
    holding = threading.Thread(target=lambda: fence(pool).probe(builders.jpeg()))
    holding.start()
    try:
        wait_for("the child is taken", lambda: not pool.pids())
        with pytest.raises(Overloaded, match="decoders are busy"):
            fence(pool, wait_s=0.05).probe(builders.jpeg())
    finally:
        os.kill(pid, signal.SIGCONT)
        holding.join()
    assert fence(pool, wait_s=0.05).probe(builders.jpeg()).width == 96


def test_only_so_many_threads_wait() -> None:
    pool = ChildPool(1, max_waiting=0)
    pool.warm_up()
    (pid,) = pool.pids()
    os.kill(pid, signal.SIGSTOP)
    holding = threading.Thread(target=lambda: fence(pool).probe(builders.jpeg()))
    holding.start()
    try:
        wait_for("the child is taken", lambda: not pool.pids())
        with pytest.raises(Overloaded):
            fence(pool, wait_s=3600).probe(builders.jpeg())
    finally:
        os.kill(pid, signal.SIGCONT)
        holding.join()
        pool.close()


def test_a_child_has_neither_secrets_nor_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VITRINE_WEB__API_KEY", "a secret")
    pool = ChildPool(1)
    pool.warm_up()
    (pid,) = pool.pids()
    environment = Path(f"/proc/{pid}/environ").read_bytes()
    assert b"VITRINE" not in environment
    limits = limits_of(pid)
    assert limits["Max file size"] == "0"
    assert limits["Max core file size"] == "0"
    assert int(limits["Max open files"]) <= 16
    fence(pool).probe(builders.jpeg())
    limits = limits_of(pid)
    assert int(limits["Max address space"]) < BUDGET.memory_bytes + 10**9
    loaded = Path(f"/proc/{pid}/maps").read_text()
    assert "torch" not in loaded
    assert "openvino" not in loaded
    pool.close()
    assert is_gone(pid)


def test_children_end_with_their_parent(tmp_path: Path) -> None:
    script = """
        import sys, time
        from shared.sandbox.pool import ChildPool
        pool = ChildPool(2)
        pool.warm_up()
        print(*pool.pids(), flush=True)
        time.sleep(3600)
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", "\n".join(line[8:] for line in script.splitlines())],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert parent.stdout is not None
    pids = [int(word) for word in parent.stdout.readline().split()]
    assert len(pids) == 2
    assert not any(map(is_gone, pids))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_for("the children end", lambda: all(map(is_gone, pids)))


def test_many_threads_share_few_children() -> None:
    pool, photos = ChildPool(2), [builders.jpeg(seed) for seed in range(12)]
    wrong: list[int] = []

    def decode_one(number: int) -> None:
        if not builders.near(fence(pool).decode(photos[number]), builders.picture(number), 40):
            wrong.append(number)

    threads = [threading.Thread(target=decode_one, args=(n,)) for n in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len(pool.pids()) <= 2
    pool.close()
