"""What a YOLO network puts out, read into boxes, masks and an order."""

from __future__ import annotations

import numpy as np
import pytest

from worker.vision import Detection
from worker.vision.crops import Placement
from worker.vision.yolo_output import Frame, OutputPlan, assemble_mask, prominence, read_output, suppress

PLAN = OutputPlan(("product",), end_to_end=False, confidence=0.25, iou=0.5, max_objects=10)
#: A picture of 200 x 100 in a square of 320, as the letterbox puts it.
WIDE = Frame(200, 100, Placement(1.6, 0, 80), 320)


def columns(*boxes: tuple[float, float, float, float, float]) -> np.ndarray:
    """Centre x, centre y, width, height and score of each anchor, as a one-class network gives them."""
    return np.array(boxes, np.float32).T.reshape(5, -1)


def test_boxes_come_back_as_fractions_of_the_picture() -> None:
    (found,) = read_output(columns((160, 160, 160, 80, 0.9)), None, WIDE, PLAN)
    assert found.box == pytest.approx((0.25, 0.25, 0.75, 0.75))
    assert found.confidence == pytest.approx(0.9)
    assert found.label == "product"
    assert found.mask is None


def test_boxes_are_cut_at_the_picture_and_noise_is_dropped() -> None:
    output = columns((0, 160, 100, 400, 0.9), (160, 20, 100, 60, 0.8), (300, 160, 1, 50, 0.7))
    (found,) = read_output(output, None, WIDE, PLAN)
    assert found.box == pytest.approx((0.0, 0.0, 50 / 320, 1.0))


def test_doubtful_and_doubled_boxes_go() -> None:
    output = columns(
        (100, 160, 80, 80, 0.6), (104, 160, 80, 80, 0.9), (250, 160, 60, 60, 0.3), (50, 160, 9, 9, 0.2)
    )
    found = read_output(output, None, WIDE, PLAN)
    assert [d.confidence for d in found] == pytest.approx([0.9, 0.3])


def test_parts_of_a_surer_object_go_and_objects_upon_it_stay() -> None:
    cabinet, drawer, cup = (150, 160, 200, 150, 0.9), (120, 180, 60, 40, 0.5), (200, 120, 30, 30, 0.8)
    beside = (280, 160, 60, 60, 0.3)  # only half of it lies inside
    found = read_output(columns(cabinet, drawer, cup, beside), None, WIDE, PLAN)
    assert sorted(d.confidence for d in found) == pytest.approx([0.3, 0.8, 0.9])
    # A part goes whatever is the order, and the larger box never does.
    found = read_output(columns(drawer, (150, 160, 200, 150, 0.4)), None, WIDE, PLAN)
    assert sorted(d.confidence for d in found) == pytest.approx([0.4, 0.5])


def test_no_anchor_above_the_threshold_is_an_empty_list() -> None:
    assert read_output(columns((160, 160, 160, 80, 0.1)), None, WIDE, PLAN) == []


def test_two_labels_on_one_thing_are_one_object() -> None:
    plan = OutputPlan(("sofa", "bed"), end_to_end=False, confidence=0.25, iou=0.5, max_objects=10)
    output = np.array([[160, 160, 160, 80, 0.9, 0.1], [162, 160, 160, 80, 0.1, 0.8]], np.float32).T
    assert [d.label for d in read_output(output, None, WIDE, plan)] == ["sofa"]


def test_end_to_end_rows() -> None:
    plan = OutputPlan(("a", "b"), end_to_end=True, confidence=0.25, iou=0.5, max_objects=10)
    rows = np.array([[80, 120, 240, 200, 0.9, 1], [0, 80, 50, 100, 0.1, 0]], np.float32)
    (found,) = read_output(rows, None, WIDE, plan)
    assert (found.label, found.box) == ("b", pytest.approx((0.25, 0.25, 0.75, 0.75)))


def test_at_most_so_many_and_the_best_of_them() -> None:
    output = columns(*((30 + 50 * i, 160, 40, 40, 0.5 + 0.05 * i) for i in range(6)))
    plan = OutputPlan(("product",), end_to_end=False, confidence=0.25, iou=0.5, max_objects=2)
    kept = read_output(output, None, WIDE, plan)
    everything = read_output(output, None, WIDE, PLAN)
    assert len(everything) == 6
    assert kept == everything[:2]


def test_large_central_objects_come_first() -> None:
    def seen(box: tuple[float, float, float, float], confidence: float = 0.8) -> Detection:
        return Detection(box, "product", confidence)

    centre, corner = seen((0.3, 0.3, 0.7, 0.7)), seen((0.0, 0.0, 0.4, 0.4))
    small, doubtful = seen((0.45, 0.45, 0.55, 0.55)), seen((0.2, 0.2, 0.8, 0.8), 0.3)
    assert prominence(centre) > prominence(corner)
    assert prominence(centre) > prominence(small)
    assert prominence(small) > prominence(doubtful)
    assert prominence(seen((0.0, 0.0, 1.0, 1.0), 1.0)) == pytest.approx(1.0)


def test_suppression_keeps_the_more_confident_of_each_group() -> None:
    boxes = np.array(
        [[0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 30, 30], [21, 20, 31, 30], [5, 0, 15, 10]], np.float32
    )
    confidences = np.array([0.5, 0.9, 0.7, 0.6, 0.4], np.float32)
    assert suppress(boxes, confidences, 0.5) == [1, 2, 4]
    assert suppress(boxes[:0], confidences[:0], 0.5) == []


def test_mask_covers_the_box_pixel_for_pixel() -> None:
    side, stride = 320, 4
    prototypes = np.full((2, side // stride, side // stride), -8.0, np.float32)
    # The object is the left half of the box (80, 120)-(240, 200), in the second prototype.
    prototypes[1, 120 // stride : 200 // stride, 80 // stride : 160 // stride] = 8.0
    mask = assemble_mask(np.array([0, 1], np.float32), prototypes, (80, 120, 240, 200), side)
    assert mask.shape == (80, 160)
    assert mask[3:-3, 3:77].min() > 0.95
    assert mask[:, 83:].max() < 0.05


def test_network_mask_comes_with_the_detection() -> None:
    prototypes = np.full((1, 80, 80), 6.0, np.float32)
    output = np.array([[160, 160, 160, 80, 0.9, 1.0]], np.float32).T
    (found,) = read_output(output, prototypes, WIDE, PLAN)
    assert found.mask is not None
    assert found.mask.shape == (80, 160)
    assert found.mask.min() > 0.99
