"""Limits that contracts and the code behind them share."""

from __future__ import annotations

from typing import Final

#: Maximum length of a filter in characters.
MAX_FILTER_CHARS: Final = 2000
