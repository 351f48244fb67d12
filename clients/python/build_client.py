"""Build the distribution ``vitrine-client`` as a wheel or an sdist (PEP 517), without any package.

Client and server share their contracts, errors and back-off: one source, in ``shared``. The distribution must
not put a package of that name into other people's environments. So the modules that the client imports are
copied to ``vitrine_client/_shared``, and imports of ``shared`` are rewritten to it. A source distribution has
the result, and is built as it is.
"""

from __future__ import annotations

import ast
import base64
import hashlib
import io
import re
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PACKAGE = "vitrine_client"
SHARED, COPY = "shared", f"{PACKAGE}._shared"
_IMPORT = re.compile(rf"^(\s*(?:from|import) ){SHARED}(?=[. ])", re.MULTILINE)
_WHEEL = b"Wheel-Version: 1.0\nGenerator: build_client\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
#: Date of all members of an archive, so that two builds of one source are equal.
_DATE = (2026, 1, 1, 0, 0, 0)


def get_requires_for_build_wheel(config_settings: Any = None) -> list[str]:
    """Return the packages that a build needs: none."""
    return []


get_requires_for_build_sdist = get_requires_for_build_wheel


def build_wheel(wheel_directory: str, config_settings: Any = None, metadata_directory: Any = None) -> str:
    """Write the wheel, and return its file name."""
    project = _project()
    stem = f"{PACKAGE}-{project['version']}"
    info = f"{stem}.dist-info"
    members = {
        **package_files(),
        f"{info}/METADATA": _metadata(project),
        f"{info}/WHEEL": _WHEEL,
    }
    record = "".join(f"{name},sha256={_digest(data)},{len(data)}\n" for name, data in members.items())
    members[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    name = f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(Path(wheel_directory, name), "w", zipfile.ZIP_DEFLATED) as archive:
        for member, data in members.items():
            archive.writestr(zipfile.ZipInfo(member, _DATE), data, zipfile.ZIP_DEFLATED)
    return name


def build_sdist(sdist_directory: str, config_settings: Any = None) -> str:
    """Write the source distribution, and return its file name."""
    project = _project()
    stem = f"{PACKAGE}-{project['version']}"
    own = {name: (HERE / name).read_bytes() for name in ("build_client.py", "pyproject.toml", "README.md")}
    name = f"{stem}.tar.gz"
    with tarfile.open(Path(sdist_directory, name), "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for member, data in {**own, **package_files(), "PKG-INFO": _metadata(project)}.items():
            entry = tarfile.TarInfo(f"{stem}/{member}")
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return name


def package_files() -> dict[str, bytes]:
    """Return the files of the package by their names in a wheel, with the shared modules."""
    sources = {path.relative_to(HERE).as_posix(): path for path in sorted((HERE / PACKAGE).rglob("*.py"))}
    for module in sorted(shared_modules()):
        path = _path_of(module)
        assert path is not None
        sources[f"{PACKAGE}/_{path.relative_to(ROOT).as_posix()}"] = path
    files = {name: _rewrite(path.read_text(encoding="utf-8")) for name, path in sources.items()}
    return dict(sorted({f"{PACKAGE}/py.typed": b"", **files}.items()))


def shared_modules() -> set[str]:
    """Return the modules of ``shared`` that the client imports, directly or through others."""
    found: set[str] = set()
    waiting = [
        name for path in (HERE / PACKAGE).rglob("*.py") for name in _imports(path.read_text(encoding="utf-8"))
    ]
    while waiting:
        parts = waiting.pop().split(".")
        for end in range(1, len(parts) + 1):  # a package's own module is imported first
            module = ".".join(parts[:end])
            path = _path_of(module)
            if path is not None and module not in found:
                found.add(module)
                waiting += _imports(path.read_text(encoding="utf-8"))
    return found


def _imports(source: str) -> Iterator[str]:
    """Yield what a module imports of ``shared``: modules, and names that may be modules."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == SHARED:
            yield node.module or ""
            yield from (f"{node.module}.{each.name}" for each in node.names)
        elif isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name.split(".")[0] == SHARED)


def _path_of(module: str) -> Path | None:
    folder = ROOT.joinpath(*module.split("."))
    return next(
        (path for path in (folder / "__init__.py", folder.with_suffix(".py")) if path.is_file()), None
    )


def _rewrite(source: str) -> bytes:
    return _IMPORT.sub(rf"\g<1>{COPY}", source).encode()


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return project


def _metadata(project: dict[str, Any]) -> bytes:
    lines = [
        "Metadata-Version: 2.4",
        f"Name: {project['name']}",
        f"Version: {project['version']}",
        f"Summary: {project['description']}",
        f"License-Expression: {project['license']}",
        f"Requires-Python: {project['requires-python']}",
        *(f"Requires-Dist: {each}" for each in project["dependencies"]),
        "Description-Content-Type: text/markdown",
        "",
        (HERE / "README.md").read_text(encoding="utf-8"),
    ]
    return "\n".join(lines).encode()


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
