"""From scores to probabilities: the maps, how they are fitted, and whether they keep what they say."""

from __future__ import annotations

import json

import numpy as np
import pytest

from worker.calibration.calibration_store import Calibration, fit_spread, predict_category
from worker.calibration.composed import CataloguePicture, Studio
from worker.calibration.curves import MAX_KNOTS, Curve, Floats, fit_isotonic
from worker.calibration.diagram import draw_reliability
from worker.calibration.fitting import MIN_RIGHT, Samples, fit
from worker.calibration.learning import LabelledQuery, Lessons, fit_calibration
from worker.calibration.reliability import measure_calibration
from worker.calibration.score_map import Hits, ScoreMap, fit_logistic, logistic
from worker.vision.baselines import WholeImage

pytestmark = pytest.mark.slow


def hits(scores: Floats, leads: Floats, agreements: Floats | None = None) -> Hits:
    """Hits of groups of their own, the first where they lead."""
    firsts, seconds = scores - np.minimum(leads, 0), scores - np.maximum(leads, 0)
    return Hits(scores, firsts, seconds, np.zeros(len(scores)) if agreements is None else agreements)


def drawn(count: int, seed: int = 0) -> tuple[Hits, Floats]:
    """Hits, and what came true with the probability that a known model gives them."""
    chance = np.random.default_rng(seed)
    scores, leads = chance.uniform(0.2, 1, count), chance.normal(0, 0.1, count)
    blended = -4 + 6 * scores + 12 * np.maximum(leads, 0) + 9 * np.minimum(leads, 0) + 0.5 * (leads > 0)
    return hits(scores, leads), (chance.random(count) < logistic(blended)).astype(np.float64)


def questions(count: int, seed: int = 0) -> Samples:
    """Of each question six hits; the first is right the more often, the further it is ahead."""
    chance, samples = np.random.default_rng(seed), Samples()
    for photo in range(count):
        scores = np.sort(chance.uniform(0.3, 0.9, 6))[::-1]
        sure = logistic(np.array([-1.0 + 20 * (scores[0] - scores[1])]))[0]
        right = int(chance.random() > sure)  # else the second is
        samples.add(photo, list(scores), [n == right for n in range(6)])
    return samples


@pytest.mark.parametrize("count", [1, 2, 3, 10, 5000])
def test_an_isotonic_curve_never_falls_and_never_promises_certainty(count: int) -> None:
    chance = np.random.default_rng(count)
    evidence = chance.normal(0, 2, count)
    curve = fit_isotonic(evidence, (chance.random(count) < logistic(evidence)).astype(np.float64))
    predicted = curve(np.linspace(-20, 20, 500))
    assert (np.diff(predicted) >= 0).all()
    assert predicted.min() > 0
    assert predicted.max() < 1
    assert 2 <= len(curve.evidence) <= MAX_KNOTS


def test_pools_are_the_means_of_what_they_hold() -> None:
    # 0, 1, 0, 1 rise only when the middle two are pooled; the ends are held off 0 and 1.
    curve = fit_isotonic(np.array([1.0, 2, 3, 4]), np.array([0.0, 1, 0, 1]))
    assert list(curve.evidence) == [1, 2.5, 4]
    assert list(curve.probabilities) == pytest.approx([1 / 3, 0.5, 2 / 3])


def test_one_outcome_alone_is_believed_as_far_as_its_number_goes() -> None:
    few, many = (fit_isotonic(np.arange(float(n)), np.ones(n))(np.array([3.0]))[0] for n in (3, 300))
    assert few == pytest.approx(0.8)
    assert many == pytest.approx(301 / 302)


def test_the_blend_finds_the_model_that_made_the_data() -> None:
    found = fit_logistic(*drawn(60_000))
    assert found.weights == pytest.approx((-4, 6, 12, 9, 0.5, 0), abs=0.9)


def test_no_weight_lets_a_better_hit_be_less_probable() -> None:
    found, right = drawn(4000)
    # A higher score now means a wrong hit: what cannot be predicted monotonely is not predicted.
    against = fit_logistic(found, 1 - right)
    assert against.weights[1:4] == (0, 0, 0)
    assert len(np.unique(against(found).round(9))) <= 2, "one for first hits, one for others"


def test_what_objects_say_is_learnt_and_moves_the_first_hit_alone() -> None:
    chance = np.random.default_rng(0)
    count = 6000
    agreements = np.where(chance.random(count) < 0.5, chance.uniform(0.1, 1, count), 0)
    firsts = hits(chance.uniform(0.4, 0.9, count), chance.uniform(0, 0.1, count), agreements)
    right = (chance.random(count) < np.where(agreements > 0, agreements, 0.05)).astype(np.float64)
    found = fit_logistic(firsts, right)
    assert found.one(0.7, 0.7, 0.65, 0.95) > 0.85
    assert found.one(0.7, 0.7, 0.65, 0.5) == pytest.approx(0.5, abs=0.15)
    assert found.one(0.7, 0.7, 0.65) < 0.15
    assert measure_calibration(found(firsts), right)["ece"] < 0.05
    # The control: without it the same is predicted of all of them.
    alone = fit_logistic(firsts._replace(agreements=np.zeros(count)), right)
    assert (
        measure_calibration(alone(firsts), right)["brier"]
        > 1.5 * measure_calibration(found(firsts), right)["brier"]
    )
    # A hit behind is never the more probable, even where objects contradict the first.
    assert found.weights[4] < 0
    assert found.one(0.699, 0.7, 0.699) <= found.one(0.7, 0.7, 0.699)
    uncapped = ScoreMap((0.0, 1.0, 0.0, 1.0, -3.0, 1.0))
    predicted = uncapped(hits(np.array([0.7, 0.69]), np.array([0.01, -0.01])))
    assert predicted[1] == predicted[0] == pytest.approx(float(logistic(np.array([0.7 - 3.0]))[0]))


def test_what_never_overlaps_has_finite_weights() -> None:
    scores = np.array([0.2] * 40 + [0.9] * 40)
    found = fit_logistic(hits(scores, np.zeros(80)), (scores > 0.5).astype(np.float64))
    assert np.isfinite(found.weights).all()
    low, high = found(hits(np.array([0.2, 0.9]), np.zeros(2)))
    assert low < 0.1
    assert high > 0.9


@pytest.mark.parametrize("form", ["logistic", "isotonic"])
def test_a_least_score_is_where_the_probability_is_reached(form: str) -> None:
    weights = (-5.0, 7.0, 15.0, 18.0, 0.5, 1.0)
    curve = Curve(np.array([-30.0, -8, 0, 2, 6]), np.array([0.001, 0.2, 0.4, 0.8, 0.97]))
    found = ScoreMap(weights, curve if form == "isotonic" else None)
    scores = np.array([0.95, 0.9, 0.85, 0.8, 0.6, 0.3])
    predicted = found(Hits(scores, np.full(6, 0.95), np.full(6, 0.9), np.zeros(6)))
    assert (np.diff(predicted) < 0).all(), "within a group a lower score is less probable"
    for place in range(1, len(scores)):
        assert found.min_score(float(predicted[place]), 0.95, 0.9) == pytest.approx(scores[place], abs=1e-6)
    assert found.min_score(float(predicted[0]) - 1e-9, 0.95, 0.9) == pytest.approx(0.95)
    assert found.min_score(float(predicted[0]) + 0.001, 0.95, 0.9) is None
    assert found.one(0.95, 0.95, 0.9) == pytest.approx(predicted[0])
    assert found.one(0.6, 0.95, 0.9) == pytest.approx(predicted[4])
    # An object that is sure of the first makes it, and it alone, more probable.
    sure = found.one(0.95, 0.95, 0.9, 0.9)
    assert sure > predicted[0]
    assert found.min_score(sure - 1e-9, 0.95, 0.9, 0.9) == pytest.approx(0.95)
    assert found.min_score(float(predicted[4]), 0.95, 0.9, 0.9) == pytest.approx(0.6, abs=1e-6)


def test_a_map_survives_being_stored() -> None:
    found, right = drawn(2000)
    made = fit(questions(600))
    assert made is not None
    for kept in (fit_logistic(found, right), made.map):
        again = ScoreMap.from_json(json.loads(json.dumps(kept.as_json())))
        assert again(found) == pytest.approx(kept(found), abs=1e-4)


def test_a_map_of_an_older_calibration_says_what_it_said() -> None:
    old = ScoreMap.from_json({"weights": [-5.0, 7.0, 15.0, 18.0], "curve": None})
    assert old.one(0.9, 0.9, 0.8, 0.9) == pytest.approx(float(logistic(np.array([-5 + 6.3 + 1.5]))[0]))
    # It had no map for a whole photo alone: that of whole photos serves, and the other way round.
    known = Calibration("catalogue", {"whole": old}, {})
    assert known.map_of("same", "alone") is known.map_of("same", "whole") is old
    assert known.map_of("same", "object") is known.map_of("kind", "whole") is None


def test_what_a_fit_says_comes_true_on_photos_that_it_has_not_seen() -> None:
    made = fit(questions(1500))
    assert made is not None
    assert made.report["first"]["ece"] < 0.05
    assert made.report["all"]["ece"] < 0.05
    fresh = questions(1500, seed=1)
    predicted = made.map(fresh.hits())
    assert measure_calibration(predicted, np.array(fresh.right))["ece"] < 0.05
    # The control: the score without the lead does not keep its word about first hits.
    first = np.array(fresh.first)
    scores = hits(np.array(fresh.scores), np.zeros(len(fresh)))
    predicted = fit_logistic(scores, np.array(fresh.right))(scores)
    assert measure_calibration(predicted[first], np.array(fresh.right)[first])["ece"] > 0.1


def test_too_little_to_learn_from_makes_no_map() -> None:
    assert fit(Samples()) is None
    assert fit(questions(MIN_RIGHT - 1)) is None
    assert fit(questions(MIN_RIGHT)) is not None


def test_broken_promises_are_counted() -> None:
    right = np.array([1.0, 0, 0, 0])
    assert measure_calibration(np.full(4, 0.25), right)["ece"] == 0
    assert measure_calibration(np.full(4, 0.75), right)["ece"] == 0.5
    assert measure_calibration(np.array([]), np.array([]))["ece"] is None
    bins = measure_calibration(np.array([0.1, 0.12, 0.9, 1.0]), np.array([0.0, 1, 1, 1]))["bins"]
    assert [(b["said"], b["came_true"], b["n"]) for b in bins] == [(0.11, 0.5, 2), (0.95, 1.0, 2)]


def test_what_so_few_hits_show_by_chance_is_told() -> None:
    chance = np.random.default_rng(0)
    predicted = chance.uniform(0, 1, 400)
    right = (chance.random(400) < predicted).astype(np.float64)
    kept = measure_calibration(predicted, right)
    assert 0.01 < kept["ece_by_chance"] < 0.06, "never nothing, though every probability is right"
    low, high = kept["ece_ci"]
    assert low < high
    assert low <= kept["ece"] * 1.5
    # Ten times as many leave less to chance; hits of one photo tell no more than the photo.
    many = measure_calibration(np.repeat(predicted, 10), np.repeat(right, 10), np.repeat(np.arange(400), 10))
    assert many["ece_by_chance"] < kept["ece_by_chance"] / 2
    assert many["ece_ci"] == pytest.approx(kept["ece_ci"], abs=0.01)
    assert many["ece"] == kept["ece"]


def test_a_whole_photo_is_believed_as_far_as_its_objects_are() -> None:
    """Objects tell right from wrong, whole photos nothing: then the agreement decides."""
    chance, lessons = np.random.default_rng(0), Lessons()
    for photo in range(400):
        good = bool(chance.random() < 0.5)
        object_hits = [("p", 0.9 if good else 0.5), ("q", 0.45)]
        lessons.learn(LabelledQuery(photo, "object", frozenset({"p"} if good else {"r"}), object_hits), {})
        # Without an object, whatever is first is right half of the time.
        whole = [("p", 0.6), ("q", 0.55)]
        lessons.learn(LabelledQuery(photo, "whole", frozenset({"p"} if good else {"r"}), whole), {})
    for photo in range(400, 480):
        right = frozenset({"p"} if chance.random() < 0.5 else {"r"})
        lessons.learn(LabelledQuery(photo, "whole", right, [("p", 0.6), ("q", 0.55)]), {})
    calibration, report = fit_calibration(lessons)
    whole_map, alone = (calibration.map_of("same", part) for part in ("whole", "alone"))
    objects = calibration.map_of("same", "object")
    assert whole_map is not None
    assert alone is not None
    assert objects is not None
    predicted = [objects.one(score, score, 0.45) for score in (0.9, 0.5)]
    assert whole_map.one(0.6, 0.6, 0.55, predicted[0]) > 0.85
    assert whole_map.one(0.6, 0.6, 0.55, predicted[1]) < 0.15
    assert alone.one(0.6, 0.6, 0.55) == pytest.approx(0.5, abs=0.1)
    assert report["same"]["whole"]["first"]["n"] == 400
    assert report["same"]["alone"]["first"]["n"] == 480
    assert "the whole photo" in report["diagram"]


def test_the_diagram_shows_each_line_with_its_error() -> None:
    kept = measure_calibration(np.array([0.1, 0.9]), np.array([0.0, 1.0]))
    drawn_ = draw_reliability("A <title>", {"first & hits": kept})
    assert drawn_.startswith("<svg")
    assert "A &lt;title&gt;" in drawn_
    assert "first &amp; hits: calibration error 0.100, 2 hits" in drawn_


def test_near_hits_tell_the_category_and_their_share_how_surely() -> None:
    assert predict_category([]) is None
    assert predict_category([("", 0.9), ("", 0.8)]) is None
    assert predict_category([("chair", 0.9)]) == ("chair", 1.0)
    value, share = predict_category([("chair", 0.9), ("lamp", 0.9), ("lamp", 0.9)]) or ("", 0.0)
    assert (value, round(share, 6)) == ("lamp", round(2 / 3, 6))
    # One that is much nearer outweighs two that are far; without a category it only makes less sure.
    near, share = predict_category([("chair", 0.9), ("lamp", 0.6), ("lamp", 0.6)]) or ("", 0.0)
    assert near == "chair"
    assert share > 0.99
    value, share = predict_category([("", 0.9), ("lamp", 0.9)]) or ("", 0.0)
    assert value == "lamp"
    assert share == pytest.approx(0.5)


def test_the_spread_that_fits_is_found() -> None:
    chance = np.random.default_rng(0)
    asked = []
    for _ in range(400):
        ahead = float(chance.uniform(0, 0.3))
        sure = 1 / (1 + np.exp(-ahead / 0.05))
        right = "a" if chance.random() < sure else "b"
        asked.append(([("a", 0.9), ("b", 0.9 - ahead)], right))
    assert fit_spread(asked) in (0.04, 0.05, 0.07)


def product_picture(seed: int) -> CataloguePicture:
    """A coloured ring on white."""
    rows, columns = np.mgrid[0:120, 0:100]
    radius = np.hypot(rows - 60, columns - 50)
    colour = np.random.default_rng(seed).integers(0, 200, 3)
    image = np.full((120, 100, 3), 255, np.uint8)
    image[(radius < 40) & (radius > 10)] = colour
    return CataloguePicture(f"p{seed}", None, image)


def test_photos_show_each_product_once_where_they_say_and_are_the_same_again() -> None:
    shown = [product_picture(seed) for seed in range(12)]
    first, again = (list(Studio(3).photos(shown, WholeImage(), 0)) for _ in range(2))
    products = [each.product_id for photo in first for each in photo.shows]
    assert len(products) == len(set(products))
    assert len(products) >= 10
    assert any(len(photo.shows) > 1 for photo in first)
    for photo, same in zip(first, again, strict=True):
        assert (photo.image == same.image).all()
        assert photo.boxes == same.boxes
        for x0, y0, x1, y1 in photo.boxes:
            assert 0 <= x0 < x1 <= 1
            assert 0 <= y0 < y1 <= 1
    other = next(Studio(3).photos(shown, WholeImage(), 1))
    assert other.image.shape != first[0].image.shape or (other.image != first[0].image).any()


def test_a_picture_without_a_product_is_left_out() -> None:
    blank = CataloguePicture("blank", None, np.full((90, 90, 3), 255, np.uint8))
    assert list(Studio(0).photos([blank], WholeImage(), 0)) == []
