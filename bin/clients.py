"""Build the TypeScript client and the widget: ``python bin/clients.py [--check]``.

The built files are part of the repository, so only those who change their sources need Node and npm. Each
begins with the digest of its sources; ``--check`` compares the digests, and needs neither.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TYPESCRIPT = ROOT / "clients" / "typescript"
API_TYPES = TYPESCRIPT / "types" / "api.d.ts"
#: Written last: a build that failed half way leaves the previous digest.
BUILD_DIGEST = TYPESCRIPT / "dist" / "SOURCES"


def build_description() -> str:
    """Return the OpenAPI document as JSON, as a server with a key would serve it."""
    from shared.settings import Settings
    from web.api.openapi import build_document
    from web.app import create_app

    with tempfile.TemporaryDirectory() as folder:
        app = create_app(Settings(data_dir=Path(folder)))
        return json.dumps(build_document(app, keyed=True), indent=1, sort_keys=True)


def digest(*texts: str) -> str:
    """Return a short digest of texts."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:32]


def digest_files(paths: Iterable[Path]) -> str:
    """Return a short digest of the names and contents of files."""
    return digest(*(f"{path.name}\0{path.read_text(encoding='utf-8')}" for path in sorted(paths)))


def typescript_sources() -> str:
    """Return the digest of what the TypeScript client is built from."""
    return digest_files([*(TYPESCRIPT / "src").glob("*.ts"), API_TYPES, TYPESCRIPT / "tsconfig.json"])


def stale() -> list[str]:
    """List the built files that do not fit their sources."""
    found = []
    if f"description {digest(build_description())}" not in API_TYPES.read_text(encoding="utf-8")[:200]:
        found.append(API_TYPES)
    if BUILD_DIGEST.read_text(encoding="utf-8").strip() != typescript_sources():
        found.append(BUILD_DIGEST.parent)
    return [path.relative_to(ROOT).as_posix() for path in found]


def build_typescript() -> None:
    """Generate the types of the API, and compile the TypeScript client."""
    description = build_description()
    install(TYPESCRIPT)
    (TYPESCRIPT / "openapi.json").write_text(description, encoding="utf-8")
    run(TYPESCRIPT, "npm", "run", "--silent", "generate")
    types = API_TYPES.read_text(encoding="utf-8")
    API_TYPES.write_text(f"// Generated from description {digest(description)}.\n{types}", encoding="utf-8")
    run(TYPESCRIPT, "npm", "run", "--silent", "build")
    BUILD_DIGEST.write_text(typescript_sources() + "\n", encoding="utf-8")


def install(folder: Path) -> None:
    """Install the locked build tools of a folder, unless they are there."""
    if not (folder / "node_modules").exists():
        run(folder, "npm", "ci", "--no-fund", "--no-audit")


def run(folder: Path, *command: str) -> None:
    """Run a command in a folder; raises CalledProcessError if it fails."""
    subprocess.run(command, cwd=folder, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="only say which built files are stale")
    if not parser.parse_args().check:
        build_typescript()
    if found := stale():
        sys.exit(f"Stale: {', '.join(found)}. Build them with: make clients")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
