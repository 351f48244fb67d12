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
from shared.images.formats import recognise
from shared.imports.find_manifest import find_manifest
from shared.imports.folder_rows import UNREADABLE_FILE
from shared.imports.kinds import LEFT_OUT, MANIFEST_SUFFIXES, archive_ending, is_manifest
from shared.imports.left_out import LeftOut, write_left_out
from shared.imports.manifest import read_rows
from shared.imports.pictures import has_picture_ending
from shared.imports.sources import FolderSource
from shared.imports.spelling import fold_name
from shared.imports.tables import Reading
from shared.imports.values import is_address

#: Called with the number of packed files and their total.
Packed = Callable[[int, int], None]
_PIECE_BYTES = 1 << 20
_HEAD_BYTES = 1024
_LOOKS_WHOLE: dict[str, Callable[[Path], bool]] = {
    "zip": zipfile.is_zipfile,
    "tar": tarfile.is_tarfile,
    "tgz": tarfile.is_tarfile,
    "tzst": lambda path: path.stat().st_size > 0,  # Python has no zstd: the server checks it
}


@contextlib.contextmanager
def packed_import(path: Path, on_packed: Packed, reading: Reading | None = None) -> Iterator[Path]:
    """Yield one file to upload: ``path`` itself if it is an archive, else a temporary zip file.

    Images are stored uncompressed, because they are compressed already. Files that cannot be read are left
    out and listed in the zip file, so that the job reports them with their reasons. The server fetches
    images that are named by address.

    Args:
        reading: how the manifest is read, which tells which images it names.

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
            _Packer(source, reading or Reading(checks_prices=False)).pack(archive, on_packed)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise InvalidInput(f"{path} cannot be packed: {error}", "path") from error
            raise StorageUnavailable(
                f"The disk of {folder} is full: set TMPDIR to a folder with space for all images."
            ) from error
        yield archive


def find_manifest_file(path: Path, reading: Reading | None = None) -> Path:
    """Return the file to upload if no pictures are needed: the manifest of ``path``, or a whole archive.

    Raises:
        InvalidInput: there is no manifest.
        InvalidManifest: several files may be the manifest.
    """
    if path.is_file() and archive_ending(path.name) is not None:
        return path
    source = _source(path)
    name = find_manifest(source, reading)
    if name is None:
        raise InvalidInput(f"{path} has no manifest: without pictures there is no data to import.", "path")
    return source.root / name


def _source(path: Path) -> FolderSource:
    if path.is_dir():
        return FolderSource(path)
    if not path.exists():
        raise InvalidInput(f"{path} does not exist.", "path")
    if has_picture_ending(path.name):
        raise InvalidInput(
            f"{path} is a picture: give its folder, a manifest "
            f"({', '.join(MANIFEST_SUFFIXES)}), or an archive (.zip, .tar, .tar.gz, .tar.zst).",
            "path",
        )
    return FolderSource(path.parent, path.name)


class _Packer:
    """Packs the manifest and its images, each once, and lists the files that cannot be read."""

    def __init__(self, source: FolderSource, reading: Reading) -> None:
        self._source = source
        self._manifest = find_manifest(source, reading)
        self._reading = reading
        self._left_out: dict[str, LeftOut] = {}

    def pack(self, archive: Path, on_packed: Packed) -> None:
        names = self._names()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as target:
            for number, name in enumerate(names, start=1):
                try:
                    self._add(target, name)
                except ImageMissing as error:
                    self._leave_out(name, LeftOut(error.message))
                on_packed(number, len(names))
            if self._left_out:
                target.writestr(LEFT_OUT, write_left_out(self._left_out.items()))

    def _names(self) -> list[str]:
        """Return the names of the manifest and of all its images, as the manifest or the folder has them."""
        names = {self._manifest: None} if self._manifest is not None else {}
        for row in read_rows(self._source, self._reading):
            local = (image for image in row.images if not is_address(image))
            names.update(dict.fromkeys(str(PurePosixPath(image)) for image in local))
            if row.file is not None and row.problem is not None:
                is_unknown = row.problem[0] == UNREADABLE_FILE
                self._leave_out(row.file, LeftOut(row.problem[1], is_unknown))
        return list(names)

    def _add(self, target: zipfile.ZipFile, name: str) -> None:
        with self._source.open(name) as file:
            if self._manifest is None and not has_picture_ending(name):
                # A video next to the pictures need not be sent to be refused.
                head = file.read(_HEAD_BYTES)
                found = recognise(head)
                if found.picture is None and not is_manifest(name):
                    what = found.name or "not a picture of a known format"
                    raise ImageMissing(f"{name!r} is {what}, so it is left out: send JPEG, PNG or WebP.")
                file.seek(0)
            member = zipfile.ZipInfo(name)
            member.file_size = os.fstat(file.fileno()).st_size
            with target.open(member, "w") as output:
                shutil.copyfileobj(file, output, _PIECE_BYTES)

    def _leave_out(self, name: str, left: LeftOut) -> None:
        self._left_out[str(PurePosixPath(fold_name(name)))] = left
