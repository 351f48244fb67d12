"""Run a pipeline over a labelled set and measure the answers that a shopper would get."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from shared.contracts.base import Box
from shared.errors import ImageMissing, InvalidInput, InvalidManifest, OutOfMemory
from shared.images import CATALOGUE_FORMATS, ImageLimits, decode
from worker.evaluation.dataset import KINDS, GalleryImage, LabelledSet, Photograph, TrueObject, read_set
from worker.evaluation.metrics import Boxes, detector_figures, product_rank, search_figures
from worker.evaluation.probabilities import ExactSearch, evaluate_probabilities
from worker.vision import Detection, Embeddings, Image
from worker.vision.crops import overlap, to_boxes, to_pixels
from worker.vision.pipeline import Pipeline, QueryEmbedding, QueryOptions

Entry = TypeVar("Entry", GalleryImage, Photograph)
Truth = Literal["auto", "box", "mask"]
#: Called with the stage, the number of items done, and their total.
Progress = Callable[[str, int, int], None]

LIMITS = ImageLimits(formats=CATALOGUE_FORMATS)
#: Figures of the first object's hits alone.
FIRST_FIGURES = ("recall@1", "recall@1_ci", "recall@10", "recall@10_ci")
#: Minimum IoU of a detection with an object's box that counts as found.
FOUND_IOU = 0.5


@dataclass(frozen=True, slots=True)
class Answer:
    """The result for one object of a photograph.

    Attributes:
        expected: the object.
        rank: of the right product, from 1; None where no detection is on the object.
        first: its rank among the hits of the first object alone, which are first on the page.
        best: product of the best hit, None where there is no hit.
        objects: boxes that the pipeline searched with.
    """

    photograph: Photograph
    expected: TrueObject
    rank: int | None
    best: str | None
    objects: tuple[Box, ...]
    first: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of one evaluation, and the answers behind them."""

    figures: dict[str, Any]
    answers: tuple[Answer, ...]
    gallery: dict[str, Path]

    def to_json(self) -> dict[str, Any]:
        """Return ``same``, ``view``, ``multi``, ``detector`` and ``models``; rates in percent.

        Each rate has ``<rate>_ci``, its 95 % bootstrap interval. ``same`` and ``view`` have
        ``first_recall@1`` and ``@10`` too, of the first object's hits alone.
        """
        return self.figures


@dataclass(frozen=True, slots=True)
class _Gallery:
    """Embeddings of all products.

    Attributes:
        owners: ``(G,)``, of each embedding: the index of its product in ``products``.
        embeddings: ``(G, D) float32``.
        pictures: of each embedding: the index of its picture in the set.
    """

    products: list[str]
    owners: NDArray[np.intp]
    embeddings: Embeddings
    pictures: list[int]


def evaluate(
    folder: Path,
    pipeline: Pipeline,
    truth: Truth = "auto",
    limit: int | None = None,
    progress: Progress | None = None,
    calibrate: bool = False,
) -> Report:
    """Search for every labelled object of a set and count the hits.

    With ``same`` and ``view`` photographs, which show one product, the hits of all detected objects and of
    the whole image are merged, each product with its best score. With ``multi``, an object counts when the
    IoU of a detection is at least .5, by the rank of its product among that detection's hits alone; a
    pipeline without a detector uses the whole image instead.

    Args:
        folder: a labelled set (``dataset.read_set``).
        pipeline: to measure; it also embeds the gallery, as an import would.
        truth: ``box`` searches with the true boxes instead of detections, ``mask`` with the true masks too,
            as if the detector were perfect. The detector's own figures are not affected.
        limit: maximum number of photographs of each kind.
        progress: called after every batch with the stage, the number of items done, and their total.
        calibrate: also fit probabilities on photos composed of the gallery, and measure their calibration
            with detections; under ``calibration``, null where the gallery gives too few examples.

    Raises:
        InvalidManifest: the set is malformed, or ``truth`` is ``mask`` and it has no masks.
        InvalidInput: ``truth`` is ``mask`` and the embedder does not use masks.
        ImageMissing: an image of the set is missing.
    """
    report = progress or (lambda stage, done, total: None)
    data = read_set(folder, limit)
    if truth == "mask":
        _require_masks(data, pipeline)
    gallery = _embed_gallery(data.gallery, pipeline, report)
    answers: list[Answer] = []
    boxes: list[tuple[Boxes, Boxes, int]] = []
    queries: list[tuple[Photograph, QueryEmbedding]] = []
    done = 0
    for photographs, images in _decode_batches(data.photographs, pipeline.batch):
        found = pipeline.embed_query(images)
        for photograph, query in zip(photographs, found, strict=True):
            certain = sum(not pipeline.is_doubtful(found_object) for found_object in query.objects)
            boxes.append((_true_boxes(photograph), to_boxes(list(query.objects)), certain))
            queries.append((photograph, query))
        if truth == "box":
            found = _embed_true_boxes(pipeline, photographs, images)
        elif truth == "mask":
            found = _embed_true_masks(pipeline, photographs, images)
        for photograph, query in zip(photographs, found, strict=True):
            answers += _answer(photograph, query, gallery, truth, pipeline)
        done += len(images)
        report("photographs", done, len(data.photographs))
    figures: dict[str, Any] = {
        kind: search_figures([a.rank for a in answers if a.photograph.kind == kind]) for kind in KINDS
    }
    for kind in ("same", "view"):
        first = search_figures([a.first for a in answers if a.photograph.kind == kind])
        figures[kind] |= {f"first_{name}": first[name] for name in FIRST_FIGURES}
    figures["detector"] = detector_figures(boxes)
    figures["models"] = {**pipeline.versions, "truth": truth, "gallery": str(len(gallery.products))}
    if calibrate:
        search = ExactSearch(gallery.products, gallery.owners, gallery.embeddings)
        pictures = [data.gallery[n] for n in gallery.pictures]
        figures["calibration"] = evaluate_probabilities(
            search, pictures, pipeline, queries, load_entry, report
        )
    return Report(figures, tuple(answers), {image.product_id: image.path for image in reversed(data.gallery)})


def open_gallery(
    images: Sequence[GalleryImage], pipeline: Pipeline, progress: Progress = lambda stage, done, total: None
) -> tuple[ExactSearch, list[GalleryImage]]:
    """Embed pictures as an import would; return an exact search, and the picture of each of its rows."""
    gallery = _embed_gallery(images, pipeline, progress)
    search = ExactSearch(gallery.products, gallery.owners, gallery.embeddings)
    return search, [images[n] for n in gallery.pictures]


def _embed_gallery(images: Sequence[GalleryImage], pipeline: Pipeline, progress: Progress) -> _Gallery:
    owners: list[str] = []
    rows: list[NDArray[np.float32]] = []
    pictures: list[int] = []
    done = 0
    for entries, batch in _decode_batches(images, pipeline.batch):
        for entry, found in zip(entries, pipeline.embed_catalogue(batch), strict=True):
            owners += [entry.product_id] * len(found)
            pictures += [done] * len(found)
            done += 1
            rows += [each.embedding for each in found]
        progress("gallery", done, len(images))
    products = sorted(set(owners))
    indices = {product: index for index, product in enumerate(products)}
    owner_indices = np.array([indices[owner] for owner in owners], np.intp)
    return _Gallery(products, owner_indices, np.stack(rows), pictures)


def load_entry(entry: GalleryImage) -> Image:
    """Decode a picture of a gallery; raises the errors of ``load_image``."""
    return load_image(entry.path)


def _embed_true_boxes(
    pipeline: Pipeline, photographs: Sequence[Photograph], images: Sequence[Image]
) -> list[QueryEmbedding]:
    """Embed each true box as if a person had drawn it, in the order of the photograph's objects."""
    jobs = [(i, labelled.box) for i, photograph in enumerate(photographs) for labelled in photograph.objects]
    drawn = pipeline.embed_query([images[i] for i, _ in jobs], [QueryOptions(box=box) for _, box in jobs])
    results = []
    for i in range(len(photographs)):
        parts = [query for (owner, _), query in zip(jobs, drawn, strict=True) if owner == i]
        objects = tuple(part.objects[0] for part in parts)
        # Leave out the whole image: a query with a drawn box does not search for it.
        results.append(QueryEmbedding(objects, np.stack([part.embeddings[0] for part in parts]), {}))
    return results


def _embed_true_masks(
    pipeline: Pipeline, photographs: Sequence[Photograph], images: Sequence[Image]
) -> list[QueryEmbedding]:
    """Embed each true object with its true mask, as if the detector were perfect."""
    detections = [[_to_detection(each) for each in photograph.objects] for photograph in photographs]
    return [
        QueryEmbedding(
            tuple(each.detection for each in objects), np.stack([each.embedding for each in objects]), {}
        )
        for objects in pipeline.embed_objects(images, detections)
    ]


def _to_detection(labelled: TrueObject) -> Detection:
    assert labelled.mask is not None
    grey = load_image(labelled.mask)[..., 0]
    x0, y0, x1, y1 = to_pixels(labelled.box, grey.shape[1], grey.shape[0])
    inside = grey[y0:y1, x0:x1].astype(np.float32) / np.float32(255)
    return Detection(labelled.box, "product", 1.0, inside)


def _require_masks(data: LabelledSet, pipeline: Pipeline) -> None:
    for photograph in data.photographs:
        for labelled in photograph.objects:
            if labelled.mask is None:
                raise InvalidManifest(
                    f"{photograph.path.name} has a box and no mask for {labelled.product_id}: measure with "
                    "--truth box, or add to benchmark.jsonl a `mask` for each object, a grey picture of the "
                    "photograph's size."
                )
    if not pipeline.uses_masks:
        raise InvalidInput("This embedder does not use masks: measure with --crop mask or both.", "crop")


def _answer(
    photograph: Photograph, query: QueryEmbedding, gallery: _Gallery, truth: Truth, pipeline: Pipeline
) -> Iterator[Answer]:
    scores = query.embeddings @ gallery.embeddings.T
    boxes = tuple(found.box for found in query.objects)
    for number, expected in enumerate(photograph.objects):
        rows: list[int] | None
        if truth != "auto":
            rows = [number]
        elif photograph.kind != "multi" or not pipeline.detects:
            rows = list(range(len(scores)))
        else:
            rows = _find_detection(expected.box, query)
        if rows is None:
            yield Answer(photograph, expected, None, None, boxes)
            continue
        chosen = scores[rows]
        product = gallery.products.index(expected.product_id)
        best = gallery.products[gallery.owners[int(chosen.max(axis=0).argmax())]]
        first = product_rank(chosen[:1], gallery.owners, product)
        rank = product_rank(chosen, gallery.owners, product)
        yield Answer(photograph, expected, rank, best, boxes, first)


def _find_detection(box: Box, query: QueryEmbedding) -> list[int] | None:
    """Return the row of the detection with the highest IoU of at least .5 with a true box."""
    if not query.objects:
        return None
    ious = overlap(np.array([box], np.float32), to_boxes(list(query.objects)))[0]
    return [int(ious.argmax())] if ious.max() >= FOUND_IOU else None


def _true_boxes(photograph: Photograph) -> Boxes:
    return np.array([labelled.box for labelled in photograph.objects], np.float32).reshape(-1, 4)


def _decode_batches(entries: Sequence[Entry], size: int) -> Iterator[tuple[Sequence[Entry], list[Image]]]:
    """Decode two batches ahead of the models, in a thread pool."""
    starts = range(0, len(entries), size)
    with ThreadPoolExecutor(2, "decode") as pool:
        waiting = [pool.map(load_image, [e.path for e in entries[at : at + size]]) for at in starts[:2]]
        for number, at in enumerate(starts):
            images = list(waiting[number])
            following = (number + 2) * size
            if following < len(entries):
                waiting.append(pool.map(load_image, [e.path for e in entries[following : following + size]]))
            yield entries[at : at + size], images


def load_image(path: Path) -> Image:
    """Decode an image of a labelled set to ``(H, W, 3) uint8``.

    Raises:
        ImageMissing: the file is missing.
        UnsupportedFormat, UndecodableImage, ImageTooLarge, OutOfMemory: it cannot be decoded.
    """
    try:
        return decode(path.read_bytes(), LIMITS)
    except OSError as error:
        raise ImageMissing(f"{path} cannot be read.") from error
    except MemoryError as error:
        raise OutOfMemory(f"There is not enough memory to decode {path.name}.") from error
