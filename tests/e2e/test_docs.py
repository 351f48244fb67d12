"""Every command that the README or a page of the documentation shows is run, in order, as a reader would.

One Vitrine serves all pages; between two of them its catalogues are deleted and the demo is imported anew, so
that no page stands on what another one left.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.services.milvus import EmbeddedMilvus
from tests import builders
from tests.docs_pages import ROOT, blocks, commands, pages, pages_with_commands
from tests.packing import archive
from tests.services_milvus import drop_all
from tests.stack import Stack
from tests.tiny_models import write_registry

pytestmark = pytest.mark.long
#: Products of the demo that a reader's searches can find.
_PRODUCTS = 40
#: Where the pages say the server is.
_ADDRESS = "http://127.0.0.1:8000"
#: Languages of blocks that hold no command; scripts of pages run in a browser, as in test_widget.py.
_NO_COMMANDS = {"text", "json", "csv", "python", "js", "ts"}
#: Blocks of commands that cannot run here, by page: how many, and why. The page says it in its own words.
NOT_RUN = {
    "client": (2, "they install the clients: test_client_package.py and test_typescript_client.py do that"),
    "README": (
        2,
        "they install, start and test all of this: CI runs `make test`, test_up.py what `make run` runs",
    ),
    "deploy": (2, "docker; an installation of gigabytes"),
    "jobs": (1, "it leads to a server on the internet: test_cli_jobs.py runs the same against one here"),
    "milvus": (1, "settings for a Milvus of the reader's own"),
    "operations": (2, "docker; a database that is stopped for it"),
    "training": (2, "minutes and hours of training: test_train.py runs the same, small"),
}

#: The programs that a reader types, made quick or strict for the test.
_VITRINE = """#!/bin/sh
case "$1 $2" in
    "train embedder") set -- "$@" --scenes 40 --steps 50 ;;
    "train detector") set -- "$@" --minutes 0.1 --batch 2 ;;
esac
exec {python} -m cli.main "$@"
"""
# An error of the API must fail the page, not only be printed.
_CURL = """#!/bin/sh
exec {curl} --fail-with-body --silent --show-error "$@"
"""


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, milvus: EmbeddedMilvus) -> Iterator[Stack]:
    folder, prefix = tmp_path_factory.mktemp("docs"), f"t{secrets.token_hex(6)}"
    roots = json.dumps([str(folder)])
    settings = {
        "VITRINE_JOBS__IMPORT_ROOTS": roots,
        "VITRINE_MODELS__MICRO_BATCH": "32",
        "VITRINE_FEEDBACK__ENABLED": "true",
    }
    running = Stack(folder, milvus.uri, prefix, settings)
    running.start()
    yield running
    running.stop()
    drop_all(milvus.uri, prefix)


@pytest.fixture
def reader(stack: Stack) -> Path:
    """The folder that the reader is in, beside a Vitrine that has some of the demo and nothing else."""
    folder = stack.folder / f"reader-{secrets.token_hex(4)}"
    folder.mkdir()
    (folder / "demo").symlink_to(ROOT / "demo")
    for seed, name in enumerate(("photo.jpg", "front.jpg", "side.jpg")):
        (folder / name).write_bytes(builders.jpeg(seed=seed, width=320, height=240))
    write_labelled(folder / "labelled")
    write_shop(folder / "my-shop")
    client = stack.client()
    for job in client.get("/v1/jobs").json():
        if job["state"] in ("queued", "running", "paused") and job["kind"] != "drop":
            client.post(f"/v1/jobs/{job['id']}/cancel", json={})
    for catalogue in client.get("/v1/catalogues").json():
        stack.wait_job(client.delete(f"/v1/catalogues/{catalogue['name']}").json()["id"])
    imported = stack.wait_job(stack.import_folder("demo", some_of_the_demo()))
    assert imported["state"] == "succeeded", imported
    return folder


def some_of_the_demo() -> bytes:
    """The first products of the demo's manifest with their pictures."""
    files: dict[str, bytes | str] = {}
    products = demo_products()
    files["products.jsonl"] = "\n".join(map(json.dumps, products))
    for product in products:
        files[product["image"]] = (ROOT / "demo" / product["image"]).read_bytes()
    return archive(files)


def demo_products() -> list[dict[str, str]]:
    lines = (ROOT / "demo" / "products.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines[:_PRODUCTS]]


def write_labelled(folder: Path) -> None:
    """A labelled set of some of the demo: each picture is photographed as it is."""
    (folder / "products").mkdir(parents=True)
    chosen = demo_products()[:6]
    photographs = []
    for product, kind in zip(chosen, ("same", "same", "view", "view", "multi", "multi"), strict=True):
        name = Path(product["image"]).name
        for place in (folder / "products" / name, folder / name):
            shutil.copy(ROOT / "demo" / product["image"], place)
        seen = {"product_id": product["product_id"], "box": [0, 0, 100, 100]}
        photographs.append({"file": name, "kind": kind, "size": [100, 100], "objects": [seen]})
    rows = [{"product_id": p["product_id"], "image": Path(p["image"]).name} for p in chosen]
    write_lines(folder / "products" / "products.jsonl", rows)
    write_lines(folder / "benchmark.jsonl", photographs)


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")


def write_shop(folder: Path) -> None:
    """The manifest that a reader of the README has."""
    folder.mkdir()
    lines = ["product_id,images"]
    for product in demo_products()[:3]:
        name = Path(product["image"]).name
        shutil.copy(ROOT / "demo" / product["image"], folder / name)
        lines.append(f"{product['product_id']},{name}")
    (folder / "products.csv").write_text("\n".join(lines), encoding="utf-8")


def add_program(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


def test_every_block_is_run_or_said_not_to_be() -> None:
    """None slips in silently: not under a language that nobody runs, and not among those that are not run."""
    not_run: dict[str, int] = {}
    for page in pages():
        for line, language in blocks(page):
            assert language in {*_NO_COMMANDS, "console", "sh"}, f"{page.name}:{line}: {language!r}"
            if language == "sh":
                not_run[page.stem] = not_run.get(page.stem, 0) + 1
    assert not_run == {page: count for page, (count, _) in NOT_RUN.items()}


def test_the_pages_have_commands() -> None:
    wanted = {
        "README",
        "api",
        "catalogue",
        "cli",
        "import",
        "jobs",
        "models",
        "operations",
        "reprocessing",
        "training",
    }
    assert wanted <= {page.stem for page in pages_with_commands()}
    for page in pages_with_commands():
        assert all(command.text.strip() for command in commands(page)), page


@pytest.mark.services
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", pages_with_commands(), ids=lambda page: page.stem)
def test_what_a_page_shows_can_be_typed(page: Path, stack: Stack, reader: Path, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    add_program(programs / "vitrine", _VITRINE.format(python=sys.executable))
    add_program(programs / "curl", _CURL.format(curl=shutil.which("curl")))
    models = {}
    if page.stem == "training":
        models["VITRINE_MODELS__FOLDER"] = str(write_registry(tmp_path / "models", tmp_path / "cache"))
    script = ["set -eu -o pipefail"]
    for command in commands(page):
        # In one shell, so that what a command sets can be used by the next.
        script += [f"echo '--- line {command.line}' >&2", command.text.replace(_ADDRESS, stack.url)]
    ran = subprocess.run(
        ["bash", "-c", "\n".join(script)],
        cwd=reader,
        env={
            **stack.env,
            **models,
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "VITRINE_URL": stack.url,
        },
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ran.returncode == 0, f"{page.name}:\n{ran.stderr[-3000:]}\n{ran.stdout[-1000:]}"
