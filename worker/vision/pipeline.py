"""Embed images: detect, crop, embed. Independent of queues, database and settings."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from shared.contracts.base import Box
from shared.errors import OutOfMemory
from worker.vision import Detection, Detector, Embedder, Embeddings, Image
from worker.vision.baselines import WholeImage
from worker.vision.crops import transfer_mask
from worker.vision.detector import CONFIDENCE

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

#: The whole image as a detection.
WHOLE = Detection((0.0, 0.0, 1.0, 1.0), "image", 0.0)

NO_DETECTOR = "none"
#: Maximum number of objects of a query image: an answer has a group of hits for each.
MAX_OBJECTS = 8


@dataclass(frozen=True, slots=True)
class QueryOptions:
    """Options of one query image.

    Attributes:
        box: x0, y0, x1, y1 as fractions, drawn by a person: the only object; None to detect.
        detect: False to embed only the whole image.
    """

    box: Box | None = None
    detect: bool = True


@dataclass(frozen=True, slots=True)
class QueryEmbedding:
    """A query image, embedded.

    Attributes:
        objects: most prominent first; may be empty.
        embeddings: ``(len(objects) + 1, D)``: of each object in order, and of the whole image last.
        timings_ms: duration of ``detect``, ``crop`` and ``embed`` for its whole batch.
    """

    objects: tuple[Detection, ...]
    embeddings: Embeddings
    timings_ms: dict[str, float]


@dataclass(frozen=True, slots=True)
class EmbeddedObject:
    """One object of a catalogue image, embedded; ``WHOLE`` where no object was found.

    Attributes:
        embedding: ``(D,) float32``, normalised.
        colours: names of its main colours (``worker.vision.colours``); None where they are not known.
    """

    detection: Detection
    embedding: NDArray[np.float32]
    colours: list[str] | None = None


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A detector and an embedder, run in batches.

    Attributes:
        batch: maximum number of images or crops in one call of a model.
        max_objects: maximum number of objects of a query image.

        query_detector: finds objects of query images, including doubtful ones; None for ``detector``.
        confidence: query objects below it are doubtful, and are ordered last.
        notes: remarks for operators; often none.
        detector_name, embedder_name: registry names or paths from which the models can be loaded again.
    """

    detector: Detector
    embedder: Embedder
    batch: int = 16
    max_objects: int = MAX_OBJECTS
    notes: tuple[str, ...] = ()
    detector_name: str = NO_DETECTOR
    embedder_name: str = ""
    query_detector: Detector | None = None
    confidence: float = CONFIDENCE

    @property
    def versions(self) -> dict[str, str]:
        """Return the versions of ``detector`` and ``embedder``."""
        return {"detector": self.detector.version, "embedder": self.embedder.version}

    @property
    def detects(self) -> bool:
        """Return whether there is a detector."""
        return not isinstance(self.detector, WholeImage)

    def embed_query(
        self, images: Sequence[Image], options: Sequence[QueryOptions] | None = None
    ) -> list[QueryEmbedding]:
        """Embed query images, with the objects of all images in common batches.

        Args:
            images: upright ``(H, W, 3) uint8`` each, of any sizes.
            options: one per image; None for the defaults.

        Raises:
            OutOfMemory: one image does not fit alone. Nothing is returned for the others.
            Unavailable: the device failed.
        """
        clock = Stopwatch()
        found = self._find(images, options if options is not None else [QueryOptions()] * len(images))
        clock.lap("detect")
        jobs = [(image, d) for image, ds in zip(images, found, strict=True) for d in (*ds, None)]
        crops = run_in_batches(self._crop, jobs, len(jobs))
        clock.lap("crop")
        embeddings = self._embed(crops)
        clock.lap("embed")
        ends = np.cumsum([len(ds) + 1 for ds in found])
        rows = np.split(embeddings, ends[:-1]) if len(ends) else []
        return [QueryEmbedding(tuple(ds), e, dict(clock.laps_ms)) for ds, e in zip(found, rows, strict=True)]

    def embed_catalogue(
        self, images: Sequence[Image], pause: Callable[[], None] | None = None
    ) -> list[list[EmbeddedObject]]:
        """Embed the main object of each catalogue image.

        Args:
            images: upright ``(H, W, 3) uint8`` each, of any sizes.
            pause: called between two batches, where an import gives way to searches.

        Raises:
            OutOfMemory: one image does not fit alone. Nothing is returned for the others.
            Unavailable: the device failed.
        """
        return self.embed_objects(images, self.find_objects(images, pause), pause)

    def find_objects(
        self, images: Sequence[Image], pause: Callable[[], None] | None = None
    ) -> list[list[Detection]]:
        """Find the main object of each catalogue image; an empty list stands for the whole image.

        This is the first half of ``embed_catalogue``, and raises the same errors.
        """
        found = run_in_batches(self.detector.detect, images, self.batch, pause)
        return [detections[:1] for detections in found]

    def embed_objects(
        self,
        images: Sequence[Image],
        found: Sequence[Sequence[Detection]],
        pause: Callable[[], None] | None = None,
    ) -> list[list[EmbeddedObject]]:
        """Embed the results of ``find_objects``; raises the errors of ``embed_catalogue``."""
        targets: list[list[Detection | None]] = [[*detections] or [None] for detections in found]
        jobs = [(image, d) for image, ds in zip(images, targets, strict=True) for d in ds]
        rows = iter(self._embed(run_in_batches(self._crop, jobs, self.batch), pause))
        return [[EmbeddedObject(d or WHOLE, next(rows)) for d in ds] for ds in targets]

    def warm_up(self) -> None:
        """Run both models for one image and for a full batch, so that the first search is not slow."""
        grey = np.full((64, 64, 3), 128, np.uint8)
        for count in (1, self.batch):
            self.embed_catalogue([grey] * count)

    def _find(self, images: Sequence[Image], options: Sequence[QueryOptions]) -> list[list[Detection]]:
        """Find the objects of each image; a drawn box runs the detector only if masks are used."""
        needs = [o.detect if o.box is None else self.uses_masks for o in options]
        chosen = [image for image, needed in zip(images, needs, strict=True) if needed]
        detector = self.query_detector or self.detector
        results = iter(run_in_batches(detector.detect, chosen, self.batch))
        found = []
        for option, needed in zip(options, needs, strict=True):
            detections = next(results) if needed else []
            if option.box is not None:
                found.append([transfer_mask(option.box, detections)])
            else:
                found.append(sorted(detections, key=self.is_doubtful)[: self.max_objects])
        return found

    def is_doubtful(self, detection: Detection) -> bool:
        """Return whether the confidence of a query's object is below the catalogue's threshold.

        Half of the objects that the detector misses at its threshold are in its output at a lower one.
        """
        return detection.confidence < self.confidence

    @property
    def uses_masks(self) -> bool:
        """Return whether masks, which are never stored, change embeddings."""
        return bool(getattr(self.embedder, "uses_masks", False))

    def _crop(self, jobs: Sequence[tuple[Image, Detection | None]]) -> list[Image]:
        return [self.embedder.crop(image, detection) for image, detection in jobs]

    def _embed(self, crops: Sequence[Image], pause: Callable[[], None] | None = None) -> Embeddings:
        rows = run_in_batches(lambda part: list(self.embedder.embed(part)), crops, self.batch, pause)
        return np.stack(rows) if rows else np.zeros((0, self.embedder.dim), np.float32)


def run_in_batches(
    call: Callable[[Sequence[Item]], Sequence[Result]],
    items: Sequence[Item],
    size: int,
    pause: Callable[[], None] | None = None,
) -> list[Result]:
    """Call with at most ``size`` items at a time; return one result per item, in order.

    A batch that ends in ``MemoryError`` is retried in halves, so that the process survives and only an item
    that does not fit alone fails. Later batches keep the smaller size.

    Args:
        call: takes items, returns as many results.
        pause: called between two batches, where bulk work gives way to searches.

    Raises:
        OutOfMemory: a single item does not fit.
    """
    results: list[Result] = []
    while len(results) < len(items):
        if results and pause is not None:
            pause()
        batch = items[len(results) : len(results) + size]
        try:
            results.extend(call(batch))
        except MemoryError as error:
            if len(batch) == 1:
                raise OutOfMemory(
                    f"Not enough memory for picture {len(results) + 1} of {len(items)} alone: "
                    "retry later, or give the worker more memory."
                ) from error
            size = len(batch) // 2
            log.warning("out of memory with a batch of %d: retrying with %d", len(batch), size)
    return results


class Stopwatch:
    """Measures time from lap to lap, in milliseconds; a lap of a known name adds to it."""

    def __init__(self) -> None:
        self.laps_ms: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, name: str) -> float:
        """End a lap and start the next one; return its duration in milliseconds."""
        now = time.perf_counter()
        spent_ms, self._since = 1000 * (now - self._since), now
        self.laps_ms[name] = self.laps_ms.get(name, 0.0) + spent_ms
        return spent_ms

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Exclude the time of the block from the current lap."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._since += time.perf_counter() - began
