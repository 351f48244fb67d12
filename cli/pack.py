"""Pack a folder, or a manifest with its images, into one file for an import."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from shared.errors import ImageMissing, InvalidInput, StorageUnavailable
from shared.imports.kinds import archive_ending, is_manifest
from shared.imports.manifest import find_manifest, read_rows
from shared.imports.sources import FolderSource

#: Called with the number of packed files and their total.
Packed = Callable[[int, int], None]
_PIECE_BYTES = 1 << 20
_LOOKS_WHOLE: dict[str, Callable[[Path], bool]] = {
    "zip": zipfile.is_zipfile,
    "tar": tarfile.is_tarfile,
    "tgz": tarfile.is_tarfile,
    "tzst": lambda path: path.stat().st_size > 0,  # Python has no zstd: the server checks it
}


@contextlib.contextmanager
def packed_import(path: Path, on_packed: Packed) -> Iterator[Path]:
    """Yield one file to upload: ``path`` itself if it is an archive, else a temporary zip file.

    Images are stored uncompressed, because they are compressed already. Missing ones are left out, and the
    job lists them as failures. The server fetches images that are named by address.

    Raises:
        InvalidInput: ``path`` cannot be imported.
        InvalidManifest: the manifest cannot be read.
        StorageUnavailable: no disk space for the temporary file.
    """
    if path.is_file() and (ending := archive_ending(path.name)) is not None:
        if not _LOOKS_WHOLE[ending](path):
            raise InvalidInput(f"{path} is not a complete {path.suffix[1:]} file: pack it again.", "path")
        yield path
        return
    source = _source(path)
    with tempfile.TemporaryDirectory(prefix="vitrine-import-") as folder:
        archive = Path(folder) / "import.zip"
        try:
            _pack(source, archive, on_packed)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise InvalidInput(f"{path} cannot be packed: {error}", "path") from error
            raise StorageUnavailable(
                f"The disk of {folder} is full: set TMPDIR to a folder with space for all images."
            ) from error
        yield archive


def find_manifest_file(path: Path) -> Path:
    """Return the file to upload if no pictures are needed: the manifest of ``path``, or a whole archive.

    Raises:
        InvalidInput: there is no manifest.
        InvalidManifest: several files may be the manifest.
    """
    if path.is_file() and archive_ending(path.name) is not None:
        return path
    source = _source(path)
    name = find_manifest(source)
    if name is None:
        raise InvalidInput(f"{path} has no manifest: without pictures there is no data to import.", "path")
    return source.root / name


def _source(path: Path) -> FolderSource:
    if path.is_dir():
        return FolderSource(path)
    if not path.exists():
        raise InvalidInput(f"{path} does not exist.", "path")
    if not is_manifest(path.name):
        raise InvalidInput(
            f"{path} cannot be imported: give a folder, a manifest (.csv, .jsonl, .parquet), or an archive "
            "(.zip, .tar, .tar.gz, .tar.zst).",
            "path",
        )
    return FolderSource(path.parent, path.name)


def _pack(source: FolderSource, archive: Path, on_packed: Packed) -> None:
    names = _names(source)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as target:
        for number, name in enumerate(names, start=1):
            with contextlib.suppress(ImageMissing):
                _add(source, target, name)
            on_packed(number, len(names))


def _names(source: FolderSource) -> list[str]:
    """Return the names of the manifest and of all its images, each once, as the manifest has them."""
    manifest = find_manifest(source)
    names = {manifest: None} if manifest is not None else {}
    for row in read_rows(source):
        local = (image for image in row.images if "://" not in image)
        names.update(dict.fromkeys(str(PurePosixPath(image)) for image in local))
    return list(names)


def _add(source: FolderSource, target: zipfile.ZipFile, name: str) -> None:
    with source.open(name) as file:
        member = zipfile.ZipInfo(name)
        member.file_size = os.fstat(file.fileno()).st_size
        with target.open(member, "w") as output:
            shutil.copyfileobj(file, output, _PIECE_BYTES)
