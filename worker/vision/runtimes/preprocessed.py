"""Preprocess stacked uint8 images as the first layer of each network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from worker.vision.models import ModelFile


class Preprocessed(nn.Module):
    """A network with its own normalisation, so that all runtimes compute it alike."""

    mean: Tensor
    scale: Tensor

    def __init__(self, network: nn.Module, model: ModelFile) -> None:
        super().__init__()
        self.network = network
        self.flips = model.channels == "bgr"
        order = slice(None, None, -1) if self.flips else slice(None)
        self.register_buffer("mean", torch.tensor(model.mean[order]).view(1, 3, 1, 1))
        self.register_buffer("scale", 1 / torch.tensor(model.std[order]).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Map (N, H, W, 3) uint8 RGB to the network's outputs; ``mean`` and ``std`` are in RGB order."""
        x = images.permute(0, 3, 1, 2).to(self.mean.dtype)
        if self.flips:
            x = x.flip(1)
        outputs: Tensor | tuple[Tensor, ...] = self.network((x - self.mean) * self.scale)
        return outputs


class Pooled(Preprocessed):
    """An embedder without its head: maps stacked images to the trunk's pooled features (N, F)."""

    def __init__(self, network: nn.Module, model: ModelFile) -> None:
        super().__init__(_Trunk(network), model)


class _Trunk(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = self.network.pooled(x)
        return pooled
