"""What both trainings share: a budget in minutes or steps, a schedule over it, safe checkpoints."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn


@dataclass
class Budget:
    """How long a training lasts, in steps or in minutes of its own running time.

    Minutes suit a machine that is shared: the schedule follows the clock, and the last, slow part of
    training is never lost to a slow neighbour. Time spent before a kill counts through `spent_s`.
    """

    steps: int | None = None
    minutes: float | None = None
    step: int = 0
    spent_s: float = 0.0
    _last: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise ValueError("give either steps or minutes")

    def start(self) -> None:
        """Begin to count time: what was done before, such as preparing data, is not training."""
        self._last = time.monotonic()

    def advance(self) -> None:
        """Count one step and the time since the last."""
        now = time.monotonic()
        self.spent_s += now - self._last
        self._last = now
        self.step += 1

    @property
    def fraction(self) -> float:
        """The part of the budget that is used, 0 to 1."""
        if self.steps is not None:
            return min(1.0, self.step / self.steps)
        assert self.minutes is not None
        return min(1.0, self.spent_s / (60 * self.minutes))

    @property
    def eta_s(self) -> float:
        """Seconds left, by the rate so far; infinite before the first step."""
        return self.spent_s * (1 / self.fraction - 1) if self.fraction > 0 else math.inf

    def describe(self, pictures_a_step: int) -> str:
        """Step, rate and time left, for a progress line."""
        rate = self.step * pictures_a_step / max(self.spent_s, 1e-9)
        return (
            f"step {self.step} {100 * self.fraction:.1f}% {rate:.1f} pictures/s ETA {self.eta_s / 60:.1f} min"
        )


def rate_factor(budget: Budget, warmup_steps: int, floor: float = 0.03) -> float:
    """Learning rate as a part of its peak: linear warm-up, then half a cosine down to `floor`."""
    warm = min(1.0, (budget.step + 1) / max(1, warmup_steps))
    return warm * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * budget.fraction)))


def average(ema: nn.Module, model: nn.Module, step: int, decay: float, slow: int) -> None:
    """Move the averaged weights towards the model's, after so many steps; faster in the first ones.

    Args:
        decay: what is kept of the average in the end.
        slow: after about so many steps half of that much is kept.
    """
    kept = decay * min(1.0, (1 + step) / (slow + step))
    fresh = model.state_dict()
    with torch.no_grad():
        for name, value in ema.state_dict().items():
            if value.is_floating_point():
                value.lerp_(fresh[name], 1 - kept)
            else:
                value.copy_(fresh[name])


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint that a kill at any moment leaves whole: the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".tmp")
    torch.save(state, fresh)
    fresh.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """The checkpoint at `path`, tensors and plain values only; None where there is none."""
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
