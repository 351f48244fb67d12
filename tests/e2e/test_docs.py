"""Every command that a page of the documentation shows is run, in order, as a reader would."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.services.milvus import EmbeddedMilvus
from tests import builders
from tests.docs_pages import ROOT, commands, pages_with_commands
from tests.packing import archive
from tests.stack import Stack

pytestmark = pytest.mark.services

#: Products of the demo that a reader's searches can find.
_PRODUCTS = 24
#: Where the pages say the server is.
_ADDRESS = "http://127.0.0.1:8000"


@pytest.fixture
def reader(tmp_path: Path, milvus: EmbeddedMilvus, prefix: str) -> Iterator[tuple[Stack, Path]]:
    """A running Vitrine with some of the demo, and the folder that the reader is in."""
    folder = tmp_path / "reader"
    folder.mkdir()
    (folder / "demo").symlink_to(ROOT / "demo")
    for seed, name in enumerate(("photo.jpg", "front.jpg", "side.jpg")):
        (folder / name).write_bytes(builders.jpeg(seed=seed, width=320, height=240))
    roots = json.dumps([str(folder)])
    settings = {
        "VITRINE_JOBS__IMPORT_ROOTS": roots,
        "VITRINE_MODELS__MICRO_BATCH": "32",
        "VITRINE_FEEDBACK__ENABLED": "true",
    }
    stack = Stack(tmp_path / "stack", milvus.uri, prefix, settings)
    stack.folder.mkdir()
    stack.start()
    stack.wait_job(stack.import_folder("demo", some_of_the_demo()))
    yield stack, folder
    stack.stop()


def some_of_the_demo() -> bytes:
    """The first products of the demo's manifest with their pictures."""
    lines = (ROOT / "demo" / "products.jsonl").read_text(encoding="utf-8").splitlines()[:_PRODUCTS]
    files: dict[str, bytes | str] = {"products.jsonl": "\n".join(lines)}
    for product in map(json.loads, lines):
        files[product["image"]] = (ROOT / "demo" / product["image"]).read_bytes()
    return archive(files)


def add_program(path: Path, command: str) -> None:
    path.write_text(f'#!/bin/sh\nexec {command} "$@"\n', encoding="utf-8")
    path.chmod(0o755)


def test_the_pages_have_commands() -> None:
    assert "api" in {page.stem for page in pages_with_commands()}
    for page in pages_with_commands():
        assert all(command.text.strip() for command in commands(page)), page


@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", pages_with_commands(), ids=lambda page: page.stem)
def test_what_a_page_shows_can_be_typed(page: Path, reader: tuple[Stack, Path], tmp_path: Path) -> None:
    stack, folder = reader
    programs = tmp_path / "bin"
    programs.mkdir()
    add_program(programs / "vitrine", f"{sys.executable} -m cli.main")
    # An error of the API must fail the page, not only be printed.
    add_program(programs / "curl", f"{shutil.which('curl')} --fail-with-body --silent --show-error")
    script = ["set -eu -o pipefail"]
    for command in commands(page):
        # In one shell, so that what a command sets can be used by the next.
        script += [f"echo '--- line {command.line}' >&2", command.text.replace(_ADDRESS, stack.url)]
    ran = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=folder,
        env={
            **stack.env,
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "VITRINE_URL": stack.url,
        },
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ran.returncode == 0, f"{page.name}:\n{ran.stderr[-3000:]}\n{ran.stdout[-1000:]}"
