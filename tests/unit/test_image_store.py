"""The image store over a folder and over a real S3 endpoint (moto's server)."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.errors import BodyTooLarge, InvalidInput, Misconfigured, NotFound, StorageUnavailable
from shared.storage import image_store
from shared.storage.image_store import ImageStore
from tests.s3 import CREDENTIALS, new_bucket, s3_client, s3_server

ROOT = Path(__file__).parents[2]
ABSENT = "0" * 64


@pytest.fixture(scope="module")
def s3_endpoint() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture
def bucket(s3_endpoint: str, request: pytest.FixtureRequest) -> str:
    return new_bucket(s3_endpoint, request.node.name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "a folder with spaces"


@pytest.fixture
def local(folder: Path) -> ImageStore:
    return ImageStore(folder.as_uri())


@pytest.fixture(params=["file", "s3"])
def store(request: pytest.FixtureRequest) -> ImageStore:
    if request.param == "file":
        return request.getfixturevalue("local")
    bucket, endpoint = request.getfixturevalue("bucket"), request.getfixturevalue("s3_endpoint")
    return ImageStore(f"s3://{bucket}/some/prefix", endpoint_url=endpoint, **CREDENTIALS)


def test_put_get_exists_delete(store: ImageStore) -> None:
    key = store.put(b"a picture")
    assert key == hashlib.sha256(b"a picture").hexdigest()
    assert store.get(key) == b"a picture"
    assert store.exists(key)
    assert not store.exists(key, "queries")
    store.delete(key)
    assert not store.exists(key)
    store.delete(key)
    with pytest.raises(NotFound):
        store.get(key)


def test_kinds_are_apart(store: ImageStore) -> None:
    key = store.put(b"same", "images")
    assert store.put(b"same", "queries") == key
    store.delete(key, "queries")
    assert store.get(key, "images") == b"same"


def test_named_copies(store: ImageStore) -> None:
    key = store.put(b"original")
    name = f"{key}-640.webp"
    store.put_named(name, b"first", "renditions")
    store.put_named(name, b"second, and longer", "renditions")
    assert store.get(name, "renditions") == b"second, and longer"
    assert store.exists(name, "renditions")
    store.delete(name, "renditions")
    assert not store.exists(name, "renditions")


def test_stream_is_stored_and_read_anywhere(store: ImageStore) -> None:
    name = f"{ABSENT}-source.zip"
    pieces = [bytes([number]) * 70_000 for number in range(10)]
    assert store.put_stream(name, pieces, "imports", max_bytes=700_000) == 700_000
    with store.open(name, "imports") as file:
        file.seek(350_000)
        assert file.read(2) == b"\5\5"
    assert store.get(name, "imports") == b"".join(pieces)
    with pytest.raises(NotFound):
        store.open(f"{ABSENT}-other.zip", "imports")


def test_stream_that_is_too_long_or_breaks_leaves_nothing(local: ImageStore, folder: Path) -> None:
    name = f"{ABSENT}-source.zip"

    def broken() -> Iterator[bytes]:
        yield b"first"
        raise ConnectionResetError("the sender went away")

    with pytest.raises(BodyTooLarge):
        local.put_stream(name, [bytes(600), bytes(600)], "imports", max_bytes=1_000)
    with pytest.raises(ConnectionResetError):
        local.put_stream(name, broken(), "imports", max_bytes=1_000)
    assert not local.exists(name, "imports")
    assert [path for path in folder.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    "key",
    [
        "",
        "..",
        "../../etc/passwd",
        "A" * 64,
        "0" * 63,
        "0" * 64 + "\n",
        "0" * 64 + "/..",
        "0" * 64 + "-..",
        "é" * 64,
    ],
)
def test_only_keys_become_paths(store: ImageStore, key: str) -> None:
    for use in (store.get, store.exists, store.delete):
        with pytest.raises(InvalidInput):
            use(key)
    with pytest.raises(InvalidInput):
        store.put_named(key, b"x", "renditions")


@pytest.mark.parametrize("kind", ["", "..", "a/b", ".temporary", "Images", "a\n", "é"])
def test_only_words_become_kinds(store: ImageStore, kind: str) -> None:
    with pytest.raises(InvalidInput):
        store.put(b"x", kind)
    with pytest.raises(InvalidInput):
        store.get(ABSENT, kind)
    with pytest.raises(InvalidInput):
        list(store.older_than(kind, 0))


def test_many_are_deleted_together_and_missing_ones_are_no_error(store: ImageStore) -> None:
    keys = [store.put(bytes([number])) for number in range(5)]
    store.delete_all([*keys[:4], ABSENT])
    assert [store.exists(key) for key in keys] == [False] * 4 + [True]
    store.delete_all([])
    store.delete_all([keys[4], ABSENT])
    assert not store.exists(keys[4])


def test_some_folders_are_listed_alone(store: ImageStore) -> None:
    keys = {store.put(bytes([number])) for number in range(40)}
    shards = [f"{number:02x}" for number in range(128)]
    assert set(store.older_than("images", -5, shards)) == {key for key in keys if key[:2] in shards}


def test_older_than_lists_by_age(store: ImageStore) -> None:
    keys = {store.put(bytes([number]), "queries") for number in range(20)}
    name = f"{ABSENT}-640.webp"
    store.put_named(name, b"copy", "queries")
    # An age below zero reaches into the future: S3 rounds its times to seconds.
    assert set(store.older_than("queries", -5)) == keys | {name}
    assert set(store.older_than("queries", 3600)) == set()
    assert set(store.older_than("nothing_here", -5)) == set()


def test_same_bytes_are_written_once(local: ImageStore, folder: Path) -> None:
    key = local.put(b"once")
    path = folder / "images" / key[:2] / key
    before = path.stat()
    assert local.put(b"once") == key
    after = path.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_same_bytes_are_written_once_to_a_bucket(s3_endpoint: str, bucket: str) -> None:
    store = ImageStore(f"s3://{bucket}", endpoint_url=s3_endpoint, **CREDENTIALS)
    client = s3_client(s3_endpoint)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for _ in range(3):
        store.put(b"once")
    assert len(client.list_object_versions(Bucket=bucket)["Versions"]) == 1


def test_putting_again_makes_young(local: ImageStore, folder: Path) -> None:
    key = local.put(b"old")
    path = folder / "images" / key[:2] / key
    os.utime(path, (time.time() - 7200, time.time() - 7200))
    assert list(local.older_than("images", 3600)) == [key]
    local.put(b"old")
    assert list(local.older_than("images", 3600)) == []


def test_putting_again_makes_young_in_a_bucket(
    s3_endpoint: str, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ImageStore(f"s3://{bucket}", endpoint_url=s3_endpoint, **CREDENTIALS)
    client = s3_client(s3_endpoint)
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    store.put(b"old")
    monkeypatch.setattr(image_store, "REFRESH_AFTER_S", -5)
    store.put(b"old")
    assert len(client.list_object_versions(Bucket=bucket)["Versions"]) == 2


def test_file_of_the_wrong_size_is_repaired(local: ImageStore, folder: Path) -> None:
    key = local.put(b"whole picture")
    path = folder / "images" / key[:2] / key
    path.write_bytes(b"whole")
    with pytest.raises(StorageUnavailable, match="damaged"):
        local.get(key)
    assert local.put(b"whole picture") == key
    assert local.get(key) == b"whole picture"


def test_changed_content_is_noticed(store: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    key = store.put(b"as it was")
    store._write_all({store._path(key, "images"): b"as it is!"})
    with pytest.raises(StorageUnavailable, match="damaged"):
        store.get(key)


def test_many_threads_put_the_same_and_different(store: ImageStore) -> None:
    pictures = [bytes([number % 7]) * 1000 for number in range(56)]
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(store.put, pictures))
    assert len(set(keys)) == 7
    for key, data in zip(keys, pictures, strict=True):
        assert store.get(key) == data


def test_many_are_put_at_once_and_damaged_ones_are_mended(store: ImageStore) -> None:
    pieces = {hashlib.sha256(data).hexdigest(): data for data in (bytes([n]) * 2000 for n in range(20))}
    damaged = list(pieces)[3]
    store._write_all({store._path(damaged, "images"): b"cut off"})
    for _ in range(2):
        store.put_all(pieces)
        assert {key: store.get(key) for key in pieces} == pieces
    store.put_all({})


def test_bucket_has_nothing_to_sweep(s3_endpoint: str, bucket: str) -> None:
    store = ImageStore(f"s3://{bucket}", endpoint_url=s3_endpoint, **CREDENTIALS)
    key = store.put(b"kept")
    assert store.sweep_temporary(-5) == 0
    assert store.free_bytes() is None
    assert store.exists(key)


def test_health(store: ImageStore) -> None:
    assert store.healthy()


def test_health_of_a_lost_folder(local: ImageStore, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = local.free_bytes()
    assert free is not None
    monkeypatch.setattr(image_store, "MIN_STORE_FREE_BYTES", free * 1000)
    assert not local.healthy()
    monkeypatch.undo()
    assert local.healthy()
    key = local.put(b"x")
    folder.rename(folder.with_name("unmounted"))
    assert not local.healthy()
    for use in (lambda: local.get(key), lambda: local.exists(key), lambda: local.put(b"y")):
        with pytest.raises(StorageUnavailable):
            use()
    with pytest.raises(StorageUnavailable):
        list(local.older_than("images", 0))
    folder.with_name("unmounted").rename(folder)
    assert local.get(key) == b"x"


def test_missing_bucket_and_dead_server(s3_endpoint: str) -> None:
    lost = ImageStore("s3://never-made", endpoint_url=s3_endpoint, **CREDENTIALS)
    assert not lost.healthy()
    for use in (lambda: lost.put(b"x"), lambda: lost.get(ABSENT), lambda: lost.exists(ABSENT)):
        with pytest.raises(StorageUnavailable):
            use()
    dead = ImageStore("s3://pictures", endpoint_url="http://127.0.0.1:9", **CREDENTIALS)
    assert not dead.healthy()
    for use in (lambda: dead.put(b"x"), lambda: dead.get(ABSENT), lambda: dead.exists(ABSENT)):
        with pytest.raises(StorageUnavailable) as caught:
            use()
        assert CREDENTIALS["secret"] not in str(caught.value)


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageUnavailable, match="open the image store") as caught:
        ImageStore((tmp_path / "file" / "store").as_uri())
    assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize(
    "url",
    ["", "images", "file://", "file:///", "file://host/images", "s3://", "ftp://host/images", "memory://x"],
)
def test_other_addresses_are_refused(url: str) -> None:
    with pytest.raises(Misconfigured, match="VITRINE_IMAGES__URL"):
        ImageStore(url)
