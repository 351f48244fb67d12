"""Runs a pipeline over a labelled set and measures what a shopper would have got."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from shared.errors import ImageMissing, InvalidInput, InvalidManifest, OutOfMemory
from shared.images import CATALOGUE_FORMATS, ImageLimits, decode
from worker.evaluation.dataset import KINDS, GalleryImage, LabelledSet, Photograph, TrueObject, read_set
from worker.evaluation.metrics import Boxes, detector_figures, product_rank, search_figures
from worker.evaluation.promises import ExactSearch, promises
from worker.vision import Detection, Embeddings, Image
from worker.vision.crops import Box, overlap, to_boxes, to_pixels
from worker.vision.pipeline import Pipeline, QueryEmbedding, QueryOptions

Entry = TypeVar("Entry", GalleryImage, Photograph)
Truth = Literal["auto", "box", "mask"]
#: Called with what is being done, how much of it is done, and how much there is.
Progress = Callable[[str, int, int], None]

LIMITS = ImageLimits(formats=CATALOGUE_FORMATS)
#: Of the first object's hits alone.
FIRST_FIGURES = ("recall@1", "recall@1_ci", "recall@10", "recall@10_ci")
#: An object counts as found when its box is overlapped by this much.
FOUND_IOU = 0.5


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one object of a photograph.

    Attributes:
        rank: place of the right product, from 1; None where no detection is on the object.
        first: its place among the hits of the first object alone, which stand first on the page.
        best: product of the best hit, None where there is no hit.
        objects: boxes that the pipeline searched with.
    """

    photograph: Photograph
    wanted: TrueObject
    rank: int | None
    best: str | None
    objects: tuple[Box, ...]
    first: int | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """The figures of one evaluation, and every answer behind them."""

    figures: dict[str, Any]
    answers: tuple[Answer, ...]
    gallery: dict[str, Path]

    def to_json(self) -> dict[str, Any]:
        """Return ``same``, ``view``, ``multi``, ``detector`` and ``models``; rates in percent.

        Beside each rate there is ``<rate>_ci``, its 95 % bootstrap interval. ``same`` and ``view`` have
        ``first_recall@1`` and ``@10`` too, of the first object's hits alone.
        """
        return self.figures


@dataclass(frozen=True, slots=True)
class _Gallery:
    """Embeddings of all products: ``embeddings (G, D)``, ``owners (G,)`` into ``products``, and which of the
    set's pictures each is of."""

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
    """Search for every labelled object of a set and count what is found.

    With ``same`` and ``view`` photographs, which show one product, the hits of all detected objects and of
    the whole image are merged, a product counting once with its best score. With ``multi``, an object counts
    when a detection overlaps its box by at least half, and by the rank of its product among that
    detection's hits alone; a pipeline without a detector answers with the whole image instead.

    Args:
        folder: a labelled set (``dataset.read_set``).
        pipeline: what is measured; it also embeds the gallery, as an import would.
        truth: ``box`` searches with the true boxes instead of detections, ``mask`` with the true masks
            too: what a perfect detector would give. The detector's own figures are not affected.
        limit: at most so many photographs of each kind.
        progress: told of every batch.
        calibrate: also fit probabilities on photos composed of the gallery, and say whether they are kept;
            under ``calibration``, null where the gallery teaches too little. Of detections only.

    Raises:
        InvalidManifest: the set is malformed, or has no masks and was to be measured with them.
        InvalidInput: masks were asked for, and the embedder's crops make no use of them.
        ImageMissing: an image of it is not there.
    """
    told = progress or (lambda stage, done, total: None)
    data = read_set(folder, limit)
    if truth == "mask":
        _require_masks(data, pipeline)
    gallery = _embed_gallery(data.gallery, pipeline, told)
    answers: list[Answer] = []
    boxes: list[tuple[Boxes, Boxes, int]] = []
    asked: list[tuple[Photograph, QueryEmbedding]] = []
    done = 0
    for photographs, images in _batches(data.photographs, pipeline.batch):
        found = pipeline.embed_query(images)
        for photograph, query in zip(photographs, found, strict=True):
            sure = sum(not pipeline.is_doubtful(seen) for seen in query.objects)
            boxes.append((_true_boxes(photograph), to_boxes(list(query.objects)), sure))
            asked.append((photograph, query))
        if truth == "box":
            found = _with_true_boxes(pipeline, photographs, images)
        elif truth == "mask":
            found = _with_true_masks(pipeline, photographs, images)
        for photograph, query in zip(photographs, found, strict=True):
            answers += _answer(photograph, query, gallery, truth, pipeline)
        done += len(images)
        told("photographs", done, len(data.photographs))
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
        figures["calibration"] = promises(search, pictures, pipeline, asked, load_entry, told)
    return Report(figures, tuple(answers), {image.product_id: image.path for image in reversed(data.gallery)})


def open_gallery(
    images: Sequence[GalleryImage], pipeline: Pipeline, told: Progress = lambda stage, done, total: None
) -> tuple[ExactSearch, list[GalleryImage]]:
    """Embed pictures as an import would; return the search over them, and the picture of each of its rows."""
    gallery = _embed_gallery(images, pipeline, told)
    search = ExactSearch(gallery.products, gallery.owners, gallery.embeddings)
    return search, [images[n] for n in gallery.pictures]


def _embed_gallery(images: Sequence[GalleryImage], pipeline: Pipeline, told: Progress) -> _Gallery:
    owners: list[str] = []
    rows: list[NDArray[np.float32]] = []
    pictures: list[int] = []
    seen = 0
    for entries, batch in _batches(images, pipeline.batch):
        for entry, found in zip(entries, pipeline.embed_catalogue(batch), strict=True):
            owners += [entry.product_id] * len(found)
            pictures += [seen] * len(found)
            seen += 1
            rows += [each.embedding for each in found]
        told("gallery", seen, len(images))
    products = sorted(set(owners))
    places = {product: place for place, product in enumerate(products)}
    of_rows = np.array([places[owner] for owner in owners], np.intp)
    return _Gallery(products, of_rows, np.stack(rows), pictures)


def load_entry(entry: GalleryImage) -> Image:
    """Decode a picture of a gallery; raises as ``load_image``."""
    return load_image(entry.path)


def _with_true_boxes(
    pipeline: Pipeline, photographs: Sequence[Photograph], images: Sequence[Image]
) -> list[QueryEmbedding]:
    """Embed each true box as if a person had drawn it; of a photograph's objects in their order."""
    jobs = [(i, seen.box) for i, photograph in enumerate(photographs) for seen in photograph.objects]
    drawn = pipeline.embed_query([images[i] for i, _ in jobs], [QueryOptions(box=box) for _, box in jobs])
    results = []
    for i in range(len(photographs)):
        parts = [query for (owner, _), query in zip(jobs, drawn, strict=True) if owner == i]
        objects = tuple(part.objects[0] for part in parts)
        # The whole image is left out: with a box drawn, nobody searches for it.
        results.append(QueryEmbedding(objects, np.stack([part.embeddings[0] for part in parts]), {}))
    return results


def _with_true_masks(
    pipeline: Pipeline, photographs: Sequence[Photograph], images: Sequence[Image]
) -> list[QueryEmbedding]:
    """Embed each true object as a detector that sees its outline would have it cut out."""
    seen = [[_with_mask(each) for each in photograph.objects] for photograph in photographs]
    return [
        QueryEmbedding(tuple(each.detection for each in of), np.stack([each.embedding for each in of]), {})
        for of in pipeline.embed_objects(images, seen)
    ]


def _with_mask(seen: TrueObject) -> Detection:
    assert seen.mask is not None
    grey = load_image(seen.mask)[..., 0]
    x0, y0, x1, y1 = to_pixels(seen.box, grey.shape[1], grey.shape[0])
    inside = grey[y0:y1, x0:x1].astype(np.float32) / np.float32(255)
    return Detection(seen.box, "product", 1.0, inside)


def _require_masks(data: LabelledSet, pipeline: Pipeline) -> None:
    for photograph in data.photographs:
        for seen in photograph.objects:
            if seen.mask is None:
                raise InvalidManifest(
                    f"{photograph.path.name} has a box and no mask for {seen.product_id}: measure with "
                    "--truth box, or name in benchmark.jsonl a `mask` for each object, a grey picture of the "
                    "photograph's size."
                )
    if not pipeline.uses_masks:
        raise InvalidInput("This embedder keeps what is in the box: masks matter with --crop mask.", "crop")


def _answer(
    photograph: Photograph, query: QueryEmbedding, gallery: _Gallery, truth: Truth, pipeline: Pipeline
) -> Iterator[Answer]:
    scores = query.embeddings @ gallery.embeddings.T
    boxes = tuple(seen.box for seen in query.objects)
    for number, wanted in enumerate(photograph.objects):
        rows: list[int] | None
        if truth != "auto":
            rows = [number]
        elif photograph.kind != "multi" or not pipeline.detects:
            rows = list(range(len(scores)))
        else:
            rows = _detection_on(wanted.box, query)
        if rows is None:
            yield Answer(photograph, wanted, None, None, boxes)
            continue
        asked = scores[rows]
        place = gallery.products.index(wanted.product_id)
        best = gallery.products[gallery.owners[int(asked.max(axis=0).argmax())]]
        first = product_rank(asked[:1], gallery.owners, place)
        yield Answer(photograph, wanted, product_rank(asked, gallery.owners, place), best, boxes, first)


def _detection_on(box: Box, query: QueryEmbedding) -> list[int] | None:
    """The row of the detection that overlaps a true box most, if it does by half."""
    if not query.objects:
        return None
    ious = overlap(np.array([box], np.float32), to_boxes(list(query.objects)))[0]
    return [int(ious.argmax())] if ious.max() >= FOUND_IOU else None


def _true_boxes(photograph: Photograph) -> Boxes:
    return np.array([seen.box for seen in photograph.objects], np.float32).reshape(-1, 4)


def _batches(entries: Sequence[Entry], size: int) -> Iterator[tuple[Sequence[Entry], list[Image]]]:
    """Decode ahead of the models, in a pool beside them."""
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
        ImageMissing: it is not there.
        UnsupportedFormat, UndecodableImage, ImageTooLarge, OutOfMemory: it cannot be decoded.
    """
    try:
        return decode(path.read_bytes(), LIMITS)
    except OSError as error:
        raise ImageMissing(f"{path} cannot be read.") from error
    except MemoryError as error:
        raise OutOfMemory(f"There is not enough memory to decode {path.name}.") from error
