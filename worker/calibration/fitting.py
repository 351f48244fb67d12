"""From photos whose answer is known to maps, and how well those keep what they say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from worker.calibration.curves import Floats, isotonic
from worker.calibration.score_map import ScoreMap, blend, evidence

#: Hits of a question that are learnt from.
HITS = 20
BINS = 10
#: With fewer right ones no map is made.
LEAST_RIGHT = 50


@dataclass
class Samples:
    """Hits of many questions.

    Attributes:
        scores, leads: of each hit, as ``ScoreMap`` has them.
        right: 1 where it was what was asked for, else 0.
        first: whether it was the first hit.
        photos: a number of the photo that asked.
    """

    scores: list[float] = field(default_factory=list)
    leads: list[float] = field(default_factory=list)
    right: list[float] = field(default_factory=list)
    first: list[bool] = field(default_factory=list)
    photos: list[int] = field(default_factory=list)

    def add(self, photo: int, scores: Sequence[float], right: Sequence[bool]) -> None:
        """Add the hits of one question, the best first, one a product; those beyond HITS are left out."""
        if not scores:
            return
        second = scores[1] if len(scores) > 1 else scores[0]
        for place, (score, hit) in enumerate(zip(scores[:HITS], right, strict=False)):
            self.scores.append(score)
            self.leads.append(score - (scores[0] if place else second))
            self.right.append(float(hit))
            self.first.append(place == 0)
            self.photos.append(photo)

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True)
class Fitted:
    """A map, and what became of its promises on photos that it was not fitted on.

    Attributes:
        report: ``form``, ``hits``, ``right``, and under ``first`` and ``all`` what ``kept_promises`` says.
    """

    map: ScoreMap
    report: dict[str, Any]


def fit(samples: Samples) -> Fitted | None:
    """Fit both forms of map and keep the better one; None where too few hits are right, or too few wrong.

    Each form is fitted on one half of the photos and asked about the other. The one whose answers there were
    the more likely (log loss) is kept, and fitted again on all; first hits count as much as all together,
    for they are what people look at. The calibration error does not choose: it would be served best by a map
    that says the same of every hit.
    """
    scores, leads, right = (np.array(v, np.float64) for v in (samples.scores, samples.leads, samples.right))
    if min(right.sum(), len(right) - right.sum()) < LEAST_RIGHT:
        return None
    odd = np.array(samples.photos) % 2 == 1
    unseen: dict[str, Floats] = {}
    for form, make in _FORMS.items():
        said = np.zeros(len(right))
        for half in (odd, ~odd):
            said[~half] = make(scores[half], leads[half], right[half])(scores[~half], leads[~half])
        unseen[form] = said
    first = np.array(samples.first)
    form = min(
        unseen,
        key=lambda name: _log_loss(unseen[name], right) + _log_loss(unseen[name][first], right[first]),
    )
    report = {
        "form": form,
        "hits": len(right),
        "right": int(right.sum()),
        "first": kept_promises(unseen[form][first], right[first]),
        "all": kept_promises(unseen[form], right),
    }
    return Fitted(_FORMS[form](scores, leads, right), report)


def _logistic(scores: Floats, leads: Floats, right: Floats) -> ScoreMap:
    return blend(scores, leads, right)


def _isotonic(scores: Floats, leads: Floats, right: Floats) -> ScoreMap:
    weights = blend(scores, leads, right).weights
    return ScoreMap(weights, isotonic(evidence(scores, leads) @ np.array(weights), right))


_FORMS = {"logistic": _logistic, "isotonic": _isotonic}


def _log_loss(said: Floats, right: Floats) -> float:
    sure = np.clip(np.where(right > 0, said, 1 - said), 1e-6, 1)
    return float(-np.log(sure).mean())


def kept_promises(said: Floats, right: Floats) -> dict[str, Any]:
    """Return how far probabilities were kept.

    Args:
        said: ``(N,)`` probabilities.
        right: ``(N,)``, 1 where it was right, else 0.

    Returns:
        ``n``; ``ece``, the expected calibration error: over ten bins of equal width, the mean distance of
        what was said from what came true, weighted by hits; ``brier``, the mean squared error; and ``bins``,
        of each that has hits: ``said``, ``came_true`` and ``n``. Both errors are None where n is 0.
    """
    bins = []
    places = np.minimum((said * BINS).astype(int), BINS - 1)
    for place in range(BINS):
        inside = places == place
        if inside.any():
            bins.append(
                {
                    "said": round(float(said[inside].mean()), 4),
                    "came_true": round(float(right[inside].mean()), 4),
                    "n": int(inside.sum()),
                }
            )
    total = len(said)
    return {
        "n": total,
        "ece": round(sum(b["n"] * abs(b["said"] - b["came_true"]) for b in bins) / total, 4)
        if total
        else None,
        "brier": round(float(np.mean((said - right) ** 2)), 4) if total else None,
        "bins": bins,
    }
