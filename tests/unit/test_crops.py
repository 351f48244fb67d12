"""Crop maths at its edges: borders, shapes, masks, boxes that a person drew."""

from __future__ import annotations

import numpy as np
import pytest

from worker.vision import Detection
from worker.vision.crops import (
    LETTERBOX_GREY,
    cut_out,
    fit_into_square,
    overlap,
    to_pixels,
    transfer_mask,
)
from worker.vision.models import CropPlan

RED, BLUE, WHITE = (255, 0, 0), (0, 0, 255), (255, 255, 255)


def picture(width: int, height: int, colour: tuple[int, int, int] = RED) -> np.ndarray:
    image = np.empty((height, width, 3), np.uint8)
    image[:] = colour
    return image


@pytest.mark.parametrize(("width", "height"), [(400, 100), (100, 400), (37, 37), (1, 900), (2000, 1999)])
def test_letterbox_keeps_the_shape_and_says_where_the_picture_is(width: int, height: int) -> None:
    square, place = fit_into_square(picture(width, height), 64, LETTERBOX_GREY)
    assert square.shape == (64, 64, 3)
    inside = (square == RED).all(axis=2)
    rows, columns = np.nonzero(inside)
    assert (columns.min(), rows.min()) == (place.left, place.top)
    assert columns.max() + 1 == pytest.approx(place.left + width * place.scale, abs=1)
    assert rows.max() + 1 == pytest.approx(place.top + height * place.scale, abs=1)
    assert (square[~inside] == 114).all()


@pytest.mark.parametrize(
    ("box", "margin", "expected"),
    [
        ((0.0, 0.0, 1.0, 1.0), 0.0, (0, 0, 200, 100)),
        ((0.25, 0.5, 0.75, 1.0), 0.0, (50, 50, 150, 100)),
        ((0.25, 0.25, 0.75, 0.75), 0.5, (0, 0, 200, 100)),
        ((0.0, 0.0, 0.5, 0.5), 1.0, (0, 0, 200, 100)),
        ((0.999, 0.999, 1.0, 1.0), 0.0, (199, 99, 200, 100)),
        ((0.5, 0.5, 0.5, 0.5), 0.0, (100, 50, 101, 51)),
        ((1.0, 1.0, 1.0, 1.0), 0.0, (199, 99, 200, 100)),
    ],
)
def test_pixels_stay_in_the_image_and_are_never_empty(
    box: tuple[float, float, float, float], margin: float, expected: tuple[int, int, int, int]
) -> None:
    assert to_pixels(box, 200, 100, margin) == expected


def test_crop_takes_the_box_and_pads_it() -> None:
    image = picture(200, 100, BLUE)
    image[20:60, 50:150] = RED
    crop = cut_out(image, Detection((0.25, 0.2, 0.75, 0.6), "product", 0.9), 50, CropPlan(), "pad")
    assert crop.shape == (50, 50, 3)
    assert (crop[15:35] == RED).all()
    assert (crop[:14] == WHITE).all()
    assert (crop[36:] == WHITE).all()


def test_stretched_crop_fills_the_square() -> None:
    image = picture(200, 100, BLUE)
    image[20:60, 50:150] = RED
    crop = cut_out(image, Detection((0.25, 0.2, 0.75, 0.6), "product", 0.9), 50, CropPlan(), "stretch")
    assert (crop == RED).all()


def test_without_a_detection_the_whole_image_is_cut() -> None:
    crop = cut_out(picture(80, 80), None, 40, CropPlan(mode="mask", margin=0.5), "pad")
    assert (crop == RED).all()


@pytest.mark.parametrize("shape", ["pad", "stretch"])
@pytest.mark.parametrize("margin", [0.0, 0.25])
def test_mask_turns_the_background_into_the_fill(shape: str, margin: float) -> None:
    image = picture(400, 400, BLUE)
    image[100:300, 100:200] = RED
    mask = np.zeros((50, 50), np.float32)
    mask[:, :25] = 1.0
    detection = Detection((0.25, 0.25, 0.75, 0.75), "product", 0.9, mask)
    plan = CropPlan(mode="mask", fill=(0, 255, 0), margin=margin)
    crop = cut_out(image, detection, 100, plan, shape)  # type: ignore[arg-type]
    green = (crop == (0, 255, 0)).all(axis=2).mean()
    red = (crop == RED).all(axis=2).mean()
    blue = (crop[..., 2] > 200).mean()
    object_share = 0.5 / (1 + 2 * margin) ** 2
    assert red == pytest.approx(object_share, abs=0.04)
    assert green == pytest.approx(1 - object_share, abs=0.06)
    assert blue == 0


def test_box_mode_ignores_the_mask() -> None:
    detection = Detection((0.0, 0.0, 1.0, 1.0), "product", 0.9, np.zeros((8, 8), np.float32))
    assert (cut_out(picture(60, 60), detection, 30, CropPlan(mode="box"), "pad") == RED).all()


def test_half_a_mask_value_softens() -> None:
    detection = Detection((0.0, 0.0, 1.0, 1.0), "product", 0.9, np.full((8, 8), 0.5, np.float32))
    crop = cut_out(picture(60, 60, (0, 0, 0)), detection, 30, CropPlan(mode="mask"), "pad")
    assert (np.abs(crop.astype(int) - 128) <= 1).all()


def test_overlap_of_every_pair() -> None:
    first = np.array([[0, 0, 2, 2], [5, 5, 6, 6]], np.float32)
    second = np.array([[0, 0, 2, 2], [1, 0, 3, 2], [9, 9, 9, 9]], np.float32)
    expected = [[1.0, 1 / 3, 0.0], [0.0, 0.0, 0.0]]
    assert np.allclose(overlap(first, second), expected)
    assert overlap(first, np.zeros((0, 4), np.float32)).shape == (2, 0)


def test_drawn_box_takes_over_the_mask_of_the_object_in_it() -> None:
    mask = np.ones((100, 100), np.float32)
    mask[:, 50:] = 0.0
    seen = Detection((0.2, 0.2, 0.6, 0.6), "chair", 0.8, mask)
    far = Detection((0.7, 0.7, 0.9, 0.9), "lamp", 0.9, np.ones((50, 50), np.float32))
    drawn = transfer_mask((0.2, 0.2, 0.7, 0.6), [far, seen])
    assert drawn.box == (0.2, 0.2, 0.7, 0.6)
    assert drawn.label == "chair"
    assert drawn.mask is not None
    # The object is the left half of a box four fifths as wide as the drawn one.
    columns = drawn.mask.mean(axis=0)
    share = len(columns) * 0.4
    assert columns[: int(share) - 2].min() > 0.99
    assert columns[int(share) + 3 :].max() < 0.01


def test_drawn_box_around_nothing_has_no_mask() -> None:
    seen = Detection((0.0, 0.0, 0.3, 0.3), "chair", 0.8, np.ones((10, 10), np.float32))
    assert transfer_mask((0.5, 0.5, 0.9, 0.9), [seen]).mask is None
    assert transfer_mask((0.5, 0.5, 0.9, 0.9), []).mask is None
