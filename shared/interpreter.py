"""Settings of the Python interpreter for processes that answer shoppers."""

from __future__ import annotations

import gc
import sys

#: A thread that computes keeps the others from running for 5 ms by default: a tenth of a search.
_TURN_S = 0.0005


def settle() -> None:
    """Let threads take turns often, and leave what is loaded by now out of every later collection.

    Called once, when a process has loaded all that stays: the models' libraries alone are some hundred
    thousand objects, which a full collection would walk through in the middle of a search.
    """
    sys.setswitchinterval(_TURN_S)
    gc.collect()
    gc.freeze()
