"""Train and register an embedder from a data pack, for `vitrine train embedder`."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from shared.errors import InvalidInput, Misconfigured
from worker.scenes.cutouts import Cutout, list_backgrounds, list_cutouts
from worker.training.crop_features import (
    Features,
    calibration_crops,
    crop_features,
    crop_spec,
    open_trunk_runtime,
)
from worker.training.crops import CropSpec
from worker.training.golden import GoldenPhoto, GoldenSet, golden_features, split_golden
from worker.training.head import fingerprint
from worker.training.head_tuning import Tuning, first_head, recalls, tune
from worker.training.quantise import min_cosine, write_int8_form
from worker.training.report import write_card, write_report
from worker.training.ship import load_halved, register
from worker.vision.embedder import build_network
from worker.vision.models import DEFAULT, ModelFile, find_model, list_models
from worker.vision.runtimes import Runtime

#: Percentage of the products that are held out for validation.
HELD_OUT_PERCENT = 12
#: Crops that calibrate the INT8 form.
CALIBRATION = 240
#: Minimum cosine between INT8 and FP32 embeddings of an INT8 form that is kept.
MIN_INT8_COSINE = 0.98
#: Minimum number of products to train on.
MIN_PRODUCTS = 20
#: Minimum number of scenes of held-out products.
MIN_HELD_OUT_SCENES = 120
#: Mark in the registry's `source` of a model that may be trained again under its name.
MADE_BY = "trained by `vitrine train`"
NAME = r"[A-Za-z0-9._-]{1,64}"

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class EmbedderJob:
    """Inputs and outputs of a training.

    Attributes:
        data: folder of a data pack.
        out: folder of checkpoints, features and the report, from which a killed training resumes.
        models: folder of ``registry.json``; the trained model is registered there.
        start: a registry name or a path: its trunk is kept, and its head is the start of training.
        name: of the trained model.
        fresh: start with principal axes instead of the start's head, for weights without one.
        match: prefix of the product ids to use.
        scenes: number of composed photographs for training; a tenth as many are held out.
        command: the command line, for the card.
    """

    data: Path
    out: Path
    models: Path
    start: str
    name: str
    fresh: bool = False
    match: str = ""
    scenes: int = 4000
    steps: int = 600
    rate: float = 1e-3
    seed: int = 0
    threads: int = 0
    command: str = ""


@dataclass(frozen=True)
class Material:
    """Features of all crops.

    Attributes:
        train: for training, golden queries last.
        held: of held-out products, which select the best head.
        judged: golden queries that are neither trained on nor used for selection.
        golden: numbers of golden queries used, held out and left out; empty without any.
        sources: cut-outs and backgrounds for training.
    """

    train: Features
    held: Features
    judged: Features | None
    golden: dict[str, int]
    sources: tuple[list[Cutout], list[Path]]


def train_embedder(job: EmbedderJob, progress: Progress, golden: GoldenSet | None = None) -> dict[str, Any]:
    """Train, write report and card, register; return the figures.

    Args:
        golden: photos with known products, as further photos of their products.

    Raises:
        InvalidInput: there are too few products, or no golden queries to train on, or the name is that of a
            shipped model.
        Misconfigured: the start cannot be loaded, or ``models`` cannot be written.
    """
    began = time.monotonic()
    model = find_model(job.models, job.start, "embedder")
    _check_name(job, model)
    network = build_network(model)
    material = _material(job, model, fingerprint(network), golden, progress)
    start = first_head(network.head, material.train, fresh=job.fresh)
    tuning = tune(
        start,
        material.train,
        material.held,
        steps=job.steps,
        rate=job.rate,
        seed=job.seed,
        folder=job.out,
        progress=progress,
    )
    network.head = tuning.head
    entry = _ship(job, model, network)
    crops = calibration_crops(*material.sources, CALIBRATION + 32, crop_spec(model))
    cosines = _give_int8(job, entry["name"], crops)
    figures = _figures(job, model, tuning, material.train, material.held) | {"int8_least_cosine": cosines}
    figures |= _golden_figures(material, start, tuning)
    figures["minutes"] = round((time.monotonic() - began) / 60, 1)
    write_report(job.out / "report.html", job.name, figures, tuning.losses, tuning.recalls, crops[-32:])
    write_card(job.models / f"{job.name}.md", job.name, entry, figures, job.command)
    return figures


def _check_name(job: EmbedderJob, start: ModelFile) -> None:
    check_name(job.models, job.name)
    if job.name == start.name:
        raise InvalidInput("A model cannot replace the one it starts from: give another --name.", "name")


def check_name(models: Path, name: str) -> None:
    """Raise InvalidInput for a name that a trained model may not have."""
    if not re.fullmatch(NAME, name) or name == DEFAULT:
        raise InvalidInput("A name has 1 to 64 letters, digits, dots, hyphens and underscores.", "name")
    for model in list_models(models):
        if model.name == name and MADE_BY not in model.source:
            raise InvalidInput(f"{name} is a shipped model: give the trained one another --name.", "name")


def _material(
    job: EmbedderJob, model: ModelFile, trunk: str, golden: GoldenSet | None, progress: Progress
) -> Material:
    spec = crop_spec(model)
    runtime = open_trunk_runtime(model, trunk, job.out, job.threads)
    # The folder's name depends on everything that changes a crop or its features, so that none is stale.
    facts = f"{trunk} {spec} {job.match} {job.data.absolute()}"
    folder = job.out / f"features-{hashlib.sha256(facts.encode()).hexdigest()[:12]}"
    train, held, sources = _features(job, spec, runtime, folder, progress)
    if golden is None:
        return Material(train, held, None, {}, sources)
    shares = split_golden(golden.photos, job.data, train, held)

    def compute(stage: str, photos: list[GoldenPhoto]) -> Features:
        return golden_features(stage, photos, spec, golden.detector, runtime, folder / "golden", progress)

    used = compute("golden queries to train on", shares.used)
    judged = compute("golden queries held out", shares.held_out)
    counts = {"used": len(used.rows), "held_out": len(judged.rows), "left_out": shares.left_out}
    train = Features(np.concatenate([train.values, used.values]), [*train.rows, *used.rows])
    return Material(train, held, judged, counts, sources)


def _features(
    job: EmbedderJob, spec: CropSpec, trunk: Runtime, cache: Path, progress: Progress
) -> tuple[Features, Features, tuple[list[Cutout], list[Path]]]:
    parts: list[Features] = []
    sources: tuple[list[Cutout], list[Path]] | None = None
    for held_out in (False, True):
        cutouts = [
            cutout
            for cutout in list_cutouts(job.data, held_out=held_out, percent=HELD_OUT_PERCENT)
            if cutout.product_id.startswith(job.match)
        ]
        products = {cutout.product_id for cutout in cutouts}
        minimum = 2 if held_out else MIN_PRODUCTS
        if len(products) < minimum:
            raise InvalidInput(
                f"Training needs {MIN_PRODUCTS} products that can be cut out, and 2 more to validate with: "
                f"there are {len(products)} to {'validate with' if held_out else 'train on'}."
            )
        backgrounds = list_backgrounds(job.data, held_out=held_out)
        scenes = max(MIN_HELD_OUT_SCENES, job.scenes // 10) if held_out else job.scenes
        folder = cache / ("held-out" if held_out else "training")
        parts.append(crop_features(cutouts, backgrounds, scenes, spec, trunk, folder, progress))
        sources = sources or (cutouts, backgrounds)
    assert sources is not None
    return parts[0], parts[1], sources


def _ship(job: EmbedderJob, start: ModelFile, network: torch.nn.Module) -> dict[str, Any]:
    """Write the weights in half precision and register them; return the registry's entry."""
    full, file = job.out / "embedder.safetensors", job.models / f"{job.name}.safetensors"
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, full)
    try:
        save_file(load_halved(full), file)
        file.chmod(0o644)
    except OSError as error:
        raise Misconfigured(
            f"{job.models} cannot be written ({error.strerror}): copy it, and name the copy with --models "
            "and VITRINE_MODELS__FOLDER."
        ) from error
    entry = json.loads(start.model_dump_json(exclude={"path", "int8", "sha256", "classes"}))
    entry |= {
        "name": job.name,
        "architecture": _architecture(start, network),
        "file": file.name,
        "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
        "licence": start.licence or "as the start and the pictures",
        "source": f"{start.name}@{start.sha256[:8]}, head {MADE_BY}",
    }
    register(job.models, entry)
    return dict(entry)


def _architecture(start: ModelFile, network: torch.nn.Module) -> str:
    """Return the registry's name of the architecture, which weights given by path do not have."""
    if start.architecture != "auto":
        return start.architecture
    from worker.vision.resnet import RESNETS, ResNetEmbedder

    if not isinstance(network, ResNetEmbedder):
        return "efficientnet-lite0"
    return next(name for name, config in RESNETS.items() if config == network.config)


def _give_int8(job: EmbedderJob, name: str, crops: list[Any]) -> float:
    """Quantise the registered model, unless the form differs too much; return the minimum cosine."""
    model = find_model(job.models, name, "embedder")
    write_int8_form(job.models, model, crops[:CALIBRATION], job.out)
    lowest, _ = min_cosine(find_model(job.models, name, "embedder"), crops[CALIBRATION:], job.out)
    if lowest < MIN_INT8_COSINE:
        entries = json.loads((job.models / "registry.json").read_text(encoding="utf-8"))["models"]
        entry = next(each for each in entries if each["name"] == name)
        form = entry.pop("int8")
        register(job.models, entry)
        for file in (form["graph"], form["numbers"]):
            (job.models / file).unlink()
    return round(lowest, 4)


def _figures(
    job: EmbedderJob, start: ModelFile, tuning: Tuning, train: Features, held: Features
) -> dict[str, Any]:
    before, best = tuning.recalls[0], tuning.best
    return {
        "start": start.version,
        "products": len({row.product_id for row in train.rows}),
        "held_out_products": len({row.product_id for row in held.rows}),
        "crops": len(train.rows),
        "before_recall@1": round(before[1], 1),
        "before_recall@10": round(before[2], 1),
        "after_recall@1": round(best[1], 1),
        "after_recall@10": round(best[2], 1),
        "best_step": best[0],
        "steps": job.steps,
    }


def _golden_figures(material: Material, start: torch.nn.Linear, tuning: Tuning) -> dict[str, Any]:
    """Return the numbers of golden queries, and the recall of held-out ones before and after."""
    figures: dict[str, Any] = {f"golden_{what}": count for what, count in material.golden.items()}
    if not figures.get("golden_held_out"):
        return figures
    for when, head in (("before", start), ("after", tuning.head)):
        found = recalls(head, material.train, material.held, material.judged)
        for rank, percent in zip((1, 10), found, strict=True):
            figures[f"golden_{when}_recall@{rank}"] = round(percent, 1)
    return figures
