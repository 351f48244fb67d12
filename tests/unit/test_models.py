"""The registry: only what is listed, in the folder and unchanged, is ever opened as a model."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from shared.errors import Misconfigured
from worker.vision.models import IMAGENET_MEAN, find_model, list_models

WEIGHTS = b"weights of a small model"


def entry(**changes: Any) -> dict[str, Any]:
    return {
        "name": "small",
        "kind": "embedder",
        "architecture": "resnet18",
        "file": "small.safetensors",
        "sha256": hashlib.sha256(WEIGHTS).hexdigest(),
        "input_px": 224,
        "dim": 256,
        "licence": "CC0-1.0",
        "crop": {"mode": "mask", "fill": [1, 2, 3], "margin": 0.1},
        **changes,
    }


def folder(tmp_path: Path, *entries: dict[str, Any]) -> Path:
    models = tmp_path / "models"
    models.mkdir()
    (models / "small.safetensors").write_bytes(WEIGHTS)
    (models / "registry.json").write_text(json.dumps({"models": list(entries)}), encoding="utf-8")
    return models


def test_model_by_name_and_as_default(tmp_path: Path) -> None:
    models = folder(tmp_path, entry(kind="detector", name="seer"), entry(), entry(name="second"))
    assert [m.name for m in list_models(models)] == ["seer", "small", "second"]
    found = find_model(models, "small", "embedder")
    assert found == find_model(models, "default", "embedder")
    assert found.version == f"small@{hashlib.sha256(WEIGHTS).hexdigest()[:8]}"
    assert found.read() == WEIGHTS
    assert (found.crop.mode, found.crop.fill, found.crop.margin) == ("mask", (1, 2, 3), 0.1)


def test_changed_weights_are_refused(tmp_path: Path) -> None:
    models = folder(tmp_path, entry())
    (models / "small.safetensors").write_bytes(WEIGHTS + b"!")
    with pytest.raises(Misconfigured, match=r"SHA-256.*Restore small\.safetensors"):
        find_model(models, "small", "embedder")


def test_weights_changed_after_the_start_are_refused(tmp_path: Path) -> None:
    models = folder(tmp_path, entry())
    found = find_model(models, "small", "embedder")
    (models / "small.safetensors").write_bytes(b"other")
    with pytest.raises(Misconfigured, match="SHA-256"):
        found.read()


def test_missing_weights_say_where_they_belong(tmp_path: Path) -> None:
    models = folder(tmp_path, entry())
    (models / "small.safetensors").unlink()
    with pytest.raises(Misconfigured, match=r"put the file at .*small\.safetensors"):
        find_model(models, "small", "embedder")


def test_unknown_name_lists_what_there_is(tmp_path: Path) -> None:
    models = folder(tmp_path, entry(), entry(name="seer", kind="detector"))
    with pytest.raises(Misconfigured, match="known are small;"):
        find_model(models, "large", "embedder")
    with pytest.raises(Misconfigured, match="no embedder named 'seer'"):
        find_model(models, "seer", "embedder")


@pytest.mark.parametrize("file", ["../outside.safetensors", "/etc/hostname", "a/../../outside.safetensors"])
def test_registry_cannot_name_a_file_outside_its_folder(tmp_path: Path, file: str) -> None:
    (tmp_path / "outside.safetensors").write_bytes(WEIGHTS)
    with pytest.raises(Misconfigured, match="outside of"):
        list_models(folder(tmp_path, entry(file=file)))


@pytest.mark.parametrize(
    "changes",
    [
        {"sha256": "abc"},
        {"kind": "oracle"},
        {"input_px": 0},
        {"name": "../x"},
        {"channels": "cmyk"},
        {"mean": [1]},
        {"crop": {"margin": -1}},
    ],
)
def test_malformed_entry_is_named(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured, match="malformed"):
        list_models(folder(tmp_path, entry(**changes)))


def test_missing_or_broken_registry(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="no model registry"):
        list_models(tmp_path)
    (tmp_path / "registry.json").write_text("{", encoding="utf-8")
    with pytest.raises(Misconfigured, match="malformed"):
        list_models(tmp_path)


def test_path_becomes_a_model_with_the_hash_of_its_content(tmp_path: Path) -> None:
    path = tmp_path / "my weights (1).pth"
    path.write_bytes(WEIGHTS)
    found = find_model(tmp_path, str(path), "embedder")
    assert found.version == f"my-weights--1-@{hashlib.sha256(WEIGHTS).hexdigest()[:8]}"
    assert (found.input_px, found.mean, found.dim) == (224, IMAGENET_MEAN, 256)
    assert find_model(tmp_path, str(path), "detector").input_px == 640
    with pytest.raises(Misconfigured, match="cannot be read"):
        find_model(tmp_path, str(tmp_path / "gone.pt"), "detector")


def test_shipped_registry_is_sound() -> None:
    shipped = Path(__file__).parents[2] / "models"
    models = list_models(shipped)
    assert {model.kind for model in models} == {"detector", "embedder"}
    for model in models:
        model.read()
        assert model.licence
        assert model.source
