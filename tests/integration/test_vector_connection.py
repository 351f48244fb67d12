"""MilvusIndex when Milvus is away, killed, or reached from another process; both kinds."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from pymilvus import MilvusClient

from cli.services.milvus import EmbeddedMilvus
from cli.services.sockets import find_free_ports
from shared.errors import IndexUnavailable, Misconfigured, NotFound
from tests.servers import PATIENCE_S, wait_for
from tests.services_milvus import UNIT, index_rows, unique
from worker.vector_index import MilvusIndex

pytestmark = pytest.mark.services
NewCollection = Callable[[], str]


def test_a_server_that_is_away_is_unavailable_and_says_so_quickly() -> None:
    away = MilvusIndex(f"http://127.0.0.1:{find_free_ports(1)[0]}", timeout_s=3)
    assert away.healthy() is False
    with pytest.raises(IndexUnavailable):
        away.collections()
    with pytest.raises(IndexUnavailable):
        away.search("anything", UNIT[None], 3)


@pytest.mark.parametrize("uri", ["catalogue.db", "/var/lib/catalogue.db", "ftp://host:1", ""])
def test_a_path_is_no_address(uri: str) -> None:
    with pytest.raises(Misconfigured):
        MilvusIndex(uri)


def test_describe_tells_kind_version_and_address_without_credentials(each_milvus: EmbeddedMilvus) -> None:
    told = MilvusIndex(each_milvus.uri.replace("//", "//somebody:secret@"), token=None).describe()
    assert told["kind"] == each_milvus.kind
    assert told["version"]
    assert told["address"] == f"127.0.0.1:{each_milvus.port}"
    assert "secret" not in str(told)


def test_pymilvus_logs_no_traceback_of_failed_calls(
    milvus_index: MilvusIndex, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(NotFound):
        milvus_index.count(unique("missing"))
    assert capfd.readouterr().err == ""
    assert [record for record in caplog.records if record.name.startswith("pymilvus")] == []


def test_a_connection_of_another_process_is_not_used(
    milvus_index: MilvusIndex, new_collection: NewCollection
) -> None:
    name = new_collection()
    milvus_index.upsert(name, index_rows(12))
    parents = milvus_index._connect(1.0)
    # As a forked child finds it. A real fork of this process, full of gRPC threads, may hang.
    milvus_index._owner_pid = os.getppid()
    assert milvus_index.count(name) == 12
    assert milvus_index._connect(1.0) is not parents
    assert milvus_index._owner_pid == os.getpid()


def test_rows_and_aliases_outlive_a_kill_of_the_server(
    milvus_index: MilvusIndex, each_milvus: EmbeddedMilvus, new_collection: NewCollection
) -> None:
    name, alias = new_collection(), unique("alias")
    milvus_index.upsert(name, index_rows(500))
    milvus_index.delete(name, ["image0-0"])
    milvus_index.set_alias(alias, name)
    each_milvus.kill()
    impatient = MilvusIndex(each_milvus.uri, timeout_s=3)
    with pytest.raises(IndexUnavailable):
        impatient.search(alias, UNIT[None], 3)
    assert impatient.healthy() is False
    each_milvus.start()
    each_milvus.wait_ready(PATIENCE_S)
    assert count_once_it_answers(milvus_index, name) == 499
    assert milvus_index.resolve_alias(alias) == name
    wait_for(
        "searches see what was written", lambda: len(milvus_index.search(alias, UNIT[None], 500)[0]) == 499
    )


def count_once_it_answers(index: MilvusIndex, name: str) -> int:
    """What a caller of a server that came back does: it tries again, and takes the first answer."""

    def counted() -> tuple[int] | None:
        try:
            return (index.count(name),)
        except IndexUnavailable:
            return None

    return wait_for("the server counts again", counted)[0]


def test_rows_are_sealed_also_when_nobody_waits_for_it(
    each_milvus: EmbeddedMilvus, milvus_index: MilvusIndex, new_collection: NewCollection
) -> None:
    name = new_collection()
    rows = index_rows(60)
    milvus_index.upsert(name, rows)
    milvus_index.flush(name, wait=False)
    assert set(milvus_index.sorted_keys(name)) == {row.key for row in rows}
    if each_milvus.kind == "server":
        client = MilvusClient(each_milvus.uri)
        wait_for("a segment is sealed", lambda: client.list_persistent_segments(name, timeout=PATIENCE_S))
        client.close()
    with pytest.raises(NotFound):
        milvus_index.flush("no_such_collection", wait=False)
