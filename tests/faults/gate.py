"""A gate before a trapped worker's models: a test says how many micro-batches pass it."""

from __future__ import annotations

from tests.servers import wait_for
from tests.stack import Stack

#: Micro-batches of four products.
ALL = 10**6


def settings(stack: Stack, *traps: str) -> dict[str, str]:
    """What a trapped worker is told; ``traps`` beside the gate."""
    return {"TRAPS": " ".join(("gated", *traps)), "GATE": str(stack.folder / "gate")}


def passed(stack: Stack) -> int:
    """How many micro-batches have passed until now, those that a worker tries its models with included."""
    path = stack.folder / "passed"
    return path.stat().st_size if path.exists() else 0


def let_through(stack: Stack, more: int) -> None:
    """So many micro-batches more than passed until now; the worker waits, or has no work."""
    draft = stack.folder / "gate.draft"
    draft.write_text(str(passed(stack) + more))
    draft.replace(stack.folder / "gate")


def wait_until_closed(stack: Stack) -> None:
    """Wait until as many have passed as may."""
    allowed = int((stack.folder / "gate").read_text())
    wait_for(f"{allowed} micro-batches passed", lambda: passed(stack) >= allowed)
