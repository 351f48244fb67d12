"""Twenty hostile files of each format cost little: processor time, memory, and never the process."""

from __future__ import annotations

import contextlib
import io
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.errors import ImageTooLarge, InvalidInput, InvalidManifest, VitrineError
from shared.images import CATALOGUE_FORMATS, ImageLimits, decode, probe
from shared.imports.archives import ArchiveSource, Caps, index_archive
from shared.imports.formats import Format
from shared.imports.manifest import read_rows
from shared.imports.sandboxed import BUDGET, sandboxed_records
from shared.imports.sources import ManifestAlone
from shared.sandbox.budget import Budget, memory_for
from shared.sandbox.pool import ChildPool, PictureSandbox
from tests import builders, hostile, hostile_manifests

pytestmark = pytest.mark.slow

#: What shoppers may send, in every format that is read at all.
LIMITS = ImageLimits(max_pixels=16_000_000, formats=CATALOGUE_FORMATS)
MAX_CHILD_BYTES = 300_000_000
#: Of the processor time of one ordinary file of its kind; hostile ones that were found took hundreds.
MARGIN = 8.0


@pytest.fixture(scope="module")
def pool() -> Iterator[ChildPool]:
    pool = ChildPool(1)
    yield pool
    pool.close()


@pytest.fixture(scope="module")
def sandbox(pool: ChildPool) -> PictureSandbox:
    # Twice the processor time that the test allows, so that it sees what is over.
    return PictureSandbox(pool, LIMITS, Budget(memory_for(LIMITS.max_pixels), 20.0, 300.0), 60.0)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def peak_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def cost(pool: ChildPool, sandbox: PictureSandbox, data: bytes) -> float:
    """Return the processor time of one picture; fail where it took too much memory or its child."""
    pool.warm_up()
    (pid,) = pool.pids()
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    began_s = cpu_s(pid)
    with contextlib.suppress(InvalidInput):
        sandbox.normalise(data, 1280, 1_000_000)
    assert pool.pids() == [pid], "the child did not survive"
    assert peak_bytes(pid) < MAX_CHILD_BYTES
    return cpu_s(pid) - began_s


@pytest.mark.parametrize("format", sorted(hostile.PICTURES))
def test_hostile_pictures_cost_little(pool: ChildPool, sandbox: PictureSandbox, format: str) -> None:
    files = hostile.PICTURES[format]()
    assert len(files) >= 20
    # A large photo, noisy as photos are.
    ordinary_s = cost(pool, sandbox, builders.encoded(builders.picture(1, 4000, 3000, 200), "PNG"))
    dear = {name: cost(pool, sandbox, data) for name, data in files.items()}
    assert {name: spent for name, spent in dear.items() if spent > MARGIN * max(ordinary_s, 0.1)} == {}


def rows_of(kind: str, data: bytes) -> int:
    if kind in ("zip", "tar"):
        file = io.BytesIO(data)
        return sum(1 for _ in read_rows(ArchiveSource(file, index_archive(file, kind, Caps()))))
    return sum(1 for _ in read_rows(ManifestAlone(f"manifest.{kind}", lambda: io.BytesIO(data))))


def spent_s() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


@pytest.mark.parametrize("kind", sorted(hostile_manifests.MANIFESTS))
def test_hostile_manifests_cost_little(kind: str) -> None:
    files = hostile_manifests.MANIFESTS[kind]()
    assert len(files) >= 20
    ordinary = b"product_id,title,image\n" + b"".join(b"p%d,Chair,%d.jpg\n" % (n, n) for n in range(20_000))
    began_s = spent_s()
    assert rows_of("csv", ordinary) == 20_000
    # And as much memory as a file may take, touched once: on some hosts that alone is expensive.
    bytearray(MAX_CHILD_BYTES)[::4096] = b"x" * len(range(0, MAX_CHILD_BYTES, 4096))
    ordinary_s, dear = spent_s() - began_s, {}
    for name, data in files.items():
        began_s = spent_s()
        with contextlib.suppress(VitrineError):
            rows_of(kind, data)
        dear[name] = spent_s() - began_s
    assert {name: spent for name, spent in dear.items() if spent > MARGIN * max(ordinary_s, 0.2)} == {}


def test_a_run_of_fill_bytes_is_refused_in_linear_time(pool: ChildPool, sandbox: PictureSandbox) -> None:
    """C1: twice the run took four times as long, and 150 kB two minutes."""
    small = builders.jpeg(1, 64, 64)
    end = small.rindex(b"\xff\xd9")
    for length in (150_000, 19_000_000):
        data = small[:end] + b"\xff" * length + b"\0" + small[end:]
        assert cost(pool, sandbox, data) < 1.0
        with pytest.raises(InvalidInput, match="more parts"):
            sandbox.probe(data)


@pytest.mark.parametrize(("side_px", "said_px"), [(4_300, 512), (4_300, 4_000)])
def test_an_avif_is_as_large_as_its_bitstream_says(side_px: int, said_px: int) -> None:
    """H2: the box said 512 squared, the frame had 16,000 squared."""
    with pytest.raises(ImageTooLarge, match="16 megapixels"):
        probe(hostile.lying_avif(side_px, said_px), LIMITS)
    assert probe(hostile.lying_avif(side_px, said_px), ImageLimits()).width == said_px, (
        "the control is within"
    )


def test_a_jpeg_of_48_megapixels_is_a_photo_and_a_png_is_not(sandbox: PictureSandbox) -> None:
    """H3: phones send the one; the other takes 600 MB."""
    assert sandbox.normalise(hostile.flat(6_900, "JPEG"), 1280, 1_000_000).width == 1280
    with pytest.raises(ImageTooLarge, match=r"16 megapixels, the maximum \(a baseline JPEG may have 50\)"):
        sandbox.normalise(builders.png(6_900, 6_900, bytes(6_901 * 6_900)), 1280, 1_000_000)
    with pytest.raises(ImageTooLarge, match="16 megapixels"):
        sandbox.normalise(hostile.flat(6_900, "JPEG", progressive=True), 1280, 1_000_000)


@pytest.mark.parametrize("data", ["lying", "honest", "repeated"])
def test_a_parquet_value_larger_than_the_budget_is_refused_by_its_child(data: str) -> None:
    """H4: 4.5 GB for the honest one, 10 GB for the one whose footer lies."""
    made = {
        "lying": hostile_manifests.lying_parquet,
        "honest": hostile_manifests.one_value_of_250_mb,
        "repeated": lambda: hostile_manifests.repeated(20_000_000, 10_000),
    }[data]()
    Path("/proc/self/clear_refs").write_text("5")
    before = peak_bytes(os.getpid())
    with pytest.raises(InvalidManifest, match=r"^feed\.parquet: .*(memory|bytes each|times its size)"):
        list(sandboxed_records(io.BytesIO(made), "feed.parquet", Format.PARQUET))
    assert peak_bytes(os.getpid()) - before < 50_000_000, "it was this process that unpacked it"


def test_without_the_fence_the_same_files_go_over(pool: ChildPool) -> None:
    """The control: what is refused above costs what it says when no limit stands in its way."""
    large = hostile.flat(4_300, "WEBP", lossless=True)
    wide = PictureSandbox(pool, ImageLimits(), Budget(2 * 10**9, 60.0, 300.0), 60.0)
    pool.warm_up()
    (pid,) = pool.pids()
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    assert wide.decode(large).shape == decode(large, ImageLimits()).shape
    assert peak_bytes(pid) > MAX_CHILD_BYTES
    value = hostile_manifests.one_value_of_250_mb()
    roomy = Budget(8 * 10**9, BUDGET.cpu_s, BUDGET.wall_s)
    with pytest.raises(InvalidManifest, match="bytes each"):
        list(sandboxed_records(io.BytesIO(value), "feed.parquet", Format.PARQUET, roomy))
    assert 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss > MAX_CHILD_BYTES
