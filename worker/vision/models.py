"""Resolve model names and paths to files, verified by the registry.

``registry.json`` in the models folder lists the shipped models, each with its SHA-256; the first model of a
kind is the default. A path names a file of the operator's own, which has no entry to verify; its hash becomes
part of the model's version.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import Misconfigured

DEFAULT = "default"
REGISTRY = "registry.json"

Kind = Literal["detector", "embedder"]
Rgb = tuple[float, float, float]

#: Normalisation of torchvision's ImageNet checkpoints, in units of 0 to 255.
IMAGENET_MEAN: Rgb = (123.675, 116.28, 103.53)
IMAGENET_STD: Rgb = (58.395, 57.12, 57.375)


#: Model names without a weights file: no detector, and the baselines.
WITHOUT_WEIGHTS = frozenset(("none", "colour-histogram", "perceptual-hash"))


CropMode = Literal["box", "mask", "both"]


class CropPlan(BaseModel):
    """How an object is cut out for the embedder.

    Attributes:
        mode: ``box`` keeps the background inside the box, ``mask`` replaces it by ``fill``, ``both`` takes
            the mean of both embeddings.
        fill: RGB, 0 to 255; also the padding of a crop.
        margin: added on each side, as a share of the box's width and height.
    """

    model_config = ConfigDict(frozen=True)

    mode: CropMode = "box"
    fill: Rgb = (255.0, 255.0, 255.0)
    margin: float = Field(0.0, ge=0, le=1)


class ColourPlan(BaseModel):
    """Weight and resolution of an object's colours in its embedding.

    Attributes:
        lightness, opponent: number of bins of CIELAB's lightness and of each of its two colour axes.
        weight: of the colours' similarity; the network's cosine has weight 1.
    """

    model_config = ConfigDict(frozen=True)

    lightness: int = Field(4, ge=2, le=16)
    opponent: int = Field(6, ge=2, le=16)
    weight: float = Field(0.2, gt=0, le=2)

    @property
    def dim(self) -> int:
        """Return the number of bins."""
        return self.lightness * self.opponent**2

    @property
    def version(self) -> str:
        """Return the part of an embedder's version, such as ``lab4x6x6w0.2``."""
        return f"lab{self.lightness}x{self.opponent}x{self.opponent}w{self.weight:g}"


class Int8Form(BaseModel):
    """A model quantised for OpenVINO.

    Attributes:
        graph, numbers: OpenVINO's .xml and .bin files.
        graph_sha256, numbers_sha256: of the two files, in hexadecimal.
        of: SHA-256 of the original weights.
        end_to_end: whether a detector suppresses overlaps itself.
    """

    model_config = ConfigDict(frozen=True)

    graph: Path
    graph_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    numbers: Path
    numbers_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    of: str = Field(pattern=r"^[0-9a-f]{64}$")
    end_to_end: bool = False

    def read(self, name: str) -> tuple[bytes, bytes]:
        """Read and verify both files; return graph and numbers.

        Raises:
            Misconfigured: a file is missing, or is not the registered one.
        """
        pair = ((self.graph, self.graph_sha256), (self.numbers, self.numbers_sha256))
        graph, numbers = (_read_verified(path, digest, name) for path, digest in pair)
        return graph, numbers


class ModelFile(BaseModel):
    """A model: its weights, and the preprocessing that they need.

    Attributes:
        architecture: such as ``yolov8n-seg``, ``resnet50``, ``efficientnet-lite0``; ``auto`` for a file given
            by path, whose content decides.
        path: the weights.
        sha256: of the weights, in hexadecimal.
        mean, std: an input is (pixel - mean) / std, pixels 0 to 255.
        dim: length of the network's output; 0 for a detector.
        resize: ``pad`` keeps the aspect ratio of a crop, ``stretch`` does not.
        colour: how colours are part of the embedding; None where they are not.
        int8: its quantised form; None where there is none.
    """

    model_config = ConfigDict(frozen=True)

    name: str = Field(pattern=r"^[A-Za-z0-9._-]{1,64}$")
    kind: Kind
    architecture: str
    path: Path
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    input_px: int = Field(ge=32, le=2048)
    mean: Rgb = (0.0, 0.0, 0.0)
    std: Rgb = (255.0, 255.0, 255.0)
    channels: Literal["rgb", "bgr"] = "rgb"
    dim: int = Field(0, ge=0, le=32_768)
    resize: Literal["pad", "stretch"] = "pad"
    classes: tuple[str, ...] = ("product",)
    licence: str = ""
    source: str = ""
    crop: CropPlan = CropPlan()
    colour: ColourPlan | None = None
    int8: Int8Form | None = None

    @property
    def version(self) -> str:
        """Return the name and the first eight digits of the hash."""
        return f"{self.name}@{self.sha256[:8]}"

    @property
    def embedding_dim(self) -> int:
        """Return the length of an embedding: network output and colours."""
        return self.dim + (0 if self.colour is None else self.colour.dim)

    def read(self) -> bytes:
        """Read and verify the weights.

        Raises:
            Misconfigured: the file is missing, or has changed since it was verified.
        """
        return _read_verified(self.path, self.sha256, self.name)


def list_models(models_dir: Path) -> list[ModelFile]:
    """List the registry's models in its order, without opening their files.

    Raises:
        Misconfigured: the registry is missing or malformed, or names a file outside the folder.
    """
    path = models_dir / REGISTRY
    try:
        registry = _Registry.model_validate_json(path.read_bytes())
    except OSError as error:
        raise Misconfigured(
            f"There is no model registry at {path}: set models.folder to its folder."
        ) from error
    except ValidationError as error:
        raise Misconfigured(f"The model registry {path} is malformed: {error}") from error
    return [_to_model(entry, models_dir) for entry in registry.models]


def find_model(models_dir: Path, name: str, kind: Kind) -> ModelFile:
    """Find a model by name or path, and verify it.

    Args:
        models_dir: folder of ``registry.json``.
        name: a registry name, ``default``, or the path of a weights file.
        kind: of the model.

    Raises:
        Misconfigured: there is no such model, or its file has another content than registered.
    """
    if _is_path(name):
        return _from_path(Path(name).expanduser(), kind)
    models = [model for model in list_models(models_dir) if model.kind == kind]
    for model in models:
        if name in (DEFAULT, model.name):
            model.read()
            return model
    known = ", ".join(model.name for model in models) or "none"
    raise Misconfigured(f"There is no {kind} named {name!r}: known are {known}; or give the path of a file.")


def stable_name(name: str, model: ModelFile) -> str:
    """Return a name that finds the same model later too, when the default may have changed."""
    return str(model.path) if _is_path(name) else model.name


def embedding_space(version: str) -> str:
    """Return an embedder's version without its precision; equal spaces can share an index.

    INT8 and half precision change embeddings little compared with the distance of products (measured in
    docs/models.md).
    """
    return "+".join(part for part in version.split("+") if part not in ("int8", "fp16"))


def verify_models(models_dir: Path, detector: str, embedder: str) -> None:
    """Check that both models exist and match the registry, without loading them.

    Raises:
        Misconfigured: as ``find_model``.
    """
    names: tuple[tuple[Kind, str], ...] = (("detector", detector), ("embedder", embedder))
    for kind, name in names:
        if name not in WITHOUT_WEIGHTS:
            find_model(models_dir, name, kind)


def _is_path(name: str) -> bool:
    return "/" in name or name.endswith((".pt", ".pth", ".safetensors"))


class _Entry(BaseModel):
    """A model's entry in the registry; ``file`` is relative to the folder."""

    model_config = ConfigDict(extra="allow")

    name: str
    file: str


class _Registry(BaseModel):
    models: list[_Entry]


def _to_model(entry: _Entry, models_dir: Path) -> ModelFile:
    """Resolve an entry's paths, which must stay inside the folder."""
    folder = models_dir.resolve()

    def resolve_inside(name: str) -> Path:
        path = (folder / name).resolve()
        if not path.is_relative_to(folder):
            raise Misconfigured(f"The registry's model {entry.name} names a file outside of {models_dir}.")
        return path

    fields = {**entry.model_dump(), "path": resolve_inside(entry.file)}
    if isinstance(form := fields.get("int8"), dict):
        paths = {key: resolve_inside(str(form.get(key, ""))) for key in ("graph", "numbers")}
        # Ignore a stale form of weights that were replaced.
        fields["int8"] = {**form, **paths} if form.get("of") == fields.get("sha256") else None
    try:
        return ModelFile.model_validate(fields)
    except ValidationError as error:
        raise Misconfigured(f"The registry's model {entry.name} is malformed: {error}") from error


def _from_path(path: Path, kind: Kind) -> ModelFile:
    content = _read(path, str(path))
    name = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in path.stem)[:64]
    common = {"name": name, "kind": kind, "path": path.absolute(), "architecture": "auto"}
    digest = hashlib.sha256(content).hexdigest()
    if kind == "detector":
        return ModelFile.model_validate({**common, "sha256": digest, "input_px": 640})
    inputs = {"input_px": 224, "mean": IMAGENET_MEAN, "std": IMAGENET_STD, "dim": 256}
    return ModelFile.model_validate({**common, **inputs, "sha256": digest})


def _read_verified(path: Path, digest: str, name: str) -> bytes:
    content = _read(path, name)
    if hashlib.sha256(content).hexdigest() != digest:
        raise Misconfigured(
            f"The weights of {name} do not have the registered SHA-256: the file is damaged or was replaced. "
            f"Restore {path.name}, or register the new hash."
        )
    return content


def _read(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise Misconfigured(
            f"The weights of {name} cannot be read ({reason}): put the file at {path}."
        ) from error
