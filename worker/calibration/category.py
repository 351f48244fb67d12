"""The category of what was asked for, as the hits tell it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from math import exp, log

#: Hits that vote.
VOTERS = 10
#: A hit whose score is lower by so much has a vote of 1/e.
SPREAD = 0.03
#: What a calibration chooses from.
SPREADS = (0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.15)


def predict_category(hits: Sequence[tuple[str, float]], spread: float = SPREAD) -> tuple[str, float] | None:
    """Return the category that most votes are for, and its share of all votes.

    A vote weighs ``exp(score / spread)``. Hits without a category vote for none, and lower the share.

    Args:
        hits: category and score of each, the best first; ten vote.

    Returns:
        None where no hit has a category. Of two that have alike, the one that comes first.
    """
    votes: dict[str, float] = defaultdict(float)
    for category, score in hits[:VOTERS]:
        votes[category] += exp((score - hits[0][1]) / spread)
    named = {category: votes_ for category, votes_ in votes.items() if category}
    if not named:
        return None
    best = max(named, key=lambda category: named[category])
    return best, named[best] / sum(votes.values())


def fit_spread(questions: Sequence[tuple[Sequence[tuple[str, float]], str]]) -> float:
    """Return the spread whose shares of votes were nearest to the truth (log loss).

    Args:
        questions: hits as ``predict_category`` takes them, and the right category.
    """

    def loss(spread: float) -> float:
        total = 0.0
        for hits, right in questions:
            found = predict_category(hits, spread)
            sure = 0.0 if found is None else found[1] if found[0] == right else 1 - found[1]
            total -= log(max(sure, 1e-3))
        return total

    return min(SPREADS, key=loss) if questions else SPREAD
