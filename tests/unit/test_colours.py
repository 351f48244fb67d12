"""The names of an object's main colours."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from shared.filters.vocabulary import COLOURS
from shared.images import ImageLimits, decode
from worker.vision import Image
from worker.vision.colours import main_colours

DEMO = Path(__file__).parents[2] / "demo" / "images"
PLAIN = {
    "black": (12, 12, 14),
    "white": (250, 250, 248),
    "grey": (128, 128, 128),
    "red": (200, 25, 30),
    "orange": (250, 130, 20),
    "yellow": (250, 220, 30),
    "green": (40, 140, 60),
    "blue": (30, 80, 190),
    "purple": (110, 40, 140),
    "pink": (250, 130, 180),
    "brown": (110, 70, 35),
}


def disc(colour: tuple[int, int, int], background: tuple[int, int, int], share: float = 0.4) -> Image:
    image = np.full((120, 90, 3), background, np.uint8)
    cv2.circle(image, (45, 60), int(90 * share), colour, thickness=-1)
    return image


def test_every_name_has_a_colour_that_is_called_so() -> None:
    assert tuple(PLAIN) == COLOURS
    for name, colour in PLAIN.items():
        assert main_colours(np.full((20, 30, 3), colour, np.uint8)) == [name]


@pytest.mark.parametrize("name", [name for name in PLAIN if name != "white"])
def test_a_plain_background_does_not_count(name: str) -> None:
    assert main_colours(disc(PLAIN[name], (255, 255, 255))) == [name]
    assert main_colours(disc(PLAIN[name], (205, 225, 235))) == [name]


def test_a_hole_shows_the_background() -> None:
    ring = disc(PLAIN["red"], (255, 255, 255))
    cv2.circle(ring, (45, 60), 20, (255, 255, 255), thickness=-1)
    assert main_colours(ring) == ["red"]


def test_a_mask_says_where_the_object_is() -> None:
    image = np.zeros((80, 80, 3), np.uint8)
    image[:, :40], image[:, 40:] = PLAIN["green"], PLAIN["orange"]
    left = np.zeros((20, 20), np.float32)
    left[:, :10] = 1
    assert main_colours(image, left) == ["green"]
    assert main_colours(image, 1 - left) == ["orange"]
    assert sorted(main_colours(image, np.ones((5, 5), np.float32))) == ["green", "orange"]
    assert sorted(main_colours(image, np.zeros((5, 5), np.float32))) == ["green", "orange"]


def test_the_most_of_it_comes_first_and_little_of_it_not_at_all() -> None:
    image = np.full((100, 100, 3), PLAIN["blue"], np.uint8)
    image[:30] = PLAIN["yellow"]
    image[30:40] = PLAIN["red"]
    assert main_colours(image, np.ones((10, 10), np.float32)) == ["blue", "yellow"]


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (3000, 2)])
def test_any_size_and_any_noise_has_a_colour(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(3).integers(0, 256, size=(*size, 3), dtype=np.uint8)
    found = main_colours(noise)
    assert 1 <= len(found) <= 3
    assert set(found) <= set(COLOURS)


DEMO_PICTURES = {
    "furniture-0021.jpg": "black",
    "furniture-0031.jpg": "blue",
    "furniture-0053.jpg": "green",
    "object-1f364.jpg": "orange",
    "furniture-0083.jpg": "pink",
    "object-1f311.jpg": "purple",
    "furniture-0122.jpg": "red",
    "furniture-0540.jpg": "yellow",
}


@pytest.mark.parametrize(("name", "colour"), DEMO_PICTURES.items())
def test_pictures_of_the_demo(name: str, colour: str) -> None:
    picture = decode((DEMO / name).read_bytes(), ImageLimits())
    assert main_colours(picture)[0] == colour
