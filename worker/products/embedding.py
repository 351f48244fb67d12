"""Inference over a batch: each pair of models gets each content once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from worker.indexes.versions import IndexVersion, model_version_id, written_indexes
from worker.products.batch import Batch, Content, Target
from worker.products.context import JobContext
from worker.vision import NORM_TOLERANCE, Detection, Image
from worker.vision.colours import main_colours
from worker.vision.pipeline import EmbeddedObject, Stopwatch


def open_targets(context: JobContext, catalogue_id: int) -> list[Target]:
    """Return the index versions that products are written to, the live one first, with their models.

    Raises:
        Misconfigured: the models of one are not here.
    """
    with context.database.read() as session:
        versions = written_indexes(session, catalogue_id)
    return [open_target(context, version) for version in versions]


def open_target(context: JobContext, version: IndexVersion) -> Target:
    """Return an index version with its models. Raises Misconfigured if they are not here."""
    pipeline = context.pipelines.of(version)
    with context.database.write() as session:
        models = model_version_id(session, pipeline.detector.version, pipeline.embedder.version)
    return Target(version, pipeline, models)


def embed_contents(batch: Batch, targets: Sequence[Target], pause: Callable[[], None] = lambda: None) -> None:
    """Run each target's models over the contents that they have not seen; a detector runs once.

    A content gets a ``problem`` where the first target's embeddings are not unit vectors, and a ``note``
    where another target's are not.

    Args:
        pause: called between two calls of a model; its time does not count.

    Raises:
        OutOfMemory: one picture does not fit alone.
        Unavailable: the device failed.
    """
    watch = Stopwatch()

    def paused() -> None:
        with watch.paused():
            pause()

    for target in targets:
        todo = [c for c in batch.contents if c.pixels is not None and target.models not in c.objects]
        if not todo:
            continue
        pipeline, detector = target.pipeline, target.pipeline.detector.version
        unseen = [content for content in todo if detector not in content.boxes]
        watch.lap("other")
        found = pipeline.find_objects(_pixels(unseen), paused)
        for content, boxes in zip(unseen, found, strict=True):
            content.boxes[detector] = boxes
        batch.detect_s += watch.lap("detect") / 1000
        paused()
        embedded = pipeline.embed_objects(_pixels(todo), [c.boxes[detector] for c in todo], paused)
        batch.embed_s += watch.lap("embed") / 1000
        for content, objects in zip(todo, embedded, strict=True):
            _accept(content, objects, target, is_first=target is targets[0])


def name_colours(batch: Batch) -> None:
    """Name the colours of what was embedded; the pixels are not needed afterwards."""
    for content in batch.contents:
        pixels, content.pixels = content.pixels, None
        if pixels is None:
            continue
        for objects in content.objects.values():
            for number, each in enumerate(objects):
                if each.colours is None:
                    objects[number] = replace(each, colours=_colours_of(content, pixels, each.detection))


def _accept(content: Content, objects: list[EmbeddedObject], target: Target, *, is_first: bool) -> None:
    """Take over what the models made of a content, unless it is not made of unit vectors."""
    rows = np.stack([each.embedding for each in objects]).astype(np.float64)
    with np.errstate(invalid="ignore"):
        is_sound = bool((np.abs(np.linalg.norm(rows, axis=1) - 1) < NORM_TOLERANCE).all())
    if is_sound:
        content.objects[target.models] = objects
        content.is_embedded = True
        return
    embedder = target.pipeline.embedder.version
    reason = "bad_embedding", f"The answer of {embedder} for this picture is not a unit vector."
    if is_first:
        content.problem = reason
    else:
        content.note = reason


def _colours_of(content: Content, pixels: Image, detection: Detection) -> list[str]:
    """Return the names of a detection's main colours, computed once whatever embeds it."""
    if detection not in content.colours:
        height, width = pixels.shape[:2]
        x0, y0, x1, y1 = detection.box
        left, top = min(int(x0 * width), width - 1), min(int(y0 * height), height - 1)
        right, bottom = max(left + 1, math.ceil(x1 * width)), max(top + 1, math.ceil(y1 * height))
        content.colours[detection] = main_colours(pixels[top:bottom, left:right], detection.mask)
    return content.colours[detection]


def _pixels(contents: Sequence[Content]) -> list[Image]:
    return [content.pixels for content in contents if content.pixels is not None]
