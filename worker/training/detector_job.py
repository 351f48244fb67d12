"""Train and register a detector from a data pack, for `vitrine train detector`."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from shared.errors import InvalidInput, Misconfigured
from worker.scenes.composer import Composer, ComposerConfig
from worker.scenes.cutouts import list_backgrounds, list_cutouts
from worker.training.embedder_job import MADE_BY, check_name
from worker.training.quantise import PICTURES, network_inputs, photographs, write_int8_form
from worker.training.report import write_card, write_report
from worker.training.ship import load_halved, move_confidence, register
from worker.vision.models import ModelFile, find_model

#: Maximum number of false objects per held-out composed picture, which determines the threshold.
MAX_FALSE = 0.3
#: Held-out pictures for the threshold.
THRESHOLD_PICTURES = 200
#: Pictures in the report.
REPORT_PICTURES = 24


@dataclass(frozen=True)
class DetectorJob:
    """Inputs and outputs of a training, as in ``EmbedderJob``; ``start`` must be a yolov8n-seg."""

    data: Path
    out: Path
    models: Path
    start: str
    name: str
    minutes: float = 60.0
    batch: int = 16
    rate: float = 8e-4
    seed: int = 0
    threads: int = 0
    command: str = ""


def train_detector(job: DetectorJob) -> dict[str, Any]:
    """Train, write report and card, register; return the figures. Progress is printed to stderr.

    Raises:
        InvalidInput: the start has another architecture, there are too few cut-outs, or the name is in use.
        Misconfigured: the start cannot be loaded, or ``models`` cannot be written.
    """
    began = time.monotonic()
    model = find_model(job.models, job.start, "detector")
    check_name(job.models, job.name)
    if model.architecture != "yolov8n-seg" or model.classes != ("product",) or job.name == model.name:
        raise InvalidInput(
            "Training starts from a yolov8n-seg of the class product, under a name of its own."
        )
    if not list_cutouts(job.data, held_out=False) or not list_cutouts(job.data, held_out=True):
        raise InvalidInput("Too few products can be cut out: training needs some dozens.")
    # Import ultralytics only after its settings folder is set.
    os.environ.update(YOLO_CONFIG_DIR=str(job.out / "ultralytics"), YOLO_VERBOSE="false")
    (job.out / "ultralytics").mkdir(parents=True, exist_ok=True)
    from worker.training.detector import build, parse, train
    from worker.training.detector_eval import best_threshold

    args = parse(
        [
            *("--data", str(job.data), "--out", str(job.out), "--weights", str(model.path)),
            *("--minutes", str(job.minutes), "--batch", str(job.batch), "--rate", str(job.rate)),
            *("--seed", str(job.seed), "--freeze", "3", "--size", str(model.input_px)),
            *("--threads", str(job.threads or os.cpu_count() or 1)),
        ]
    )
    with contextlib.redirect_stdout(sys.stderr):
        history = train(args)
    weights = job.out / "detector.safetensors"
    held = Composer(
        list_cutouts(job.data, held_out=True),
        list_backgrounds(job.data, held_out=True),
        ComposerConfig(size_px=model.input_px),
    )
    threshold = best_threshold(build(weights).eval(), held, THRESHOLD_PICTURES, 8, MAX_FALSE)
    entry = _ship(job, model, weights, threshold)
    scenes = photographs(job.data, PICTURES, 448, 41)
    trained = find_model(job.models, job.name, "detector")
    write_int8_form(job.models, trained, network_inputs(trained, scenes), job.out)
    figures = {
        "start": model.version,
        "steps": history.losses[-1][0] if history.losses else 0,
        "threshold_before_shift": threshold,
        "recall@.5": round(history.qualities[-1][1], 1),
        "recall@.75": round(history.qualities[-1][2], 1),
        "minutes": round((time.monotonic() - began) / 60, 1),
    }
    pictures = [image for image, _ in scenes[:REPORT_PICTURES]]
    write_report(job.out / "report.html", job.name, figures, history.losses, history.qualities, pictures)
    write_card(job.models / f"{job.name}.md", job.name, entry, figures, job.command)
    return figures


def _ship(job: DetectorJob, start: ModelFile, weights: Path, threshold: float) -> dict[str, Any]:
    """Write the weights in half precision with the default threshold, and register them."""
    file = job.models / f"{job.name}.safetensors"
    state = load_halved(weights)
    move_confidence(state, threshold)
    try:
        save_file(state, file)
        file.chmod(0o644)
    except OSError as error:
        raise Misconfigured(
            f"{job.models} cannot be written ({error.strerror}): copy it, and name the copy with --models "
            "and VITRINE_MODELS__FOLDER."
        ) from error
    entry: dict[str, Any] = json.loads(start.model_dump_json(exclude={"path", "int8", "sha256"}))
    entry |= {
        "name": job.name,
        "file": file.name,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "source": f"{start.name}@{start.sha256[:8]}, {MADE_BY}",
    }
    register(job.models, entry)
    return entry
