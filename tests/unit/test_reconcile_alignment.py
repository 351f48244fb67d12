"""Two streams of keys are compared stretch by stretch: nothing may fall between two stretches."""

from __future__ import annotations

import random

import pytest

from worker.jobs import reconcile


@pytest.mark.parametrize("stretch", [1, 2, 7, 1000])
@pytest.mark.parametrize("seed", range(20))
def test_every_key_is_seen_once_and_beside_its_like(
    seed: int, stretch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reconcile, "_STRETCH", stretch)
    chance = random.Random(seed)
    left, right = (
        sorted({f"{chance.randrange(60):03}" for _ in range(chance.randrange(60))}) for _ in range(2)
    )
    pairs = list(reconcile._aligned(iter(left), iter(right)))
    assert [key for a, _ in pairs for key in a] == left
    assert [key for _, b in pairs for key in b] == right
    both = {key for a, b in pairs for key in {*a} & {*b}}
    assert both == {*left} & {*right}


def test_equal_streams_are_equal_in_every_stretch() -> None:
    keys = [f"{n:06}" for n in range(5000)]
    pairs = list(reconcile._aligned(iter(keys), iter(keys)))
    assert all(a == b for a, b in pairs)
    assert sum(len(a) for a, _ in pairs) == 5000
