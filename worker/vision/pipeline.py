"""Embed images: detect, crop, embed. Independent of queues, database and settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.contracts.base import Box
from worker.vision import Detection, Detector, Embedder, Embeddings, Image
from worker.vision.baselines import ColourHistogram, PerceptualHash, WholeImage
from worker.vision.batching import run_in_batches
from worker.vision.crops import transfer_mask
from worker.vision.detector import CONFIDENCE, IOU, MAX_OBJECTS, load_detector
from worker.vision.embedder import load_embedder
from worker.vision.models import CropMode, find_model, stable_name
from worker.vision.runtimes import PrecisionChoice, RuntimeName
from worker.vision.stopwatch import Stopwatch

#: The whole image as a detection.
WHOLE = Detection((0.0, 0.0, 1.0, 1.0), "image", 0.0)

NO_DETECTOR = "none"
#: By default queries have no doubtful objects. On composed photographs of training products
#: (training.validation_set) .10 was best: it raised the recall of objects from .78 to .84, with .28 more
#: false ones per photograph.
QUERY_CONFIDENCE = CONFIDENCE
BASELINES: dict[str, Callable[[], Embedder]] = {
    ColourHistogram.version: ColourHistogram,
    PerceptualHash.version: PerceptualHash,
}


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
    max_objects: int = 8
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


def build_pipeline(
    *,
    models_dir: Path,
    detector_name: str,
    embedder_name: str,
    runtime: RuntimeName = "openvino",
    device: str = "cpu",
    cache_dir: Path,
    threads: int = 0,
    confidence: float = CONFIDENCE,
    query_confidence: float = QUERY_CONFIDENCE,
    iou: float = IOU,
    max_objects: int = MAX_OBJECTS,
    micro_batch: int = 16,
    crop: CropMode | None = None,
    precision: PrecisionChoice = "auto",
) -> Pipeline:
    """Load both models and build their pipeline.

    Args:
        models_dir: folder of ``registry.json``.
        detector_name: a registry name, ``default``, the path of YOLO weights, or ``none``, which takes the
            whole image as the object.
        embedder_name: a registry name, ``default``, the path of ResNet or EfficientNet-Lite0 weights,
            ``colour-histogram`` or ``perceptual-hash``.
        cache_dir: for converted models.
        confidence: minimum confidence of an object of a catalogue image, and of a query's object that is not
            doubtful.
        query_confidence: minimum confidence of a query's object; no effect above ``confidence``.
        threads: inference threads; 0 for one per core.
        crop: how objects are cut out; by default as the embedder's registry entry says.
        precision: ``auto`` uses INT8 on the CPU where a model has such a form; see docs/models.md.

    Raises:
        Misconfigured: a model is missing, damaged, malicious or unknown; nothing in it was executed.
    """
    detector: Detector = WholeImage()
    query_detector: Detector | None = None
    if detector_name != NO_DETECTOR:
        detector_file = find_model(models_dir, detector_name, "detector")
        detector_name = stable_name(detector_name, detector_file)
        yolo = load_detector(
            detector_file,
            runtime,
            device,
            confidence,
            iou,
            max_objects,
            cache_dir=cache_dir,
            threads=threads,
            precision=precision,
        )
        detector = yolo
        if query_confidence < confidence:
            # Find more than max_objects: the most prominent may be doubtful, and those are ordered last.
            query_detector = yolo.with_limits(query_confidence, 4 * max_objects)
    embedder: Embedder
    if embedder_name in BASELINES:
        embedder = BASELINES[embedder_name]()
    else:
        model = find_model(models_dir, embedder_name, "embedder")
        embedder_name = stable_name(embedder_name, model)
        plan = model.crop.model_copy(update={"mode": crop or model.crop.mode})
        embedder = load_embedder(
            model,
            runtime,
            device,
            cache_dir=cache_dir,
            threads=threads,
            plan=plan,
            precision=precision,
        )
    notes = []
    if detector_name == NO_DETECTOR:
        notes.append("no detector: images are searched as a whole")
    return Pipeline(
        detector,
        embedder,
        micro_batch,
        max_objects,
        tuple(notes),
        detector_name,
        embedder_name,
        query_detector,
        confidence,
    )
