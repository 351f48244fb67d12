"""Types shared by the parts of the pipeline: images, embeddings, detections, and two protocols."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

#: ``(H, W, 3) uint8`` RGB, upright (EXIF applied), alpha flattened on white.
Image = NDArray[np.uint8]
#: ``(N, D) float32``, each row L2-normalised. N may be 0.
Embeddings = NDArray[np.float32]
#: Maximum difference from 1 of the norm of an embedding that counts as normalised.
NORM_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Detection:
    """One object found in an image.

    Attributes:
        box: x0, y0, x1, y1 as fractions of the image's width and height, 0 to 1, x0 < x1, y0 < y1.
        label: class name, ``product`` for the shipped weights.
        confidence: 0 to 1.
        mask: ``(h, w) float32`` in 0..1 over the box only, at any resolution; None where the detector has no
            masks.
    """

    box: tuple[float, float, float, float]
    label: str
    confidence: float
    mask: NDArray[np.float32] | None = field(default=None, compare=False)


class Detector(Protocol):
    """Finds objects in images."""

    @property
    def version(self) -> str:
        """Return name and content hash, such as ``yolov8n-seg-320@1a2b3c4d``; it changes when results may."""
        ...

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        """Return the detections of each image, best first; an empty list where there are none."""
        ...


class Embedder(Protocol):
    """Turns crops into embeddings."""

    @property
    def version(self) -> str:
        """Return name and content hash; it changes when embeddings may."""
        ...

    @property
    def dim(self) -> int:
        """Return the length of an embedding."""
        ...

    def crop(self, image: Image, detection: Detection | None) -> Image:
        """Cut out the object, masked if the embedder is configured so, or the whole image.

        The result has the size that ``embed`` takes, so that crops can be stacked.
        """
        ...

    def embed(self, crops: Sequence[Image]) -> Embeddings:
        """Return ``(len(crops), dim)``; ``(0, dim)`` for no crops."""
        ...
