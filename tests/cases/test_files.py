"""Files that cannot be read or have odd names: none disappears (cases 01, 04, 05, 07, 25)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from cli.pack import packed_import
from shared.contracts import JobOut
from shared.errors import ImageMissing, InvalidManifest
from shared.imports.manifest import read_rows
from shared.imports.sources import FolderSource
from shared.jobs.dry_runs import DryRuns
from tests.builders import jpeg
from tests.cases.feeds import workbook
from tests.cases.folders import sent, write
from tests.packing import archive, opened, pictures
from tests.shop import Shop


def send(shop: Shop, path: Path, **options: object) -> JobOut:
    """Import what the client packs of a folder."""
    with packed_import(path, lambda done, total: None) as file:
        data = file.read_bytes()
    name = f"{os.urandom(32).hex()}-archive.zip"
    shop.store.put_stream(name, [data], "imports", 10**8)
    job = shop.jobs.create_import("shop", {"archive": name}, options=options).id
    shop.work()
    return shop.jobs.status(job)


def failures(shop: Shop, job: JobOut) -> dict[str, str]:
    """The sentences of a job's failures by the names of their files."""
    return {f.image or "": f.message for f in shop.jobs.failures(job.id, None, 100).failures}


def product_ids(shop: Shop) -> set[str]:
    from sqlalchemy import select

    from shared.database.tables import Product

    with shop.database.read() as session:
        return set(session.scalars(select(Product.product_id)))


def unreadable(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forbid to open a file, for root too."""
    real = os.open

    def refuse(name: str | Path, flags: int, *more: int, **others: Any) -> int:
        if str(name) == str(path.resolve()):
            raise PermissionError(13, "Permission denied", str(name))
        return real(name, flags, *more, **others)

    monkeypatch.setattr(os, "open", refuse)


def test_a_sync_keeps_the_product_of_a_photo_that_cannot_be_read(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Case 01."""
    folder = write(tmp_path / "in", {f"chair-{n}.jpg": jpeg(seed=n, width=64, height=64) for n in range(5)})
    assert send(shop, folder).counts.new == 5
    unreadable(folder / "chair-0.jpg", monkeypatch)
    job = send(shop, folder, mode="sync")
    assert (job.state, job.counts.unchanged, job.counts.deleted, job.counts.failed) == ("succeeded", 4, 0, 1)
    assert "'chair-0.jpg' cannot be read: Permission denied" in failures(shop, job)["chair-0.jpg"]
    assert "chair-0" in product_ids(shop)


@pytest.mark.parametrize("change", ["link", "ending", "not-utf8", "backslash", "linked-folder", "gone"])
def test_a_sync_deletes_nothing_for_an_odd_file(shop: Shop, tmp_path: Path, change: str) -> None:
    """Case 01, its variants; ``gone`` is the control, which deletes."""
    files = {f"chair-{n}.jpg": jpeg(seed=n, width=64, height=64) for n in range(4)}
    folder = write(tmp_path / "in", {**files, "lamp/a.jpg": jpeg(seed=9, width=64, height=64)})
    assert send(shop, folder).counts.new == 5
    first = folder / "chair-0.jpg"
    if change == "link":
        first.rename(tmp_path / "elsewhere.jpg")
        first.symlink_to(tmp_path / "elsewhere.jpg")
    elif change == "ending":
        first.rename(folder / "chair-0.jxl")
    elif change == "not-utf8":
        first.rename(os.fsdecode(os.fsencode(folder) + b"/st\xfchl.jpg"))
    elif change == "backslash":
        first.rename(folder / "chair-0\\front.jpg")
    elif change == "linked-folder":
        (folder / "lamp").rename(tmp_path / "lamp")
        (folder / "lamp").symlink_to(tmp_path / "lamp")
    else:
        first.unlink()
    job = send(shop, folder, mode="sync")
    assert job.state == "succeeded", job.error
    assert job.counts.deleted == (1 if change == "gone" else 0)
    listed = " ".join([*failures(shop, job), *failures(shop, job).values()])
    words = {
        "link": "leads out of the folder",
        "not-utf8": "st\\xfchl.jpg",
        "linked-folder": "'lamp' is a link to a folder",
    }
    assert words.get(change, "") in listed
    assert job.counts.failed == (change in words)


def test_links_out_of_the_folder_are_named(tmp_path: Path) -> None:
    """Case 07."""
    outside = write(tmp_path / "elsewhere", pictures(1))
    plain = write(tmp_path / "plain", {"p.jpg": b"x"})
    (plain / "chair.jpg").symlink_to(outside / "p0.jpg")
    (plain / "dangling.jpg").symlink_to(outside / "gone.jpg")
    listed = write(tmp_path / "listed", {"products.csv": "product_id,images\na-1,photos/p0.jpg\n"})
    (listed / "photos").symlink_to(outside)
    for folder, name, words in (
        (plain, "chair.jpg", "leads out of the folder"),
        (plain, "dangling.jpg", "no file 'dangling.jpg'"),
        (listed, "photos/p0.jpg", "leads out of the folder"),
    ):
        with sent(folder) as source:
            assert name in [image for row in read_rows(source) for image in row.images]
            for each in (source, FolderSource(folder)):
                with pytest.raises(ImageMissing, match=words):
                    each.open(name)


def test_photos_with_other_endings_are_taken(shop: Shop, tmp_path: Path) -> None:
    """Case 05."""
    names = ["p0.jpg", "table.jfif", "Bank.JPE", "noext", "sofa.JPG", "a.jif", "b.pjpeg", "c.new"]
    files: dict[str, bytes | str] = {n: jpeg(seed=k, width=64, height=64) for k, n in enumerate(names)}
    others: dict[str, bytes | str] = {
        "desk.jxl": b"\377\012",
        "raw.CR2": b"II*\0\x10\0\0\0CR",
        "logo.svg": "<svg/>",
        "spec.pdf": "%PDF-1.7",
    }
    system: dict[str, bytes | str] = {
        "Thumbs.db": b"x",
        "desktop.ini": "x",
        ".DS_Store": "x",
        "__MACOSX/p0.jpg": "x",
    }
    job = send(shop, write(tmp_path / "in", {**files, **others, **system}))
    assert (job.counts.new, job.counts.failed) == (len(names), len(others))
    assert set(failures(shop, job)) == set(others)
    assert "an SVG drawing" in failures(shop, job)["logo.svg"]
    assert {"table", "Bank", "noext", "sofa", "a", "b", "c"} <= product_ids(shop)


@pytest.mark.parametrize("kind", ["json", "ndjson", "tsv", "xlsx", "xml", "txt"])
@pytest.mark.parametrize("name", ["products", "export"])
def test_a_manifest_with_another_ending_is_read(tmp_path: Path, kind: str, name: str) -> None:
    """Case 04."""
    texts: dict[str, bytes | str] = {
        "json": '[{"product_id":"a-1","title":"Chair","price":"10","images":["p0.jpg"]}]',
        "ndjson": '{"product_id":"a-1","title":"Chair","images":["p0.jpg"]}\n',
        "tsv": "product_id\ttitle\timages\na-1\tChair\tp0.jpg\n",
        "txt": "id\ttitle\timage link\na-1\tChair\tp0.jpg\n",
        "xml": "<rss><item><id>a-1</id><title>Chair</title><image_link>p0.jpg</image_link></item></rss>",
        "xlsx": workbook([["product_id", "title", "images"], ["a-1", "Chair", "p0.jpg"]]),
    }
    folder = write(tmp_path, {"p0.jpg": b"x", f"{name}.{kind}": texts[kind]})
    for source in (
        FolderSource(folder),
        opened(archive({p.name: p.read_bytes() for p in folder.iterdir()}, 8)),
    ):
        (row,) = read_rows(source)
        assert (row.product_id, row.images) == ("a-1", ["p0.jpg"])
    with sent(folder) as source:
        assert [row.product_id for row in read_rows(source)] == ["a-1"]
        assert source.open("p0.jpg").read() == b"x"


def test_a_broken_manifest_beside_photos_is_refused_and_not_passed_over(tmp_path: Path) -> None:
    write(tmp_path, {"p0.jpg": b"x", "products.xlsx": b"PK\003\004xxxx"})
    with pytest.raises(InvalidManifest, match=r"products.xlsx is no Excel workbook"):
        list(read_rows(FolderSource(tmp_path)))


def test_a_csv_below_the_photos_is_no_manifest(tmp_path: Path) -> None:
    """Case 25."""
    write(tmp_path, {"p.jpg": b"x", "exif/metadata.csv": "SourceFile,Date\na,b\n", "exif/b.csv": "x,y\n"})
    rows = list(read_rows(FolderSource(tmp_path)))
    assert [(row.product_id, row.file) for row in rows] == [
        ("p", None),
        (None, "exif/b.csv"),
        (None, "exif/metadata.csv"),
    ]
    assert "exif/metadata.csv has the columns SourceFile, Date and no product_id" in str(rows[2].problem)
    with sent(tmp_path) as source:
        assert [row.problem for row in read_rows(source)] == [row.problem for row in rows]


def test_a_csv_beside_the_photos_is_named_with_its_columns(tmp_path: Path) -> None:
    write(tmp_path, {"p.jpg": b"x", "metadata.csv": "SourceFile,Date\na,b\n"})
    with pytest.raises(InvalidManifest, match=r"metadata.csv has the columns SourceFile, Date"):
        list(read_rows(FolderSource(tmp_path)))


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        ("www.shop.example/a.jpg", "begin it with https://"),
        ("data:image/png;base64,iVBORw0KGgo=", "save it as a file"),
        ("ftp://shop.example/a.jpg", "use an https:// address"),
        ("C:\\Fotos\\a.jpg", "a place on another computer"),
        ("gone.jpg", "There is no file 'gone.jpg'"),
    ],
)
def test_what_no_file_can_be_says_what_to_write(tmp_path: Path, cell: str, sentence: str) -> None:
    """Case 21."""
    write(tmp_path, {"products.tsv": f"product_id\timages\na-1\t{cell}\n"})
    with sent(tmp_path) as packed:
        for source in (FolderSource(tmp_path), packed):
            ((name,),) = [row.images for row in read_rows(source)]
            with pytest.raises(ImageMissing, match=sentence):
                source.open(name)


def test_a_malformed_address_is_refused_at_once(shop: Shop) -> None:
    """Case 09: the others go in, and nothing is tried again."""
    cells = [
        "p0.jpg",
        "https://[cdn]/a.jpg",
        "http://shop.example:99999/a.jpg",
        "https://",
        "https://a b/c.jpg",
    ]
    lines = "".join(f"g-{n},{cell}\n" for n, cell in enumerate(cells))
    job = shop.jobs.status(shop.import_files({**pictures(1), "products.csv": f"product_id,images\n{lines}"}))
    assert (job.state, job.counts.new, job.counts.failed) == ("succeeded", 1, 4)
    found = shop.jobs.failures(job.id, None, 100).failures
    assert {f.reason for f in found} <= {"invalid_input", "refused"}


def test_a_dry_run_creates_nothing(shop: Shop) -> None:
    job = shop.accept_import({**pictures(1)}, "fresh", dry_run=True)
    shop.done(job)
    assert shop.jobs.status(job).catalogue == "fresh"
    assert [c.name for c in shop.catalogue.list_catalogues()] == ["shop"]


def test_the_import_of_a_dry_run_creates_the_catalogue_and_keeps_its_mapping(shop: Shop) -> None:
    files: dict[str, bytes | str] = {**pictures(1), "products.csv": "Nr,Text,Foto1\n7,Stuhl,p0.jpg\n"}
    mapping = {"product_id": ["Nr"], "title": ["Text"], "images": ["Foto1"]}
    first = shop.accept_import(files, "fresh", dry_run=True, mapping=mapping)
    shop.done(first)
    report = shop.jobs.status(first).report
    assert report is not None
    columns = report["dry_run"]["manifest"]["columns"]
    assert {c["column"]: c["field"] for c in columns} == {
        "Nr": "product_id",
        "Text": "title",
        "Foto1": "images",
    }
    (product,) = report["dry_run"]["products"]
    assert (product["product_id"], product["titles"]) == ("7", {"en": "Stuhl"})
    assert product["picture"].startswith("data:image/jpeg;base64,")
    job = DryRuns(shop.database).start(first).id
    shop.done(job)
    assert shop.jobs.status(job).counts.new == 1
    assert shop.catalogue.import_mapping("fresh") == mapping
    again = shop.accept_import({**files, "products.csv": "Nr,Text,Foto1\n7,Sessel,p0.jpg\n"}, "fresh")
    shop.done(again)
    assert shop.jobs.status(again).counts.changed == 1, "the kept mapping is used"
    other = DryRuns(shop.database).check_again(first, {**mapping, "ignore": ["Text"]}).id
    shop.done(other)
    found = shop.jobs.status(other).report
    assert found is not None
    assert "titles" not in found["dry_run"]["products"][0]
