"""Calibrate the models of the settings on a catalogue's pictures, without a server, to ship the result.

    python -m worker.evaluation.calibrate_models --products demo/products.jsonl

Photos are composed of the pictures and searched for among them, as the calibration job does it; search is
exact. The result goes into ``calibrations.json`` beside the models, as ``worker.calibration.ship`` writes it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from shared.errors import NotFound
from shared.settings import get_settings
from worker.calibration.calibration_store import DEFAULTS, models_of
from worker.calibration.learning import calibration_of
from worker.calibration.ship import write_entry
from worker.evaluation.dataset import GalleryImage
from worker.evaluation.promises import learn_from_gallery
from worker.evaluation.run import Progress, load_entry, open_gallery
from worker.vision.pipeline import Pipeline, build_pipeline


def calibrate_models(products: Path, pipeline: Pipeline, folder: Path, told: Progress) -> dict[str, Any]:
    """Calibrate on the pictures of a products file and write that beside the models; return the entry.

    Args:
        products: lines with ``product_id``, ``image`` or ``images`` relative to its folder, and ``category``.
        folder: of the models.
        told: called with the stage, how much of it is done, and how much there is.

    Raises:
        NotFound: the pictures teach too little.
    """
    rows = [json.loads(line) for line in products.read_text(encoding="utf-8").splitlines()]
    images = [
        GalleryImage(row["product_id"], products.parent / name)
        for row in rows
        for name in row.get("images") or [row["image"]]
    ]
    search, gallery = open_gallery(images, pipeline, told)
    categories = {row["product_id"]: row.get("category") or "" for row in rows}
    lessons = learn_from_gallery(search, gallery, pipeline, categories, load_entry, told)
    if not lessons.enough():
        raise NotFound(f"The pictures of {products} teach too little to calibrate by.")
    calibration, report = calibration_of(lessons)
    detector, embedder = models_of(pipeline.detector.version, pipeline.embedder.version)
    # The diagram is for people, and the bins are what it is drawn from.
    report = {name: each for name, each in report.items() if name != "diagram"}
    entry = {
        "detector": detector,
        "embedder": embedder,
        "made_of": products.absolute().parent.name,
        "curves": calibration.as_json(),
        "report": {"calibrated": True, "why_not": None, "pictures": len(images), **report},
    }
    write_entry(folder, entry)
    return entry


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--products", type=Path, required=True)
    args = parser.parse_args()
    settings = get_settings()
    models = settings.models
    pipeline = build_pipeline(
        models_dir=settings.models_folder,
        detector_name=models.detector,
        embedder_name=models.embedder,
        cache_dir=settings.data_dir / "models",
        threads=models.threads,
        confidence=models.confidence,
        query_confidence=models.query_confidence,
    )

    def told(stage: str, done: int, total: int) -> None:
        print(f"{stage} {done}/{total}", flush=True)

    entry = calibrate_models(args.products, pipeline, settings.models_folder, told)
    print(f"{DEFAULTS} knows {entry['detector']} with {entry['embedder']}.")


if __name__ == "__main__":
    main()
