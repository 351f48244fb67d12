"""Unpack the Milvus server of its PyPI wheel, and patch it to listen on loopback only."""

from __future__ import annotations

import hashlib
import lzma
import os
import platform
import shutil
import struct
import sys
from importlib.util import find_spec
from pathlib import Path

from shared.errors import Misconfigured, StorageUnavailable

VERSION = "2.3.5"
_UNPACKED_BYTES = 320_000_000

# Milvus 2.3 listens on eleven ports, nine of them on all interfaces, and no setting changes that: it passes
# ":PORT" to Go's net.Listen. Go replaces a missing address by the variable net.IPv6zero, a slice in the
# program's writable data. In the unpacked copy, the slice points to sixteen bytes of padding that contain
# ::ffff:127.0.0.1, so that every such socket is bound to 127.0.0.1. The offsets are valid for this binary
# only; any other binary is rejected.
_BINARY_SHA256 = "911649fac48c5210a11b6f88e62d109ef15eb1c31b9defa11b98d379524bc41f"
_IPV6ZERO_OFFSET = 0x70285C0
_PADDING_OFFSET, _PADDING_ADDRESS = 0x7053ED0, 0x7454ED0
_LOOPBACK = bytes(10) + b"\xff\xff" + bytes((127, 0, 0, 1))


def wheel_data() -> Path | None:
    """Return the wheel's data folder, or None if it is not installed or not supported on this machine.

    The loopback patch needs a kernel with IPv6 sockets.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64" or not Path("/proc/net/tcp6").exists():
        return None
    # Located without importing it, because the import creates servers.
    spec = find_spec("milvus")
    if spec is None or not spec.submodule_search_locations:
        return None
    data = Path(next(iter(spec.submodule_search_locations))) / "data"
    return data if (data / "bin" / "milvus.lzma").is_file() else None


def unpack(data: Path, into: Path) -> Path:
    """Unpack the wheel's binaries below ``into`` unless they exist; return their folder.

    The folder is created atomically. The caller holds the lock of ``into``.

    Raises:
        StorageUnavailable: not enough disk space, or the folder cannot be written.
        Misconfigured: the wheel's binary has an unknown checksum.
    """
    folder = into / f"milvus-{VERSION}"
    if folder.is_dir():
        return folder
    partial = into / f"milvus-{VERSION}.partial"
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        if shutil.disk_usage(into).free < _UNPACKED_BYTES:
            raise StorageUnavailable(f"The Milvus server needs {_UNPACKED_BYTES >> 20} MiB free in {into}.")
        for packed in sorted((data / "bin").glob("*.lzma")):
            _decompress(packed, partial / packed.stem)
        _bind_to_loopback(partial / "milvus")
        os.sync()  # before the rename that marks the folder as complete
        partial.rename(folder)
    except (OSError, lzma.LZMAError) as error:
        raise StorageUnavailable(f"The Milvus server cannot be unpacked into {into}: {error}") from error
    return folder


def _decompress(packed: Path, target: Path) -> None:
    with lzma.open(packed) as source, target.open("wb") as out:
        shutil.copyfileobj(source, out, 1 << 20)
    target.chmod(0o700)


def _bind_to_loopback(binary: Path) -> None:
    with binary.open("r+b") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != _BINARY_SHA256:
            raise Misconfigured(
                f"The installed milvus wheel is not version {VERSION}; install the pinned one, "
                "use Milvus Lite, or set the address of a Milvus server."
            )
        file.seek(_PADDING_OFFSET)
        file.write(_LOOPBACK)
        file.seek(_IPV6ZERO_OFFSET)
        file.write(struct.pack("<Q", _PADDING_ADDRESS))
