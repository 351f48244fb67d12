"""The models' part of a micro-batch: each content is seen once by each pair of models."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from worker.indexes.versions import model_version_id, written_indexes
from worker.products.batch import Batch, Target
from worker.products.context import JobContext
from worker.products.existing_embeddings import IndexedObject
from worker.vision import Detection, Image
from worker.vision.colours import main_colours


def open_targets(tools: JobContext, catalogue_id: int) -> list[Target]:
    """Return the index versions that products are written to, the live one first, with their models.

    Raises:
        Misconfigured: the models of one are not here.
    """
    with tools.database.read() as session:
        versions = written_indexes(session, catalogue_id)
    pipelines = [tools.pipelines.of(version) for version in versions]
    with tools.database.write() as session:
        return [
            Target(version, p, model_version_id(session, p.detector.version, p.embedder.version))
            for version, p in zip(versions, pipelines, strict=True)
        ]


def embed_contents(batch: Batch, targets: Sequence[Target], pause: Callable[[], None] = lambda: None) -> None:
    """Run each target's models over the contents that they have not seen; a detector runs once.

    Args:
        pause: called between two calls of a model; its time does not count.
    """
    seen: dict[str, dict[str, list[Detection]]] = {}
    clock = _Clock(pause)
    for target in targets:
        todo = [c for c in batch.contents if c.pixels is not None and target.models not in c.objects]
        if not todo:
            continue
        pipeline = target.pipeline
        found = seen.setdefault(pipeline.detector.version, {})
        unseen = [c for c in todo if c.sha256 not in found]
        clock.lap_s()
        boxes = pipeline.find_objects([c.pixels for c in unseen if c.pixels is not None], clock.pause)
        found.update(zip((c.sha256 for c in unseen), boxes, strict=True))
        batch.detect_s += clock.lap_s()
        clock.pause()
        pixels = [c.pixels for c in todo if c.pixels is not None]
        embedded = pipeline.embed_objects(pixels, [found[c.sha256] for c in todo], clock.pause)
        batch.embed_s += clock.lap_s()
        for content, objects in zip(todo, embedded, strict=True):
            content.objects[target.models] = [IndexedObject(o.detection, o.embedding, None) for o in objects]
            content.embedded = True


def add_colours(batch: Batch) -> None:
    """Name the colours of what was embedded; the pixels are not needed afterwards."""
    for content in batch.contents:
        if content.pixels is None:
            continue
        for models, objects in content.objects.items():
            content.objects[models] = [
                o if o.colours is not None else replace(o, colours=colours_of(content.pixels, o.seen))
                for o in objects
            ]
        content.pixels = None


def colours_of(image: Image, seen: Detection) -> list[str]:
    """Return the names of the main colours of what was seen in a picture."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = seen.box
    left, top = min(int(x0 * width), width - 1), min(int(y0 * height), height - 1)
    right, bottom = max(left + 1, math.ceil(x1 * width)), max(top + 1, math.ceil(y1 * height))
    return main_colours(image[top:bottom, left:right], seen.mask)


class _Clock:
    """Seconds from lap to lap, without the pauses in between."""

    def __init__(self, pause: Callable[[], None]) -> None:
        self._pause = pause
        self._since = time.perf_counter()

    def pause(self) -> None:
        began = time.perf_counter()
        self._pause()
        self._since += time.perf_counter() - began

    def lap_s(self) -> float:
        now = time.perf_counter()
        spent, self._since = now - self._since, now
        return spent
