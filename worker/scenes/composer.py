"""Compose training photographs: product cut-outs pasted on photographs, gradients and white.

Masks of real photographs are drawn by people; composed ones have them. `Composer.compose` returns a picture
with the exact visible mask and box of each product in it. The same seed gives the same picture, in any
process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from worker.scenes.clutter import paint_background, paint_clutter
from worker.scenes.cutouts import Cutout
from worker.scenes.grounds import paint_ground
from worker.scenes.interface import embed_in_page
from worker.scenes.labelled import LabelledPhoto, Owner, crop_labelled, read_labelled
from worker.scenes.lighting import cast_hard_shadow, light_scene
from worker.scenes.parts import add_parts, paint_hand, squeeze
from worker.scenes.paste import cast_shadow, rotate, scale
from worker.scenes.photometry import degrade, recolour, relight
from worker.scenes.wallpaper import paint_wallpaper

Pixels = NDArray[np.uint8]
Mask = NDArray[np.bool_]

#: Maximum longer side of a background in memory.
BACKGROUND_PX: Final = 640
#: Minimum share and number of visible pixels of a product that counts as a label.
MIN_VISIBLE: Final = 0.35
MIN_AREA_PX: Final = 48
#: Maximum number of attempts to place a product.
PLACEMENT_TRIES: Final = 4


@dataclass(frozen=True)
class Scene:
    """A composed photograph with its labels.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        boxes: (N, 4) float32 xyxy, pixels of `image`, around the visible part. N may be 0.
        masks: (N, H, W) bool, the visible part.
        product_ids: N product ids, in the order of `boxes`.
        sources: N cut-outs, in the order of `boxes`.
    """

    image: Pixels
    boxes: NDArray[np.float32]
    masks: Mask
    product_ids: tuple[str, ...]
    sources: tuple[Cutout, ...]


@dataclass(frozen=True)
class ComposerConfig:
    """Appearance of scenes; lengths in pixels, scales as fractions of the frame's shorter side.

    Fields without a comment are shares of scenes: without products, on white as in a catalogue, with clutter,
    with products cropped by the frame, with a single product.
    """

    size_px: int = 320
    max_products: int = 6
    scale: tuple[float, float] = (0.10, 0.95)
    empty: float = 0.05
    catalogue: float = 0.15
    clutter: float = 0.35
    cropped: float = 0.2
    single: float = 0.45
    #: Shares of the other scenes with a painted background, and of products with changed colours. Changed
    #: colours are for detectors only: to an embedder another colour is another product.
    wallpaper: float = 0.0
    recolour: float = 0.0
    #: Shares of scenes that are not on white: on a patterned floor, in dark or coloured light, inside a
    #: screenshot, with a hand in front of a product. At 0 they change no scene.
    ground: float = 0.0
    light: float = 0.0
    interface: float = 0.0
    hand: float = 0.0
    #: Share of scenes that start from a labelled photograph (`labelled`), if there are any.
    photos: float = 0.0
    #: Shares of products with a hard shadow, with parts in several colours, made thin.
    hard_shadow: float = 0.0
    parts: float = 0.0
    thin: float = 0.0
    #: Share of drawn products whose id starts with `favoured`; "" draws all with equal probability.
    favoured: str = ""
    favoured_share: float = 0.0

    @property
    def is_rich(self) -> bool:
        """Return whether light, hands or pages may be painted over the whole picture."""
        return max(self.light, self.interface, self.hand) > 0


class Composer:
    """Composes scenes from cut-outs and backgrounds; caches decoded pictures (about 1.5 GB)."""

    def __init__(
        self,
        cutouts: Sequence[Cutout],
        backgrounds: Sequence[Path],
        config: ComposerConfig,
        photos: Sequence[LabelledPhoto] = (),
    ) -> None:
        if not cutouts or not backgrounds:
            raise ValueError("a composer needs at least one cut-out and one background")
        self.config = config
        self._backgrounds = list(backgrounds)
        self._by_product: dict[str, list[Cutout]] = {}
        for cutout in cutouts:
            self._by_product.setdefault(cutout.product_id, []).append(cutout)
        self._products = sorted(self._by_product)
        begin = config.favoured
        self._favoured = [p for p in self._products if begin and p.startswith(begin)]
        self._pixels: dict[Path, Pixels] = {}
        self._photos = list(photos)
        self._labelled: dict[Path, tuple[Pixels, Owner]] = {}

    def cache_pictures(self, pixels: Mapping[Path, Pixels]) -> None:
        """Add decoded pictures to the cache; their paths need not exist.

        Args:
            pixels: a background as ``(h, w, 3)``; a cut-out as ``(h, w, 4)``, colour premultiplied by alpha.
        """
        self._pixels.update(pixels)

    def share_pictures(self, other: Composer) -> None:
        """Share the cache of decoded pictures with another composer of the same pictures."""
        other._pixels = self._pixels
        other._labelled = self._labelled

    def compose(self, seed: int | Sequence[int], cutouts: Sequence[Cutout] | None = None) -> Scene:
        """Compose one scene, whose longer side is `config.size_px` and whose ratio is 9:16 to 16:9.

        Args:
            seed: determines the scene.
            cutouts: the cut-outs to place, the last on top; None to draw them.
        """
        rng = np.random.default_rng(seed)
        config = self.config
        catalogue = rng.random() < config.catalogue
        height, width = self._frame(rng)
        if catalogue:
            canvas = np.full(
                (height, width, 3), rng.integers(246, 256) if rng.random() < 0.4 else 255, np.uint8
            )
        else:
            if config.ground and rng.random() < config.ground:
                canvas = paint_ground(rng, height, width, self._photo)
            elif config.wallpaper and rng.random() < config.wallpaper:
                canvas = paint_wallpaper(rng, height, width)
            else:
                canvas = paint_background(rng, height, width, self._photo)
            if rng.random() < config.clutter:
                paint_clutter(rng, canvas, self._photo, int(rng.integers(1, 5)))
        chosen = self._choose(rng, catalogue) if cutouts is None else list(cutouts)
        owner = np.zeros((height, width), np.int16)
        placed: list[Cutout] = []
        areas: list[int] = []
        if config.photos and not catalogue and cutouts is None and rng.random() < config.photos:
            canvas, owner = self._start_with_photo(rng, canvas, owner, placed, areas)
            if placed:
                chosen = chosen[: int(rng.integers(0, 3))]
        for cutout in chosen:
            if self._place(rng, canvas, owner, areas, cutout, catalogue, len(chosen)):
                placed.append(cutout)
        if not catalogue and placed and rng.random() < config.clutter / 4:
            self._occlude(rng, canvas, owner, areas)
        if config.is_rich and not catalogue:
            canvas, owner = self._enrich(rng, canvas, owner, areas)
        image = degrade(rng, canvas, gentle=catalogue)
        return _to_scene(image, owner, placed)

    def _enrich(
        self, rng: np.random.Generator, canvas: Pixels, owner: NDArray[np.int16], areas: list[int]
    ) -> tuple[Pixels, NDArray[np.int16]]:
        """Change the whole scene: add a hand, change the light, frame it in a page."""
        config = self.config
        if areas and rng.random() < config.hand:
            self._add_hand(rng, canvas, owner, areas)
        if rng.random() < config.light:
            canvas = light_scene(rng, canvas)
        if rng.random() < config.interface:
            canvas, owner = embed_in_page(rng, canvas, owner)
        return canvas, owner

    def _start_with_photo(
        self,
        rng: np.random.Generator,
        canvas: Pixels,
        owner: NDArray[np.int16],
        placed: list[Cutout],
        areas: list[int],
    ) -> tuple[Pixels, NDArray[np.int16]]:
        """Use a labelled photograph as the canvas, and its objects as the first products."""
        if not self._photos:
            return canvas, owner
        photo = self._photos[rng.integers(len(self._photos))]
        if photo.path not in self._labelled:
            self._labelled[photo.path] = read_labelled(photo)
        part = crop_labelled(rng, *self._labelled[photo.path], *owner.shape)
        if part is None:
            return canvas, owner
        counts = np.bincount(part[1].ravel(), minlength=2)
        for _ in range(1, len(counts)):
            placed.append(Cutout(photo.product_id, photo.path))
        areas.extend(int(count) for count in counts[1:])
        return part

    def _add_hand(
        self, rng: np.random.Generator, canvas: Pixels, owner: NDArray[np.int16], areas: list[int]
    ) -> None:
        """Paint a hand that holds a product, unless it would hide too much."""
        number = int(rng.integers(1, len(areas) + 1))
        ys, xs = np.nonzero(owner == number)
        if not len(ys):
            return
        trial = canvas.copy()
        covered = paint_hand(rng, trial, (int(xs.min()), int(ys.min()), int(xs.max()), int(ys.max())))
        self._cover(canvas, owner, areas, trial, covered)

    def _frame(self, rng: np.random.Generator) -> tuple[int, int]:
        size = self.config.size_px
        if rng.random() < 0.35:
            return size, size
        short = int(size * rng.uniform(0.5625, 1.0))
        return (size, short) if rng.random() < 0.5 else (short, size)

    def _choose(self, rng: np.random.Generator, catalogue: bool) -> list[Cutout]:
        if rng.random() < self.config.empty:
            return []
        count = 1
        if not catalogue and rng.random() >= self.config.single:
            count = int(rng.integers(2, self.config.max_products + 1))
        views = [self._by_product[self._product(rng)] for _ in range(count)]
        return [view[rng.integers(len(view))] for view in views]

    def _product(self, rng: np.random.Generator) -> str:
        pool = self._products
        if self._favoured and rng.random() < self.config.favoured_share:
            pool = self._favoured
        return pool[rng.integers(len(pool))]

    def _place(
        self,
        rng: np.random.Generator,
        canvas: Pixels,
        owner: NDArray[np.int16],
        areas: list[int],
        cutout: Cutout,
        catalogue: bool,
        count: int,
    ) -> bool:
        """Paste one cut-out where it hides no earlier product too much; return whether that succeeded."""
        height, width = owner.shape
        for _ in range(PLACEMENT_TRIES):
            patch = self._transform(rng, cutout, min(height, width), catalogue, count)
            top, left = self._position(rng, patch.shape[0], patch.shape[1], height, width, catalogue)
            y0, x0 = max(top, 0), max(left, 0)
            y1, x1 = min(top + patch.shape[0], height), min(left + patch.shape[1], width)
            if y1 - y0 < 4 or x1 - x0 < 4:
                continue
            solid = patch[..., 3] > 127
            part = solid[y0 - top : y1 - top, x0 - left : x1 - left]
            if part.sum() < max(MIN_AREA_PX, MIN_VISIBLE * solid.sum()):
                continue
            region = owner[y0:y1, x0:x1]
            if any(
                _count_visible(owner, region, part, i) < MIN_VISIBLE * area for i, area in enumerate(areas, 1)
            ):
                continue
            if self.config.hard_shadow and not catalogue and rng.random() < self.config.hard_shadow:
                cast_hard_shadow(rng, canvas, patch, top, left)
            else:
                cast_shadow(rng, canvas, patch, top, left, catalogue)
            cut = patch[y0 - top : y1 - top, x0 - left : x1 - left].astype(np.float32)
            under = canvas[y0:y1, x0:x1].astype(np.float32)
            canvas[y0:y1, x0:x1] = np.clip(cut[..., :3] + under * (1 - cut[..., 3:] / 255), 0, 255)
            areas.append(int(solid.sum()))
            region[part] = len(areas)
            return True
        return False

    def _transform(
        self, rng: np.random.Generator, cutout: Cutout, frame: int, catalogue: bool, count: int
    ) -> Pixels:
        """Scale, mirror, rotate and relight a cut-out to (h, w, 4) uint8, colour premultiplied by alpha."""
        low, high = self.config.scale
        if catalogue:
            low = max(low, 0.55)
        elif count > 1:
            high = min(high, 1.1 / count**0.5)
        long_px = frame * float(
            np.exp(rng.uniform(np.log(low), np.log(high)) if count > 1 else np.log(rng.uniform(low, high)))
        )
        patch = self._cutout(cutout.path)
        if self.config.thin and rng.random() < self.config.thin:
            patch = squeeze(rng, patch)
        ratio = long_px / max(patch.shape[:2])
        stretch = 1.0 if catalogue else rng.uniform(0.92, 1.08)
        size = (
            max(4, round(patch.shape[1] * ratio * stretch)),
            max(4, round(patch.shape[0] * ratio / stretch)),
        )
        patch = scale(patch, size)
        if rng.random() < 0.5 and not catalogue:
            patch = np.ascontiguousarray(patch[:, ::-1])
        if not catalogue and rng.random() < 0.4:
            patch = rotate(
                patch, float(rng.normal(0, 12)) if rng.random() < 0.85 else float(rng.uniform(-180, 180))
            )
        if self.config.recolour and rng.random() < self.config.recolour:
            patch = recolour(rng, patch)
        if self.config.parts and rng.random() < self.config.parts:
            patch = add_parts(rng, patch)
        return patch if catalogue else relight(rng, patch)

    def _position(
        self, rng: np.random.Generator, h: int, w: int, height: int, width: int, catalogue: bool
    ) -> tuple[int, int]:
        if catalogue:
            return (height - h) // 2 + int(rng.integers(-6, 7)), (width - w) // 2 + int(rng.integers(-6, 7))
        if rng.random() < self.config.cropped:
            return int(rng.integers(-h // 2, height - h // 2)), int(rng.integers(-w // 2, width - w // 2))
        top = int(rng.integers(0, height - h + 1)) if height > h else (height - h) // 2
        left = int(rng.integers(0, width - w + 1)) if width > w else (width - w) // 2
        return top, left

    def _occlude(
        self, rng: np.random.Generator, canvas: Pixels, owner: NDArray[np.int16], areas: list[int]
    ) -> None:
        """Paint clutter in front of products, unless it would hide too much."""
        trial = canvas.copy()
        covered = paint_clutter(rng, trial, self._photo, 1)
        self._cover(canvas, owner, areas, trial, covered)

    @staticmethod
    def _cover(
        canvas: Pixels, owner: NDArray[np.int16], areas: list[int], trial: Pixels, covered: Mask
    ) -> None:
        """Adopt `trial` if all products stay visible enough where `covered` hides them."""
        visible = [(owner[~covered] == i).sum() >= MIN_VISIBLE * area for i, area in enumerate(areas, 1)]
        if all(visible):
            canvas[:] = trial
            owner[covered] = 0

    def _photo(self, rng: np.random.Generator) -> Pixels:
        path = self._backgrounds[rng.integers(len(self._backgrounds))]
        if path not in self._pixels:
            picture = Image.open(path).convert("RGB")
            picture.thumbnail((BACKGROUND_PX, BACKGROUND_PX))
            self._pixels[path] = np.asarray(picture)
        return self._pixels[path]

    def _cutout(self, path: Path) -> Pixels:
        if path not in self._pixels:
            pixels = np.array(Image.open(path).convert("RGBA"))
            # Premultiply, so that scaling does not mix in the colour of transparent pixels.
            pixels[..., :3] = pixels[..., :3].astype(np.float32) * (pixels[..., 3:] / 255.0)
            self._pixels[path] = pixels
        return self._pixels[path]


def _count_visible(owner: NDArray[np.int16], region: NDArray[np.int16], part: Mask, index: int) -> int:
    """Count the visible pixels of product `index` once `part` of `region` is covered."""
    return int((owner == index).sum() - ((region == index) & part).sum())


def _to_scene(image: Pixels, owner: NDArray[np.int16], placed: Sequence[Cutout]) -> Scene:
    """Compute boxes and masks of the products that are still visible."""
    boxes, masks, visible = [], [], []
    for index, cutout in enumerate(placed, 1):
        mask = owner == index
        ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        if mask.sum() < MIN_AREA_PX:
            continue
        boxes.append((xs[0], ys[0], xs[-1] + 1, ys[-1] + 1))
        masks.append(mask)
        visible.append(cutout)
    return Scene(
        image=image,
        boxes=np.asarray(boxes, np.float32).reshape(-1, 4),
        masks=np.asarray(masks, np.bool_).reshape(-1, *owner.shape),
        product_ids=tuple(c.product_id for c in visible),
        sources=tuple(visible),
    )
