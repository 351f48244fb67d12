"""Which queries the quality gate keeps for people to look at."""

from __future__ import annotations

import numpy as np

from worker.jobs.gate_queries import Query
from worker.jobs.gate_samples import KEPT, samples

IMAGE = np.zeros((8, 8, 3), np.uint8)
SAME = [("a", 0.9), ("b", 0.8)]
OTHER = [("c", 0.7), ("d", 0.6)]


def query(source: str, right: str | None = None) -> Query:
    return Query(IMAGE, None, right, source, f"key-{source}")


def test_what_turned_comes_first_then_what_differs_most() -> None:
    asked = [query("shopper"), query("golden", "a"), query("golden", "a"), query("catalogue", "b")]
    before = [SAME, SAME, SAME, SAME]
    after = [OTHER, SAME, [("b", 0.9), ("a", 0.8)], SAME]
    kept = samples(asked, before, after)
    assert [each["source"] for each in kept] == ["golden", "shopper", "golden", "catalogue"]
    assert kept[0]["after"] == [["b", 0.9], ["a", 0.8]], "the right product comes first no longer"
    assert (kept[0]["product_id"], kept[0]["key"]) == ("a", "key-golden")


def test_few_are_kept_and_few_hits_of_each() -> None:
    many = [(f"p{n}", 0.5) for n in range(10)]
    kept = samples([query("shopper")] * 50, [many] * 50, [many] * 50)
    assert len(kept) == KEPT
    assert all(len(each["before"]) == len(each["after"]) == 6 for each in kept)


def test_without_a_live_version_there_is_no_before() -> None:
    (kept,) = samples([query("catalogue", "a")], None, [SAME])
    assert (kept["before"], len(kept["after"])) == ([], 2)
