"""A worker that cannot do its work says so and ends, rather than trying for ever (B24)."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from tests.servers import PATIENCE_S, RedisServer
from tests.stack import COMMANDS, ROOT

pytestmark = pytest.mark.services


class Trap:
    """Leaves a file behind if a pickle of it is ever loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def start(redis: RedisServer, folder: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    env = {
        **os.environ,
        "VITRINE_DATA_DIR": str(folder / "data"),
        "VITRINE_REDIS__URL": redis.url,
        **settings,
    }
    argv = [sys.executable, "-m", *COMMANDS["search"]]
    return subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=PATIENCE_S)


def test_weights_with_another_hash_stop_the_start(redis_server: RedisServer, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "weights.safetensors").write_bytes(b"not what was registered")
    entry = {
        "name": "mine", "kind": "embedder", "architecture": "resnet18", "file": "weights.safetensors",
        "sha256": "0" * 64, "input_px": 224, "dim": 256,
    }  # fmt: skip
    (models / "registry.json").write_text(json.dumps({"models": [entry]}))
    ended = start(redis_server, tmp_path, VITRINE_MODELS__FOLDER=str(models), VITRINE_MODELS__DETECTOR="none")
    assert ended.returncode != 0
    assert "SHA-256" in ended.stderr


def test_a_missing_model_stops_the_start_and_names_the_known_ones(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    ended = start(redis_server, tmp_path, VITRINE_MODELS__DETECTOR="yolo99")
    assert ended.returncode != 0
    assert "known are" in ended.stderr


def test_a_malicious_pickle_is_refused_and_not_executed(tmp_path: Path) -> None:
    from shared.errors import Misconfigured
    from worker.vision.building import build_pipeline

    sprung = tmp_path / "sprung"
    for name, detector, embedder in (("d.pt", True, False), ("e.pth", False, True)):
        weights = tmp_path / name
        weights.write_bytes(pickle.dumps({"model": Trap(sprung)}))
        with pytest.raises(Misconfigured):
            build_pipeline(
                models_dir=ROOT / "models",
                detector_name=str(weights) if detector else "none",
                embedder_name=str(weights) if embedder else "colour-histogram",
                cache_dir=tmp_path / "cache",
            )
    assert not sprung.exists()


def test_a_worker_of_two_lanes_is_refused(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = [
        part.replace("search", "search,catalogue") if part == "search" else part
        for part in COMMANDS["search"]
    ]
    monkeypatch.setitem(COMMANDS, "search", both)
    ended = start(redis_server, tmp_path)
    assert ended.returncode != 0
    assert "exactly one lane" in ended.stderr


def test_the_parent_of_the_pool_loads_no_client_of_models_or_index(tmp_path: Path) -> None:
    heavy = "'torch', 'openvino', 'ultralytics', 'pymilvus', 'cv2'"
    code = f"import sys, worker.app; print([name for name in ({heavy},) if name in sys.modules])"
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "VITRINE_DATA_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == "[]\n"
