"""The embedded Milvus processes: who may reach them, who may own their data, what survives their death."""

from __future__ import annotations

import itertools
import lzma
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from cli.services import milvus_binary
from cli.services.child import Child
from cli.services.milvus import EmbeddedMilvus, MilvusLite, MilvusServer, choose_embedded
from cli.services.sockets import find_free_ports, list_listeners
from shared.errors import Conflict, IndexUnavailable, Misconfigured, StorageUnavailable, VitrineError
from tests.servers import PATIENCE_S, is_loopback
from tests.services_milvus import DIM, index_rows, running, unit_vectors
from worker.vector_index import MilvusIndex
from worker.vector_index.contract import IndexRow

pytestmark = pytest.mark.services
needs_wheel = pytest.mark.skipif(
    milvus_binary.wheel_data() is None, reason="the Milvus server wheel is for Linux on x86-64 only"
)
needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def gone(pid: int, within_s: float = PATIENCE_S) -> bool:
    """Tell whether the process ends in time; a zombie has ended."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


@needs_proc
def test_every_socket_of_the_server_and_of_lite_is_on_loopback(each_milvus: EmbeddedMilvus) -> None:
    assert each_milvus.pid is not None
    sockets = list_listeners(each_milvus.pid)
    assert each_milvus.port in {port for _, port in sockets}
    assert len(sockets) == (11 if each_milvus.kind == "server" else 1)
    assert [address for address, _ in sockets if not is_loopback(address)] == []


@needs_proc
def test_a_socket_on_all_interfaces_is_seen_as_exposed() -> None:
    for family, everywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        with socket.socket(family) as server:
            server.bind((everywhere, 0))
            server.listen()
            found = {port: address for address, port in list_listeners(os.getpid())}
            assert not is_loopback(found[server.getsockname()[1]])


def test_a_second_process_on_the_same_data_is_refused_and_the_first_goes_on(
    each_milvus: EmbeddedMilvus, milvus_index: MilvusIndex
) -> None:
    second = type(each_milvus)(each_milvus.data_dir)
    with pytest.raises(Conflict, match=str(each_milvus.data_dir)), running(second):
        pass
    assert each_milvus.poll() is None
    assert milvus_index.healthy()


@pytest.mark.parametrize("kind", [MilvusLite, MilvusServer])
def test_a_port_in_use_is_named_before_anything_starts(kind: type[EmbeddedMilvus], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        milvus = kind(tmp_path, port)
        with pytest.raises(Conflict, match=str(port)):
            milvus.start()
        assert milvus.pid is None


def test_a_start_that_fails_says_where_the_log_is(tmp_path: Path) -> None:
    lite = MilvusLite(tmp_path)
    (tmp_path / "lite.db").write_text("not a database")
    with pytest.raises(IndexUnavailable, match=r"output\.log"), running(lite):
        pass
    assert lite.log_path.read_text() != ""


def test_a_data_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageUnavailable):
        MilvusLite(tmp_path / "file" / "below")


def test_lite_ends_in_order_on_sigterm_and_keeps_its_rows(tmp_path: Path) -> None:
    lite = MilvusLite(tmp_path)
    with running(lite):
        client = MilvusIndex(lite.uri, timeout_s=PATIENCE_S)
        client.create("kept", DIM)
        client.upsert("kept", index_rows(10))
        assert lite.stop(grace_s=PATIENCE_S) == 0
        lite.start()
        lite.wait_ready(PATIENCE_S)
        assert client.count("kept") == 10
        assert len(client.search("kept", unit_vectors(1), 10)[0]) == 10


@pytest.mark.faults
def test_lite_killed_during_upserts_of_four_writers_loses_no_acknowledged_row(tmp_path: Path) -> None:
    lite = MilvusLite(tmp_path)
    acknowledged: set[str] = set()
    with running(lite):
        MilvusIndex(lite.uri).create("rows", DIM)
        for turn in range(2):
            stop = threading.Event()
            enough = threading.Semaphore(0)
            writers = [
                threading.Thread(
                    target=_write, args=(lite.uri, f"{turn}-{n}", acknowledged, stop, enough), daemon=True
                )
                for n in range(4)
            ]
            for writer in writers:
                writer.start()
            for _ in range(60):
                assert enough.acquire(timeout=PATIENCE_S)
            lite.kill()
            stop.set()
            for writer in writers:
                writer.join()
            lite.start()
            lite.wait_ready(PATIENCE_S)
            lost = acknowledged - set(MilvusIndex(lite.uri).sorted_keys("rows"))
            assert len(acknowledged) >= 1500 * (turn + 1)
            assert lost == set()


def _write(
    uri: str, prefix: str, acknowledged: set[str], stop: threading.Event, enough: threading.Semaphore
) -> None:
    client = MilvusIndex(uri)
    for batch in itertools.count():
        rows = _renamed(index_rows(25), f"{prefix}-{batch}")
        try:
            client.upsert("rows", rows)
        except VitrineError:
            if stop.wait(0.01):
                return
            continue
        acknowledged.update(row.key for row in rows)
        enough.release()


def _renamed(rows: list[IndexRow], prefix: str) -> list[IndexRow]:
    return [
        IndexRow(f"{prefix}-{row.key}", row.product_id, row.image_id, 0, row.category, 1.0, row.embedding)
        for row in rows
    ]


def test_choose_embedded_takes_the_server_where_it_runs(tmp_path: Path) -> None:
    expected = "lite" if milvus_binary.wheel_data() is None else "server"
    assert choose_embedded("auto", tmp_path).kind == expected
    assert choose_embedded("lite", tmp_path).kind == "lite"
    assert choose_embedded("server", tmp_path).kind == "server"


def test_a_binary_that_is_not_known_is_not_edited_and_not_used(tmp_path: Path) -> None:
    wheel = tmp_path / "data"
    (wheel / "bin").mkdir(parents=True)
    (wheel / "bin" / "milvus.lzma").write_bytes(lzma.compress(b"another version"))
    with pytest.raises(Misconfigured):
        milvus_binary.unpack(wheel, tmp_path / "into")
    assert not (tmp_path / "into" / f"milvus-{milvus_binary.VERSION}").exists()


@needs_wheel
@pytest.mark.faults
def test_unpacking_killed_half_way_leaves_nothing_that_is_taken_for_whole(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from cli.services import milvus_binary as b;"
        "b.unpack(b.wheel_data(), Path(sys.argv[1]))"
    )
    unpacking = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    partial = tmp_path / f"milvus-{milvus_binary.VERSION}.partial"
    while not list(partial.glob("libknowhere*")):
        assert unpacking.poll() is None
        time.sleep(0.005)
    unpacking.kill()
    unpacking.wait()
    whole = tmp_path / f"milvus-{milvus_binary.VERSION}"
    assert not whole.exists()
    (partial / "garbage").write_text("")
    data = milvus_binary.wheel_data()
    assert data is not None
    assert milvus_binary.unpack(data, tmp_path) == whole
    assert {path.name for path in whole.iterdir()} == {path.stem for path in (data / "bin").glob("*.lzma")}
    assert not partial.exists()


@needs_proc
def test_a_child_dies_with_its_parent(tmp_path: Path) -> None:
    code = (
        "import sys, time; from cli.services.child import Child;"
        "child = Child('sleeper', ['sleep', '300']); child.start(); print(child.pid, flush=True);"
        "time.sleep(300)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    # Only once the program runs: before, the wrapper itself looks after its parent.
    while b"300" not in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
        time.sleep(0.01)
    assert not gone(pid, 0.2)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert gone(pid)


@needs_proc
def test_stopping_a_child_asks_first_then_kills_the_whole_group(tmp_path: Path) -> None:
    log = tmp_path / "log"
    polite = Child("polite", ["sh", "-c", "trap 'exit 7' TERM; echo up; sleep 300 & wait"], log_path=log)
    polite.start()
    while not log.exists() or "up" not in log.read_text():
        time.sleep(0.01)
    assert polite.stop(grace_s=PATIENCE_S) == 7

    deaf = Child("deaf", ["sh", "-c", "trap '' TERM; sleep 300 & echo $!; wait"])
    deaf.start()
    assert deaf.stdout is not None
    grandchild = int(deaf.stdout.readline())
    assert deaf.stop(grace_s=0.3) == -signal.SIGKILL
    assert gone(grandchild)
    deaf.stdout.close()


def test_a_program_that_does_not_exist_ends_with_127_and_a_message() -> None:
    child = Child("missing", ["no-such-program-here"])
    child.start()
    assert child.stdout is not None
    assert b"no-such-program-here" in child.stdout.read()
    assert child.wait(PATIENCE_S) == 127
    child.stdout.close()


def test_free_ports_are_all_different() -> None:
    assert len(set(find_free_ports(20))) == 20
