"""Cut the views of an object that an embedder takes: with background, without, and its outline.

The views of one object lie side by side in one picture of ``(S, n * S, 3) uint8``, so that crops of many
objects can be stacked. In this order: the object with its background (except in mode ``mask``), without it
(except in mode ``box``), and, where colours are part of the embedding, its outline in grey, which is all 0
where the object has no mask.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from worker.vision import Detection, Image
from worker.vision.crops import cut_with_outline, fade
from worker.vision.models import CropPlan


def cut_views(
    image: Image,
    detection: Detection | None,
    side_px: int,
    plan: CropPlan,
    shape: Literal["pad", "stretch"],
    *,
    outlined: bool = False,
) -> Image:
    """Cut out the views of an object, or of the whole image where there is none.

    Args:
        image: ``(H, W, 3) uint8``.
        detection: the object.
        side_px: side of each view, S.
        plan: margin, background and fill.
        shape: ``pad`` centres the crop on the fill, ``stretch`` distorts it to the square.
        outlined: add the outline.

    Returns:
        ``(S, n * S, 3) uint8``. Without a mask the views with and without background are the same.
    """
    square, outline = cut_with_outline(image, detection, side_px, plan, shape)
    views = [] if plan.mode == "mask" else [square]
    if plan.mode != "box":
        views.append(square if outline is None else fade(square, outline, plan.fill))
    if outlined:
        grey = np.zeros(square.shape[:2], np.float32) if outline is None else np.rint(255 * outline)
        views.append(np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2))
    return views[0] if len(views) == 1 else np.concatenate(views, axis=1)


def split_views(crops: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Split views: ``(N, S, n * S, 3)`` to ``(n, N, S, S, 3)``."""
    count, side, width, channels = crops.shape
    parts = crops.reshape(count, side, width // side, side, channels)
    return np.moveaxis(parts, 2, 0)
