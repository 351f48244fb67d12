"""Load and run ResNet and EfficientNet-Lite embedders: crops to unit vectors."""

from __future__ import annotations

import io
import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import Misconfigured
from worker.vision import Detection, Embeddings, Image
from worker.vision.colour_histogram import add_colours
from worker.vision.models import CropPlan, ModelFile, find_model
from worker.vision.runtimes import (
    NetworkSource,
    PrecisionChoice,
    Runtime,
    RuntimeName,
    first_line,
    open_runtime,
)
from worker.vision.views import cut_views, split_views

if TYPE_CHECKING:
    from torch import Tensor, nn

#: Seed of the random projection of networks without a head; another seed makes another embedder.
PROJECTION_SEED = 20_210_501

LITE = "efficientnet-lite0"


class NetworkEmbedder:
    """Embeds crops with a network."""

    def __init__(self, runtime: Runtime, model: ModelFile, plan: CropPlan) -> None:
        self._runtime = runtime
        self._model = model
        self._plan = plan
        precision = "" if runtime.precision == "fp32" else f"+{runtime.precision}"
        colour = "" if model.colour is None else f"+{model.colour.version}"
        self._version = f"{model.version}{precision}{colour}+{plan.mode}"

    @property
    def version(self) -> str:
        """Return name and hash of the weights, precision, colours and crop mode.

        Each of them changes the embeddings; an index may mix versions of one ``models.embedding_space``.
        """
        return self._version

    @property
    def dim(self) -> int:
        """Return the length of an embedding."""
        return self._model.embedding_dim

    @property
    def uses_masks(self) -> bool:
        """Return whether masks change embeddings."""
        return self._plan.mode != "box" or self._model.colour is not None

    def crop(self, image: Image, detection: Detection | None) -> Image:
        """Cut out the object, or the whole image, as the ``(S, n * S, 3) uint8`` that ``embed`` takes.

        ``worker.vision.views`` documents its views; with the mode ``box`` or ``mask`` and without colours
        there is one.
        """
        model = self._model
        outlined = model.colour is not None
        return cut_views(image, detection, model.input_px, self._plan, model.resize, outlined=outlined)

    def embed(self, crops: Sequence[Image]) -> Embeddings:
        """Return ``(len(crops), dim) float32``, rows of norm 1; crops are run as one batch.

        Raises:
            MemoryError: the device has no room for a batch of this size.
            Unavailable: the device failed, or returned something that is not a number.
        """
        if not crops:
            return np.zeros((0, self.dim), np.float32)
        views = split_views(np.stack(crops))
        plan = self._model.colour
        if plan is None:
            return self._embed_views(views)
        outlines = np.ascontiguousarray(views[-1, ..., 0])
        return add_colours(self._embed_views(views[:-1]), views[0], outlines, plan)

    def _embed_views(self, views: NDArray[np.uint8]) -> Embeddings:
        """Embed one or two views of each object, ``(n, N, S, S, 3)``, to their mean ``(N, D)``."""
        first = np.ascontiguousarray(views[0])
        if len(views) == 1:
            return normalise_rows(self._runtime.infer(first)[0])
        # A whole image has two equal views, and is embedded once.
        other = (views[1] != views[0]).any(axis=(1, 2, 3))
        rows = normalise_rows(self._runtime.infer(np.concatenate([first, views[1][other]]))[0])
        mean = rows[: len(first)].copy()
        mean[other] += rows[len(first) :]
        return normalise_rows(mean)


def normalise_rows(rows: Embeddings) -> Embeddings:
    """Scale rows to norm 1; a row of zeros, which has no direction, becomes the first axis."""
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    empty = norms[:, 0] < 1e-12
    scaled = np.asarray(rows / np.maximum(norms, 1e-12), np.float32)
    scaled[empty, 0] = 1.0
    return scaled


def load_embedder(
    model: ModelFile | Path,
    runtime: RuntimeName = "openvino",
    device: str = "cpu",
    *,
    cache_dir: Path,
    threads: int = 0,
    plan: CropPlan | None = None,
    precision: PrecisionChoice = "auto",
) -> NetworkEmbedder:
    """Load an embedder.

    Args:
        model: a model of the registry, or the path of ResNet or EfficientNet-Lite0 weights: torchvision's
            ImageNet checkpoints, the published Lite0, or output of `vitrine train`. Weights without a 256-d
            head get a fixed random orthogonal projection, which preserves distances.
        cache_dir: for converted networks.
        threads: inference threads; 0 for one per core.
        plan: how to cut objects out; by default as the model's entry says.
        precision: see ``open_runtime``.

    Raises:
        Misconfigured: the weights are missing, damaged, of no known network, or hold more than weights.
    """
    if isinstance(model, Path):
        model = find_model(model.parent, str(model.absolute()), "embedder")
    opened = open_runtime(
        runtime,
        embedder_source(model),
        device=device,
        threads=threads,
        cache_dir=cache_dir,
        precision=precision,
    )
    return NetworkEmbedder(opened, model, plan or model.crop)


def embedder_source(model: ModelFile) -> NetworkSource:
    """Return the network of an embedder, which is built when it is needed."""
    form = model.int8
    return NetworkSource(
        key=f"{model.sha256} {model.architecture} {model.dim} {model.mean} {model.std} {model.channels}",
        input_px=model.input_px,
        build=lambda: _build(model),
        int8=None if form is None else lambda: form.read(model.name),
    )


def _build(model: ModelFile) -> nn.Module:
    from worker.vision.runtimes.preprocessed import Preprocessed

    return Preprocessed(build_network(model), model).eval()


def build_network(model: ModelFile) -> nn.Module:
    """Build the torch network of an embedder, without preprocessing, in evaluation mode.

    Raises:
        Misconfigured: the weights fit no known network, or the file holds more than weights.
    """
    try:
        state = _read_state(model)
        network = _network_for(state, model)
        network.load_state_dict(state)
    except (RuntimeError, ValueError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise Misconfigured(
            f"The weights of {model.name} cannot be loaded as an embedder: {first_line(error)}. Nothing in "
            "the file was executed. Give the state dict of a ResNet or of EfficientNet-Lite0."
        ) from error
    network.requires_grad_(False)
    return network.eval()


def _read_state(model: ModelFile) -> dict[str, Tensor]:
    """Read a file's state dict as float32, without a classifier, under this project's names."""
    import torch
    from safetensors.torch import load

    from worker.vision.efficientnet_lite import rename_published

    content = model.read()
    loaded: Any
    if model.path.suffix == ".safetensors":
        loaded = load(content)
    else:
        loaded = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        loaded = loaded.get("state_dict", loaded)
    state = {
        k: v.float() if v.is_floating_point() else v for k, v in loaded.items() if not k.startswith("fc.")
    }
    return rename_published(state) if "_conv_stem.weight" in state else state


def _network_for(state: dict[str, Tensor], model: ModelFile) -> nn.Module:
    """Build the network that fits the weights; adds a head to them if there is none."""
    from worker.vision.efficientnet_lite import EfficientNetLiteConfig, EfficientNetLiteEmbedder
    from worker.vision.resnet import RESNETS, ResNetEmbedder

    features = _count_features(state)
    if "head.weight" not in state:
        state.update(_random_projection(features, model.dim))
    dim = state["head.weight"].shape[0]
    if dim != model.dim:
        raise ValueError(f"its head has {dim} dimensions, and its registry entry {model.dim}")
    if model.architecture == LITE or (model.architecture == "auto" and "stem.weight" in state):
        return EfficientNetLiteEmbedder(EfficientNetLiteConfig(dim=dim))
    if model.architecture == "auto":
        return ResNetEmbedder(_infer_resnet(state, dim))
    if model.architecture not in RESNETS:
        known = ", ".join([*RESNETS, LITE])
        raise ValueError(f"the architecture {model.architecture!r} is not known; known are {known}")
    return ResNetEmbedder(replace(RESNETS[model.architecture], dim=dim))


def _count_features(state: dict[str, Tensor]) -> int:
    """Return the number of channels of the pooled features."""
    if "top.weight" in state:
        return int(state["top.weight"].shape[0])
    last = max((key for key in state if key.startswith("layer4.") and ".conv" in key), default=None)
    if last is None:
        raise ValueError("it has neither ResNet's nor EfficientNet-Lite's layers")
    return int(state[last].shape[0])


def _infer_resnet(state: dict[str, Tensor], dim: int) -> Any:
    """Derive the architecture of a ResNet from its weights."""
    from worker.vision.resnet import STAGE_CHANNELS, ResNetConfig

    counts = [len({k.split(".")[1] for k in state if k.startswith(f"layer{n}.")}) for n in (1, 2, 3, 4)]
    return ResNetConfig(
        layers=(counts[0], counts[1], counts[2], counts[3]),
        bottleneck="layer1.0.conv3.weight" in state,
        width=state["layer1.0.conv1.weight"].shape[0] / STAGE_CHANNELS[0],
        stem=int(state["conv1.weight"].shape[0]),
        dim=dim,
    )


def _random_projection(features: int, dim: int) -> dict[str, Tensor]:
    """Create a head that projects onto ``dim`` random orthogonal directions."""
    import torch

    if dim > features:
        raise ValueError(f"{features} features cannot be projected to {dim} dimensions")
    noise = np.random.default_rng(PROJECTION_SEED).standard_normal((features, dim))
    directions, _ = np.linalg.qr(noise)
    weight = torch.from_numpy(np.ascontiguousarray(directions.T, np.float32))
    return {"head.weight": weight, "head.bias": torch.zeros(dim)}
