"""Evaluate probabilities that were fitted on photos composed of the gallery, on real photographs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.calibration.calibration_store import Calibration, QueryPart
from worker.calibration.composed import CataloguePicture, Studio
from worker.calibration.fitting import HITS
from worker.calibration.learning import LabelledQuery, Lessons, expected_answers, fit_calibration
from worker.calibration.reliability import measure_calibration
from worker.evaluation.dataset import GalleryImage, Photograph
from worker.vision import Embeddings, Image
from worker.vision.crops import match, to_boxes
from worker.vision.pipeline import Pipeline, QueryEmbedding

#: Maximum number of gallery pictures that photos are composed of.
PICTURES = 960
_BATCH = 16
#: Minimum IoU of a detection with a true box that counts as the same object.
_SAME_OBJECT_IOU = 0.5

Load = Callable[[GalleryImage], Image]


class ExactSearch:
    """Exact nearest-neighbour search among the products of a gallery.

    Args:
        products: their ids.
        owners: ``(G,)``, of each embedding: the index of its product.
        embeddings: ``(G, D) float32``.
    """

    def __init__(self, products: Sequence[str], owners: NDArray[np.intp], embeddings: Embeddings) -> None:
        self._products, self._owners, self._embeddings = products, owners, embeddings

    def hits(self, query: Embeddings, without: Sequence[int] = ()) -> list[tuple[str, float]]:
        """Return product and score of the nearest products, best first.

        Args:
            query: ``(D,)``.
            without: rows of the gallery to leave out.
        """
        scores = self._embeddings @ query
        scores[list(without)] = -1.0
        best = np.full(len(self._products), -1.0, np.float64)
        np.maximum.at(best, self._owners, scores)
        nearest = np.argsort(-best, kind="stable")[:HITS]
        return [(self._products[n], float(best[n])) for n in nearest]


def evaluate_probabilities(
    search: ExactSearch,
    gallery: Sequence[GalleryImage],
    pipeline: Pipeline,
    queries: Sequence[tuple[Photograph, QueryEmbedding]],
    load: Load,
    progress: Callable[[str, int, int], None],
) -> dict[str, Any] | None:
    """Fit probabilities on composed photos and measure their calibration on the set's photographs.

    Args:
        gallery: one picture per row of the search, in its order.

    Returns:
        By part, ``object`` and ``whole``, the results of ``measure_calibration`` for ``first`` and ``all``
        hits; under ``composed`` those of held-out composed photos. None where the gallery gives too few
        examples.
    """
    lessons = collect_lessons(search, gallery, pipeline, {}, load, progress)
    if not lessons.enough():
        return None
    calibration, report = fit_calibration(lessons)
    outcomes = Lessons()
    for number, (photograph, query) in enumerate(queries):
        for row, (part, right) in enumerate(_expected(photograph, query)):
            hits = search.hits(query.embeddings[row])
            outcomes.learn(LabelledQuery(number, part, frozenset(right), hits), {})
    return {**_measure(calibration, outcomes), "composed": report["same"]}


def _measure(calibration: Calibration, outcomes: Lessons) -> dict[str, Any]:
    """Measure the calibration by part; whole photographs without objects use their own map."""
    found: dict[str, Any] = {}
    agreements = outcomes.agreements(calibration.map_of("same", "object"))
    groups: dict[str, tuple[QueryPart, ...]] = {"object": ("object",), "whole": ("whole", "alone")}
    for name, parts in groups.items():
        rows: list[tuple[float, float, int, bool]] = []
        for part in parts:
            samples, map_ = outcomes.samples("same", part, agreements), calibration.map_of("same", part)
            if map_ is None or not len(samples):
                continue
            predicted = map_(samples.hits()).tolist()
            hits = zip(predicted, samples.right, samples.photos, samples.first, strict=True)
            rows += [row for row in hits if part != "alone" or row[2] not in agreements]
        if rows:
            found[name] = {
                "first": _measure_rows([row for row in rows if row[3]]),
                "all": _measure_rows(rows),
            }
    return found


def _measure_rows(rows: Sequence[tuple[float, float, int, bool]]) -> dict[str, Any]:
    predicted, right, photos, _ = zip(*rows, strict=True)
    return measure_calibration(np.array(predicted, np.float64), np.array(right, np.float64), photos)


def collect_lessons(
    search: ExactSearch,
    gallery: Sequence[GalleryImage],
    pipeline: Pipeline,
    categories: Mapping[str, str],
    load: Load,
    progress: Callable[[str, int, int], None],
) -> Lessons:
    """Search with photos composed of a gallery's pictures, and collect the labelled hits.

    Args:
        gallery: one picture per row of the search, in its order.
        categories: of products that have one.
        load: decodes a picture.
        progress: called with the stage, the number of items done, and their total.
    """
    chosen = np.random.default_rng(0).permutation(len(gallery))[:PICTURES]
    views: dict[str, int] = {}
    for image in gallery:
        views[image.product_id] = views.get(image.product_id, 0) + 1
    studio, lessons, photos = Studio(0), Lessons(), 0
    for pictures, batch in _load_batches(gallery, [int(n) for n in chosen], views, load):
        composed = list(studio.photos(pictures, pipeline.detector, batch))
        embedded = pipeline.embed_query([photo.image for photo in composed])
        for number, (photo, query) in enumerate(zip(composed, embedded, strict=True), photos):
            own = [int(each.image_id) for each in photo.shows if each.image_id is not None]
            for row, (part, right) in enumerate(expected_answers(photo, query)):
                products = frozenset(photo.shows[n].product_id for n in right)
                hits = search.hits(query.embeddings[row], own)
                lessons.learn(LabelledQuery(number, part, products, hits), categories)
        photos += len(composed)
        progress("composed photos", min((batch + 1) * _BATCH, len(chosen)), len(chosen))
    return lessons


def _load_batches(
    gallery: Sequence[GalleryImage], chosen: Sequence[int], views: Mapping[str, int], load: Load
) -> Iterator[tuple[list[CataloguePicture], int]]:
    """Decode in a thread pool; a picture's id is its row, None where its product has no other picture."""
    with ThreadPoolExecutor(2, "decode") as pool:
        for at in range(0, len(chosen), _BATCH):
            rows = chosen[at : at + _BATCH]
            pictures = []
            for row, image in zip(rows, pool.map(load, [gallery[row] for row in rows]), strict=True):
                product = gallery[row].product_id
                pictures.append(CataloguePicture(product, str(row) if views[product] > 1 else None, image))
            yield pictures, at // _BATCH


def _expected(photograph: Photograph, query: QueryEmbedding) -> list[tuple[QueryPart, set[str]]]:
    """Return the right products of each embedding of a photograph."""
    truth = np.array([labelled.box for labelled in photograph.objects], np.float32).reshape(-1, 4)
    pairs = {j: i for i, j in match(truth, to_boxes(list(query.objects)), _SAME_OBJECT_IOU)}
    objects: list[tuple[QueryPart, set[str]]] = [
        ("object", {photograph.objects[pairs[n]].product_id} if n in pairs else set())
        for n in range(len(query.objects))
    ]
    return [*objects, ("whole", {labelled.product_id for labelled in photograph.objects})]
