"""Calibrate the configured models on a catalogue's pictures, without a server, to ship the result.

    python -m training.calibrate_models --products demo/products.jsonl

Photos are composed of the pictures and searched for among them, as in the calibration job, but exactly. The
result is written into ``calibrations.json`` in the models folder.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from shared.errors import NotFound
from shared.settings import get_settings
from training.ship_calibration import write_entry
from worker.calibration.calibration_store import DEFAULTS, calibration_key
from worker.calibration.learning import fit_calibration
from worker.evaluation.dataset import GalleryImage
from worker.evaluation.probabilities import collect_lessons
from worker.evaluation.run import Progress, load_entry, open_gallery
from worker.vision.building import build_pipeline
from worker.vision.pipeline import Pipeline


def calibrate_models(products: Path, pipeline: Pipeline, folder: Path, progress: Progress) -> dict[str, Any]:
    """Calibrate on the pictures of a products file and write the result; return its entry.

    Args:
        products: lines with ``product_id``, ``image`` or ``images`` relative to its folder, and ``category``.
        folder: of the models.
        progress: called with the stage, the number of items done, and their total.

    Raises:
        NotFound: the pictures give too few examples.
    """
    rows = [json.loads(line) for line in products.read_text(encoding="utf-8").splitlines()]
    images = [
        GalleryImage(row["product_id"], products.parent / name)
        for row in rows
        for name in row.get("images") or [row["image"]]
    ]
    search, gallery = open_gallery(images, pipeline, progress)
    categories = {row["product_id"]: row.get("category") or "" for row in rows}
    lessons = collect_lessons(search, gallery, pipeline, categories, load_entry, progress)
    if not lessons.enough():
        raise NotFound(f"The pictures of {products} give too few examples to calibrate with.")
    calibration, report = fit_calibration(lessons)
    detector, embedder = calibration_key(pipeline.detector.version, pipeline.embedder.version)
    # The diagram can be drawn from the bins.
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
    """Parse the command line and calibrate."""
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

    def print_progress(stage: str, done: int, total: int) -> None:
        print(f"{stage} {done}/{total}", flush=True)

    entry = calibrate_models(args.products, pipeline, settings.models_folder, print_progress)
    print(f"{DEFAULTS} has {entry['detector']} with {entry['embedder']}.")


if __name__ == "__main__":
    main()
