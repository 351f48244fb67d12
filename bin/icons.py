"""Draw the icons of the installed page into web/static/icons: `python bin/icons.py`."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

FOLDER = Path(__file__).parent.parent / "web" / "static" / "icons"
GROUND, INK, ACCENT = "#faf7f2", "#1d1a17", "#ad3f19"
_FINE = 4  # drawn at this multiple of the size, then scaled down for smooth edges


def icon(side_px: int, share: float, rounded: bool) -> Image.Image:
    """Return the mark on its ground: four corners of a frame around a disc.

    Args:
        share: of the side that the mark takes; a maskable icon needs a margin around it.
        rounded: whether the ground has round corners and nothing behind them.
    """
    large = side_px * _FINE
    picture = Image.new("RGBA", (large, large))
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle((0, 0, large, large), large * 0.22 if rounded else 0, GROUND)
    unit = large * share / 32
    origin = (large - 32 * unit) / 2

    def at(*numbers: float) -> list[float]:
        return [origin + number * unit for number in numbers]

    width = round(2.9 * unit)
    for x, y, across, down in ((3, 3, 1, 1), (29, 3, -1, 1), (3, 29, 1, -1), (29, 29, -1, -1)):
        bend = at(x + (0 if across > 0 else -4), y + (0 if down > 0 else -4)) + at(
            x + (4 if across > 0 else 0), y + (4 if down > 0 else 0)
        )
        start = {(1, 1): 180, (-1, 1): 270, (-1, -1): 0, (1, -1): 90}[across, down]
        half = width / 2
        draw.arc(
            [bend[0] - half, bend[1] - half, bend[2] + half, bend[3] + half], start, start + 90, INK, width
        )
        for ends in (at(x + 2 * across, y, x + 7 * across, y), at(x, y + 2 * down, x, y + 7 * down)):
            draw.line(ends, INK, width)
            draw.circle(ends[2:], half, INK)
    draw.circle(at(16, 16), 5.8 * unit, ACCENT)
    return picture.resize((side_px, side_px), Image.Resampling.LANCZOS)


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, side_px, share, rounded in (
        ("icon-192.png", 192, 0.74, True),
        ("icon-512.png", 512, 0.74, True),
        ("icon-maskable-512.png", 512, 0.56, False),
    ):
        icon(side_px, share, rounded).quantize(64).save(FOLDER / name, optimize=True)


if __name__ == "__main__":
    main()
