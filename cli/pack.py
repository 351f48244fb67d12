"""Packs a folder or manifest with its images into one zip file, to be sent as an import."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from shared.errors import ImageMissing, InvalidInput, StorageUnavailable
from shared.import_sources import FolderSource
from shared.manifest import MANIFEST_SUFFIXES, find_manifest, read_rows

#: Called with how many files are packed, and how many there are.
Packed = Callable[[int, int], None]
_PIECE_BYTES = 1 << 20


@contextlib.contextmanager
def packed(path: Path, on_packed: Packed) -> Iterator[Path]:
    """Yield a zip file of the import: ``path`` itself if it is one, else a temporary one.

    Images are stored as they are: they are compressed already. One that is missing is left out, and
    the job lists it with its reason.

    Raises:
        InvalidInput: there is nothing at ``path`` that can be imported.
        InvalidManifest: the manifest as a whole cannot be read.
        StorageUnavailable: no room for the temporary file.
    """
    if path.is_file() and path.suffix.lower() == ".zip":
        if not zipfile.is_zipfile(path):
            raise InvalidInput(f"{path} is not a whole zip file: pack it again.", "path")
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
                f"The disk of {folder} is full: set TMPDIR to a folder with room for all the images."
            ) from error
        yield archive


def _source(path: Path) -> FolderSource:
    if path.is_dir():
        return FolderSource(path)
    if not path.exists():
        raise InvalidInput(f"There is nothing at {path}.", "path")
    if path.suffix.lower() not in MANIFEST_SUFFIXES:
        raise InvalidInput(
            f"{path} is no import: name a folder, a manifest (.csv or .jsonl), or a zip file.", "path"
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
    """The manifest and every image it names, each once, as the manifest writes it."""
    manifest = find_manifest(source)
    names = {manifest: None} if manifest is not None else {}
    for row in read_rows(source):
        names.update(dict.fromkeys(str(PurePosixPath(image)) for image in row.images))
    return list(names)


def _add(source: FolderSource, target: zipfile.ZipFile, name: str) -> None:
    with source.open(name) as file:
        member = zipfile.ZipInfo(name)
        member.file_size = os.fstat(file.fileno()).st_size
        with target.open(member, "w") as place:
            shutil.copyfileobj(file, place, _PIECE_BYTES)
