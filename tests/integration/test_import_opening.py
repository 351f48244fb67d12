"""What an import reads from, opened as the worker does it: uploads, folders, S3 (moto's), addresses."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shared.errors import ImageMissing, InvalidManifest, Refused, StorageUnavailable, Unreachable
from shared.imports import opening
from shared.imports.archives import Caps, index_archive
from shared.imports.kinds import derived_name_prefix
from shared.imports.manifest import read_rows
from shared.imports.opening import ImportPermissions, ImportSources
from shared.imports.s3 import S3Source
from shared.retention.expiry import expired_imports
from shared.storage.file_systems import S3Access, s3_files
from shared.storage.image_store import ImageStore
from tests.packing import archive, tar
from tests.s3 import CREDENTIALS, new_bucket, s3_client, s3_server
from tests.web_builders import open_shop

pytestmark = pytest.mark.slow

MANIFEST = "product_id,images\np1,pictures/a.jpg\n"
FILES: dict[str, bytes | str] = {"products.csv": MANIFEST, "pictures/a.jpg": b"a picture"}
KEY = "0" * 64


def parquet(address: str) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table({"product_id": ["p1"], "image": [address]}), file)
    return file.getvalue()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3_server() as address:
        yield address


@pytest.fixture
def s3(endpoint: str, request: pytest.FixtureRequest) -> Any:
    """A client, and in ``bucket`` the name of a bucket of this test."""
    client = s3_client(endpoint)
    client.bucket = new_bucket(endpoint, request.node.name)
    return client


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore((tmp_path / "store").as_uri())


@pytest.fixture
def make(store: ImageStore, tmp_path: Path) -> Callable[..., ImportSources]:
    def made(**changes: Any) -> ImportSources:
        caps, access = changes.pop("caps", None), changes.pop("access", S3Access())
        wanted = {
            "roots": (str(tmp_path / "open"),),
            "addresses": False,
            "max_image_bytes": 1_000_000,
            "max_import_bytes": 10**8,
        }
        return ImportSources(store, access, ImportPermissions(**{**wanted, **changes}), caps)

    return made


def read(sources: ImportSources, source: dict[str, Any], job: str = "job-1") -> dict[str, bytes]:
    """Plan and read an import: its product ids with the bytes of their first picture."""
    with sources.open(job, source, lambda: None) as opened:
        rows = list(read_rows(opened))
        assert [row.problem for row in rows] == [None] * len(rows)
        found = {}
        for row in rows:
            with opened.open(row.images[0]) as file:
                found[str(row.product_id)] = file.read()
        return found


UPLOADS = {
    "zip": archive(FILES),
    "tar": tar(FILES),
    "tgz": tar(FILES, "gz"),
    "tzst": pa.compress(tar(FILES), "zstd", asbytes=True),
}


@pytest.mark.parametrize("ending", UPLOADS)
def test_an_uploaded_archive(make: Callable[..., ImportSources], store: ImageStore, ending: str) -> None:
    name = f"{KEY}-upload.{ending}"
    store.put_stream(name, [UPLOADS[ending]], "imports", 10**8)
    assert read(make(), {"archive": name}) == {"p1": b"a picture"}
    store.delete(name, "imports")
    with pytest.raises(InvalidManifest, match="upload it again"):
        read(make(), {"archive": name}, "job-2")


@pytest.mark.parametrize("name", ["goods.zip", "goods.tar", "goods.tar.gz", "goods.tar.zst", "goods"])
def test_what_lies_on_the_server(make: Callable[..., ImportSources], tmp_path: Path, name: str) -> None:
    place = tmp_path / "open" / name
    place.parent.mkdir()
    if name == "goods":
        (place / "pictures").mkdir(parents=True)
        (place / "products.csv").write_text(MANIFEST)
        (place / "pictures" / "a.jpg").write_bytes(b"a picture")
        assert read(make(), {"path": str(place / "products.csv")}) == {"p1": b"a picture"}
    else:
        ending = {".zip": "zip", ".tar": "tar", ".gz": "tgz", ".zst": "tzst"}[place.suffix]
        place.write_bytes(UPLOADS[ending])
    assert read(make(), {"path": str(place)}) == {"p1": b"a picture"}


def test_the_roots_are_checked_again_when_the_import_is_read(
    make: Callable[..., ImportSources], tmp_path: Path
) -> None:
    inside, outside = tmp_path / "open" / "goods", tmp_path / "secret"
    inside.parent.mkdir()
    outside.mkdir()
    (outside / "products.csv").write_text(MANIFEST)
    inside.symlink_to(outside)
    for path in (inside, outside, inside / "products.csv", tmp_path / "open" / ".." / "secret"):
        with pytest.raises(Refused, match="import roots"):
            read(make(), {"path": str(path)})
    with pytest.raises(InvalidManifest, match="does not exist any more"):
        read(make(), {"path": str(tmp_path / "open" / "gone")})
    # The control: with the outside allowed, the same link is read.
    assert make(roots=(str(outside),)).open("j", {"path": str(inside)}, lambda: None).__enter__()


def test_a_compressed_tar_is_unpacked_once_and_under_the_cap(
    make: Callable[..., ImportSources], store: ImageStore
) -> None:
    name, made = f"{KEY}-upload.tgz", f"{derived_name_prefix('job-1')}-unpacked.tar"
    store.put_stream(name, [UPLOADS["tgz"]], "imports", 10**8)
    with pytest.raises(InvalidManifest, match="unpacks to over 1,000 bytes"):
        read(make(max_import_bytes=1_000), {"archive": name})
    assert not store.exists(made, "imports")
    assert read(make(), {"archive": name}) == {"p1": b"a picture"}
    assert store.exists(made, "imports")
    # Other chunks read what the first one unpacked: the upload is not touched again.
    store.delete(name, "imports")
    assert read(make(), {"archive": name}) == {"p1": b"a picture"}


def test_a_tar_bomb_leaves_nothing_on_the_disk(
    make: Callable[..., ImportSources], store: ImageStore, tmp_path: Path
) -> None:
    name = f"{KEY}-upload.tgz"
    store.put_stream(name, [gzip.compress(bytes(1 << 20)) * 300], "imports", 10**9)
    with pytest.raises(InvalidManifest, match="100 times its size"):
        read(make(max_import_bytes=10**10), {"archive": name})
    left = [file for file in (tmp_path / "store").rglob("*") if file.is_file()]
    assert [file.name for file in left] == [name]


def test_long_unpacking_says_that_it_is_alive_and_can_be_stopped(
    make: Callable[..., ImportSources], store: ImageStore
) -> None:
    class Stopped(Exception):
        pass

    def stop() -> None:
        raise Stopped

    name = f"{KEY}-upload.tgz"
    store.put_stream(name, [UPLOADS["tgz"]], "imports", 10**8)
    with pytest.raises(Stopped):
        make().open("job-1", {"archive": name}, stop).__enter__()
    assert not store.exists(f"{derived_name_prefix('job-1')}-unpacked.tar", "imports")


def test_the_index_of_an_archive_is_kept_for_the_chunks_of_its_job(
    make: Callable[..., ImportSources], store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexed: list[str] = []
    real = index_archive

    def watch(file: Any, ending: str, caps: Caps) -> Any:
        indexed.append(ending)
        return real(file, ending, caps)

    monkeypatch.setattr(opening, "index_archive", watch)
    sources, name = make(), f"{KEY}-upload.zip"
    store.put_stream(name, [UPLOADS["zip"]], "imports", 10**8)
    for _ in range(3):
        assert read(sources, {"archive": name}) == {"p1": b"a picture"}
    assert indexed == ["zip"]
    for job in ("job-2", "job-3", "job-1"):
        read(sources, {"archive": name}, job)
    assert indexed == ["zip"] * 4  # the least used of three had gone


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_a_manifest_alone_whose_images_are_objects(
    make: Callable[..., ImportSources], store: ImageStore, s3: Any, endpoint: str, ending: str
) -> None:
    s3.put_object(Bucket=s3.bucket, Key="open/a.jpg", Body=b"a picture")
    s3.put_object(Bucket=s3.bucket, Key="closed/a.jpg", Body=b"a secret")
    address = f"s3://{s3.bucket}/open/a.jpg"
    data = {
        "csv": f"product_id,images\np1,{address}\n".encode(),
        "jsonl": f'{{"product_id": "p1", "image": "{address}"}}'.encode(),
        "parquet": parquet(address),
    }[ending]
    name = f"{KEY}-upload.{ending}"
    store.put_stream(name, [data], "imports", 10**8)
    sources = make(access=S3Access(endpoint, **CREDENTIALS), roots=(f"s3://{s3.bucket}/open",))
    assert read(sources, {"archive": name}) == {"p1": b"a picture"}
    with sources.open("job-1", {"archive": name}, lambda: None) as opened:
        with pytest.raises(Refused, match="import roots"):
            opened.open(f"s3://{s3.bucket}/closed/a.jpg")
        with pytest.raises(ImageMissing, match="only the manifest was sent"):
            opened.open("a.jpg")


@pytest.mark.parametrize("manifest", ["products.csv", "products.parquet", None])
def test_an_s3_prefix(
    make: Callable[..., ImportSources], s3: Any, endpoint: str, manifest: str | None
) -> None:
    sources = make(access=S3Access(endpoint, **CREDENTIALS), roots=(f"s3://{s3.bucket}/open",))
    s3.put_object(Bucket=s3.bucket, Key="secret.jpg", Body=b"secret")
    s3.put_object(Bucket=s3.bucket, Key="open/goods/pictures/a.jpg", Body=b"a picture")
    s3.put_object(Bucket=s3.bucket, Key="open/goods-not/b.jpg", Body=b"b picture")
    prefix = f"s3://{s3.bucket}/open/goods"
    if manifest is None:
        assert read(sources, {"s3": prefix}) == {"pictures": b"a picture"}
    else:
        body = MANIFEST.encode() if manifest.endswith("csv") else parquet("pictures/a.jpg")
        s3.put_object(Bucket=s3.bucket, Key=f"open/goods/{manifest}", Body=body)
        for source in (prefix, f"{prefix}/{manifest}"):
            assert read(sources, {"s3": source}) == {"p1": b"a picture"}
    with sources.open("job-1", {"s3": prefix}, lambda: None) as opened:
        for name in (
            "../../secret.jpg",
            "../goods-not/b.jpg",
            "gone.jpg",
            "/secret.jpg",
            "a\0.jpg",
            "..",
            "",
        ):
            with pytest.raises(ImageMissing):
                opened.open(name)
        assert opened.open("./pictures//a.jpg").read() == b"a picture"


@pytest.mark.parametrize("ending", ["zip", "tar", "tgz"])
def test_an_archive_in_s3(make: Callable[..., ImportSources], s3: Any, endpoint: str, ending: str) -> None:
    s3.put_object(Bucket=s3.bucket, Key=f"goods.{ending}", Body=UPLOADS[ending])
    sources = make(access=S3Access(endpoint, **CREDENTIALS), roots=(f"s3://{s3.bucket}",))
    assert read(sources, {"s3": f"s3://{s3.bucket}/goods.{ending}"}) == {"p1": b"a picture"}
    with pytest.raises(InvalidManifest, match="does not exist"):
        read(sources, {"s3": f"s3://{s3.bucket}/gone.{ending}"}, "job-2")
    with pytest.raises(Refused, match="import roots"):
        read(sources, {"s3": "s3://elsewhere/goods.zip"}, "job-3")


def test_many_objects_are_listed_page_by_page_and_the_top_first(
    s3: Any, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.imports.s3._PAGE_KEYS", 3)
    keys = [f"goods/{n}.jpg" for n in range(7)] + [f"goods/sub{n}/x.jpg" for n in range(4)]
    for key in [*keys, "goods-not/y.jpg"]:
        s3.put_object(Bucket=s3.bucket, Key=key, Body=b"x")
    source = S3Source(s3_files(S3Access(endpoint, **CREDENTIALS)), f"s3://{s3.bucket}/goods", None, 10)
    names = list(source.names())
    assert sorted(names) == sorted(key.removeprefix("goods/") for key in keys)
    assert [name.count("/") for name in names] == [0] * 7 + [1] * 4


def test_an_object_is_read_up_to_the_limit_of_an_image(s3: Any, endpoint: str) -> None:
    s3.put_object(Bucket=s3.bucket, Key="goods/a.jpg", Body=b"x" * 5000)
    s3.put_object(Bucket=s3.bucket, Key="goods/empty.jpg", Body=b"")
    source = S3Source(s3_files(S3Access(endpoint, **CREDENTIALS)), f"s3://{s3.bucket}/goods", None, 1000)
    assert len(source.open("a.jpg").read()) == 1001
    assert source.open("empty.jpg").read() == b""


def test_an_s3_that_does_not_answer_is_no_fault_of_the_import(make: Callable[..., ImportSources]) -> None:
    nowhere = S3Access("http://127.0.0.1:1", **CREDENTIALS)
    sources = make(access=nowhere, roots=("s3://goods",))
    for source in ("s3://goods/winter", "s3://goods/products.csv", "s3://goods/all.zip"):
        with pytest.raises(StorageUnavailable):
            read(sources, {"s3": source})


def test_a_manifest_behind_an_address_is_fetched_once(
    make: Callable[..., ImportSources], store: ImageStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def fetch(url: str, max_bytes: int, take: Callable[[Any], Any], deadline_s: float) -> Any:
        asked.append(url)
        return take([MANIFEST.encode()[:5], MANIFEST.encode()[5:]])

    def fetch_image(url: str, max_bytes: int, deadline_s: float) -> bytes:
        asked.append(url)
        return b"a picture"

    monkeypatch.setattr(opening, "fetch", fetch)
    monkeypatch.setattr(opening, "fetch_image", fetch_image)
    source = {"url": "https://shop.example/feeds/products.csv?key=1"}
    with pytest.raises(Refused, match="VITRINE_WEB__URL_IMPORT"):
        read(make(), source)
    for _ in range(2):
        assert read(make(addresses=True), source) == {"p1": b"a picture"}
    picture = "https://shop.example/feeds/pictures/a.jpg"
    assert asked == [source["url"], picture, picture]
    assert store.exists(f"{derived_name_prefix('job-1')}-fetched.feed", "imports")


def test_an_address_inside_the_private_network_ends_the_import(make: Callable[..., ImportSources]) -> None:
    with pytest.raises(Refused, match="private network"):
        read(make(addresses=True), {"url": "http://127.0.0.1/products.csv"})
    with pytest.raises((Unreachable, Refused)):
        read(make(addresses=True), {"url": "https://nothing.invalid/products.csv"})


def test_a_job_without_files_has_none(make: Callable[..., ImportSources]) -> None:
    with make().open("job-1", {}, lambda: None) as opened:
        assert list(opened.names()) == []


def test_what_a_job_made_of_its_source_goes_with_the_job(tmp_path: Path) -> None:
    shop = open_shop(tmp_path)
    going, ended = (shop.parts.jobs.create_import("demo", {"archive": f"{n}-upload.tgz"}).id for n in "12")
    assert shop.client.post(f"/v1/jobs/{ended}/cancel").json["state"] == "cancelled"
    names = {
        job: {
            f"{n}-upload.tgz",
            f"{derived_name_prefix(job)}-unpacked.tar",
            f"{derived_name_prefix(job)}-fetched.csv",
        }
        for n, job in (("1", going), ("2", ended))
    }
    stored = sorted(names[going] | names[ended])
    assert set(expired_imports(shop.parts.database, stored, keep_s=0.0)) == names[ended]
    assert set(expired_imports(shop.parts.database, stored, keep_s=3600.0)) == set()
