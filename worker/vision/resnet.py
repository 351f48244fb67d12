"""Define ResNets of any depth and width with an embedding head, in plain torch.

Parameter names are torchvision's (`conv1`, `bn1`, `layer1.0.conv1`, ...), so that its state dicts load
here once their `fc` is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from torch import Tensor, nn
from torch.nn import functional

STAGE_CHANNELS: Final = (64, 128, 256, 512)


@dataclass(frozen=True)
class ResNetConfig:
    """Architecture of a ResNet embedder.

    Attributes:
        layers: number of blocks in each of the four stages.
        bottleneck: three-convolution blocks (ResNet-50 and deeper) or two-convolution blocks.
        width: factor of all stages' channels; 1.0 is the paper's.
        caffe: the older layout: max pooling padded at right and bottom only, and the stride of a
            bottleneck in its first 1x1 convolution, not in its 3x3.
        stem: channels of the stem; None means 64, whatever the width.
        dim: length of the embedding.
    """

    layers: tuple[int, int, int, int] = (3, 4, 6, 3)
    bottleneck: bool = True
    width: float = 1.0
    caffe: bool = False
    stem: int | None = None
    dim: int = 256

    @property
    def features(self) -> int:
        """Return the number of channels of the pooled features before the head."""
        return round(STAGE_CHANNELS[3] * self.width) * (4 if self.bottleneck else 1)


RESNETS: Final[dict[str, ResNetConfig]] = {
    "resnet18": ResNetConfig((2, 2, 2, 2), bottleneck=False),
    "resnet34": ResNetConfig((3, 4, 6, 3), bottleneck=False),
    "resnet50": ResNetConfig((3, 4, 6, 3)),
    "resnet101": ResNetConfig((3, 4, 23, 3)),
    "resnet152": ResNetConfig((3, 8, 36, 3)),
    "resnet50-half-caffe": ResNetConfig((3, 4, 6, 3), width=0.5, caffe=True),
}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = _shortcut(channels_in, channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C_in, H, W) to (B, channels, H / stride, W / stride)."""
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        y = self.bn2(self.conv2(y))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)), inplace=True)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions and a shortcut; the output has four times the channels."""

    def __init__(self, channels_in: int, channels: int, stride: int, *, caffe: bool) -> None:
        super().__init__()
        first, second = (stride, 1) if caffe else (1, stride)
        self.conv1 = nn.Conv2d(channels_in, channels, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, second, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, channels * 4, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels * 4)
        self.downsample = _shortcut(channels_in, channels * 4, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C_in, H, W) to (B, 4 * channels, H / stride, W / stride)."""
        y = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        y = functional.relu(self.bn2(self.conv2(y)), inplace=True)
        y = self.bn3(self.conv3(y))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)), inplace=True)


class ResNetEmbedder(nn.Module):
    """A network from pictures to unit-length embeddings."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.config = config
        stem = config.stem or STAGE_CHANNELS[0]
        self.conv1 = nn.Conv2d(3, stem, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        widths = [round(c * config.width) for c in STAGE_CHANNELS]
        grow = 4 if config.bottleneck else 1
        inputs = [stem, *(w * grow for w in widths[:3])]
        self.layer1 = self._stage(inputs[0], widths[0], config.layers[0], 1)
        self.layer2 = self._stage(inputs[1], widths[1], config.layers[1], 2)
        self.layer3 = self._stage(inputs[2], widths[2], config.layers[2], 2)
        self.layer4 = self._stage(inputs[3], widths[3], config.layers[3], 2)
        self.head = nn.Linear(config.features, config.dim)

    def _stage(self, channels_in: int, channels: int, count: int, stride: int) -> nn.Sequential:
        blocks: list[nn.Module] = []
        for index in range(count):
            step = stride if index == 0 else 1
            if self.config.bottleneck:
                blocks.append(Bottleneck(channels_in, channels, step, caffe=self.config.caffe))
                channels_in = channels * 4
            else:
                blocks.append(BasicBlock(channels_in, channels, step))
                channels_in = channels
        return nn.Sequential(*blocks)

    def stem_maps(self, x: Tensor) -> Tensor:
        """Map (B, 3, H, W) float, preprocessed, to the stem's feature maps (B, stem, H / 4, W / 4)."""
        x = functional.relu(self.bn1(self.conv1(x)), inplace=True)
        if self.config.caffe:
            # After a ReLU zeros never exceed other values, so that zero padding equals minus infinity.
            return functional.max_pool2d(functional.pad(x, (0, 1, 0, 1)), 3, 2)
        return functional.max_pool2d(x, 3, 2, 1)

    def stages(self, maps: Tensor, first: int = 0, last: int = 4) -> Tensor:
        """Run the stages from `first` up to, not including, `last`; 0 to 4 are all four."""
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4)[first:last]:
            maps = stage(maps)
        return maps

    def pooled(self, x: Tensor) -> Tensor:
        """Map (B, 3, H, W) float, preprocessed, to the trunk's average-pooled features (B, features)."""
        return self.stages(self.stem_maps(x)).mean((2, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 3, H, W) float, preprocessed, to embeddings (B, dim), L2-normalised. B may be 0."""
        embedding: Tensor = self.head(self.pooled(x))
        return functional.normalize(embedding, dim=1)


def _shortcut(channels_in: int, channels_out: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and channels_in == channels_out:
        return None
    convolution = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels_out))
