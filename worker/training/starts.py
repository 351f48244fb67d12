"""Convert public ONNX files back to trainable torch models.

An exported graph has its batch norm folded into the convolutions, and training it diverges within a few
steps. `open_batch_norm` measures each layer's output on real pictures and inserts a batch norm with the
measured statistics: the function stays the same, and training is stable.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from worker.vision.resnet import ResNetConfig, ResNetEmbedder

HALF_RESNET50 = ResNetConfig(layers=(3, 4, 6, 3), width=0.5, caffe=True)


def read_initialisers(path: Path) -> dict[str, Tensor]:
    """Read the constants of an ONNX file by name."""
    onnx: Any = importlib.import_module("onnx")
    graph = onnx.load(str(path)).graph
    return {i.name: torch.from_numpy(np.array(onnx.numpy_helper.to_array(i))) for i in graph.initializer}


def open_batch_norm(
    model: nn.Module,
    pairs: dict[nn.BatchNorm2d, tuple[nn.Conv2d, Tensor]],
    batches: Iterable[Tensor],
) -> None:
    """Set each batch norm to the statistics of its input, without changing the model's function.

    While the batches run, a batch norm adds only the folded bias. Then, with mean m and variance v of the
    convolution's output, it has running mean m, running variance v, gamma sqrt(v + eps) and beta bias + m.

    Args:
        model: run on each batch, in evaluation mode.
        pairs: each batch norm with the convolution before it and that convolution's folded bias (C,).
        batches: (B, 3, H, W) float32, model inputs; a few hundred pictures suffice.
    """
    sums: dict[nn.BatchNorm2d, list[Tensor]] = {}
    hooks = []
    for norm, (_, bias) in pairs.items():
        with torch.no_grad():
            norm.running_mean.zero_()
            norm.running_var.fill_(1 - norm.eps)
            norm.weight.fill_(1)
            norm.bias.copy_(bias)
        hooks.append(norm.register_forward_pre_hook(lambda m, x: _count(sums, m, x[0])))
    model.eval()
    with torch.no_grad():
        for batch in batches:
            model(batch)
    for hook in hooks:
        hook.remove()
    with torch.no_grad():
        for norm, (_, bias) in pairs.items():
            if norm not in sums:
                raise ValueError("a batch norm got no input: its layer is not part of the forward pass")
            number, total, squares = sums[norm]
            mean = total / number
            # A nearly constant channel would get a gamma near zero and never learn, so keep a minimum.
            variance = (squares / number - mean**2).clamp_min(1e-4)
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)
            norm.weight.copy_((variance + norm.eps).sqrt())
            norm.bias.copy_(bias + mean)


def _count(sums: dict[nn.BatchNorm2d, list[Tensor]], norm: nn.Module, x: Tensor) -> None:
    assert isinstance(norm, nn.BatchNorm2d)
    wide = x.double()
    new = [torch.tensor(float(x.numel() / x.shape[1])), wide.sum((0, 2, 3)), (wide**2).sum((0, 2, 3))]
    old = sums.get(norm)
    sums[norm] = new if old is None else [a + b for a, b in zip(old, new, strict=True)]


def isolate_ultralytics() -> None:
    """Keep ultralytics offline and from unpickling code; to be called before it is imported."""
    os.environ.update(YOLO_OFFLINE="true", ULTRALYTICS_SAFE_LOAD="true", YOLO_AUTOINSTALL="false")


def fresh_detector() -> Any:
    """Build yolov8n-seg for one class, with random weights."""
    isolate_ultralytics()
    from ultralytics.nn import tasks

    network: Any = tasks.SegmentationModel
    return network("yolov8n-seg.yaml", nc=1, verbose=False)


def start_detector(onnx_path: Path, batches: Iterable[Tensor]) -> tuple[Any, int]:
    """Build yolov8n-seg for one class from a yolov8n ONNX export with ultralytics' initialiser names.

    Args:
        onnx_path: the export.
        batches: (B, 3, 320, 320) float32 RGB in 0..1, for the batch norm.

    Returns:
        The `SegmentationModel`, and the number of convolutions adopted. Class layers, mask prototypes and
        mask coefficients have random weights.
    """
    model = fresh_detector()
    constants = read_initialisers(onnx_path)
    pairs: dict[nn.BatchNorm2d, tuple[nn.Conv2d, Tensor]] = {}
    taken = 0
    for name, module in model.named_modules():
        if not isinstance(module, nn.Conv2d):
            continue
        weight, bias = constants.get(f"{name}.weight"), constants.get(f"{name}.bias")
        if weight is None or weight.shape != module.weight.shape:
            continue
        with torch.no_grad():
            module.weight.copy_(weight)
            taken += 1
            if module.bias is not None and bias is not None:
                module.bias.copy_(bias)
            elif bias is not None:
                norm = model.get_submodule(name.rsplit(".", 1)[0] + ".bn")
                assert isinstance(norm, nn.BatchNorm2d)
                pairs[norm] = (module, bias)
    open_batch_norm(model, pairs, batches)
    return model, taken


def start_resnet(onnx_path: Path, batches: Iterable[Tensor]) -> ResNetEmbedder:
    """Build the half-width ResNet-50 from an ONNX graph with folded batch norm, with a random head.

    The graph lists its convolutions in execution order: the stem, then per block the projection (first
    block of a stage only) and the three of the bottleneck.

    Args:
        onnx_path: the export.
        batches: (B, 3, 224, 224) float32 BGR minus (104, 117, 123), for the batch norm.
    """
    onnx: Any = importlib.import_module("onnx")
    graph = onnx.load(str(onnx_path)).graph
    constants = read_initialisers(onnx_path)
    convolutions = iter([node for node in graph.node if node.op_type == "Conv"])
    model = ResNetEmbedder(HALF_RESNET50)
    pairs: dict[nn.BatchNorm2d, tuple[nn.Conv2d, Tensor]] = {}

    def load(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> None:
        node = next(convolutions)
        weight, bias = constants[node.input[1]], constants[node.input[2]]
        if weight.shape != conv.weight.shape:
            raise ValueError(f"{node.name}: {tuple(weight.shape)} does not fit {tuple(conv.weight.shape)}")
        with torch.no_grad():
            conv.weight.copy_(weight)
        pairs[norm] = (conv, bias)

    load(model.conv1, model.bn1)
    for stage in (model.layer1, model.layer2, model.layer3, model.layer4):
        for block in stage:
            if block.downsample is not None:
                load(block.downsample[0], block.downsample[1])
            load(block.conv1, block.bn1)
            load(block.conv2, block.bn2)
            load(block.conv3, block.bn3)
    open_batch_norm(model, pairs, batches)
    return model
