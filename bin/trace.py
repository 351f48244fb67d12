"""List the files that one search runs through, from `POST /v1/searches` to its hits: `python bin/trace.py`.

The web application, the search lane and the poll run in this process one after another: on SQLite, an
index in memory, and the model without weights. A file counts if one of its functions is called. The search is
not one of the few that are sampled for the recall probe, which runs through one more file.

Returns are counted in two ways. By calls, each change to a file from another file of the same part is a
visit, also to a function that was called before: ``now_s`` of each stage, or the end of a ``with`` block. By
reading, a visit is a change of file to a function that was not called before in the whole search, because a
reader reads a function once. Foundations are files that at least ``FOUNDATION`` other modules import, such as
the database; a reader knows them.

Access (who sends the request, and what its key allows) is a subject of its own, the same for every request.
Its files are counted apart, and are passed over by the reading.
"""

from __future__ import annotations

import ast
import sys
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from shared.settings import SearchSettings  # noqa: E402
from tests import builders  # noqa: E402  # the package is found by the line above
from tests.memory_index import MemoryIndex  # noqa: E402
from tests.shop import Shop  # noqa: E402
from tests.web_builders import RecordingPublisher, upload  # noqa: E402
from web.app import create_app  # noqa: E402

#: Number of importing modules from which a file is a foundation.
FOUNDATION = 25
#: Visits of a file to which a reader returns at most twice.
_MAX_VISITS = 3
#: Files of access: what each request passes before and after its view, and what views ask about its key.
_ACCESS_MODULES = (
    *("security", "cors", "roles", "principals", "scope", "rate_limits", "visitors"),
    *("audit", "framing"),
)
_ACCESS = ("shared/access/", *(f"web/http/{module}.py" for module in _ACCESS_MODULES))
_PACKAGES = tuple(f"{ROOT / name}/" for name in ("web", "worker", "shared"))


@dataclass
class Walk:
    """Files and functions that one part of a search runs through, in the order of their first call."""

    files: list[str] = field(default_factory=list)
    functions: dict[tuple[str, str], None] = field(default_factory=dict)
    calls: int = 0
    visits: dict[str, int] = field(default_factory=dict)
    _last: str = ""

    def record(self, frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event != "call" or not code.co_filename.startswith(_PACKAGES):
            return
        if code.co_name.startswith("<"):
            return
        name = code.co_filename.removeprefix(f"{ROOT}/")
        self.calls += 1
        self.functions[name, code.co_qualname] = None
        if name not in self.visits:
            self.files.append(name)
        if name != self._last:
            self.visits[name] = self.visits.get(name, 0) + 1
        self._last = name


@contextmanager
def traced(walk: Walk) -> Iterator[None]:
    """Record the calls of this thread and of those that it starts."""
    threading.setprofile(walk.record)
    sys.setprofile(walk.record)
    yield
    sys.setprofile(None)
    threading.setprofile(None)  # type: ignore[arg-type]  # None ends it, as documented


def trace_search(folder: Path) -> dict[str, Walk]:
    """Return the walks of accepting, answering and polling one search that is not the first."""
    shop = Shop(folder, MemoryIndex(), search=SearchSettings(probe_share=0.0))
    shop.import_files({"manifest.csv": "product_id,image\nchair,a.jpg\n", "a.jpg": builders.jpeg()})
    app = create_app(shop.settings, publisher=RecordingPublisher())
    client = app.test_client()
    walks: dict[str, Walk] = {}
    for _ in range(2):  # what is built on first use is not part of a search
        walks = {name: Walk() for name in ("POST /v1/searches", "worker", "poll")}
        with traced(walks["POST /v1/searches"]):
            accepted = client.post("/v1/searches", **upload(builders.jpeg(), catalogue="shop"))
        assert accepted.status_code == 202, accepted.text
        with traced(walks["worker"]):
            shop.worker.search.answer(accepted.json["id"])
        with traced(walks["poll"]):
            answer = client.get(f"/v1/tasks/{accepted.json['id']}")
        assert answer.json["result"]["whole"]["hits"], answer.text
    shop.close()
    return walks


def is_access(file: str) -> bool:
    """Return whether a file is about access, not about the search."""
    return file.startswith(_ACCESS)


def count_reading(walks: Iterable[Walk]) -> dict[str, int]:
    """Count the visits of a reader by file, with each function read once."""
    known: set[tuple[str, str]] = set()
    visits: dict[str, int] = {}
    last = ""
    for walk in walks:
        for function in walk.functions:
            file = function[0]
            if is_access(file):
                continue
            if function not in known and file != last:
                visits[file] = visits.get(file, 0) + 1
                last = file
            known.add(function)
    return visits


def count_importers(files: Iterable[str]) -> dict[str, int]:
    """Count the modules of the product that import from each file, or from its package's ``__init__``."""
    importers: dict[str, set[Path]] = {}
    for package in _PACKAGES:
        for path in Path(package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.ImportFrom) and node.module:
                    importers.setdefault(node.module, set()).add(path)
    modules = {file: file.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for file in files}
    return {file: len(importers.get(module, ())) for file, module in modules.items()}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        walks = trace_search(Path(folder))
    by_calls: dict[str, int] = {}
    for name, walk in walks.items():
        print(f"{name}: {len(walk.files)} files, {len(walk.functions)} functions, {walk.calls} calls")
        for file in walk.files:
            print(f"  {walk.visits[file]:3} visits  {file}")
            by_calls[file] = by_calls.get(file, 0) + walk.visits[file]
    by_reading = count_reading(walks.values())
    importers = count_importers(by_calls)
    foundations = sorted(file for file, count in importers.items() if count >= FOUNDATION)
    access = sum(map(is_access, by_calls))
    print(f"A search: {len(by_calls) - access} files, and {access} of access.")
    print(f"  {len(foundations)} are foundations: {', '.join(foundations)}.")
    for rule, visits in (("calls", by_calls), ("reading", by_reading)):
        often = sorted((file for file in visits if visits[file] > _MAX_VISITS), key=lambda f: -visits[f])
        named = ", ".join(f"{file} {visits[file] - 1}" for file in often)
        print(f"  By {rule}, {len(often)} are returned to more than twice: {named or 'none'}.")


if __name__ == "__main__":
    main()
