"""An embedder in two parts: a frozen lower part whose outputs are kept on disk, and an upper one to train.

On a CPU the lower layers take most of the time and need training least. Their outputs are computed once a
crop (ONNX Runtime, half precision on disk); an epoch then costs only the upper layers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from worker.training.head import Picked
from worker.training.trunks import EmbedderModule, Preprocess, accelerated
from worker.vision.efficientnet_lite import EfficientNetLiteEmbedder

BATCH = 32


class Lower(nn.Module):
    """The layers below the cut: pictures to feature maps (B, C, h, w)."""

    def __init__(self, model: EmbedderModule, cut: int) -> None:
        super().__init__()
        self.model = model
        self.cut = cut

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 224, 224) float32, preprocessed, to (B, C, h, w)."""
        if isinstance(self.model, EfficientNetLiteEmbedder):
            x = torch.nn.functional.relu6(self.model.stem_norm(self.model.stem(x)))
            return self.model.blocks[: self.cut](x)
        return self.model.stages(self.model.stem_maps(x), 0, self.cut)


class Upper(nn.Module):
    """The layers above the cut: feature maps to pooled features (B, F) and embeddings (B, D)."""

    def __init__(self, model: EmbedderModule, cut: int) -> None:
        super().__init__()
        self.model = model
        self.cut = cut

    def pooled(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) float32 to the trunk's pooled features (B, F)."""
        if isinstance(self.model, EfficientNetLiteEmbedder):
            return self.model.finish(self.model.blocks[self.cut :](maps))
        return self.model.stages(maps, self.cut, 4).mean((2, 3))

    def forward(self, maps: Tensor) -> Tensor:
        """(B, C, h, w) float32 to embeddings (B, D), L2-normalised."""
        return torch.nn.functional.normalize(self.model.head(self.pooled(maps)), dim=1)

    def trained(self) -> list[nn.Module]:
        """The modules above the cut, the head left out."""
        if isinstance(self.model, EfficientNetLiteEmbedder):
            return [*self.model.blocks[self.cut :], self.model.top, self.model.top_norm]
        return [self.model.layer1, self.model.layer2, self.model.layer3, self.model.layer4][self.cut :]


def cache_maps(
    model: EmbedderModule, cut: int, prepare: Preprocess, crops: Any, numbers: list[int], path: Path
) -> Any:
    """The lower part's outputs for the numbered crops, (N, C, h, w) float16, mapped from `path`.

    A file half written by a killed run is told by its missing `.done` and made anew.
    """
    done = path.with_suffix(".done")
    if not done.exists():
        lower = accelerated(Lower(model.eval(), cut).forward)
        source = Picked(crops, numbers)
        shape = tuple(lower(prepare(np.asarray(source[:1]))).shape[1:])
        maps = np.lib.format.open_memmap(path, "w+", np.float16, (len(numbers), *shape))
        for start in range(0, len(numbers), BATCH):
            part = slice(start, min(start + BATCH, len(numbers)))
            maps[part] = lower(prepare(np.asarray(source[part]))).numpy()
            if start % (BATCH * 40) == 0:
                print(f"maps {start}/{len(numbers)}", flush=True)
        maps.flush()
        done.touch()
    return np.load(path, mmap_mode="r")
