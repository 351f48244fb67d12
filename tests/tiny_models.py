"""Small networks with random weights, written as the files that the worker loads."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from worker.vision.efficientnet_lite import EfficientNetLiteEmbedder
from worker.vision.resnet import RESNETS, ResNetEmbedder

#: Small enough to be quick; YOLO needs a multiple of 32.
DETECTOR_PX, EMBEDDER_PX = 96, 64


def yolo(architecture: str, classes: int, cache_dir: Path) -> Any:
    """A YOLO network with random weights whose confidences spread over 0 to 1."""
    os.environ.update(YOLO_OFFLINE="true", YOLO_VERBOSE="false", YOLO_CONFIG_DIR=str(cache_dir))
    cache_dir.mkdir(parents=True, exist_ok=True)
    from ultralytics.nn.tasks import DetectionModel, SegmentationModel

    torch.manual_seed(7)
    kind = SegmentationModel if architecture.endswith("-seg") else DetectionModel
    network = kind(f"{architecture}.yaml", nc=classes, verbose=False)
    head = network.model[-1]
    for name in ("cv3", "one2one_cv3"):
        for branch in getattr(head, name, None) or []:
            # Fresh class layers say 0.01 for everything; with these some anchors stand out.
            nn.init.normal_(branch[-1].weight, std=0.03)
            nn.init.zeros_(branch[-1].bias)
    return settle(network, DETECTOR_PX, 0.5, 0.3)


def settle(network: Any, side_px: int = EMBEDDER_PX, mean: float = 0.0, spread: float = 1.0) -> Any:
    """Give the batch norms statistics of pictures, so that activations neither vanish nor explode."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the plain mean of all that it sees
    network.train()
    with torch.no_grad():
        for _ in range(2):
            blocks = mean + spread * torch.randn(8, 3, 8, 8)
            network(nn.functional.interpolate(blocks, (side_px, side_px)))
    return network.eval()


def write_registry(folder: Path, cache_dir: Path) -> Path:
    """Write a models folder: a YOLOv8n-seg, a ResNet of BGR input, an EfficientNet-Lite0."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(3)
    save_file(yolo("yolov8n-seg", 1, cache_dir).state_dict(), folder / "seer.safetensors")
    resnet = settle(ResNetEmbedder(RESNETS["resnet50-half-caffe"]))
    save_file(resnet.state_dict(), folder / "resnet.safetensors")
    save_file(settle(EfficientNetLiteEmbedder()).state_dict(), folder / "lite.safetensors")
    embedder = {"kind": "embedder", "input_px": EMBEDDER_PX, "dim": 256}
    models: list[dict[str, Any]] = [
        {"name": "seer", "kind": "detector", "architecture": "yolov8n-seg", "input_px": DETECTOR_PX},
        {
            **embedder,
            "name": "resnet",
            "architecture": "resnet50-half-caffe",
            "channels": "bgr",
            "mean": [123, 117, 104],
            "std": [60, 59, 58],
            "crop": {"mode": "mask"},
        },
        {
            **embedder,
            "name": "lite",
            "architecture": "efficientnet-lite0",
            "mean": [127] * 3,
            "std": [128] * 3,
        },
    ]
    for model in models:
        content = (folder / f"{model['name']}.safetensors").read_bytes()
        model |= {"file": f"{model['name']}.safetensors", "sha256": hashlib.sha256(content).hexdigest()}
    (folder / "registry.json").write_text(json.dumps({"models": models}), encoding="utf-8")
    return folder
