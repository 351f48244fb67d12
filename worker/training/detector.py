"""Train the product detector, yolov8n-seg with one class, on composed photographs.

    python -m worker.training.detector --data DIR --out DIR --start yolov8n.onnx --minutes 60

The same command resumes from the last checkpoint after a kill. `OUT/detector.safetensors` has the averaged
weights of that checkpoint.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader

from worker.scenes.composer import Composer, ComposerConfig
from worker.scenes.cutouts import list_backgrounds, list_cutouts
from worker.scenes.labelled import list_photos
from worker.training.detector_eval import Quality, measure_composed
from worker.training.progress import Budget, average, load_checkpoint, rate_factor, save_checkpoint
from worker.training.scenes import Batch, SceneBatches
from worker.training.starts import fresh_detector, isolate_ultralytics, start_detector

LOSS_GAINS = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5, overlap_mask=True, mask_ratio=4, epochs=1)
WARMUP_STEPS = 60
CHECKPOINT_INTERVAL_S = 240
VALIDATION_INTERVAL_S = 600
LOG_INTERVAL_S = 20
#: Pictures per validation.
VALIDATION_PICTURES = 150
EMA_DECAY = 0.998


def build(weights: Path | None) -> Any:
    """Build yolov8n-seg for one class, with random weights or a safetensors state dict."""
    model = fresh_detector()
    if weights is not None:
        model.load_state_dict(
            {k: v.float() if v.is_floating_point() else v for k, v in load_file(weights).items()}
        )
    return model


def parameter_groups(model: nn.Module, decay: float) -> list[dict[str, Any]]:
    """Split parameters into weights with decay, and biases and batch norm without."""
    decayed = [p for p in model.parameters() if p.requires_grad and p.ndim > 1]
    plain = [p for p in model.parameters() if p.requires_grad and p.ndim <= 1]
    return [{"params": decayed, "weight_decay": decay}, {"params": plain, "weight_decay": 0.0}]


def first_model(args: argparse.Namespace, stream: Iterator[Batch]) -> Any:
    """Build the start model from `--weights`, from the ONNX file of `--start`, or from scratch."""
    if args.start is None:
        return build(args.weights)
    model, taken = start_detector(args.start, (next(stream)["img"].float() / 255 for _ in range(12)))
    print(f"start: {taken} convolutions adopted", flush=True)
    return model


@dataclass
class History:
    """Losses (step, sum) and qualities (step, recall@.5 %, recall@.75 %) since the start of training."""

    losses: list[tuple[int, float]] = field(default_factory=list)
    qualities: list[tuple[int, float, float]] = field(default_factory=list)


def train(args: argparse.Namespace) -> History:
    """Train until the budget is spent; write checkpoints and averaged weights to `--out`."""
    isolate_ultralytics()
    from ultralytics.utils.loss import v8SegmentationLoss

    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    sizes = args.sizes or [args.size]
    composers = [open_composer(args.data, size, args.rich, held_out=False) for size in sizes]
    for other in composers[1:]:
        composers[0].share_pictures(other)
    validation = open_composer(args.data, args.size, args.rich, held_out=True)
    budget = Budget(steps=args.steps, minutes=args.minutes)
    saved, history = load_checkpoint(args.out / "checkpoint.pt"), History()
    if saved is not None:
        budget.step, budget.spent_s = saved["step"], saved["spent_s"]
        history = History(saved.get("losses", []), saved.get("qualities", []))
    batches = SceneBatches(composers, args.batch, args.seed, budget.step)
    # Spawn, because a forked process with threads of gRPC or OpenMP hangs or crashes.
    loader = DataLoader(
        batches,
        batch_size=None,
        num_workers=args.workers,
        prefetch_factor=4,
        multiprocessing_context="spawn",
    )
    stream = iter(loader)

    model = first_model(args, stream) if saved is None else build(None)
    ema = build(None)
    ema.load_state_dict(model.state_dict() if saved is None else saved["ema"])
    optimizer = torch.optim.AdamW(parameter_groups(model, args.decay), lr=args.rate, betas=(0.9, 0.99))
    if saved is not None:
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
    ema.eval().requires_grad_(False)
    # The first layers process most pixels: they are the most expensive to train, and need it least.
    model.model[: args.freeze].requires_grad_(False)
    model.args = LOSS_GAINS
    model.to(memory_format=torch.channels_last)
    loss_of = v8SegmentationLoss(model)
    losses: Tensor | None = None
    saved_at = validated_at = printed_at = time.monotonic()
    budget.start()
    while budget.fraction < 1:
        for group in optimizer.param_groups:
            group["lr"] = args.rate * rate_factor(budget, WARMUP_STEPS, 1.0 if args.constant else 0.03)
        items = train_step(model, loss_of, optimizer, next(stream), half=args.bf16)
        average(ema, model, budget.step, EMA_DECAY, slow=30)
        budget.advance()
        losses = items if losses is None else losses.lerp(items, 0.05)
        now = time.monotonic()
        if now - printed_at > LOG_INTERVAL_S:
            printed_at = now
            parts = " ".join(
                f"{n} {v:.3f}" for n, v in zip(("box", "mask", "cls", "dfl"), losses, strict=True)
            )
            print(f"{budget.describe(args.batch)} | {parts}", flush=True)
            history.losses.append((budget.step, float(losses.sum())))
        if now - validated_at > VALIDATION_INTERVAL_S:
            record_quality(ema, validation, budget.step, history)
            validated_at = time.monotonic()
        if now - saved_at > CHECKPOINT_INTERVAL_S:
            saved_at = now
            save(args.out, model, ema, optimizer, budget, history)
    record_quality(ema, validation, budget.step, history)
    save(args.out, model, ema, optimizer, budget, history)
    return history


def record_quality(ema: Any, composer: Composer, step: int, history: History) -> None:
    """Validate the averaged weights, print their quality and add it to the history."""
    quality = validate(ema, composer)
    print(f"validation: {quality}", flush=True)
    # Plain numbers, because a checkpoint may contain nothing else.
    history.qualities.append((step, float(100 * quality.recall_50), float(100 * quality.recall_75)))


def scene_config(size_px: int, rich: bool) -> ComposerConfig:
    """Return the configuration of training scenes: plain ones, or rich ones after failures on real photos.

    On real photographs the detector took shadows for parts of products, cushions and seats for whole ones,
    and stripes of floors and buttons of screenshots for products; it found nothing in dark ones (measured).
    """
    plain = ComposerConfig(size_px=size_px, scale=(0.13, 0.97), wallpaper=0.18, recolour=0.15)
    if not rich:
        return plain
    return replace(
        plain,
        scale=(0.13, 1.15),
        ground=0.3,
        light=0.25,
        interface=0.12,
        hand=0.1,
        hard_shadow=0.35,
        parts=0.3,
        thin=0.06,
        favoured="stamp-",
        favoured_share=0.3,
        photos=0.12,
    )


def open_composer(data: Path, size_px: int, rich: bool, *, held_out: bool) -> Composer:
    """Create a composer for a data pack; rich scenes use its labelled photographs.

    Labelled photographs are no backgrounds, because their objects would be taught as background.
    """
    backgrounds = list_backgrounds(data, held_out=held_out)
    photos = list_photos(data, backgrounds) if rich else []
    labelled = {photo.path for photo in photos}
    plain = [path for path in backgrounds if path not in labelled]
    return Composer(list_cutouts(data, held_out=held_out), plain, scene_config(size_px, rich), photos)


def train_step(
    model: Any, loss_of: Any, optimizer: torch.optim.Optimizer, batch: Batch, half: bool = False
) -> Tensor:
    """Run one step; return the box, mask, class and distribution losses (4,).

    Args:
        half: run the network in bfloat16; the loss and the weights stay in float32.
    """
    model.train()
    images = (batch["img"].float() / 255).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        predictions = model(images)
    loss, items = loss_of(_to_float(predictions), batch)
    optimizer.zero_grad(set_to_none=True)
    loss.sum().backward()
    nn.utils.clip_grad_norm_(model.parameters(), 10.0)
    optimizer.step()
    return torch.stack([items[k] for k in ("box_loss", "seg_loss", "cls_loss", "dfl_loss")])


def _to_float(value: Any) -> Any:
    """Cast every tensor of a nested output to float32."""
    if isinstance(value, Tensor):
        return value.float()
    if isinstance(value, dict):
        return {name: _to_float(each) for name, each in value.items()}
    return type(value)(_to_float(each) for each in value) if isinstance(value, list | tuple) else value


def validate(model: Any, composer: Composer) -> Quality:
    """Measure the quality on composed pictures of held-out products and backgrounds."""
    return measure_composed(model, composer, count=VALIDATION_PICTURES, seed=7)


def save(
    out: Path, model: Any, ema: Any, optimizer: torch.optim.Optimizer, budget: Budget, history: History
) -> None:
    """Write the checkpoint to resume from, and the averaged weights."""
    state = {
        "model": model.state_dict(),
        "ema": ema.state_dict(),
        "optimizer": optimizer.state_dict(),
        "step": budget.step,
        "spent_s": budget.spent_s,
        "losses": history.losses,
        "qualities": history.qualities,
    }
    save_checkpoint(out / "checkpoint.pt", state)
    save_file(ema.state_dict(), out / "detector.safetensors")


def parse(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="products/, cutouts/ and backgrounds/")
    parser.add_argument("--out", type=Path, required=True, help="checkpoint and weights go here")
    parser.add_argument("--start", type=Path, help="yolov8n ONNX export to start from")
    parser.add_argument("--weights", type=Path, help="safetensors of an earlier training to start from")
    parser.add_argument("--minutes", type=float, help="running time, or use --steps")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=320)
    parser.add_argument("--sizes", type=_sizes, help="several sizes in alternation, such as 320,416")
    parser.add_argument("--rich", action="store_true", help="shadows, grounds, light, parts, screenshots")
    parser.add_argument("--bf16", action="store_true", help="the network in bfloat16: faster with AVX-512")
    parser.add_argument("--constant", action="store_true", help="no decay of the rate, to continue for days")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--decay", type=float, default=1e-2)
    parser.add_argument("--freeze", type=int, default=0, help="first layers that keep their weights")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--workers", type=int, default=1, help="processes that compose scenes")
    args = parser.parse_args(argv)
    args.out.mkdir(parents=True, exist_ok=True)
    return args


def _sizes(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


if __name__ == "__main__":
    train(parse())
