"""Pictures of a batch: read, checked, decoded in child processes and stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from shared.errors import Unavailable, VitrineError
from worker.duplicates.perceptual import perceptual_hash
from worker.products.batch import Content, Target
from worker.products.context import JobContext
from worker.products.existing_embeddings import reuse_embeddings
from worker.vision import Image

Given = TypeVar("Given")
Result = TypeVar("Result")

#: Shorter side that decoding keeps, in pixels: twice what the detector takes, so that an object of half the
#: picture fills the embedder's input. Camera files are then decoded at a quarter or an eighth of their size.
SIDE_NEEDED_PX = 640
#: Pictures that are stored together: a folder is then waited for once, a bucket in two threads.
_STORED_TOGETHER = 16


def load_contents(
    context: JobContext, targets: Sequence[Target], contents: Sequence[Content], *, reuse: bool = True
) -> None:
    """Reuse what the same bytes gave before, decode the rest, and store what is new.

    A picture that cannot be used gets a ``problem``.

    Args:
        reuse: take over embeddings and boxes; else every content is decoded, to be embedded afresh.

    Raises:
        Unavailable: the image store, the database or the decoding processes are away.
    """
    if reuse:
        with context.database.read() as session:
            reuse_embeddings(session, targets, contents)
    models = {target.models for target in targets}
    waiting = [content for content in contents if not models <= content.objects.keys()]
    run_parallel(context, lambda content: _decode(context, content), waiting)
    new = [c for c in contents if c.data is not None and c.problem is None]
    pieces = [new[k : k + _STORED_TOGETHER] for k in range(0, len(new), _STORED_TOGETHER)]
    run_parallel(context, lambda piece: _store(context, piece), pieces)


def decode_stored(context: JobContext, keys: Sequence[str], kind: str = "images") -> list[Image | None]:
    """Return stored pictures decoded, in order; None for one that is gone or cannot be decoded.

    Raises:
        Unavailable: the image store or the decoding processes are away.
    """

    def load(key: str) -> Image | None:
        try:
            return context.pictures.decode(context.store.get(key, kind), SIDE_NEEDED_PX)
        except Unavailable:
            raise
        except VitrineError:
            return None

    return run_parallel(context, load, keys)


def run_parallel(
    context: JobContext, function: Callable[[Given], Result], values: Iterable[Given]
) -> list[Result]:
    """Return the function's results in order, computed by the pool of decoding threads."""
    listed = list(values)
    # A single one need not queue behind those of a bulk job.
    return list(context.decoders.map(function, listed) if len(listed) > 1 else map(function, listed))


def reason_code(error: VitrineError) -> str:
    """Return the reason that a job's failures give for a picture that cannot be used."""
    return "missing_image" if error.code in ("image_missing", "not_found") else error.code


def _decode(context: JobContext, content: Content) -> None:
    try:
        data = content.data if content.data is not None else context.store.get(content.sha256, "images")
        content.pixels = context.pictures.decode(data, SIDE_NEEDED_PX)
        content.height, content.width = content.pixels.shape[:2]
        content.perceptual_hash = perceptual_hash(content.pixels)
    except Unavailable:
        raise
    except VitrineError as error:
        content.problem = reason_code(error), error.message


def _store(context: JobContext, contents: Sequence[Content]) -> None:
    context.store.put_all({c.sha256: c.data for c in contents if c.data is not None}, "images")
    for content in contents:
        content.data = None
