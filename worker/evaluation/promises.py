"""Whether probabilities are kept: fitted on photos composed of the gallery, asked about the real ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.calibration.calibration_store import Calibration, Part
from worker.calibration.composed import Shown, Studio
from worker.calibration.fitting import HITS
from worker.calibration.learning import Lessons, Question, expected_answers, fit_calibration
from worker.calibration.reliability import measure_calibration
from worker.evaluation.dataset import GalleryImage, Photograph
from worker.vision import Embeddings, Image
from worker.vision.crops import match, to_boxes
from worker.vision.pipeline import Pipeline, QueryEmbedding

#: Pictures of the gallery that photos are composed of.
PICTURES = 960
_BATCH = 16
_SAME_OBJECT = 0.5

Load = Callable[[GalleryImage], Image]


class ExactSearch:
    """The nearest products of a gallery, found by comparing with all.

    Args:
        products: their ids.
        owners: ``(G,)``, of each embedding: which product.
        embeddings: ``(G, D)``.
    """

    def __init__(self, products: Sequence[str], owners: NDArray[np.intp], embeddings: Embeddings) -> None:
        self._products, self._owners, self._embeddings = products, owners, embeddings

    def hits(self, query: Embeddings, without: Sequence[int] = ()) -> list[tuple[str, float]]:
        """Return product and score of the nearest, best first, one a product.

        Args:
            query: ``(D,)``.
            without: rows of the gallery that are not looked at.
        """
        scores = self._embeddings @ query
        scores[list(without)] = -1.0
        best = np.full(len(self._products), -1.0, np.float64)
        np.maximum.at(best, self._owners, scores)
        nearest = np.argsort(-best, kind="stable")[:HITS]
        return [(self._products[n], float(best[n])) for n in nearest]


def promises(
    search: ExactSearch,
    gallery: Sequence[GalleryImage],
    pipeline: Pipeline,
    answered: Sequence[tuple[Photograph, QueryEmbedding]],
    load: Load,
    told: Callable[[str, int, int], None],
) -> dict[str, Any] | None:
    """Return how maps that were fitted on composed photos kept what they said of the set's photographs.

    Args:
        gallery: in the order of the search's rows, where each picture has one.

    Returns:
        By part, ``object`` and ``whole``, the results of ``measure_calibration`` for ``first`` and ``all``
        hits; under ``composed`` those of held-out composed photos. None where the gallery gives too few
        examples.
    """
    lessons = collect_lessons(search, gallery, pipeline, {}, load, told)
    if not lessons.enough():
        return None
    calibration, report = fit_calibration(lessons)
    asked = Lessons()
    for number, (photograph, query) in enumerate(answered):
        for row, (part, right) in enumerate(_wanted(photograph, query)):
            asked.learn(Question(number, part, frozenset(right), search.hits(query.embeddings[row])), {})
    return {**_kept(calibration, asked), "composed": report["same"]}


def _kept(calibration: Calibration, asked: Lessons) -> dict[str, Any]:
    """What became of what was said: of a whole photograph without objects by the map for that."""
    found: dict[str, Any] = {}
    agreements = asked.agreements(calibration.map_of("same", "object"))
    asked_by: dict[str, tuple[Part, ...]] = {"object": ("object",), "whole": ("whole", "alone")}
    for name, parts in asked_by.items():
        rows: list[tuple[float, float, int, bool]] = []
        for part in parts:
            samples, map_ = asked.samples("same", part, agreements), calibration.map_of("same", part)
            if map_ is None or not len(samples):
                continue
            said = map_(samples.hits()).tolist()
            each = zip(said, samples.right, samples.photos, samples.first, strict=True)
            rows += [row for row in each if part != "alone" or row[2] not in agreements]
        if rows:
            found[name] = {
                "first": _promises([row for row in rows if row[3]]),
                "all": _promises(rows),
            }
    return found


def _promises(rows: Sequence[tuple[float, float, int, bool]]) -> dict[str, Any]:
    said, right, photos, _ = zip(*rows, strict=True)
    return measure_calibration(np.array(said, np.float64), np.array(right, np.float64), photos)


def collect_lessons(
    search: ExactSearch,
    gallery: Sequence[GalleryImage],
    pipeline: Pipeline,
    categories: Mapping[str, str],
    load: Load,
    told: Callable[[str, int, int], None],
) -> Lessons:
    """Return what photos composed of a gallery's pictures teach, as the calibration job does it.

    Args:
        gallery: in the order of the search's rows, one picture a row.
        categories: of the products, where they have any.
        load: reads a picture.
        told: called with the stage, how much of it is done, and how much there is.
    """
    chosen = np.random.default_rng(0).permutation(len(gallery))[:PICTURES]
    views: dict[str, int] = {}
    for image in gallery:
        views[image.product_id] = views.get(image.product_id, 0) + 1
    studio, lessons, photos = Studio(0), Lessons(), 0
    for shown, batch in _batches(gallery, [int(n) for n in chosen], views, load):
        made = list(studio.photos(shown, pipeline.detector, batch))
        embedded = pipeline.embed_query([photo.image for photo in made])
        for number, (photo, query) in enumerate(zip(made, embedded, strict=True), photos):
            own = [int(each.image_id) for each in photo.shows if each.image_id is not None]
            for row, (part, right) in enumerate(expected_answers(photo, query)):
                products = frozenset(photo.shows[n].product_id for n in right)
                hits = search.hits(query.embeddings[row], own)
                lessons.learn(Question(number, part, products, hits), categories)
        photos += len(made)
        told("composed photos", min((batch + 1) * _BATCH, len(chosen)), len(chosen))
    return lessons


def _batches(
    gallery: Sequence[GalleryImage], chosen: Sequence[int], views: Mapping[str, int], load: Load
) -> Iterator[tuple[list[Shown], int]]:
    """Decode in a pool; a picture's row stands for its id where its product has others."""
    with ThreadPoolExecutor(2, "decode") as pool:
        for at in range(0, len(chosen), _BATCH):
            rows = chosen[at : at + _BATCH]
            shown = []
            for row, image in zip(rows, pool.map(load, [gallery[row] for row in rows]), strict=True):
                product = gallery[row].product_id
                shown.append(Shown(product, str(row) if views[product] > 1 else None, image))
            yield shown, at // _BATCH


def _wanted(photograph: Photograph, query: QueryEmbedding) -> list[tuple[Part, set[str]]]:
    """What each embedding of a photograph asks for."""
    truth = np.array([seen.box for seen in photograph.objects], np.float32).reshape(-1, 4)
    pairs = {j: i for i, j in match(truth, to_boxes(list(query.objects)), _SAME_OBJECT)}
    objects: list[tuple[Part, set[str]]] = [
        ("object", {photograph.objects[pairs[n]].product_id} if n in pairs else set())
        for n in range(len(query.objects))
    ]
    return [*objects, ("whole", {seen.product_id for seen in photograph.objects})]
