"""Settings of the Python interpreter for processes that answer shoppers."""

from __future__ import annotations

import gc


def tune_gc() -> None:
    """Exclude every object that is loaded by now from later garbage collections.

    Called once, when a process has loaded all that stays. The models' libraries alone are several
    hundred thousand objects, which a full collection would traverse in the middle of a search.
    """
    gc.collect()
    gc.freeze()
