"""Images to embeddings: detect, crop, embed. Knows no queue, no database and no settings."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worker.vision import Detection, Detector, Embedder, Embeddings, Image
from worker.vision.baselines import ColourHistogram, PerceptualHash, WholeImage
from worker.vision.batching import in_batches
from worker.vision.crops import Box, transfer_mask
from worker.vision.detector import CONFIDENCE, IOU, MAX_OBJECTS, load_detector
from worker.vision.embedder import load_embedder
from worker.vision.models import CropMode, find_model, stable_name
from worker.vision.runtimes import PrecisionChoice, RuntimeName

#: Stands for the whole image where an object is asked for.
WHOLE = Detection((0.0, 0.0, 1.0, 1.0), "image", 0.0)

NO_DETECTOR = "none"
#: No doubtful objects unless they are asked for. On composed photographs of training products
#: (training.validation_set) .10 served best: recall of objects .78 at .25 and .84 at .10, for .28 more
#: false ones a photograph.
QUERY_CONFIDENCE = CONFIDENCE
BASELINES: dict[str, Callable[[], Embedder]] = {
    ColourHistogram.version: ColourHistogram,
    PerceptualHash.version: PerceptualHash,
}


@dataclass(frozen=True, slots=True)
class QueryOptions:
    """What one query image is searched for.

    Attributes:
        box: x0, y0, x1, y1 as fractions, drawn by a person: the one object; None to detect.
        detect: False embeds only the whole image.
    """

    box: Box | None = None
    detect: bool = True


@dataclass(frozen=True, slots=True)
class QueryEmbedding:
    """A query image, embedded.

    Attributes:
        objects: what was found, most prominent first; empty where nothing was.
        embeddings: ``(len(objects) + 1, D)``: of each object in order, and of the whole image last.
        timings_ms: ``detect``, ``crop`` and ``embed``: what its batch took, which is what it waited.
    """

    objects: tuple[Detection, ...]
    embeddings: Embeddings
    timings_ms: dict[str, float]


@dataclass(frozen=True, slots=True)
class CatalogueEmbedding:
    """One object of a catalogue image, embedded; ``WHOLE`` where nothing was found."""

    detection: Detection
    embedding: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A detector and an embedder, run in batches.

    Attributes:
        batch: most images or crops in one call of a model.
        max_objects: most objects of a query image.

        query_detector: finds the objects of query images, doubtful ones too; None for ``detector``.
        confidence: objects below it are doubtful: a query is searched for them too, and they come last.
        notes: what an operator should know of how this pipeline runs; often none.
        detector_name, embedder_name: how the models are loaded again: the registry's names, or paths.
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
        """``detector`` and ``embedder`` versions."""
        return {"detector": self.detector.version, "embedder": self.embedder.version}

    @property
    def detects(self) -> bool:
        """Whether there is a detector at all."""
        return not isinstance(self.detector, WholeImage)

    def embed_query(
        self, images: Sequence[Image], options: Sequence[QueryOptions] | None = None
    ) -> list[QueryEmbedding]:
        """Embed query images: the objects of all go through each model together.

        Args:
            images: upright ``(H, W, 3) uint8`` each, of any sizes.
            options: one an image; None for the defaults.

        Raises:
            OutOfMemory: one image does not fit alone. Nothing is returned for the others.
            Unavailable: the device failed.
        """
        wishes = options if options is not None else [QueryOptions()] * len(images)
        clock = _Clock()
        found = self._find(images, wishes)
        clock.lap("detect")
        jobs = [(image, d) for image, ds in zip(images, found, strict=True) for d in (*ds, None)]
        crops = in_batches(self._crop, jobs, len(jobs))
        clock.lap("crop")
        embeddings = self._embed(crops)
        clock.lap("embed")
        ends = np.cumsum([len(ds) + 1 for ds in found])
        rows = np.split(embeddings, ends[:-1]) if len(ends) else []
        return [QueryEmbedding(tuple(ds), e, dict(clock.spent_ms)) for ds, e in zip(found, rows, strict=True)]

    def embed_catalogue(
        self, images: Sequence[Image], pause: Callable[[], None] | None = None
    ) -> list[list[CatalogueEmbedding]]:
        """Embed catalogue images: the main object of each.

        Args:
            images: upright ``(H, W, 3) uint8`` each, of any sizes.
            pause: called between two batches: where an import gives way to a search.

        Raises:
            OutOfMemory: one image does not fit alone. Nothing is returned for the others.
            Unavailable: the device failed.
        """
        return self.embed_objects(images, self.find_objects(images, pause), pause)

    def find_objects(
        self, images: Sequence[Image], pause: Callable[[], None] | None = None
    ) -> list[list[Detection]]:
        """Return the objects of catalogue images that are to be embedded; none means the whole image.

        Raises as ``embed_catalogue``, whose first half it is.
        """
        found = in_batches(self.detector.detect, images, self.batch, pause)
        return [detections[:1] for detections in found]

    def embed_objects(
        self,
        images: Sequence[Image],
        found: Sequence[Sequence[Detection]],
        pause: Callable[[], None] | None = None,
    ) -> list[list[CatalogueEmbedding]]:
        """Embed the objects that ``find_objects`` of this detector found. Raises as ``embed_catalogue``."""
        kept: list[list[Detection | None]] = [[*detections] or [None] for detections in found]
        jobs = [(image, d) for image, ds in zip(images, kept, strict=True) for d in ds]
        rows = iter(self._embed(in_batches(self._crop, jobs, self.batch), pause))
        return [[CatalogueEmbedding(d or WHOLE, next(rows)) for d in ds] for ds in kept]

    def warm_up(self) -> None:
        """Run both models once for one image and for a full batch, so that the first search is not slow."""
        grey = np.full((64, 64, 3), 128, np.uint8)
        for count in (1, self.batch):
            self.embed_catalogue([grey] * count)

    def _find(self, images: Sequence[Image], options: Sequence[QueryOptions]) -> list[list[Detection]]:
        """Objects of each image. A drawn box is run through the detector too if a mask would be used."""
        needs = [o.detect if o.box is None else self.uses_masks for o in options]
        chosen = [image for image, needed in zip(images, needs, strict=True) if needed]
        detector = self.query_detector or self.detector
        results = iter(in_batches(detector.detect, chosen, self.batch))
        found = []
        for option, needed in zip(options, needs, strict=True):
            detections = next(results) if needed else []
            if option.box is not None:
                found.append([transfer_mask(option.box, detections)])
            else:
                found.append(sorted(detections, key=self.is_doubtful)[: self.max_objects])
        return found

    def is_doubtful(self, detection: Detection) -> bool:
        """Whether an object is searched for although the detector is not sure that it is one.

        Half of the objects that a confident detector misses are in its output at a low confidence.
        """
        return detection.confidence < self.confidence

    @property
    def uses_masks(self) -> bool:
        """Whether a mask, which is never stored, changes what is embedded."""
        return bool(getattr(self.embedder, "uses_masks", False))

    def _crop(self, jobs: Sequence[tuple[Image, Detection | None]]) -> list[Image]:
        return [self.embedder.crop(image, detection) for image, detection in jobs]

    def _embed(self, crops: Sequence[Image], pause: Callable[[], None] | None = None) -> Embeddings:
        rows = in_batches(lambda part: list(self.embedder.embed(part)), crops, self.batch, pause)
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
    """Load both models.

    Args:
        models_dir: folder of ``registry.json``.
        detector_name: a registry name, ``default``, the path of YOLO weights, or ``none``: the whole
            image is the object.
        embedder_name: a registry name, ``default``, the path of ResNet or EfficientNet-Lite0 weights,
            ``colour-histogram`` or ``perceptual-hash``.
        cache_dir: for converted models.
        confidence: minimum confidence of an object of a catalogue image, and of a query's that is no
            doubtful one.
        query_confidence: minimum confidence of an object that a query is searched for; no effect above
            ``confidence``.
        threads: inference threads; 0 for one a core.
        crop: how objects are cut out, if not as the embedder's entry in the registry says.
        precision: ``auto`` takes INT8 on the CPU where a model has such a form; see docs/models.md.

    Raises:
        Misconfigured: a model is missing, damaged, malicious or unknown; nothing in it was executed.
    """
    detector: Detector = WholeImage()
    query_detector: Detector | None = None
    if detector_name != NO_DETECTOR:
        seer = find_model(models_dir, detector_name, "detector")
        detector_name = stable_name(detector_name, seer)
        yolo = load_detector(
            seer,
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
            # More than are kept: the most prominent may be doubtful ones, and those come last.
            query_detector = yolo.at(query_confidence, 4 * max_objects)
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
        notes.append("no detector: every image is searched as a whole")
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


class _Clock:
    """Milliseconds from one lap to the next."""

    def __init__(self) -> None:
        self.spent_ms: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.spent_ms[stage] = 1000 * (now - self._since)
        self._since = now
