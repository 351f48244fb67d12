"""Which of a product's titles a reader gets: one rule for pages, answers and the worker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

#: Of products whose reader's language they lack: what a manifest's bare `title` is filed under.
DEFAULT = "en"
#: One language under two codes, of which catalogues and browsers may use either.
_SAME = {"no": "nb", "nb": "no", "nn": "nb", "he": "iw", "iw": "he", "id": "in", "in": "id", "yue": "zh"}
_TRADITIONAL = ("zh_hant", "zh_tw", "zh_hk", "zh_mo")
_SIMPLIFIED = ("zh_hans", "zh_cn", "zh_sg")


def choose_title(titles: Mapping[str, str], locale: str, fallback: str) -> str:
    """Return the title for a reader.

    The first there is of: the locale, the same without its region, its script or its other code, another
    region of the language, the catalogue's default (English), any, ``fallback``.

    Args:
        titles: by locale, ``de``, ``pt_BR`` or ``zh-Hant``.
        locale: of the reader, in the same forms.
    """
    # A damaged row of a product must not end the searches that find it.
    written = titles.items() if isinstance(titles, Mapping) else ()
    by_key = {
        key.replace("-", "_").lower(): title for key, title in written if title and isinstance(title, str)
    }
    for key in (*_wishes(locale), DEFAULT):
        if key in by_key:
            return by_key[key]
        found = next((title for known, title in by_key.items() if known.startswith(f"{key}_")), None)
        if found is not None and "_" not in key:
            return found
    return next(iter(by_key.values()), fallback)


def _wishes(locale: str) -> Iterator[str]:
    """Yield the keys to look for, the dearest first; those of a bare language come last."""
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
