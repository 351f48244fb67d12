"""docker-compose.yml as its tests read it, with the secrets that an operator makes."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.connection import KEY_VARIABLE, URL_VARIABLE

ROOT = Path(__file__).parents[1]
DOCKER = ROOT / "docker"
# Of the command line, not of the settings: where the API is.
CLIENT_VARIABLES = {URL_VARIABLE, KEY_VARIABLE}
OUR_IMAGES = {"vitrine-web", "vitrine-worker", "vitrine-worker-gpu"}


def interpolated(variables: dict[str, str]) -> str:
    """The compose file with ``${NAME:-default}`` filled in, and ``$$`` left as it is."""
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    return re.sub(r"(?<!\$)\$\{(\w+):-([^}]*)\}", lambda m: variables.get(m[1], m[2]), text)


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(interpolated({}))
    return loaded


@pytest.fixture(scope="module")
def services(compose: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = compose["services"]
    return found


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The secrets, made by the script that an operator runs."""
    folder = tmp_path_factory.mktemp("secrets")
    subprocess.run(["sh", str(DOCKER / "make-secrets.sh"), str(folder)], check=True, capture_output=True)
    return folder


def is_ours(service: dict[str, Any]) -> bool:
    return str(service["image"]).split(":")[0] in OUR_IMAGES


def environment(service: dict[str, Any], secrets: Path, data: Path) -> dict[str, str]:
    """The variables of a service as they would be in its container, with our folders for its own."""
    values = {
        name: str(value).replace("/run/secrets", str(secrets))
        for name, value in service.get("environment", {}).items()
    }
    for place in {"VITRINE_DATA_DIR", "TMPDIR"} & values.keys():
        values[place] = str(data)
    return {"PATH": os.environ["PATH"], **values}
