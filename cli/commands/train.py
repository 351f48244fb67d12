"""`vitrine train`: train models on the shop's own products, on this machine."""

from __future__ import annotations

import hashlib
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import partial, wraps
from pathlib import Path
from typing import Any

import click

from cli.commands.golden import read_golden_set
from cli.output import json_option, print_json, reporter_for, stderr_console
from shared.errors import ImageMissing, InvalidInput
from shared.factories import image_limits
from shared.images import decode
from shared.settings import Settings, get_settings

WHOLE = (0.0, 0.0, 1.0, 1.0)
EPILOG = (
    "Example: vitrine train embedder --catalogue shop --name shop-embedder --out training/. "
    "It can be killed at any time: the same command continues it."
)


@dataclass(frozen=True)
class TrainingOptions:
    """Options shared by both trainings; ``_common`` declares them."""

    folder: Path | None
    catalogue: str | None
    out: Path
    name: str
    start: str
    models: Path | None
    seed: int
    as_json: bool

    def job(self, settings: Settings, data: Path) -> dict[str, Any]:
        """Return the fields that both training jobs share."""
        return {
            "data": data,
            "out": self.out,
            "models": self.models or settings.models_folder,
            "start": self.start,
            "name": self.name,
            "seed": self.seed,
            "threads": settings.models.threads,
            "command": shlex.join(["vitrine", *sys.argv[1:]]),
        }


def _common(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options of ``TrainingOptions`` to a command, which receives them as one argument."""

    @wraps(function)
    def training(**given: Any) -> None:
        common = {field.name: given.pop(field.name) for field in fields(TrainingOptions)}
        function(TrainingOptions(**common), **given)

    options = (
        click.argument(
            "folder",
            metavar="[DIR]",
            required=False,
            type=click.Path(exists=True, file_okay=False, path_type=Path),
        ),
        click.option("--catalogue", help="Train on the product photos of this catalogue instead of DIR."),
        click.option(
            "--out",
            required=True,
            type=click.Path(file_okay=False, path_type=Path),
            help="Folder for checkpoints and the report.",
        ),
        click.option("--name", required=True, help="Name of the trained model in the registry."),
        click.option("--from", "start", default="default", show_default=True, help="Model to start from."),
        click.option(
            "--models",
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            help="Folder of the registry. [default: the settings']",
        ),
        click.option("--seed", default=0, show_default=True, help="Seed of the random numbers."),
        json_option,
    )
    command: Callable[..., None] = training
    for option in reversed(options):
        command = option(command)
    return command


@click.group(epilog=EPILOG)
def train() -> None:
    """Train a detector or an embedder, and register it.

    DIR is a data pack: products/products.jsonl, cutouts/ with alpha, backgrounds/; see docs/training.md. With
    --catalogue, the photos of a catalogue's products are cut out first. The catalogue is read from the
    database and the image store of the settings, so run it on a host of the workers.
    """


@train.command(epilog=EPILOG)
@_common
@click.option(
    "--scenes", type=click.IntRange(40), default=4000, show_default=True, help="Number of composed pictures."
)
@click.option(
    "--steps",
    type=click.IntRange(50),
    default=600,
    show_default=True,
    help="Number of training steps of the head.",
)
@click.option(
    "--rate", type=click.FloatRange(1e-6, 1), default=1e-3, show_default=True, help="Learning rate."
)
@click.option(
    "--fresh-head", is_flag=True, help="Initialise the head with principal axes instead of the start model's."
)
@click.option("--match", default="", help="Only products whose id starts with this.")
@click.option(
    "--golden",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of golden queries from `vitrine feedback export --to`, as further photos of their products. "
    "A quarter is held out for validation.",
)
def embedder(
    training: TrainingOptions,
    scenes: int,
    steps: int,
    rate: float,
    fresh_head: bool,
    match: str,
    golden: Path | None,
) -> None:
    """Train an embedder to recognise crops of the same product."""
    from worker.training.embedder_job import EmbedderJob, train_embedder

    settings = get_settings()
    known = None if golden is None else _golden(settings, golden)
    with reporter_for(stderr_console()) as reporter:

        def report_progress(stage: str, done: int, total: int) -> None:
            reporter.step(stage, done, total, "steps" if stage == "head" else "pictures")

        common = training.job(settings, _prepare_data(settings, training, report_progress))
        job = EmbedderJob(**common, fresh=fresh_head, match=match, scenes=scenes, steps=steps, rate=rate)
        figures = train_embedder(job, report_progress, known)
    _say(figures, training)


@train.command(epilog=EPILOG.replace("embedder", "detector"))
@_common
@click.option(
    "--minutes", type=click.FloatRange(0.1), default=60.0, show_default=True, help="Duration of the training."
)
@click.option("--batch", type=click.IntRange(2), default=16, show_default=True, help="Pictures per step.")
def detector(training: TrainingOptions, minutes: float, batch: int) -> None:
    """Train a detector on photographs composed of the products."""
    from worker.training.detector_job import DetectorJob, train_detector

    settings = get_settings()
    with reporter_for(stderr_console()) as reporter:
        data = _prepare_data(
            settings, training, lambda stage, done, total: reporter.step(stage, done, total, "pictures")
        )
    _say(train_detector(DetectorJob(**training.job(settings, data), minutes=minutes, batch=batch)), training)


def _prepare_data(
    settings: Settings, training: TrainingOptions, report_progress: Callable[[str, int, int], None]
) -> Path:
    """Return the data pack to train on; cut it from the catalogue if one is named."""
    out, catalogue = training.out, training.catalogue
    if (training.folder is None) == (catalogue is None):
        raise click.UsageError("Give either DIR or --catalogue NAME.")
    out.mkdir(parents=True, exist_ok=True)
    if training.folder is not None:
        return training.folder
    assert catalogue is not None
    from worker.training.catalogue_pack import write_pack

    total, photos = _photos(settings, catalogue)
    if not write_pack(photos, total, _detector(settings), out / "data", report_progress):
        raise InvalidInput(f"No product could be cut out of the {total} pictures of {catalogue!r}.")
    return out / "data"


def _detector(settings: Settings) -> Any:
    """Return the detector of the settings."""
    from worker.vision.building import build_pipeline

    models = settings.models
    return build_pipeline(
        models_dir=settings.models_folder,
        detector_name=models.detector,
        embedder_name="colour-histogram",
        runtime=models.runtime,
        device=models.device,
        cache_dir=settings.data_dir / "models",
        threads=models.threads,
    ).detector


def _golden(settings: Settings, folder: Path) -> Any:
    """Return the golden queries of a folder, with the detector for photos without a box."""
    from worker.training.golden import GoldenPhoto, GoldenSet

    limits = image_limits(settings, catalogue=False)

    def read(path: Path) -> Any:
        try:
            return decode(path.read_bytes(), limits, 640)
        except InvalidInput as error:
            raise InvalidInput(f"{path}: {error}", "golden") from error

    photos = []
    for path, product_id, box in read_golden_set(folder):
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise ImageMissing(f"{path}, which benchmark.jsonl names, cannot be read.", "golden") from error
        # Feedback on a whole photo has no position of the product.
        drawn = None if box == WHOLE else box
        photos.append(GoldenPhoto(product_id, drawn, digest, partial(read, path)))
    return GoldenSet(photos, _detector(settings))


def _photos(settings: Settings, catalogue: str) -> tuple[int, Iterator[Any]]:
    """Return the number of a catalogue's pictures, and the pictures in the order of its products."""
    from sqlalchemy import select

    from shared.database.catalogue_rows import find_catalogue
    from shared.database.tables import Image, Product
    from shared.factories import open_image_store, open_migrated_database
    from worker.training.catalogue_pack import Photo

    database, store = open_migrated_database(settings), open_image_store(settings)
    limits = image_limits(settings, catalogue=True)
    with database.read() as session:
        catalogue_row = find_catalogue(session, catalogue)
        rows = session.execute(
            select(Product.product_id, Image.sha256)
            .join(Image, Image.product == Product.id)
            .where(Product.catalogue_id == catalogue_row.id)
            .order_by(Product.id, Image.position)
        ).all()
    database.close()

    def read(key: str) -> Any:
        return decode(store.get(key), limits, 640)

    return len(rows), (Photo(product_id, partial(read, key)) for product_id, key in rows)


def _say(figures: dict[str, Any], training: TrainingOptions) -> None:
    report = training.out / "report.html"
    if training.as_json:
        print_json({"name": training.name, "report": str(report), **figures})
        return
    console = stderr_console()
    for key, value in figures.items():
        console.print(f"{key}: {value}", highlight=False)
    console.print(f"Registered as {training.name}; the report is {report}.", highlight=False)
