"""Paint screenshots: a scene inside a page with bars, text, icons and buttons, which are no products."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Owner = NDArray[np.int16]
Colour = tuple[float, float, float]

WORDS = (
    "Add to basket", "Buy now", "New", "Sale", "Home", "Search", "Menu", "Size", "Colour", "Free delivery",
    "In stock", "Reviews", "4.6", "19.99", "249,00", "Share", "Like", "Follow", "Back", "Details",
    "More like this", "Description", "Today", "12:41", "OK", "Cancel", "-20 %", "See all",
)  # fmt: skip


def embed_in_page(rng: np.random.Generator, scene: Pixels, owner: Owner) -> tuple[Pixels, Owner]:
    """Embed a scene in a page of an app or a shop, as in a screenshot.

    Args:
        scene: (H, W, 3) uint8 RGB.
        owner: (H, W) int16, the number of the product at each pixel, 0 for none.

    Returns:
        The page and its owner, with the longer side of the scene.
    """
    side = max(scene.shape[:2])
    portrait = rng.random() < 0.7
    ratio = rng.uniform(0.46, 0.75)
    height, width = (side, int(side * ratio)) if portrait else (int(side * ratio), side)
    dark = rng.random() < 0.4
    ground = rng.uniform(10, 45) if dark else rng.uniform(238, 255)
    page = np.full((height, width, 3), ground, np.uint8)
    ink: Colour = (225.0, 225.0, 225.0) if dark else (35.0, 35.0, 38.0)
    share = rng.uniform(0.55, 1.0)
    fit = min(width * share / scene.shape[1], height * rng.uniform(0.4, 0.8) / scene.shape[0])
    w, h = max(8, int(scene.shape[1] * fit)), max(8, int(scene.shape[0] * fit))
    top = int(rng.uniform(0.04, 1) * (height - h) * 0.6)
    left = (width - w) // 2 if portrait else int(rng.uniform(0, width - w + 1))
    _paint_page(rng, page, ink, (left, top, left + w, top + h))
    page[top : top + h, left : left + w] = cv2.resize(scene, (w, h), interpolation=cv2.INTER_AREA)
    page_owner = np.zeros((height, width), np.int16)
    page_owner[top : top + h, left : left + w] = cv2.resize(owner, (w, h), interpolation=cv2.INTER_NEAREST)
    if rng.random() < 0.4:
        _badge(rng, page, page_owner, (left, top, left + w, top + h))
    return page, page_owner


def _paint_page(
    rng: np.random.Generator, page: Pixels, ink: Colour, scene: tuple[int, int, int, int]
) -> None:
    """Paint bars, lines of text, icons and buttons around the scene's position."""
    height, width = page.shape[:2]
    bar = int(height * rng.uniform(0.03, 0.09))
    if rng.random() < 0.7:
        page[:bar] = rng.uniform(0, 255, 3)
    if rng.random() < 0.5:
        page[-bar:] = np.clip(page[-bar:].astype(float) * rng.uniform(0.6, 0.97), 0, 255)
        for number in range(int(rng.integers(3, 6))):
            _icon(rng, page, ink, (width * (2 * number + 1) // 10, height - bar // 2), max(2, bar // 3))
    for _ in range(int(rng.integers(2, 6))):
        _icon(rng, page, ink, (int(rng.integers(width)), int(rng.integers(bar + 1))), max(2, bar // 4))
    y = scene[3] + int(height * 0.02)
    while y < height - bar:
        step = int(height * rng.uniform(0.02, 0.09))
        if rng.random() < 0.25:
            _button(rng, page, y, step)
        elif rng.random() < 0.85:
            _text(rng, page, ink, (int(width * rng.uniform(0.03, 0.5)), y + step // 2), step)
        y += max(4, step)
    if scene[0] > width * 0.2 or scene[2] < width * 0.8:
        for _ in range(int(rng.integers(3, 12))):
            position = (int(rng.integers(width)), int(rng.integers(height)))
            _text(rng, page, ink, position, int(height * rng.uniform(0.03, 0.09)))


def _text(
    rng: np.random.Generator, page: Pixels, ink: Colour, position: tuple[int, int], line_px: int
) -> None:
    words = " ".join(WORDS[rng.integers(len(WORDS))] for _ in range(int(rng.integers(1, 4))))
    font = int(rng.integers(0, 5))
    size = max(0.2, line_px / 45)
    cv2.putText(page, words, position, font, size, ink, int(rng.integers(1, 3)), cv2.LINE_AA)


def _button(rng: np.random.Generator, page: Pixels, y: int, step: int) -> None:
    """Paint a rounded, coloured button with a word, which misleads detectors most."""
    width = page.shape[1]
    tall = max(8, int(step * rng.uniform(0.8, 1.6)))
    x0 = int(width * rng.uniform(0.03, 0.3))
    x1 = int(width * rng.uniform(0.5, 0.97))
    colour = rng.uniform(0, 255, 3).tolist()
    radius = int(tall / 2 * rng.uniform(0.1, 1))
    cv2.rectangle(page, (x0 + radius, y), (x1 - radius, y + tall), colour, -1)
    cv2.rectangle(page, (x0, y + radius), (x1, y + tall - radius), colour, -1)
    for x in (x0 + radius, x1 - radius):
        for corner in (y + radius, y + tall - radius):
            cv2.circle(page, (x, corner), radius, colour, -1, cv2.LINE_AA)
    light: Colour = (255.0, 255.0, 255.0) if sum(colour) < 380 else (20.0, 20.0, 20.0)
    _text(rng, page, light, (x0 + (x1 - x0) // 4, y + tall * 2 // 3), tall)


def _icon(rng: np.random.Generator, page: Pixels, ink: Colour, position: tuple[int, int], size: int) -> None:
    kind = rng.random()
    x, y = position
    if kind < 0.3:
        cv2.circle(page, position, size, ink, -1 if rng.random() < 0.5 else 1, cv2.LINE_AA)
    elif kind < 0.6:
        cv2.rectangle(page, (x - size, y - size), (x + size, y + size), ink, -1 if rng.random() < 0.5 else 1)
    elif kind < 0.8:
        for row in (-1, 0, 1):
            cv2.line(page, (x - size, y + row * size // 2), (x + size, y + row * size // 2), ink, 1)
    else:
        points = np.array([[x - size, y - size], [x + size, y], [x - size, y + size]])
        cv2.fillPoly(page, [points.astype(np.int32)], ink, cv2.LINE_AA)


def _badge(rng: np.random.Generator, page: Pixels, owner: Owner, scene: tuple[int, int, int, int]) -> None:
    """Paint a label on a corner of the picture, like "-20 %" or a heart."""
    x0, y0, x1, y1 = scene
    size = max(3, int((x1 - x0) * rng.uniform(0.03, 0.07)))
    x = x0 + 2 * size if rng.random() < 0.5 else x1 - 2 * size
    y = y0 + 2 * size if rng.random() < 0.5 else y1 - 2 * size
    cv2.circle(page, (x, y), size, rng.uniform(0, 255, 3).tolist(), -1, cv2.LINE_AA)
    _text(rng, page, (255.0, 255.0, 255.0), (x - size // 2, y + size // 2), size)
    covered = np.zeros(owner.shape, np.uint8)
    cv2.circle(covered, (x, y), size, 1, -1)
    owner[covered > 0] = 0
