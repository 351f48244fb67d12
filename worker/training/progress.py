"""Budgets, schedules, averaging and checkpoints that all trainings share."""

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
    """The length of a training, in steps or in minutes of its own running time.

    Minutes suit a shared machine: the schedule follows the clock, so that the last part with a low rate is
    never cut off. Time before a kill counts through `spent_s`.
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
        """Start to count time, after the preparation of data."""
        self._last = time.monotonic()

    def advance(self) -> None:
        """Count one step and the time since the last one."""
        now = time.monotonic()
        self.spent_s += now - self._last
        self._last = now
        self.step += 1

    @property
    def fraction(self) -> float:
        """Return the used share of the budget, 0 to 1."""
        if self.steps is not None:
            return min(1.0, self.step / self.steps)
        assert self.minutes is not None
        return min(1.0, self.spent_s / (60 * self.minutes))

    @property
    def eta_s(self) -> float:
        """Return the estimated seconds left; infinite before the first step."""
        return self.spent_s * (1 / self.fraction - 1) if self.fraction > 0 else math.inf

    def describe(self, pictures_per_step: int) -> str:
        """Format step, rate and time left as a progress line."""
        rate = self.step * pictures_per_step / max(self.spent_s, 1e-9)
        return (
            f"step {self.step} {100 * self.fraction:.1f}% {rate:.1f} pictures/s ETA {self.eta_s / 60:.1f} min"
        )


def rate_factor(budget: Budget, warmup_steps: int, floor: float = 0.03) -> float:
    """Return the learning rate as a share of its peak: linear warm-up, then a cosine to `floor`."""
    warm = min(1.0, (budget.step + 1) / max(1, warmup_steps))
    return warm * (floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * budget.fraction)))


def average(ema: nn.Module, model: nn.Module, step: int, decay: float, slow: int) -> None:
    """Update the exponential moving average of the model's weights, faster in the first steps.

    Args:
        decay: final decay per step.
        slow: number of steps after which the decay is about half of that.
    """
    current_decay = decay * min(1.0, (1 + step) / (slow + step))
    fresh = model.state_dict()
    with torch.no_grad():
        for name, value in ema.state_dict().items():
            if value.is_floating_point():
                value.lerp_(fresh[name], 1 - current_decay)
            else:
                value.copy_(fresh[name])


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically: a kill leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".tmp")
    torch.save(state, fresh)
    fresh.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Load a checkpoint of tensors and plain values, None where there is none."""
    if not path.exists():
        return None
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state
