"""A perceptual hash tells the same picture, whatever its size and compression, from others."""

from __future__ import annotations

import cv2
import numpy as np

from worker.duplicates.perceptual import perceptual_hash
from worker.vision import Image


def hamming_distances(a: int, b: int) -> int:
    return ((a ^ b) & (2**64 - 1)).bit_count()


def scene(seed: int) -> Image:
    """A picture with large shapes, as photos have them."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC), np.uint8)


def test_size_and_compression_change_few_bits_and_another_picture_many() -> None:
    picture = scene(1)
    smaller = np.asarray(cv2.resize(picture, (300, 225), interpolation=cv2.INTER_AREA), np.uint8)
    ok, packed = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 30])
    assert ok
    compressed = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
    hashed = perceptual_hash(picture)
    assert hamming_distances(hashed, perceptual_hash(smaller)) <= 4
    assert hamming_distances(hashed, perceptual_hash(compressed)) <= 4
    assert min(hamming_distances(hashed, perceptual_hash(scene(n))) for n in range(2, 12)) > 12


def test_it_fits_into_a_signed_column_and_a_grey_wall_has_one_too() -> None:
    hashes = [perceptual_hash(scene(n)) for n in range(20)]
    assert all(-(2**63) <= h < 2**63 for h in hashes)
    assert min(hashes) < 0 < max(hashes)
    flat = np.full((50, 70, 3), 128, np.uint8)
    assert perceptual_hash(flat) == perceptual_hash(flat.copy())
