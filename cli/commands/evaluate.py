"""`vitrine evaluate`: measure search quality on a labelled set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import click
from rich.table import Table

from cli.output import json_option, print_json, reporter_for, stderr_console, stdout_console
from shared.errors import StorageUnavailable
from shared.settings import get_settings

if TYPE_CHECKING:
    from worker.vision.models import CropMode


@click.command(epilog="Example: vitrine evaluate data/ --crop mask --json --report evaluation.html")
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--detector", help="Registry name, path of YOLO weights, or `none`. [default: the settings']")
@click.option(
    "--embedder",
    help="Registry name, path of weights, `colour-histogram` or `perceptual-hash`. [default: the settings']",
)
@click.option(
    "--crop",
    type=click.Choice(["box", "mask", "both", "whole"]),
    help="Part of an object that is embedded. [default: the embedder's]",
)
@click.option(
    "--truth",
    type=click.Choice(["auto", "box", "mask"]),
    default="auto",
    show_default=True,
    help="Search with the true boxes, or with true masks if DIR has them, instead of detections.",
)
@click.option("--limit", type=click.IntRange(1), help="Maximum number of photographs of each kind.")
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write an HTML page with the worst cases.",
)
@click.option(
    "--calibration",
    is_flag=True,
    help="Also measure the calibration of probabilities (a minute more); implied by --report.",
)
@json_option
def evaluate(
    folder: Path,
    detector: str | None,
    embedder: str | None,
    crop: str | None,
    truth: Literal["auto", "box", "mask"],
    limit: int | None,
    report: Path | None,
    calibration: bool,
    as_json: bool,
) -> None:
    """Measure how well searches with the photographs of DIR find its products.

    DIR has products/products.jsonl with the gallery, and benchmark.jsonl with photographs, true boxes and
    products; docs/models.md has an example. The models run in this process, without a server.
    """
    result = _measure(folder, detector, embedder, crop, truth, limit, calibration or report is not None)
    if report is not None:
        from worker.evaluation.page import write_page

        try:
            write_page(result, report)
        except OSError as error:
            raise StorageUnavailable(f"{report} cannot be written: {error.strerror}.") from error
    if as_json:
        print_json(result.to_json())
    else:
        _print_tables(result.to_json())


def _measure(
    folder: Path,
    detector: str | None,
    embedder: str | None,
    crop: str | None,
    truth: Literal["auto", "box", "mask"],
    limit: int | None,
    calibrate: bool,
) -> Any:
    # Imported here, because the libraries of the models are slow to load.
    from worker.evaluation.run import evaluate as measure
    from worker.vision.building import build_pipeline
    from worker.vision.pipeline import NO_DETECTOR

    settings = get_settings()
    models = settings.models
    pipeline = build_pipeline(
        models_dir=settings.models_folder,
        detector_name=NO_DETECTOR if crop == "whole" else detector or models.detector,
        embedder_name=embedder or models.embedder,
        runtime=models.runtime,
        device=models.device,
        cache_dir=settings.data_dir / "models",
        threads=models.threads,
        confidence=models.confidence,
        query_confidence=models.query_confidence,
        micro_batch=models.micro_batch,
        crop=None if crop in (None, "whole") else cast("CropMode", crop),
        precision=models.precision,
    )
    with reporter_for(stderr_console()) as reporter:
        return measure(
            folder,
            pipeline,
            truth,
            limit,
            lambda stage, done, total: reporter.step(stage, done, total, "images"),
            calibrate,
        )


def _print_tables(figures: dict[str, Any]) -> None:
    console = stdout_console()
    search = Table(
        "photographs",
        "objects",
        "recall@1 %",
        "recall@10 %",
        "mAP %",
        "first object's recall@1 %",
        box=None,
        padding=(0, 2, 0, 0),
    )
    for kind in ("same", "view", "multi"):
        part = figures[kind]
        names = ["recall@1", "recall@10", "map", *(["first_recall@1"] if "first_recall@1" in part else [])]
        search.add_row(kind, str(part["n"]), *(_with_interval(part, name) for name in names))
    console.print(search)
    seen_names = ("recall@.5", "recall@.75", "mean_iou", "false_per_picture", "false_searched_per_picture")
    seen = Table(
        "detector",
        "recall@.5 %",
        "recall@.75 %",
        "mean IoU %",
        "false a picture",
        "with doubtful ones",
        box=None,
        padding=(0, 2, 0, 0),
    )
    seen.add_row("", *(_with_interval(figures["detector"], name) for name in seen_names))
    console.print(seen)
    for part, found in (figures.get("calibration") or {}).items():
        if part != "composed":
            stderr_console().print(
                f"calibration error, {part}: {found['first']['ece']:.3f} of first hits, "
                f"{found['all']['ece']:.3f} of all {found['all']['n']:,}"
            )
    stderr_console().print(
        ", ".join(f"{name} {value}" for name, value in figures["models"].items()), style="dim"
    )


def _with_interval(figures: dict[str, Any], name: str) -> str:
    low, high = figures[f"{name}_ci"]
    return f"{figures[name]:.1f} ({low:.1f} to {high:.1f})"
