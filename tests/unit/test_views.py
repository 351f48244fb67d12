"""The views of an object that an embedder is given, and what its colours add to the embedding."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from numpy.typing import NDArray

from worker.vision import Detection, Embeddings, Image
from worker.vision.colour_histogram import add_colours, describe_colours
from worker.vision.embedder import NetworkEmbedder
from worker.vision.models import ColourPlan, CropPlan, ModelFile
from worker.vision.runtimes import Runtime
from worker.vision.views import cut_views, split_views

SIDE = 32
PLAN = ColourPlan()
Mode = Literal["box", "mask", "both"]


def photo(colour: tuple[int, int, int], ground: tuple[int, int, int] = (0, 90, 200)) -> Image:
    """A square of one colour in the middle of a ground."""
    pixels = np.empty((60, 60, 3), np.uint8)
    pixels[:] = ground
    pixels[15:45, 15:45] = colour
    return pixels


def thing(mask: bool = True) -> Detection:
    """The square, in a box twice as large, so that half of the box's sides are ground."""
    inside = np.zeros((20, 20), np.float32)
    inside[5:15, 5:15] = 1
    return Detection((0.0, 0.0, 1.0, 1.0), "product", 0.9, inside if mask else None)


class MeanColour:
    """A network whose output is the mean colour of a picture: it counts what it is given."""

    precision = "fp32"

    def __init__(self) -> None:
        self.pictures: list[int] = []

    def infer(self, batch: NDArray[np.uint8]) -> list[Embeddings]:
        self.pictures.append(len(batch))
        return [batch.mean(axis=(1, 2)).astype(np.float32)]


def embedder(mode: Mode, colour: ColourPlan | None = None) -> tuple[NetworkEmbedder, MeanColour]:
    model = ModelFile.model_validate(
        {
            "name": "mean",
            "kind": "embedder",
            "architecture": "auto",
            "path": "/none",
            "sha256": "0" * 64,
            "input_px": SIDE,
            "dim": 3,
            "colour": colour,
        }
    )
    network = MeanColour()
    runtime: Runtime = network  # type: ignore[assignment]
    return NetworkEmbedder(runtime, model, CropPlan(mode=mode)), network


@pytest.mark.parametrize(
    ("mode", "outlined", "views"), [("box", False, 1), ("both", False, 2), ("both", True, 3)]
)
def test_views_lie_side_by_side_and_come_apart(mode: Mode, outlined: bool, views: int) -> None:
    crop = cut_views(photo((250, 0, 0)), thing(), SIDE, CropPlan(mode=mode), "pad", outlined=outlined)
    assert crop.shape == (SIDE, views * SIDE, 3)
    parts = split_views(np.stack([crop, crop]))
    assert parts.shape == (views, 2, SIDE, SIDE, 3)
    assert (parts[0, 1, 2, 2] == (0, 90, 200)).all()  # the ground is in the first view
    if mode == "both":
        assert (parts[1, 1, 2, 2] == 255).all()  # and not in the second
    if outlined:
        assert (parts[2, 0, 16, 16], parts[2, 0, 2, 2]) == (pytest.approx(255), pytest.approx(0))


def test_both_is_the_mean_of_box_and_mask() -> None:
    image = photo((250, 0, 0))
    rows = {}
    for mode in ("box", "mask", "both"):
        found, _ = embedder(mode)
        rows[mode] = found.embed([found.crop(image, thing())])[0]
    mean = rows["box"] + rows["mask"]
    assert rows["both"] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)
    assert rows["both"] != pytest.approx(rows["box"], abs=1e-3)


def test_an_object_without_a_mask_is_embedded_once() -> None:
    found, network = embedder("both")
    crops = [found.crop(photo((250, 0, 0)), each) for each in (thing(), None, thing(mask=False))]
    assert len(found.embed(crops)) == 3
    assert network.pictures == [4]


def test_two_objects_of_one_shape_differ_by_their_colours() -> None:
    red, darker, blue = (photo(c) for c in ((220, 30, 30), (200, 40, 35), (30, 30, 220)))
    found, _ = embedder("both", PLAN)
    rows = found.embed([found.crop(image, thing()) for image in (red, darker, blue)])
    assert rows.shape == (3, 3 + PLAN.dim)
    assert found.dim == 3 + PLAN.dim
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1, abs=1e-5)
    colours = rows[:, 3:] * np.sqrt((1 + PLAN.weight) / PLAN.weight)
    assert colours[0] @ colours[1] > 0.7 > 0.1 > colours[0] @ colours[2]


def test_the_cosine_is_the_weighted_mean_of_both_similarities() -> None:
    rows = np.array([[1, 0], [0.6, 0.8]], np.float32)
    crops = np.stack([photo((220, 30, 30)), photo((30, 30, 220))])
    outlines = np.full((2, 60, 60), 255, np.uint8)
    joined = add_colours(rows, crops, outlines, PLAN)
    one, two = (describe_colours(c, o, PLAN) for c, o in zip(crops, outlines, strict=True))
    assert joined[0] @ joined[1] == pytest.approx((0.6 + 0.2 * (one @ two)) / 1.2, abs=1e-5)


def test_the_ground_counts_neither_with_a_mask_nor_where_it_is_plain() -> None:
    outline = np.zeros((60, 60), np.uint8)
    outline[15:45, 15:45] = 255
    alone = describe_colours(
        np.full((60, 60, 3), (250, 0, 0), np.uint8), np.full((60, 60), 255, np.uint8), PLAN
    )
    masked = describe_colours(photo((250, 0, 0)), outline, PLAN)
    guessed = describe_colours(photo((250, 0, 0)), np.zeros((60, 60), np.uint8), PLAN)
    assert masked @ alone > 0.97
    assert guessed @ alone > 0.95
    assert describe_colours(photo((0, 250, 0)), outline, PLAN) @ alone < 0.1


def test_versions_say_what_changes_the_embedding() -> None:
    assert embedder("box")[0].version == "mean@00000000+box"
    assert embedder("both", PLAN)[0].version == "mean@00000000+lab4x6x6w0.2+both"
    assert not embedder("box")[0].uses_masks
    assert embedder("both")[0].uses_masks
    assert embedder("box", PLAN)[0].uses_masks
