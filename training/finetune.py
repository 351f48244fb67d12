r"""Fine-tune an embedder's upper layers and head on composed crops.

    python -m training.finetune --crops DIR --held DIR --architecture NAME --weights FILE \
        --out DIR --cut 3 --minutes 30 [--teacher FILE --teacher-architecture NAME]

Two losses: InfoNCE pulls crops of one product together and pushes others apart, and distillation pulls each
composed crop towards a teacher's embedding of the clean crop of the same view. Distillation needs few
pictures, so that a small set does not overfit. The same command resumes from the last checkpoint after a
kill.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional

from training.split import Upper, cache_maps
from worker.training.crop_set import Row, load
from worker.training.head import ProductSampler, contrast, held_out_recall, load_features, sample_rows
from worker.training.progress import Budget, average, load_checkpoint, rate_factor, save_checkpoint
from worker.training.trunks import PREPROCESS, EmbedderModule, Floats, open_trunk

WARMUP_STEPS = 50
CHECKPOINT_INTERVAL_S = 180
EMA_DECAY = 0.995


def clean_targets(embeddings: Floats, rows: Sequence[Row], crops: Sequence[Row]) -> Tensor:
    """Return the teacher's embedding of the clean crop of each crop's view: (N, D) float32."""
    clean = {row.view: i for i, row in enumerate(rows) if row.kind == "clean"}
    return torch.from_numpy(embeddings[[clean[row.view] for row in crops]])


def fit_head(features: Floats, targets: Tensor, ridge: float = 1.0) -> nn.Linear:
    """Fit a linear map from a student's features (N, F) to the teacher's embeddings (N, D).

    Args:
        ridge: regularisation, in units of the features' mean variance per hundred crops.
    """
    x = torch.from_numpy(features).double()
    y = targets.double()
    mean_x, mean_y = x.mean(0), y.mean(0)
    centred = x - mean_x
    gram = centred.T @ centred
    gram += torch.eye(len(gram)) * gram.diagonal().mean() * ridge / 100
    weight = torch.linalg.solve(gram, centred.T @ (y - mean_y)).T
    head = nn.Linear(x.shape[1], y.shape[1])
    with torch.no_grad():
        head.weight.copy_(weight)
        head.bias.copy_(mean_y - weight @ mean_x)
    return head


def train_step(
    upper: Upper,
    optimizer: torch.optim.Optimizer,
    maps: Tensor,
    labels: Tensor,
    targets: Tensor,
    weight: float,
) -> Tensor:
    """Run one step; return the contrastive and the distillation loss (2,)."""
    embeddings = upper(maps)
    contrastive = contrast(embeddings, labels)
    distillation = (1 - (embeddings * targets).sum(1)).mean()
    loss = contrastive + weight * distillation
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(upper.parameters(), 5.0)
    optimizer.step()
    return torch.stack([contrastive.detach(), distillation.detach()])


def measure(model: EmbedderModule, cut: int, sets: Sequence[tuple[Any, list[Row]]]) -> str:
    """Return the held-out recall of a model, from cached maps of training and held-out crops."""
    upper = Upper(copy.deepcopy(model).eval(), cut)
    parts = []
    for maps, rows in sets:
        # The training set contributes only the gallery's crops.
        used = [i for i, r in enumerate(rows) if r.kind != "clean" or r.view.endswith("-v0")]
        if len(used) > 5000:
            used = [i for i in used if rows[i].kind == "clean"]
        with torch.inference_mode():
            made = [
                upper(torch.from_numpy(np.asarray(maps[used[i : i + 64]], np.float32)))
                for i in range(0, len(used), 64)
            ]
        parts.append((torch.cat(made).numpy(), [rows[i] for i in used]))
    return held_out_recall(nn.Identity(), *parts)


def create_optimizer(upper: Upper, rate: float, head_rate: float) -> torch.optim.Optimizer:
    """Create AdamW: slow for the trunk's upper layers, faster for the head; decay on weights only."""
    for parameter in upper.parameters():
        parameter.requires_grad_(False)
    groups: list[dict[str, Any]] = []
    modules = [(m, rate) for m in upper.trainable_modules()] + [(upper.model.head, head_rate)]
    for module, peak in modules:
        for parameter in module.parameters():
            parameter.requires_grad_(True)
            decay = 0.02 if parameter.ndim > 1 else 0.0
            groups.append({"params": [parameter], "lr": peak, "peak": peak, "weight_decay": decay})
    return torch.optim.AdamW(groups)


def set_mode(upper: Upper, norm: str) -> None:
    """Set training mode above the cut; batch norm keeps its statistics when `norm` is `eval`."""
    upper.model.eval()
    if norm == "train":
        for module in upper.trainable_modules():
            module.train()


def train(args: argparse.Namespace) -> None:
    """Train until the budget is spent; write the averaged weights to `OUT/embedder.safetensors`."""
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    prepare = PREPROCESS[args.architecture]
    crops, all_rows = load(args.crops)
    held_crops, held_rows = load(args.held)
    model = open_trunk(args.architecture, args.weights, np.asarray(crops[:: max(1, len(crops) // 512)]))
    numbers = sample_rows(all_rows, args.composed)
    rows = [all_rows[i] for i in numbers]
    maps = cache_maps(model, args.cut, prepare, crops, numbers, args.out / f"maps-{args.cut}.npy")
    everything = list(range(len(held_rows)))
    held = cache_maps(model, args.cut, prepare, held_crops, everything, args.out / f"held-{args.cut}.npy")

    teacher = open_trunk(args.teacher_architecture, args.teacher)
    taught, taught_rows = load_features(teacher, args.teacher_architecture, args.crops, args.teacher_composed)
    with torch.inference_mode():
        embedded = functional.normalize(teacher.head(torch.from_numpy(taught)), dim=1).numpy()
    targets = clean_targets(embedded, taught_rows, rows)

    budget = Budget(steps=args.steps, minutes=args.minutes)
    saved = load_checkpoint(args.out / "checkpoint.pt")
    if saved is not None:
        budget.step, budget.spent_s = saved["step"], saved["spent_s"]
        model.load_state_dict(saved["model"])
    elif args.fit_head:
        fresh = Upper(model.eval(), args.cut)
        fitted = sorted(np.random.default_rng(0).permutation(len(rows))[:4000].tolist())
        with torch.inference_mode():
            pooled = [
                fresh.pooled(torch.from_numpy(np.asarray(maps[fitted[i : i + 64]], np.float32))).numpy()
                for i in range(0, len(fitted), 64)
            ]
        model.head = fit_head(np.concatenate(pooled), targets[fitted])
    ema = copy.deepcopy(model).eval()
    if saved is not None:
        ema.load_state_dict(saved["ema"])
    upper = Upper(model, args.cut)
    optimizer = create_optimizer(upper, args.rate, args.head_rate)
    if saved is not None:
        optimizer.load_state_dict(saved["optimizer"])
    sets = [(maps, rows), (held, held_rows)]
    print(f"before: {measure(ema, args.cut, sets)}", flush=True)
    sampler = ProductSampler(rows, args.kinds, args.seed + budget.step)
    losses: Tensor | None = None
    saved_at = printed_at = time.monotonic()
    budget.start()
    while budget.fraction < 1:
        set_mode(upper, args.norm)
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * rate_factor(budget, WARMUP_STEPS)
        picked, labels = sampler.draw(args.products, args.each)
        batch = torch.from_numpy(np.stack([maps[i] for i in picked]).astype(np.float32))
        mirrored = torch.rand(len(batch)) < 0.5
        batch[mirrored] = batch[mirrored].flip(3)
        items = train_step(upper, optimizer, batch, labels, targets[picked], args.distil)
        losses = items if losses is None else losses.lerp(items, 0.05)
        average(ema, model, budget.step, EMA_DECAY, slow=20)
        budget.advance()
        now = time.monotonic()
        if now - printed_at > 20:
            printed_at = now
            line = budget.describe(args.products * args.each)
            print(f"{line} | contrast {losses[0]:.4f} distillation {losses[1]:.4f}", flush=True)
        if now - saved_at > CHECKPOINT_INTERVAL_S:
            saved_at = now
            save(args.out, model, ema, optimizer, budget)
            print(f"held out: {measure(ema, args.cut, sets)}", flush=True)
    save(args.out, model, ema, optimizer, budget)
    print(f"held out: {measure(ema, args.cut, sets)}", flush=True)


def save(
    out: Path, model: nn.Module, ema: nn.Module, optimizer: torch.optim.Optimizer, budget: Budget
) -> None:
    """Write the checkpoint to resume from, and the averaged weights."""
    state = {
        "model": model.state_dict(),
        "ema": ema.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": budget.step,
        "spent_s": budget.spent_s,
    }
    save_checkpoint(out / "checkpoint.pt", state)
    save_file(ema.state_dict(), out / "embedder.safetensors")


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--crops", type=Path, required=True, help="output of crop_set")
    parser.add_argument("--held", type=Path, required=True, help="output of crop_set --held-out")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--architecture", choices=sorted(PREPROCESS), required=True)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, required=True, help="safetensors of a trained embedder")
    parser.add_argument("--teacher-architecture", choices=sorted(PREPROCESS), default="efficientnet-lite0")
    parser.add_argument("--teacher-composed", type=int, default=10_000, help="composed crops of its head")
    parser.add_argument("--cut", type=int, required=True, help="stages (ResNet) or blocks (Lite) left frozen")
    parser.add_argument("--fit-head", action="store_true", help="start with a head fitted to the teacher")
    parser.add_argument("--kinds", nargs="+", default=["mask", "box"])
    parser.add_argument("--composed", type=int, default=16_000)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--products", type=int, default=40, help="products per batch")
    parser.add_argument("--each", type=int, default=3, help="crops per product, one of them clean")
    parser.add_argument("--rate", type=float, default=2e-4)
    parser.add_argument("--head-rate", type=float, default=5e-4)
    parser.add_argument("--distil", type=float, default=2.0)
    parser.add_argument("--norm", choices=("train", "eval"), default="train")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    return args


if __name__ == "__main__":
    train(parse())
