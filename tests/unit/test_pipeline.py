"""Which images, boxes and wishes become which embeddings; and what happens when memory runs out."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest

from shared.errors import OutOfMemory
from worker.vision import Detection, Embeddings, Image
from worker.vision.baselines import ColourHistogram, PerceptualHash, WholeImage
from worker.vision.pipeline import WHOLE, Pipeline, QueryOptions, run_in_batches


class StripeDetector:
    """Finds as many equal stripes as the value of the image's first pixel, from left to right."""

    version = "stripes@1"

    def __init__(self, most: int = 1000) -> None:
        self.most = most
        self.calls: list[int] = []

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        self.calls.append(len(images))
        if len(images) > self.most:
            raise MemoryError("cannot allocate")
        found = []
        for image in images:
            count = int(image[0, 0, 0])
            edges = np.linspace(0, 1, count + 1)
            boxes = [(float(a), 0.0, float(b), 1.0) for a, b in pairwise(edges)]
            found.append([Detection(box, "stripe", 0.9, np.ones((4, 4), np.float32)) for box in boxes])
        return found


class BoxEmbedder:
    """The embedding tells which box of which image was cut, and whether there was a mask."""

    version = "boxes@1"
    dim = 4
    uses_masks = True

    def __init__(self, most: int = 1000) -> None:
        self.most = most
        self.calls: list[int] = []

    def crop(self, image: Image, detection: Detection | None) -> Image:
        box = detection.box if detection else (0.0, 0.0, 1.0, 1.0)
        mask = detection is not None and detection.mask is not None
        values = [int(image[0, 0, 1]), round(100 * box[0]), round(100 * box[2]), int(mask)]
        return np.array(values, np.uint8).reshape(1, 4, 1)

    def embed(self, crops: Sequence[Image]) -> Embeddings:
        self.calls.append(len(crops))
        if len(crops) > self.most:
            raise MemoryError("cannot allocate")
        return np.array([crop.ravel() for crop in crops], np.float32).reshape(-1, 4)


def image(objects: int, name: int) -> Image:
    """An image in which the stripe detector finds that many objects."""
    pixels = np.zeros((20, 30, 3), np.uint8)
    pixels[0, 0] = (objects, name, 0)
    return pixels


def test_objects_and_the_whole_image_of_many_queries_in_two_calls() -> None:
    detector, embedder = StripeDetector(), BoxEmbedder()
    first, second, third = Pipeline(detector, embedder).embed_query([image(2, 7), image(0, 8), image(1, 9)])
    assert first.embeddings.tolist() == [[7, 0, 50, 1], [7, 50, 100, 1], [7, 0, 100, 0]]
    assert [d.box[0] for d in first.objects] == [0.0, 0.5]
    assert (second.objects, second.embeddings.tolist()) == ((), [[8, 0, 100, 0]])
    assert len(third.embeddings) == 2
    assert (detector.calls, embedder.calls) == ([3], [6])
    assert set(first.timings_ms) == {"detect", "crop", "embed"}
    assert min(first.timings_ms.values()) >= 0


def test_no_query_is_no_work() -> None:
    pipeline = Pipeline(StripeDetector(), BoxEmbedder())
    assert pipeline.embed_query([]) == []
    assert pipeline.embed_catalogue([]) == []


def test_wishes_are_each_image_s_own() -> None:
    detector = StripeDetector()
    wishes = [QueryOptions(detect=False), QueryOptions(box=(0.1, 0.0, 0.6, 1.0)), QueryOptions()]
    whole, drawn, found = Pipeline(detector, BoxEmbedder()).embed_query(
        [image(2, 1), image(2, 2), image(1, 3)], wishes
    )
    assert whole.embeddings.tolist() == [[1, 0, 100, 0]]
    assert [d.box for d in drawn.objects] == [(0.1, 0.0, 0.6, 1.0)]
    assert drawn.embeddings.tolist() == [[2, 10, 60, 1], [2, 0, 100, 0]]
    assert len(found.objects) == 1
    assert detector.calls == [2]  # the drawn box is detected too, for its mask


def test_a_drawn_box_costs_no_detection_when_masks_are_not_used() -> None:
    detector, embedder = StripeDetector(), ColourHistogram()
    Pipeline(detector, embedder).embed_query([image(1, 1)], [QueryOptions(box=(0.0, 0.0, 0.5, 0.5))])
    assert detector.calls == []


def test_at_most_so_many_objects_of_a_query() -> None:
    (query,) = Pipeline(StripeDetector(), BoxEmbedder(), max_objects=3).embed_query([image(9, 1)])
    assert len(query.objects) == 3
    assert len(query.embeddings) == 4


class UnsureDetector:
    """Finds a large object that it is not sure of, and after it two small ones that it is."""

    version = "unsure@1"

    def __init__(self, least: float) -> None:
        self.least = least

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        all_of_them = [
            Detection((0.0, 0.0, 1.0, 1.0), "product", 0.2),
            Detection((0.1, 0.1, 0.3, 0.3), "product", 0.5),
            Detection((0.6, 0.6, 0.8, 0.8), "product", 0.3),
        ]
        return [[d for d in all_of_them if d.confidence >= self.least] for _ in images]


def test_a_query_is_searched_for_doubtful_objects_too_and_they_come_last() -> None:
    pipeline = Pipeline(UnsureDetector(0.25), BoxEmbedder(), query_detector=UnsureDetector(0.1))
    (query,) = pipeline.embed_query([image(1, 1)])
    assert [d.confidence for d in query.objects] == [0.5, 0.3, 0.2]
    assert [pipeline.is_doubtful(d) for d in query.objects] == [False, False, True]
    assert len(query.embeddings) == 4
    # A catalogue is filled with what the detector is sure of.
    assert [c.detection.confidence for c in pipeline.embed_catalogue([image(1, 1)])[0]] == [0.5]
    (few,) = Pipeline(
        UnsureDetector(0.25), BoxEmbedder(), max_objects=2, query_detector=UnsureDetector(0.1)
    ).embed_query([image(1, 1)])
    assert [d.confidence for d in few.objects] == [0.5, 0.3]


def test_without_another_threshold_nothing_is_doubtful() -> None:
    (query,) = Pipeline(UnsureDetector(0.25), BoxEmbedder()).embed_query([image(1, 1)])
    assert [d.confidence for d in query.objects] == [0.5, 0.3]


def test_catalogue_keeps_the_main_object_or_the_whole_image() -> None:
    pipeline = Pipeline(StripeDetector(), BoxEmbedder())
    two, none = pipeline.embed_catalogue([image(2, 1), image(0, 2)])
    assert [(c.detection.box, c.embedding.tolist()) for c in two] == [((0.0, 0.0, 0.5, 1.0), [1, 0, 50, 1])]
    assert [(c.detection, c.embedding.tolist()) for c in none] == [(WHOLE, [2, 0, 100, 0])]


def test_bulk_work_gives_way_between_batches() -> None:
    detector, embedder = StripeDetector(), BoxEmbedder()
    pauses = []
    pipeline = Pipeline(detector, embedder, batch=2)
    pipeline.embed_catalogue(
        [image(1, n) for n in range(5)], pause=lambda: pauses.append(len(detector.calls))
    )
    assert detector.calls == [2, 2, 1]
    assert embedder.calls == [2, 2, 1]
    assert len(pauses) == 4


def test_out_of_memory_halves_the_batch_and_loses_nothing() -> None:
    detector, embedder = StripeDetector(most=3), BoxEmbedder(most=2)
    pipeline = Pipeline(detector, embedder, batch=16)
    found = pipeline.embed_catalogue([image(1, n) for n in range(10)])
    assert [c.embedding.tolist() for (c,) in found] == [[n, 0, 100, 1] for n in range(10)]
    assert detector.calls == [10, 5, 2, 2, 2, 2, 2]
    again = pipeline.embed_query([image(1, 42)])
    assert len(again[0].embeddings) == 2


def test_one_image_that_does_not_fit_alone_is_named() -> None:
    with pytest.raises(OutOfMemory, match="picture 1 of 4 alone"):
        Pipeline(StripeDetector(most=0), BoxEmbedder()).embed_catalogue([image(1, n) for n in range(4)])


def test_batches_keep_their_order() -> None:
    assert run_in_batches(lambda part: [2 * x for x in part], list(range(7)), 3) == [0, 2, 4, 6, 8, 10, 12]


def test_versions_and_warm_up() -> None:
    detector, embedder = StripeDetector(), BoxEmbedder()
    pipeline = Pipeline(detector, embedder, batch=4)
    assert pipeline.versions == {"detector": "stripes@1", "embedder": "boxes@1"}
    pipeline.warm_up()
    assert detector.calls == [1, 4]


def test_baselines_tell_what_they_are_made_to_tell() -> None:
    rng = np.random.default_rng(1)
    red = np.full((50, 70, 3), (200, 30, 30), np.uint8)
    noise = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for embedder in (ColourHistogram(), PerceptualHash()):
        pipeline = Pipeline(WholeImage(), embedder)
        rows = np.stack([c.embedding for (c,) in pipeline.embed_catalogue([red, red, noise])])
        assert rows.shape == (3, 256)
        assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
        assert rows[0] @ rows[1] == pytest.approx(1, abs=1e-5)
        assert rows[0] @ rows[2] < 0.6
    brighter = np.clip(noise.astype(int) // 2 + 100, 0, 255).astype(np.uint8)
    hashes = PerceptualHash().embed([noise, brighter])
    assert hashes[0] @ hashes[1] > 0.95
