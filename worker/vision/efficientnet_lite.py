"""Define EfficientNet-Lite0 with an embedding head, in plain torch.

EfficientNet without squeeze-and-excitation and with ReLU6, made for CPUs and INT8 (Tan and Le 2019; the
Lite variants 2020). Padding is TensorFlow's SAME, which puts the odd pixel at the right and bottom.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from torch import Tensor, nn
from torch.nn import functional

NORM_EPS: Final = 1e-3  # TensorFlow's, not torch's


@dataclass(frozen=True)
class Stage:
    """Consecutive equal blocks; the first changes stride and channels."""

    count: int
    kernel: int
    stride: int
    expand: int
    channels: int


@dataclass(frozen=True)
class EfficientNetLiteConfig:
    """Architecture of an EfficientNet-Lite embedder; the defaults are Lite0."""

    stem: int = 32
    stages: tuple[Stage, ...] = (
        Stage(1, 3, 1, 1, 16),
        Stage(2, 3, 2, 6, 24),
        Stage(2, 5, 2, 6, 40),
        Stage(3, 3, 2, 6, 80),
        Stage(3, 5, 1, 6, 112),
        Stage(4, 5, 2, 6, 192),
        Stage(1, 3, 1, 6, 320),
    )
    features: int = 1280
    dim: int = 256


class SameConv(nn.Conv2d):
    """A convolution without bias, padded so that the output is ceil(input / stride)."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(channels_in, channels_out, kernel, stride, groups=groups, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """Map (B, C_in, H, W) to (B, C_out, ceil(H / stride), ceil(W / stride))."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        vertical = _same_padding(input.shape[2], kernel, stride)
        horizontal = _same_padding(input.shape[3], kernel, stride)
        if vertical or horizontal:
            left, top = horizontal // 2, vertical // 2
            input = functional.pad(input, (left, horizontal - left, top, vertical - top))
        return super().forward(input)


class InvertedBottleneck(nn.Module):
    """1x1 expansion (omitted at ratio 1), depthwise convolution, linear 1x1 projection."""

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = channels_in * expand
        self.expand = SameConv(channels_in, hidden, 1) if expand > 1 else None
        self.expand_norm = nn.BatchNorm2d(hidden, NORM_EPS) if expand > 1 else None
        self.depthwise = SameConv(hidden, hidden, kernel, stride, groups=hidden)
        self.depthwise_norm = nn.BatchNorm2d(hidden, NORM_EPS)
        self.project = SameConv(hidden, channels, 1)
        self.project_norm = nn.BatchNorm2d(channels, NORM_EPS)
        self.adds = stride == 1 and channels_in == channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels_in, H, W) to (B, channels, H / stride, W / stride)."""
        y = x
        if self.expand is not None and self.expand_norm is not None:
            y = functional.relu6(self.expand_norm(self.expand(y)))
        y = functional.relu6(self.depthwise_norm(self.depthwise(y)))
        y = self.project_norm(self.project(y))
        return x + y if self.adds else y


class EfficientNetLiteEmbedder(nn.Module):
    """A network from pictures to unit-length embeddings."""

    def __init__(self, config: EfficientNetLiteConfig | None = None) -> None:
        super().__init__()
        self.config = config or EfficientNetLiteConfig()
        self.stem = SameConv(3, self.config.stem, 3, 2)
        self.stem_norm = nn.BatchNorm2d(self.config.stem, NORM_EPS)
        blocks: list[nn.Module] = []
        channels = self.config.stem
        for stage in self.config.stages:
            for index in range(stage.count):
                stride = stage.stride if index == 0 else 1
                blocks.append(
                    InvertedBottleneck(channels, stage.channels, stage.kernel, stride, stage.expand)
                )
                channels = stage.channels
        self.blocks = nn.Sequential(*blocks)
        self.top = SameConv(channels, self.config.features, 1)
        self.top_norm = nn.BatchNorm2d(self.config.features, NORM_EPS)
        self.head = nn.Linear(self.config.features, self.config.dim)

    def pooled(self, x: Tensor) -> Tensor:
        """Map (B, 3, H, W) float, preprocessed, to the trunk's average-pooled features (B, features)."""
        return self.finish(self.blocks(functional.relu6(self.stem_norm(self.stem(x)))))

    def finish(self, maps: Tensor) -> Tensor:
        """Map the last block's feature maps (B, C, h, w) to pooled features (B, features)."""
        return functional.relu6(self.top_norm(self.top(maps))).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 3, H, W) float, preprocessed, to embeddings (B, dim), L2-normalised. B may be 0."""
        embedding: Tensor = self.head(self.pooled(x))
        return functional.normalize(embedding, dim=1)


def rename_published(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename the published PyTorch state dict to this module's names, without its classifier.

    The first block has no expansion and no such keys, so that each `_bn0` is an expansion's.
    """
    names = {
        "_conv_stem": "stem",
        "_bn0": "stem_norm",
        "_conv_head": "top",
        "_bn1": "top_norm",
    }
    inner = {
        "_expand_conv": "expand",
        "_bn0": "expand_norm",
        "_depthwise_conv": "depthwise",
        "_bn1": "depthwise_norm",
        "_project_conv": "project",
        "_bn2": "project_norm",
    }
    renamed = {}
    for key, value in state.items():
        parts = key.split(".")
        if parts[0] == "_blocks":
            renamed[f"blocks.{parts[1]}.{inner[parts[2]]}.{parts[3]}"] = value
        elif parts[0] in names:
            renamed[f"{names[parts[0]]}.{parts[1]}"] = value
    return renamed


def _same_padding(length: int, kernel: int, stride: int) -> int:
    """Return the pixels of padding that SAME needs along one side."""
    return max((-(-length // stride) - 1) * stride + kernel - length, 0)
