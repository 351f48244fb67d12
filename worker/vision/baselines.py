"""Baselines that a trained model must beat: no detector, a colour histogram, a perceptual hash."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from worker.vision import Detection, Embeddings, Image
from worker.vision.crops import cut_out
from worker.vision.models import CropPlan

#: Side of the crops: neither baseline uses detail.
SIDE_PX = 64


class WholeImage:
    """Detects nothing, so that the whole image is the object."""

    version = "none"

    def detect(self, images: Sequence[Image]) -> list[list[Detection]]:
        """Return an empty list for each image."""
        return [[] for _ in images]


class _Square:
    """Crops of the baselines: the box, stretched to a square."""

    dim = 256
    uses_masks = False

    def crop(self, image: Image, detection: Detection | None) -> Image:
        """Cut the object or the whole image to ``(64, 64, 3) uint8``."""
        return cut_out(image, detection, SIDE_PX, CropPlan(), "stretch")


class ColourHistogram(_Square):
    """Shares of a crop's pixels in 8 x 8 x 4 bins of red, green and blue."""

    version = "colour-histogram"

    def embed(self, crops: Sequence[Image]) -> Embeddings:
        """Return ``(N, 256) float32``: roots of the shares, so that the cosine is Bhattacharyya's.

        The shares add up to 1, so their roots are normalised.
        """
        rows = np.zeros((len(crops), self.dim), np.float32)
        for row, crop in zip(rows, crops, strict=True):
            red, green, blue = (crop[..., channel].astype(np.intp) for channel in range(3))
            bins = (red >> 5) * 32 + (green >> 5) * 4 + (blue >> 6)
            row[:] = np.sqrt(np.bincount(bins.ravel(), minlength=self.dim) / bins.size)
        return rows


class PerceptualHash(_Square):
    """Signs of the 256 lowest frequencies; the cosine decreases with the Hamming distance."""

    version = "perceptual-hash"

    def embed(self, crops: Sequence[Image]) -> Embeddings:
        """Return ``(N, 256) float32`` with values of plus or minus 1/16."""
        rows = np.zeros((len(crops), self.dim), np.float32)
        for row, crop in zip(rows, crops, strict=True):
            grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)
            # Skip frequency zero both ways: mean brightness does not describe the object.
            waves = cv2.dct(grey)[1:17, 1:17]
            row[:] = np.where(waves > np.median(waves), 1 / 16, -1 / 16).ravel()
        return rows
