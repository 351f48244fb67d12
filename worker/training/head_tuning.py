"""Tune an embedder's head on features of a frozen trunk, with checkpoints and selection of the best."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from worker.training.crop_features import Features, Floats
from worker.training.head import ProductSampler, contrast, principal_head
from worker.training.progress import load_checkpoint, save_checkpoint

#: Products per batch, and crops per product.
PRODUCTS, EACH = 256, 3
#: Steps between two measurements.
MEASURE_INTERVAL = 50
#: Deviation of the noise that augments features, as a share of the mean feature.
NOISE = 0.1


@dataclass
class Tuning:
    """The result of tuning a head.

    Attributes:
        head: the best on held-out products; the start where none was better.
        losses: (step, loss) at measurements.
        recalls: (step, recall@1 %, recall@10 %) of held-out products' composed crops; step 0 is the start.
    """

    head: nn.Linear
    losses: list[tuple[int, float]] = field(default_factory=list)
    recalls: list[tuple[int, float, float]] = field(default_factory=list)

    @property
    def best(self) -> tuple[int, float, float]:
        """Return the measurement of the best head; of equal ones the earliest."""
        return max(self.recalls, key=lambda each: (each[1] + each[2] / 100, -each[0]))


def first_head(start: nn.Linear, train: Features, *, fresh: bool) -> nn.Linear:
    """Return the start head: a copy of the given one, or principal axes of the training features."""
    if fresh:
        return principal_head(train.values, start.out_features)
    head = nn.Linear(start.in_features, start.out_features)
    head.load_state_dict(start.state_dict())
    return head


def tune(
    start: nn.Linear,
    train: Features,
    held: Features,
    *,
    steps: int,
    rate: float,
    seed: int,
    folder: Path,
    progress: Callable[[str, int, int], None],
) -> Tuning:
    """Tune a head so that crops of one product are close; resume from ``folder/head.pt`` after a kill.

    A checkpoint of other crops is ignored.

    Args:
        start: (F) to (D), not changed.
        train: crops of products for training.
        held: crops of held-out products.
        rate: learning rate, in units of the mean weight.
    """
    torch.manual_seed(seed)
    head = first_head(start, train, fresh=False)
    peak = rate * float(head.weight.detach().abs().mean()) * 10
    optimizer = torch.optim.AdamW(head.parameters(), lr=peak, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=steps)
    tuning, done = Tuning(first_head(start, train, fresh=False)), 0
    data = hashlib.sha256(repr(train.rows).encode()).hexdigest()
    saved = load_checkpoint(folder / "head.pt")
    if saved is not None and saved["steps"] == steps and saved.get("data") == data:
        head.load_state_dict(saved["head"])
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
        tuning.head.load_state_dict(saved["best"])
        tuning.losses = [tuple(each) for each in saved["losses"]]
        tuning.recalls = [tuple(each) for each in saved["recalls"]]
        done = saved["done"]
    else:
        tuning.recalls.append((0, *recalls(head, train, held)))
    kinds = sorted({row.kind for row in train.rows} - {"clean"})
    sampler = ProductSampler(train.rows, kinds, seed + done)
    x = torch.from_numpy(train.values)
    noise = NOISE * float(np.abs(train.values).mean())
    for step in range(done + 1, steps + 1):
        numbers, labels = sampler.draw(PRODUCTS, EACH)
        batch = x[torch.from_numpy(numbers)]
        loss = _step(head, optimizer, batch + torch.randn_like(batch) * noise, labels)
        schedule.step()
        if step % MEASURE_INTERVAL == 0 or step == steps:
            tuning.losses.append((step, float(loss)))
            tuning.recalls.append((step, *recalls(head, train, held)))
            if tuning.best[0] == step:
                tuning.head.load_state_dict(head.state_dict())
            facts = {"done": step, "steps": steps, "data": data}
            _save(folder, head, optimizer, schedule, tuning, facts)
        progress("head", step, steps)
    return tuning


def recalls(
    head: nn.Linear, train: Features, held: Features, queries: Features | None = None
) -> tuple[float, float]:
    """Compute recall@1 and @10 in percent among all products' first views.

    Args:
        queries: at least one crop; by default the composed crops of held-out products.
    """
    gallery, names = [], []
    for part in (train, held):
        for value, row in zip(_embed(head, part), part.rows, strict=True):
            if row.is_gallery:
                gallery.append(value)
                names.append(row.product_id)
    queries = held if queries is None else queries
    numbers = [i for i, row in enumerate(queries.rows) if row.kind != "clean"]
    order = np.argsort(-(_embed(head, queries)[numbers] @ np.stack(gallery).T), axis=1)[:, :10]
    right = np.asarray(names)[order] == np.asarray([queries.rows[i].product_id for i in numbers])[:, None]
    return 100 * float(right[:, 0].mean()), 100 * float(right.any(axis=1).mean())


def _embed(head: nn.Linear, part: Features) -> Floats:
    with torch.inference_mode():
        found = functional.normalize(head(torch.from_numpy(part.values)), dim=1).numpy()
    return np.asarray(found, np.float32)


def _step(head: nn.Linear, optimizer: torch.optim.Optimizer, batch: Tensor, labels: Tensor) -> Tensor:
    loss = contrast(functional.normalize(head(batch), dim=1), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.detach()


def _save(
    folder: Path, head: nn.Linear, optimizer: Any, schedule: Any, tuning: Tuning, facts: dict[str, Any]
) -> None:
    state = {
        "head": head.state_dict(),
        "best": tuning.head.state_dict(),
        "optimizer": optimizer.state_dict(),
        "schedule": schedule.state_dict(),
        "losses": tuning.losses,
        "recalls": tuning.recalls,
        **facts,
    }
    save_checkpoint(folder / "head.pt", state)
