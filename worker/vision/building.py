"""Load the models of a pipeline, and build it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from worker.vision import Detector, Embedder
from worker.vision.baselines import ColourHistogram, PerceptualHash, WholeImage
from worker.vision.detector import CONFIDENCE, IOU, load_detector
from worker.vision.embedder import load_embedder
from worker.vision.models import CropMode, find_model, stable_name
from worker.vision.pipeline import MAX_OBJECTS, NO_DETECTOR, Pipeline
from worker.vision.runtimes import PrecisionChoice, RuntimeName

#: By default queries have no doubtful objects. On composed photographs of training products
#: (training.validation_set) .10 was best: it raised the recall of objects from .78 to .84, with .28 more
#: false ones per photograph.
QUERY_CONFIDENCE = CONFIDENCE
BASELINES: dict[str, Callable[[], Embedder]] = {
    ColourHistogram.version: ColourHistogram,
    PerceptualHash.version: PerceptualHash,
}


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
