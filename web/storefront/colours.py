"""Contrast of colours, after WCAG 2.2, and the stylesheet of the shop's colour."""

from __future__ import annotations

Colour = tuple[int, int, int]

MIN_TEXT_CONTRAST = 4.5
MIN_SHAPE_CONTRAST = 3.0
#: Grounds of vitrine.css with the lowest contrast to text in each scheme (--well).
LIGHT_GROUND, DARK_GROUND = "#f1ebe2", "#2a2521"
_STEPS = 50


def parse_colour(text: str) -> Colour:
    """Return red, green and blue (0 to 255) of ``#rrggbb``."""
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of two colours, 1 to 21."""
    low, high = sorted((_luminance(parse_colour(one)), _luminance(parse_colour(other))))
    return (high + 0.05) / (low + 0.05)


def text_on(ground: str) -> str:
    """Return black or white: one of them has a contrast of at least 4.58 on any colour."""
    return max("#000000", "#ffffff", key=lambda text: contrast(text, ground))


def adapt(colour: str, ground: str, minimum: float) -> str:
    """Return the colour, mixed with as little black or white as gives a minimum contrast on a ground."""
    end = parse_colour(text_on(ground))
    start = parse_colour(colour)
    for step in range(_STEPS + 1):
        mixed = "#" + "".join(
            f"{round(a + (b - a) * step / _STEPS):02x}" for a, b in zip(start, end, strict=True)
        )
        if contrast(mixed, ground) >= minimum:
            break
    return mixed


def accent_stylesheet(accent: str) -> str:
    """Return the CSS that replaces the accent of vitrine.css in both colour schemes."""
    dark = adapt(accent, DARK_GROUND, MIN_SHAPE_CONTRAST)
    return (
        f":root {{ {_variables(accent, LIGHT_GROUND, 0.14)} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {_variables(dark, DARK_GROUND, 0.18)} }} }}\n"
    )


def _variables(accent: str, ground: str, glow: float) -> str:
    red, green, blue = parse_colour(accent)
    return (
        f"--accent: {accent}; --on-accent: {text_on(accent)}; "
        f"--accent-text: {adapt(accent, ground, MIN_TEXT_CONTRAST)}; "
        f"--glow: rgb({red} {green} {blue} / {glow});"
    )


def _luminance(colour: Colour) -> float:
    red, green, blue = (
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4
        for share in (part / 255 for part in colour)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
