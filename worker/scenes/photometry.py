"""Simulate light, colour and camera between a product and a shopper's picture."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def relight(rng: np.random.Generator, patch: Pixels) -> Pixels:
    """Change the light of a cut-out: (h, w, 4) uint8, colour premultiplied by alpha, in and out."""
    alpha = patch[..., 3:].astype(np.float32)
    colour = patch[..., :3].astype(np.float32) * rng.uniform(0.7, 1.25)
    if rng.random() < 0.6:
        colour *= rng.uniform(0.9, 1.1, 3).astype(np.float32)
    if rng.random() < 0.5:
        grey = colour.mean(2, keepdims=True)
        colour = grey + (colour - grey) * rng.uniform(0.65, 1.3)
    if rng.random() < 0.4:
        colour = alpha / 2 + (colour - alpha / 2) * rng.uniform(0.75, 1.2)
    if rng.random() < 0.4:
        left, right = rng.uniform(0.7, 1.25, 2)
        ramp = np.linspace(left, right, patch.shape[1], dtype=np.float32)
        colour *= ramp[None, :, None]
    if rng.random() < 0.3:
        # Vary the cut edges: a matte a little too wide or too soft.
        alpha = np.asarray(cv2.GaussianBlur(alpha, (3, 3), 0), np.float32)[..., None]
        colour = np.asarray(cv2.GaussianBlur(colour, (3, 3), 0), np.float32)
    return np.concatenate([np.clip(colour, 0, alpha), alpha], 2).astype(np.uint8)


def recolour(rng: np.random.Generator, patch: Pixels) -> Pixels:
    """Change the colours of a cut-out: (h, w, 4) uint8, colour premultiplied by alpha, in and out."""
    mix = np.eye(3)[rng.permutation(3)] * rng.uniform(0.5, 1) + rng.dirichlet((1, 1, 1), 3) * rng.uniform(
        0, 0.6
    )
    colour = patch[..., :3].astype(np.float32) @ (mix / mix.sum(0)).astype(np.float32)
    return np.concatenate([np.minimum(colour, patch[..., 3:]), patch[..., 3:]], 2).astype(np.uint8)


def degrade(rng: np.random.Generator, image: Pixels, *, gentle: bool) -> Pixels:
    """Simulate a camera: exposure, blur, lost resolution, noise, JPEG. (H, W, 3) uint8 in and out.

    Args:
        gentle: keep exposure and sharpness, as in a catalogue picture.
    """
    if not gentle:
        image = _expose(rng, image)
        image = _soften(rng, image)
        if rng.random() < 0.4:
            noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(1, 10))
            image = np.clip(image + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.8:
        quality = int(rng.integers(70 if gentle else 35, 96))
        _, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
        image = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return image


def _expose(rng: np.random.Generator, image: Pixels) -> Pixels:
    """Change gamma, gain and white balance, as one table per channel."""
    ramp = np.linspace(0, 1, 256, dtype=np.float32)
    gamma = rng.uniform(0.75, 1.35)
    gains = rng.uniform(0.85, 1.15) * (rng.uniform(0.92, 1.08, 3) if rng.random() < 0.5 else np.ones(3))
    table = np.clip(ramp[:, None] ** gamma * gains * 255, 0, 255).astype(np.uint8)
    return np.asarray(cv2.LUT(image, table[None]), np.uint8)


def _soften(rng: np.random.Generator, image: Pixels) -> Pixels:
    """Blur by focus, by motion or by lower resolution; most pictures are unchanged."""
    height, width = image.shape[:2]
    chance = rng.random()
    if chance < 0.2:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.4))), np.uint8)
    if chance < 0.27:
        length = int(rng.integers(3, 7))
        kernel = np.zeros((length, length), np.float32)
        kernel[length // 2] = 1 / length
        if rng.random() < 0.5:
            kernel = kernel.T
        return np.asarray(cv2.filter2D(image, -1, kernel), np.uint8)
    if chance < 0.4:
        ratio = rng.uniform(0.45, 0.9)
        small = cv2.resize(image, (int(width * ratio), int(height * ratio)), interpolation=cv2.INTER_AREA)
        return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    return image
