"""A reader who follows a photo to its hits needs few files, and returns to none of them often."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.slow

TRACE = Path(__file__).parents[2] / "bin" / "trace.py"
#: The goal of the house: fewer files than this, and no more returns to one than these.
FILES, RETURNS = 35, 2
#: Files of access, which each request passes.
ACCESS_FILES = 13


@pytest.fixture(scope="module")
def trace() -> ModuleType:
    spec = importlib.util.spec_from_file_location("trace_of_a_search", TRACE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses look their module up by name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_a_search_runs_through_few_files(trace: ModuleType, tmp_path: Path) -> None:
    walks = trace.trace_search(tmp_path)
    found = {file for walk in walks.values() for file in walk.files}
    files = {file for file in found if not trace.is_access(file)}
    assert 0 < len(found - files) < ACCESS_FILES, sorted(found - files)
    assert {"web/api/searches.py", "worker/search/lane.py"} <= files, "the trace follows both sides"
    assert len(files) < FILES, sorted(files)
    visits = trace.count_reading(walks.values())
    assert {file: count - 1 for file, count in visits.items() if count - 1 > RETURNS} == {}
