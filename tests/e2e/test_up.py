"""`vitrine up` as a user meets it: real commands, real services, real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image, ImageDraw

from tests.machine import Machine
from tests.servers import PATIENCE_S, wait_for

ROOT = Path(__file__).parents[2]
COLOURS = ("crimson", "navy", "gold", "seagreen")

pytestmark = [pytest.mark.services, pytest.mark.in_order, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    machine = Machine(tmp_path_factory.mktemp("machine"))
    started = machine.up()
    assert started.returncode == 0, started.stdout + started.stderr
    yield machine
    machine.vitrine("down")
    left = machine.processes()
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four products, one of which names a picture that is not there."""
    place = tmp_path_factory.mktemp("shop")
    rows = []
    for number, colour in enumerate(COLOURS):
        picture = Image.new("RGB", (160, 120), "white")
        ImageDraw.Draw(picture).ellipse((30, 10, 130, 110), fill=colour)
        picture.save(place / f"{colour}.png")
        rows.append(
            {"product_id": f"p{number}", "title": colour, "price": "9.50", "images": [f"{colour}.png"]}
        )
    rows.append({"product_id": "p9", "title": "ghost", "images": ["ghost.png"]})
    (place / "products.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return place


def test_status_says_ready_and_names_models_and_processes(machine: Machine) -> None:
    answer = machine.vitrine("status", "--json")
    assert answer.returncode == 0
    status = json.loads(answer.stdout)
    assert status["ready"] is True
    assert status["models"]["embedder"] == "colour-histogram"
    assert any("whole" in note for note in status["models"]["notes"])
    services = {each["name"]: each for each in status["local"]["services"]}
    assert set(services) == {"redis", "milvus", "search", "catalogue", "maintenance", "flower", "web"}
    assert all(each["state"] == "running" for each in services.values())
    ours = os.getpriority(os.PRIO_PROCESS, 0)
    assert os.getpriority(os.PRIO_PROCESS, services["catalogue"]["pid"]) == min(ours + 10, 19)
    assert os.getpriority(os.PRIO_PROCESS, services["search"]["pid"]) == ours


def test_secrets_are_in_private_files_only(machine: Machine) -> None:
    for name in ("redis/password", "redis/redis.conf", "flower/password"):
        assert (machine.data / name).stat().st_mode & 0o077 == 0
    secrets = [(machine.data / name / "password").read_text().strip() for name in ("redis", "flower")]
    said = "".join(machine.processes().values())
    said += "".join(log.read_text(errors="replace") for log in (machine.data / "logs").glob("*.log"))
    assert len(said) > 1000
    for secret in secrets:
        assert secret not in said


def test_the_data_folder_is_its_owners_alone(machine: Machine) -> None:
    """Of the logs, the broker, the index, the database and the pictures too (H7, M8)."""
    names = {path.relative_to(machine.data).parts[0] for path in machine.data.rglob("*")}
    assert {"logs", "redis", "milvus", "vitrine.sqlite3", "running.json"} <= names
    for path in (machine.data, *machine.data.rglob("*")):
        try:
            mode = path.lstat().st_mode
        except FileNotFoundError:
            continue  # Milvus replaces files of its own
        assert path.is_symlink() or mode & 0o077 == 0, f"{path}: {mode & 0o777:o}"


def test_flower_wants_its_password(machine: Machine) -> None:
    address = f"http://127.0.0.1:{machine.flower}/"
    password = (machine.data / "flower" / "password").read_text().strip()
    with httpx.Client(trust_env=False) as client:
        assert client.get(address).status_code == 401
        assert client.get(address, auth=("vitrine", password), follow_redirects=True).status_code == 200


def test_second_start_on_the_same_data_is_refused(machine: Machine) -> None:
    refused = machine.up()
    assert refused.returncode == 1
    assert "already runs" in refused.stderr
    assert "vitrine down" in refused.stderr
    assert machine.status()["ready"] is True


def test_port_in_use_names_the_holder_and_the_variable(machine: Machine, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        refused = machine.vitrine(
            "up", "--detach", "--no-demo", "--port", str(port), VITRINE_DATA_DIR=str(tmp_path / "other")
        )
    assert refused.returncode == 1
    assert f"Port {port}" in refused.stderr
    assert f"process {os.getpid()}" in refused.stderr
    assert "VITRINE_WEB__PORT" in refused.stderr


def test_import_and_search(machine: Machine, folder: Path) -> None:
    done = machine.vitrine("import", folder, "--catalogue", "shapes", "--json")
    assert done.returncode == 3, done.stderr
    job = json.loads(done.stdout)
    assert job["state"] == "succeeded"
    assert job["counts"] == {"new": 4, "changed": 0, "unchanged": 0, "deleted": 0, "failed": 1}
    assert job["total"] == job["done"] == 5

    failures = json.loads(machine.vitrine("jobs", "failures", job["id"], "--json").stdout)
    assert [(each["product_id"], each["reason"]) for each in failures] == [("p9", "missing_image")]

    again = machine.vitrine("import", folder / "products.jsonl", "--catalogue", "shapes")
    assert again.returncode == 3
    assert "4 unchanged" in again.stderr
    assert "missing_image: 1" in again.stderr

    found = machine.vitrine("search", folder / "navy.png", "--catalogue", "shapes", "--top-k", "2", "--json")
    assert found.returncode == 0
    hits = json.loads(found.stdout)["whole"]["hits"]
    assert hits[0]["product_id"] == "p1"
    assert len(hits) == 2
    table = machine.vitrine("search", "--product", "p1", "--catalogue", "shapes", "--top-k", "3").stdout
    assert "p1" not in table.split()
    assert {"p0", "p2", "p3"} <= set(table.split())


def test_a_stopped_search_worker_is_named_and_restarted_and_its_searches_are_answered(
    machine: Machine, folder: Path
) -> None:
    """Its child beats on while the parent is stopped: only the work that is not done tells it."""

    def search_service() -> dict[str, Any]:
        return {each["name"]: each for each in machine.status()["local"]["services"]}["search"]

    before = search_service()
    with httpx.Client(base_url=f"http://127.0.0.1:{machine.web}", trust_env=False, timeout=60) as web:
        os.kill(before["pid"], signal.SIGSTOP)
        stopped_at = time.monotonic()
        accepted = []
        for colour in COLOURS:
            photo = {"image": (folder / f"{colour}.png").read_bytes()}
            answer = web.post("/v1/searches", files=photo, data={"catalogue": "shapes"})
            assert answer.status_code == 202, answer.text
            accepted.append(answer.json()["id"])

        def lane_is_named() -> str | None:
            parts: dict[str, str] = web.get("/v1/status").json()["parts"]
            return parts["search_lane"] if parts["search_lane"] != "ok" else None

        named = wait_for("the lane is named", lane_is_named, every_s=0.2)
        assert named.startswith("lane search not healthy: oldest waiting 1")
        assert time.monotonic() - stopped_at > 10, "young searches are no stall"
        assert web.get("/readyz").status_code == 200, "the web itself is well"
        assert 'vitrine_lane_healthy{lane="search"} 0.0' in web.get("/metrics").text
        waits = web.get(f"/v1/tasks/{accepted[0]}").json()["waiting_for"]
        assert waits["code"] == "unavailable"

        def restarted() -> bool:
            now = search_service()
            return bool(now["state"] == "running" and now["pid"] != before["pid"])

        wait_for("the supervisor restarted it", restarted, every_s=0.5)
        for number, search_id in enumerate(accepted):

            def answered(search_id: str = search_id) -> dict[str, Any] | None:
                task: dict[str, Any] = web.get(f"/v1/tasks/{search_id}").json()
                return task if task["state"] not in ("queued", "running") else None

            task = wait_for("the search is answered", answered, every_s=0.2)
            assert task["result"]["whole"]["hits"][0]["product_id"] == f"p{number}"
    assert "search is not healthy: it gets no work done" in (machine.data / "logs/vitrine.log").read_text()
    wait_for("Vitrine is ready again", lambda: machine.status()["ready"], every_s=0.5)


def test_errors_are_one_document_with_an_exit_code(machine: Machine, folder: Path) -> None:
    wrong = machine.vitrine("search", folder / "navy.png", "--catalogue", "nowhere", "--json")
    assert wrong.returncode == 1
    assert json.loads(wrong.stdout)["error"]["code"] == "unknown_catalogue"
    assert wrong.stderr == ""


def test_a_service_that_dies_is_started_again(machine: Machine) -> None:
    services = {each["name"]: each for each in machine.status()["local"]["services"]}
    os.killpg(services["redis"]["pid"], signal.SIGKILL)

    def is_back() -> bool:
        now = {each["name"]: each for each in machine.status()["local"]["services"]}["redis"]
        return bool(now["state"] == "running" and now["restarts"] == 1)

    wait_for("Redis runs again", is_back, every_s=0.5)
    wait_for("Vitrine is ready again", lambda: machine.status()["ready"], every_s=0.5)


def test_killed_supervisor_leaves_nothing_and_the_next_start_keeps_the_data(
    machine: Machine, folder: Path
) -> None:
    pid = machine.status()["local"]["pid"]
    os.kill(pid, signal.SIGKILL)
    started = machine.up()
    assert started.returncode == 0, started.stdout + started.stderr
    found = machine.vitrine("search", folder / "gold.png", "--catalogue", "shapes", "--json")
    assert json.loads(found.stdout)["whole"]["hits"][0]["product_id"] == "p2"


def test_down_leaves_no_process_and_frees_every_port(machine: Machine) -> None:
    assert len(machine.processes()) >= 8
    stopped = machine.vitrine("down", "--json")
    assert json.loads(stopped.stdout) == {"stopped": True}
    assert machine.processes() == {}
    again = machine.vitrine("down", "--json")
    assert (again.returncode, json.loads(again.stdout)) == (0, {"stopped": False})
    status = machine.vitrine("status", "--json")
    assert status.returncode == 1
    assert json.loads(status.stdout)["ready"] is False
    away = machine.vitrine("jobs", "list")
    assert away.returncode == 4
    assert "vitrine up" in away.stderr


def test_ctrl_c_in_the_foreground_ends_everything(machine: Machine) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "cli.main", "up", "--no-demo"],
        env=machine.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        said: list[str] = []
        for line in process.stdout:
            said.append(line)
            if "Ctrl-C stops everything" in line:
                break
        httpx.get(f"http://127.0.0.1:{machine.web}/v1/catalogues", trust_env=False).raise_for_status()
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(timeout=PATIENCE_S) == 0
    text = "".join(said)
    password = (machine.data / "flower" / "password").read_text().strip()
    assert f"http://127.0.0.1:{machine.web}" in text
    assert f"password {password}" in text
    assert "web         | " in rest
    assert "stopped" in rest
    assert machine.processes() == {}
