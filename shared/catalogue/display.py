"""Choose what pages and answers show of a product: title, price and address of a picture."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal

#: Locale of a manifest's plain `title`, and fallback for readers of other languages.
DEFAULT = "en"
#: Languages with two codes, of which catalogues and browsers may use either.
_SAME = {"no": "nb", "nb": "no", "nn": "nb", "he": "iw", "iw": "he", "id": "in", "in": "id", "yue": "zh"}
_TRADITIONAL = ("zh_hant", "zh_tw", "zh_hk", "zh_mo")
_SIMPLIFIED = ("zh_hans", "zh_cn", "zh_sg")


def choose_title(titles: Mapping[str, str], locale: str, fallback: str) -> str:
    """Return the title for a reader.

    Tries in this order: the locale; the locale without region or script, and with its other code; another
    region of the language; English; any title; ``fallback``.

    Args:
        titles: by locale, ``de``, ``pt_BR`` or ``zh-Hant``.
        locale: the reader's locale, in the same forms.
    """
    # A damaged product must not fail the searches that find it.
    written = titles.items() if isinstance(titles, Mapping) else ()
    by_key = {
        key.replace("-", "_").lower(): title for key, title in written if title and isinstance(title, str)
    }
    for key in (*_candidate_keys(locale), DEFAULT):
        if key in by_key:
            return by_key[key]
        found = next((title for known, title in by_key.items() if known.startswith(f"{key}_")), None)
        if found is not None and "_" not in key:
            return found
    return next(iter(by_key.values()), fallback)


def _candidate_keys(locale: str) -> Iterator[str]:
    """Yield the keys to try, most specific first."""
    parts = locale.replace("-", "_").lower().split("_")
    language = parts[0]
    for length in range(len(parts), 1, -1):
        yield "_".join(parts[:length])
    if language in ("zh", "yue"):
        traditional = language == "yue" or bool({"hant", "tw", "hk", "mo"}.intersection(parts[1:]))
        yield from _TRADITIONAL if traditional and "hans" not in parts else _SIMPLIFIED
    yield language
    if language in _SAME:
        yield _SAME[language]


def image_url(image_id: str) -> str:
    """Return the URL path of a catalogue image."""
    return f"/v1/images/{image_id}"


def trim_price(price: Decimal | None) -> Decimal | None:
    """Remove the zeros that databases append to a price; keep at least two decimals."""
    if price is None:
        return None
    cents = price.quantize(Decimal("0.01"))
    return cents if cents == price else price.normalize()
