"""Check the machine before services are started; each error says what to do."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from cli.services.ports import PortRequest
from shared.errors import Misconfigured, StorageUnavailable
from shared.settings import Settings

MIN_FREE_BYTES = 2 * 2**30
ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("web", "worker", "shared", "cli", "vitrine_client")
_OLDEST, _TOO_NEW = (3, 11), (3, 13)


def check_python(version: tuple[int, int] = sys.version_info[:2]) -> None:
    """Raise Misconfigured for a Python version that the locked packages do not support."""
    if not _OLDEST <= version < _TOO_NEW:
        raise Misconfigured(
            f"This is Python {version[0]}.{version[1]}; Vitrine needs 3.11 or 3.12. "
            "With one of them: make clean && make run PYTHON=python3.11"
        )


def check_disk(folder: Path, min_bytes: int = MIN_FREE_BYTES) -> None:
    """Raise StorageUnavailable if there is too little disk space for index and images."""
    free = shutil.disk_usage(folder).free
    if free < min_bytes:
        raise StorageUnavailable(
            f"Only {free / 2**30:.1f} GiB are free on the disk of {folder}, and {min_bytes / 2**30:.1f} GiB "
            "are needed: free some space, or set VITRINE_DATA_DIR to a folder on another disk."
        )


def check_folder(current: Path) -> None:
    """Raise Misconfigured if packages in the current folder would hide Vitrine's own.

    gunicorn and Celery import modules from the current folder first.
    """
    for name in _PACKAGES:
        if current != ROOT and (current / name / "__init__.py").exists():
            raise Misconfigured(
                f"{current / name} would hide Vitrine's own `{name}`: start from another folder."
            )


def list_required_ports(settings: Settings) -> list[PortRequest]:
    """Return the ports that the services will listen on."""
    required = [
        PortRequest(settings.web.port, "the web page and the API", "VITRINE_WEB__PORT"),
        PortRequest(settings.flower.port, "Flower", "VITRINE_FLOWER__PORT"),
    ]
    if starts_redis(settings):
        required.append(PortRequest(settings.redis.port, "the broker", "VITRINE_REDIS__PORT"))
    if starts_milvus(settings):
        required.append(PortRequest(settings.milvus.port, "the vector index", "VITRINE_MILVUS__PORT"))
    return required


def starts_redis(settings: Settings) -> bool:
    """Return whether the embedded Redis is started: no other address is set."""
    return "url" not in settings.redis.model_fields_set


def starts_milvus(settings: Settings) -> bool:
    """Return whether the embedded Milvus is started: no other address is set."""
    return settings.milvus.uri is None
