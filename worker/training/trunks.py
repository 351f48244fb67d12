"""Load the trunks of embedders, with their preprocessing."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from worker.training.starts import start_resnet
from worker.vision.efficientnet_lite import EfficientNetLiteEmbedder, rename_published
from worker.vision.resnet import RESNETS, ResNetEmbedder

EmbedderModule = ResNetEmbedder | EfficientNetLiteEmbedder
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Preprocess:
    """Computes (pixel - mean) / std with pixels 0..255; mean and std in red, green, blue order."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    channels: Literal["rgb", "bgr"]

    def __call__(self, crops: NDArray[np.uint8]) -> Tensor:
        """Map (B, H, W, 3) uint8 RGB to (B, 3, H, W) float32 in the order of `channels`."""
        x = (torch.from_numpy(np.ascontiguousarray(crops)).float() - torch.tensor(self.mean)) / torch.tensor(
            self.std
        )
        x = x.permute(0, 3, 1, 2)
        return (x.flip(1) if self.channels == "bgr" else x).contiguous()


PREPROCESS: Final[dict[str, Preprocess]] = {
    "efficientnet-lite0": Preprocess((127.0, 127.0, 127.0), (128.0, 128.0, 128.0), "rgb"),
    # Caffe's means, blue 104, green 117, red 123.
    "resnet50-half-caffe": Preprocess((123.0, 117.0, 104.0), (1.0, 1.0, 1.0), "bgr"),
}


def open_trunk(
    architecture: str, weights: Path, calibration: NDArray[np.uint8] | None = None
) -> EmbedderModule:
    """Load an embedder from our safetensors, the published Lite0 `.pth`, or the ResNet's ONNX.

    Args:
        architecture: a key of `PREPROCESS`.
        weights: the file; its suffix distinguishes the three.
        calibration: (N, 224, 224, 3) uint8 RGB crops, which an ONNX file needs for its batch norm.
    """
    model: EmbedderModule
    if weights.suffix == ".onnx":
        if calibration is None:
            raise ValueError("an ONNX file needs calibration pictures for its batch norm")
        prepare = PREPROCESS[architecture]
        parts = np.array_split(calibration, max(1, len(calibration) // 32))
        model = start_resnet(weights, (prepare(part) for part in parts))
    elif architecture == "efficientnet-lite0":
        model = EfficientNetLiteEmbedder()
        if weights.suffix == ".pth":
            published = torch.load(weights, map_location="cpu", weights_only=True)
            model.load_state_dict(rename_published(published), strict=False)
        else:
            model.load_state_dict(_floats(load_file(weights)))
    else:
        model = ResNetEmbedder(RESNETS[architecture])
        model.load_state_dict(_floats(load_file(weights)))
    model.eval()
    return model


def run(function: Callable[[Tensor], Tensor], prepare: Preprocess, crops: Any, batch: int = 32) -> Floats:
    """Apply a trunk or an embedder to (N, H, W, 3) uint8 crops in batches; return (N, D) float32."""
    results = []
    with torch.inference_mode():
        for part in _slices(len(crops), batch):
            results.append(function(prepare(np.asarray(crops[part]))).numpy())
    return np.concatenate(results) if results else np.zeros((0, 0), np.float32)


def accelerated(function: Callable[[Tensor], Tensor], threads: int = 1) -> Callable[[Tensor], Tensor]:
    """Export a function to ONNX Runtime, which is two to four times as fast as torch on a CPU.

    Args:
        function: a bound method of a module in evaluation mode, (B, 3, 224, 224) to (B, D).
    """
    onnxruntime: Any = importlib.import_module("onnxruntime")

    class Exported(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.owner = getattr(function, "__self__", None)

        def forward(self, x: Tensor) -> Tensor:
            return function(x)

    stream = io.BytesIO()
    torch.onnx.export(
        Exported().eval(),
        (torch.zeros(1, 3, 224, 224),),
        stream,
        input_names=["x"],
        output_names=["y"],
        dynamic_axes={"x": {0: "batch"}, "y": {0: "batch"}},
        dynamo=False,
    )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(stream.getvalue(), options, providers=["CPUExecutionProvider"])
    return lambda x: torch.from_numpy(session.run(None, {"x": x.numpy()})[0])


def _slices(count: int, size: int) -> Iterable[slice]:
    return (slice(i, min(i + size, count)) for i in range(0, count, size))


def _floats(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Convert stored float16 weights to float32."""
    return {k: v.float() if v.is_floating_point() else v for k, v in state.items()}
