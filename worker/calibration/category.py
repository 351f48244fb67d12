"""Predict the category of the searched object from its hits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from math import exp, log

#: Maximum number of hits that vote.
VOTERS = 10
#: Default difference in score that divides the weight of a vote by e.
SPREAD = 0.03
#: Values from which a calibration chooses.
SPREADS = (0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.15)


def predict_category(hits: Sequence[tuple[str, float]], spread: float = SPREAD) -> tuple[str, float] | None:
    """Return the category with most votes, and its share of all votes.

    A vote weighs ``exp(score / spread)``. Votes of hits without a category lower the share.

    Args:
        hits: category and score of each, best first; ten vote.

    Returns:
        None where no hit has a category. Of categories with equal votes, the first one.
    """
    votes: dict[str, float] = defaultdict(float)
    for category, score in hits[:VOTERS]:
        votes[category] += exp((score - hits[0][1]) / spread)
    named = {category: weight for category, weight in votes.items() if category}
    if not named:
        return None
    best = max(named, key=lambda category: named[category])
    return best, named[best] / sum(votes.values())


def fit_spread(examples: Sequence[tuple[Sequence[tuple[str, float]], str]]) -> float:
    """Return the spread with the lowest log loss.

    Args:
        examples: hits as ``predict_category`` takes them, and the right category.
    """

    def loss(spread: float) -> float:
        total = 0.0
        for hits, right in examples:
            found = predict_category(hits, spread)
            likelihood = 0.0 if found is None else found[1] if found[0] == right else 1 - found[1]
            total -= log(max(likelihood, 1e-3))
        return total

    return min(SPREADS, key=loss) if examples else SPREAD
