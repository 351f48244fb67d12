"""Manifests are read in memory that does not grow with them: a child process is asked for its peak."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
MIB = 2**20
ROWS = 60_000
#: Buffers, a batch of rows and what the allocator keeps; the rows themselves are twice this and more.
ALLOWED = 48 * MIB

#: Reads the named sources one after the other; prints for each its good rows, its bad rows, and the peak.
READ = """
import sys
from pathlib import Path
from shared.imports.archives import ArchiveSource, Caps, index_archive
from shared.imports.sources import FolderSource
from shared.imports.manifest import read_rows

keep = []
for name in sys.argv[2:]:
    path = Path(name)
    if path.suffix == ".zip":
        file = path.open("rb")
        source = ArchiveSource(file, index_archive(file, "zip", Caps()))
    else:
        source = FolderSource(path.parent, path.name)
    good = bad = 0
    for row in read_rows(source):
        good, bad = good + (row.problem is None), bad + (row.problem is not None)
        if sys.argv[1] == "hold":
            keep.append(row)
    peak = next(l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("VmHWM"))
    print(good, bad, int(peak.split()[1]) * 1024)
"""


def read(*paths: Path, how: str = "stream") -> list[tuple[int, int, int]]:
    ran = subprocess.run(
        [sys.executable, "-c", READ, how, *map(str, paths)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    return [tuple(map(int, line.split())) for line in ran.stdout.splitlines()]  # type: ignore[misc]


def lines(ending: str, rows: int) -> Iterator[str]:
    note = "n" * 300
    if ending == "csv":
        yield "product_id,title,price,image,note\n"
    for n in range(rows):
        if ending == "csv":
            yield f"p{n},Chair {n},12.50,a/{n}.jpg,{note}\n"
        else:
            yield f'{{"product_id": "p{n}", "title": "Chair", "image": "a/{n}.jpg", "note": "{note}"}}\n'


def write(folder: Path, ending: str, rows: int) -> Path:
    path = folder / f"rows-{rows}.{ending}"
    if ending == "parquet":
        ids = [f"p{n}" for n in range(rows)]
        notes = [f"{n:0300d}" for n in range(rows)]  # all different, so that no dictionary holds them
        # One row group: memory must not follow the row group's size either.
        pq.write_table(pa.table({"product_id": ids, "image": ids, "note": notes}), path, row_group_size=rows)
    else:
        with path.open("w") as file:
            file.writelines(lines(ending, rows))
    return path


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_memory_does_not_grow_with_the_rows(tmp_path: Path, ending: str) -> None:
    first, second = read(write(tmp_path, ending, 3_000), write(tmp_path, ending, ROWS))
    assert (first[:2], second[:2]) == ((3_000, 0), (ROWS, 0))
    assert second[2] - first[2] < ALLOWED


def test_the_control_that_holds_the_rows_grows(tmp_path: Path) -> None:
    first, second = read(write(tmp_path, "csv", 3_000), write(tmp_path, "csv", ROWS), how="hold")
    assert second[2] - first[2] > ALLOWED


def test_a_cell_of_a_hundred_megabytes_costs_a_line_and_no_memory(tmp_path: Path) -> None:
    """Row B17: the line is passed over piece by piece."""
    small = write(tmp_path, "csv", 3_000)
    hostile = tmp_path / "hostile.csv"
    with hostile.open("w") as file:
        file.write("product_id,title,image\np1,a,a.jpg\np2,")
        for _ in range(100):
            file.write("x" * MIB)
        file.write(",b.jpg\n" + "," * 1_000_000 + "\np3,c,c.jpg\n")
    first, second = read(small, hostile)
    assert second[:2] == (2, 2)
    assert second[2] - first[2] < ALLOWED


def test_a_manifest_over_the_size_of_an_image_is_read_out_of_a_zip_as_a_stream(tmp_path: Path) -> None:
    small, packed = write(tmp_path, "jsonl", 3_000), tmp_path / "goods.zip"
    rows, noise = 2_200, os.urandom(100_000).hex()
    with (
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file,
        file.open("products.jsonl", "w") as manifest,
    ):
        for n in range(rows):
            # Text that comes again only after more than deflate looks back: it hardly gets smaller.
            note = noise[n : n + 100_000]
            manifest.write(f'{{"product_id": "p{n}", "image": "a.jpg", "note": "{note}"}}\n'.encode())
    with zipfile.ZipFile(packed) as file:
        assert file.getinfo("products.jsonl").file_size > 200_000_000
    first, second = read(small, packed)
    assert second[:2] == (rows, 0)
    assert second[2] - first[2] < ALLOWED
