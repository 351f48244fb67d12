"""Train an embedder's linear head on features of its frozen trunk; takes seconds once those are cached.

python -m worker.training.head --crops DIR --architecture NAME --weights FILE --out FILE
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from worker.training.crop_set import Row, load
from worker.training.trunks import PREPROCESS, EmbedderModule, Floats, accelerated, open_trunk, run

NDArrayInt = np.ndarray[tuple[int], np.dtype[np.int64]]

TEMPERATURE = 0.07


def principal_head(features: Floats, dim: int, whitening: float = 0.5) -> nn.Linear:
    """Create a head that projects onto the leading principal axes, scaled by whitening.

    Args:
        features: (N, F) float32 pooled features, N >= dim.
    """
    x = torch.from_numpy(features)
    mean = x.mean(0)
    _, deviations, axes = torch.linalg.svd(((x - mean) / len(x) ** 0.5).double(), full_matrices=False)
    weight = (axes[:dim] / deviations[:dim, None] ** whitening).float()
    head = nn.Linear(features.shape[1], dim)
    with torch.no_grad():
        head.weight.copy_(weight)
        head.bias.copy_(-weight @ mean)
    return head


def contrast(embeddings: Tensor, labels: Tensor, temperature: float = TEMPERATURE) -> Tensor:
    """Compute InfoNCE with all other crops of the same product as positives.

    Args:
        embeddings: (B, D) float32, L2-normalised.
        labels: (B,) int64.

    Returns:
        The mean over crops and their positives; zero where no crop has a positive.
    """
    logits = embeddings @ embeddings.T / temperature
    itself = torch.eye(len(labels), dtype=torch.bool)
    same = (labels[:, None] == labels[None]) & ~itself
    # Each positive competes with the negatives only, so that positives do not repel one another.
    negatives = logits.masked_fill(same | itself, -1e9).logsumexp(1, keepdim=True)
    losses = functional.softplus(negatives - logits)
    return losses[same].mean() if bool(same.any()) else losses.sum() * 0


class ProductSampler:
    """Draws batches of a few crops of many products; the first crop of each product is clean."""

    def __init__(self, rows: Sequence[Row], kinds: Sequence[str], seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._clean: dict[str, list[int]] = {}
        self._composed: dict[str, list[int]] = {}
        for index, row in enumerate(rows):
            if row.kind == "clean":
                self._clean.setdefault(row.product_id, []).append(index)
            elif row.kind in kinds:
                self._composed.setdefault(row.product_id, []).append(index)
        self.products = sorted(self._clean.keys() & self._composed.keys())

    def draw(self, products: int, each: int) -> tuple[NDArrayInt, Tensor]:
        """Draw row numbers (products * each,) and labels of the same length."""
        chosen = self._rng.choice(len(self.products), min(products, len(self.products)), replace=False)
        numbers, labels = [], []
        for label in chosen:
            name = self.products[label]
            numbers.append(int(self._rng.choice(self._clean[name])))
            numbers += [int(i) for i in self._rng.choice(self._composed[name], each - 1)]
            labels += [int(label)] * each
        return np.asarray(numbers), torch.tensor(labels)


def train_head(
    features: Floats,
    rows: Sequence[Row],
    kinds: Sequence[str],
    *,
    dim: int = 256,
    steps: int = 600,
    seed: int = 0,
    rate: float = 1e-3,
    products: int = 256,
    each: int = 3,
    whitening: float = 0.5,
) -> nn.Linear:
    """Train a head from its principal start.

    Args:
        features: (N, F) float32, of the crops in `rows`.
        kinds: of composed crops to use: `mask`, `box` or both.
    """
    torch.manual_seed(seed)
    used = [i for i, row in enumerate(rows) if row.kind in (*kinds, "clean")]
    head = principal_head(features[used], dim, whitening)
    # Scale by the features, so that the rate is comparable between trunks.
    scale = float(np.abs(features).mean())
    x = torch.from_numpy(features)
    sampler = ProductSampler(rows, kinds, seed)
    optimizer = torch.optim.AdamW(
        head.parameters(), lr=rate * float(head.weight.abs().mean()) * 10, weight_decay=1e-2
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, optimizer.param_groups[0]["lr"], total_steps=steps
    )
    for _ in range(steps):
        numbers, labels = sampler.draw(products, each)
        batch = x[torch.from_numpy(numbers)]
        # A little noise augments the crops.
        batch = batch + torch.randn_like(batch) * 0.1 * scale
        loss = contrast(functional.normalize(head(batch), dim=1), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return head


def sample_rows(rows: Sequence[Row], composed: int, seed: int = 0) -> list[int]:
    """Return the numbers of all clean crops and of `composed` random others, in order."""
    clean = [i for i, row in enumerate(rows) if row.kind == "clean"]
    other = [i for i, row in enumerate(rows) if row.kind != "clean"]
    picked = np.random.default_rng(seed).permutation(len(other))[:composed]
    return sorted(clean + [other[i] for i in picked])


def load_features(
    model: EmbedderModule, architecture: str, folder: Path, composed: int
) -> tuple[Floats, list[Row]]:
    """Load pooled features (N, F) of sampled rows of a crop set, computed once and cached in its folder."""
    crops, rows = load(folder)
    numbers = sample_rows(rows, composed)
    cache = folder / f"features-{fingerprint(model)}-{composed}.npy"
    if not cache.exists():
        np.save(cache, run(accelerated(model.pooled), PREPROCESS[architecture], SelectedRows(crops, numbers)))
    return np.load(cache), [rows[i] for i in numbers]


def fingerprint(model: nn.Module) -> str:
    """Return a short hash of a trunk's weights, without the head."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if not name.startswith("head."):
            digest.update(value.numpy().tobytes())
    return digest.hexdigest()[:12]


class SelectedRows:
    """Selected rows of a memory-mapped array, read in slices."""

    def __init__(self, source: Any, numbers: Sequence[int]) -> None:
        self._source, self._numbers = source, numbers

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, part: slice) -> Any:
        return self._source[self._numbers[part]]


def held_out_recall(head: nn.Linear, train: tuple[Floats, list[Row]], held: tuple[Floats, list[Row]]) -> str:
    """Format R@1 / R@10 of held-out products' composed crops among the first views of all products.

    `same` searches with the gallery's view, `view` with another.
    """
    with torch.inference_mode():
        embedded = [functional.normalize(head(torch.from_numpy(f)), dim=1).numpy() for f, _ in (train, held)]
    gallery, names = [], []
    for values, rows in zip(embedded, (train[1], held[1]), strict=True):
        for value, row in zip(values, rows, strict=True):
            if row.is_gallery:
                gallery.append(value)
                names.append(row.product_id)
    ids, table = np.asarray(names), np.stack(gallery)
    parts = []
    for kind in ("mask", "box"):
        for first in (True, False):
            queries = [i for i, r in enumerate(held[1]) if r.kind == kind and r.view.endswith("-v0") is first]
            order = np.argsort(-(embedded[1][queries] @ table.T), 1)[:, :10]
            right = ids[order] == np.asarray([held[1][i].product_id for i in queries])[:, None]
            name = f"{kind} {'same' if first else 'view'}"
            parts.append(f"{name} {100 * right[:, 0].mean():.1f}/{100 * right.any(1).mean():.1f}")
    return "  ".join(parts)


def main(argv: list[str] | None = None) -> None:
    """Parse the command line, train and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--crops", type=Path, required=True, help="output of crop_set")
    parser.add_argument("--held", type=Path, required=True, help="output of crop_set --held-out")
    parser.add_argument("--architecture", choices=sorted(PREPROCESS), required=True)
    parser.add_argument("--weights", type=Path, required=True, help="the trunk: .pth, .onnx or .safetensors")
    parser.add_argument("--out", type=Path, required=True, help="safetensors of trunk and head")
    parser.add_argument("--kinds", nargs="+", default=["mask", "box"])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument(
        "--composed", type=int, default=10_000, help="number of composed crops, besides all clean ones"
    )
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    crops, _ = load(args.crops)
    model = open_trunk(args.architecture, args.weights, np.asarray(crops[:: max(1, len(crops) // 512)]))
    held = load_features(model, args.architecture, args.held, 10**6)
    train = load_features(model, args.architecture, args.crops, args.composed)
    print(f"principal {held_out_recall(principal_head(train[0], 256), train, held)}", flush=True)
    model.head = train_head(*train, args.kinds, steps=args.steps, rate=args.rate)
    print(f"trained   {held_out_recall(model.head, train, held)}", flush=True)
    save_file(model.state_dict(), args.out)


if __name__ == "__main__":
    main()
