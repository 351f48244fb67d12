"""List the files that one search runs through, from `POST /v1/searches` to its hits: `python bin/trace.py`.

The web application, the search lane and the poll run in this process one after another: on SQLite, an
index in memory, and the model without weights. A file counts where one of its functions is called; a visit is
a change to it from another file of the same part.
"""

from __future__ import annotations

import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests import builders  # noqa: E402  # the package is found by the line above
from tests.memory_index import MemoryIndex  # noqa: E402
from tests.shop import Shop  # noqa: E402
from tests.web_builders import RecordingPublisher, upload  # noqa: E402
from web.app import create_app  # noqa: E402

_PACKAGES = tuple(f"{ROOT / name}/" for name in ("web", "worker", "shared"))


@dataclass
class Walk:
    """The files that one part of a search runs through, in the order of their first call."""

    files: list[str] = field(default_factory=list)
    functions: set[tuple[str, str]] = field(default_factory=set)
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
        self.functions.add((name, code.co_qualname))
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
    shop = Shop(folder, MemoryIndex())
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


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        walks = trace_search(Path(folder))
    everything: dict[str, int] = {}
    for name, walk in walks.items():
        print(f"{name}: {len(walk.files)} files, {len(walk.functions)} functions, {walk.calls} calls")
        for file in walk.files:
            print(f"  {walk.visits[file]:3} visits  {file}")
            everything[file] = everything.get(file, 0) + walk.visits[file]
    often = sum(1 for visits in everything.values() if visits > 3)
    print(f"A search: {len(everything)} files; {often} are returned to more than twice.")


if __name__ == "__main__":
    main()
