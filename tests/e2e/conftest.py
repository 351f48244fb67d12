"""Fixtures that several tests of pages have in common."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import builders


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "room.jpg"
    path.write_bytes(builders.jpeg(seed=1, width=800, height=600))
    return path
