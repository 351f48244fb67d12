"""docker-compose.yml without an engine: the file, its variables and its secrets.

What needs a container engine to be shown is listed in docs/deploy.md.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from shared.broker.task_names import Lane
from shared.settings import PREFIX, Settings
from tests.compose_file import (
    CLIENT_VARIABLES,
    DOCKER,
    ROOT,
    environment,
    interpolated,
    is_ours,
)

# --- the file ------------------------------------------------------------------------------------


def compose_client() -> list[str] | None:
    """The compose client of this machine, if it has one; ``config`` needs no engine."""
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    if shutil.which("docker") is None:
        return None
    asked = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    return None if asked.returncode else ["docker", "compose"]


def test_the_file_follows_the_compose_specification(compose: dict[str, Any], secrets: Path) -> None:
    parsed = PyCompose.from_yaml(yaml.safe_dump(compose, sort_keys=False))
    parsed.validate()
    assert set(parsed.service_names()) == set(compose["services"])
    # The specification's parser has the first word; where a client is installed, it has the second.
    if (client := compose_client()) is not None:
        ran = subprocess.run(
            [*client, "--file", str(ROOT / "docker-compose.yml"), "config", "--quiet"],
            env={**os.environ, "SECRETS": str(secrets)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize(
    "spoil",
    [
        lambda c: c["services"]["web"].update(healthchek={}),
        lambda c: c["services"]["web"].update(networks=["nowhere"]),
        lambda c: c["services"]["web"].update(secrets=["nowhere"]),
        lambda c: c["services"]["web"]["depends_on"].update(redis={"condition": "helthy"}),
    ],
    ids=["key", "network", "secret", "condition"],
)
def test_the_check_of_the_specification_finds_mistakes(spoil: Callable[[dict[str, Any]], None]) -> None:
    broken = yaml.safe_load(interpolated({}))
    spoil(broken)
    with pytest.raises(ValueError, match=r".+"):
        PyCompose.from_yaml(yaml.safe_dump(broken, sort_keys=False)).validate()


def test_every_image_is_pinned(services: dict[str, Any]) -> None:
    for name, service in services.items():
        image, _, tag = service["image"].rpartition(":")
        assert image, name
        assert re.search(r"\d+[.-]\d+", tag), f"{name}: {tag}"
    for dockerfile in DOCKER.glob("Dockerfile.*"):
        text = dockerfile.read_text(encoding="utf-8")
        bases = re.findall(r"^ARG PYTHON_IMAGE=(\S+)", text, re.MULTILINE)
        assert bases, dockerfile
        assert all(re.fullmatch(r"python:3\.11\.\d+-slim-\w+", base) for base in bases)
        assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${PYTHON_IMAGE}"}


def test_nothing_is_published_beyond_this_machine(services: dict[str, Any], compose: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert published == {"web": ["127.0.0.1:8000:8000"], "flower": ["127.0.0.1:5555:5555"]}
    assert compose["networks"]["inside"]["internal"] is True
    for name, service in services.items():
        assert "inside" in service["networks"], name
        assert name in published or service["networks"] == ["inside"]


def test_containers_have_no_more_rights_than_they_need(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service.get("privileged") is None, name
    root = {name for name, s in services.items() if not is_ours(s) and s.get("user", "0:0").startswith("0")}
    assert root == {"volumes"}
    assert {name for name, s in services.items() if not s["read_only"]} == {"milvus"}
    for dockerfile in DOCKER.glob("Dockerfile.*"):
        users = re.findall(r"^USER (\S+)", dockerfile.read_text(encoding="utf-8"), re.MULTILINE)
        assert users == ["10001:10001"], dockerfile


def test_what_is_sent_lies_on_a_disk_until_it_is_whole(services: dict[str, Any]) -> None:
    """An import may have gigabytes, and a tmpfs is memory."""
    for name in ("web", "worker-catalogue"):
        service = services[name]
        place = service["environment"]["TMPDIR"]
        assert place not in service["tmpfs"], name
        assert place in [volume.split(":")[1] for volume in service["volumes"]], name


def test_what_runs_for_long_restarts_and_is_checked(services: dict[str, Any]) -> None:
    for name, service in services.items():
        check = service.get("healthcheck", {})
        if service["restart"] == "no":
            assert "test" not in check, name
            continue
        assert service["restart"] == "unless-stopped", name
        assert check["test"][0] in ("CMD", "CMD-SHELL"), name


def test_who_waits_for_whom(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            once = services[other]["restart"] == "no"
            expected = "service_completed_successfully" if once else "service_healthy"
            assert how["condition"] == expected, f"{name} -> {other}"
    for name in ("web", "worker-search", "worker-catalogue", "maintenance"):
        assert {"migrate", "bucket", "redis", "postgres", "milvus"} <= set(services[name]["depends_on"])


def test_cpu_workers_can_be_replaced_by_those_of_the_gpu_profile() -> None:
    loaded = yaml.safe_load(interpolated({"CPU_WORKERS": "0"}))["services"]
    for lane in Lane:
        cpu, gpu = loaded[f"worker-{lane}"], loaded[f"worker-{lane}-gpu"]
        assert cpu["deploy"]["replicas"] == 0
        assert gpu["command"] == cpu["command"]
        assert gpu["profiles"] == ["gpu"]
        assert gpu["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
        assert gpu["environment"].items() >= cpu["environment"].items()


# --- variables and secrets -----------------------------------------------------------------------


def known_variables() -> set[str]:
    """Every variable that Settings reads, the _FILE forms included."""
    names = set()
    for group, field in Settings.model_fields.items():
        inner = getattr(field.annotation, "model_fields", None)
        leaves = [f"{group}__{leaf}" for leaf in inner] if inner else [group]
        names |= {f"{PREFIX}{leaf}".upper() for leaf in leaves}
    return names | {f"{name}_FILE" for name in names}


def test_every_variable_is_a_setting(services: dict[str, Any]) -> None:
    known = known_variables() | CLIENT_VARIABLES
    for name, service in services.items():
        ours = {v for v in service.get("environment", {}) if v.startswith(PREFIX)}
        assert ours <= known, f"{name}: {ours - known}"
    for dockerfile in DOCKER.glob("Dockerfile.*"):
        assert set(re.findall(r"VITRINE_\w+", dockerfile.read_text(encoding="utf-8"))) <= known


def test_every_setting_of_the_env_file_reaches_our_services(services: dict[str, Any]) -> None:
    for name, service in services.items():
        reads = is_ours(service) and any(each.startswith(PREFIX) for each in service.get("environment", {}))
        if reads and service.get("profiles") != ["demo"]:
            assert service.get("env_file") == [{"path": ".env", "required": False}], name


def test_settings_load_from_the_variables_of_each_service(
    services: dict[str, Any], secrets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in os.environ if n.startswith(PREFIX)]:
        monkeypatch.delenv(name)
    for service in filter(is_ours, services.values()):
        with monkeypatch.context() as scene:
            for variable, value in environment(service, secrets, tmp_path).items():
                if variable.startswith(PREFIX) and variable not in CLIENT_VARIABLES:
                    scene.setenv(variable, value)
            settings = Settings()
        password = (secrets / "redis_password").read_text()
        if service.get("profiles") != ["demo"] and "migrate" in service.get("depends_on", {}):
            assert settings.redis_url == f"redis://:{password}@redis:6379/0"
            assert settings.database_url.endswith("@postgres:5432/vitrine")
            assert settings.image_store_url == "s3://vitrine-images"
            assert settings.milvus_uri == "http://milvus:19530"
            assert settings.jobs.import_roots == ("/imports",)


def test_a_service_mounts_the_secrets_that_its_variables_name(
    services: dict[str, Any], compose: dict[str, Any], secrets: Path
) -> None:
    assert {path.name for path in secrets.iterdir()} == set(compose["secrets"])
    for name, service in services.items():
        text = json.dumps([service.get("environment"), service.get("command"), service.get("healthcheck")])
        named = set(re.findall(r"/run/secrets/(\w+)", text))
        if name == "minio":  # its image looks in that folder by itself
            named = {service["environment"]["MINIO_ROOT_USER_FILE"]}
            named |= {service["environment"]["MINIO_ROOT_PASSWORD_FILE"]}
        assert named <= set(service.get("secrets", [])), name


def test_no_password_is_written_in_the_file_or_an_argument(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|SECRET|TOKEN|_KEY|__URL$", variable) and not variable.endswith("_FILE"):
                assert value == "s3://vitrine-images", f"{name}: {variable}"
        command = service.get("command", [])
        if command[:1] not in (["sh"], ["bash"]):
            assert not [a for a in command if "/run/secrets" in a or "assword" in a], name


def test_secrets_are_made_once_and_kept_from_others(secrets: Path) -> None:
    before = {path.name: path.read_bytes() for path in secrets.iterdir()}
    subprocess.run(["sh", str(DOCKER / "make-secrets.sh"), str(secrets)], check=True, capture_output=True)
    assert {path.name: path.read_bytes() for path in secrets.iterdir()} == before
    assert secrets.stat().st_mode & 0o777 == 0o700
    generated = [before[n] for n in ("postgres_password", "redis_password", "s3_secret", "api_key")]
    assert all(re.fullmatch(rb"[0-9a-f]{48}", value) for value in generated)
    assert len(set(generated)) == len(generated)
