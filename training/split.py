"""Split an embedder into a frozen lower part, whose outputs are cached, and an upper part to train.

On a CPU the lower layers take most of the time and need training least. Their outputs are computed once per
crop (ONNX Runtime, half precision on disk), so that an epoch runs only the upper layers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from worker.training.head import SelectedRows
from worker.training.trunks import EmbedderModule, Preprocess, accelerated
from worker.vision.efficientnet_lite import EfficientNetLiteEmbedder

BATCH = 32


class Lower(nn.Module):
    """Layers below the cut: pictures to feature maps (B, C, h, w)."""

    def __init__(self, model: EmbedderModule, cut: int) -> None:
        super().__init__()
        self.model = model
        self.cut = cut

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 3, 224, 224) float32, preprocessed, to (B, C, h, w)."""
        if isinstance(self.model, EfficientNetLiteEmbedder):
            x = torch.nn.functional.relu6(self.model.stem_norm(self.model.stem(x)))
            return self.model.blocks[: self.cut](x)
        return self.model.stages(self.model.stem_maps(x), 0, self.cut)


class Upper(nn.Module):
    """Layers above the cut: feature maps to pooled features (B, F) and embeddings (B, D)."""

    def __init__(self, model: EmbedderModule, cut: int) -> None:
        super().__init__()
        self.model = model
        self.cut = cut

    def pooled(self, maps: Tensor) -> Tensor:
        """Map (B, C, h, w) float32 to the trunk's pooled features (B, F)."""
        if isinstance(self.model, EfficientNetLiteEmbedder):
            return self.model.finish(self.model.blocks[self.cut :](maps))
        return self.model.stages(maps, self.cut, 4).mean((2, 3))

    def forward(self, maps: Tensor) -> Tensor:
        """Map (B, C, h, w) float32 to embeddings (B, D), L2-normalised."""
        return torch.nn.functional.normalize(self.model.head(self.pooled(maps)), dim=1)

    def trainable_modules(self) -> list[nn.Module]:
        """Return the modules above the cut, without the head."""
        if isinstance(self.model, EfficientNetLiteEmbedder):
            return [*self.model.blocks[self.cut :], self.model.top, self.model.top_norm]
        return [self.model.layer1, self.model.layer2, self.model.layer3, self.model.layer4][self.cut :]


def cache_maps(
    model: EmbedderModule, cut: int, prepare: Preprocess, crops: Any, numbers: list[int], path: Path
) -> Any:
    """Compute the lower part's outputs of some crops, or map them from `path` if they are complete.

    A missing `.done` file marks an incomplete file of a killed run, which is computed again.

    Returns:
        (N, C, h, w) float16, memory-mapped.
    """
    done = path.with_suffix(".done")
    if not done.exists():
        lower = accelerated(Lower(model.eval(), cut).forward)
        source = SelectedRows(crops, numbers)
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
