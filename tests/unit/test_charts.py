"""Charts as geometry: scales that are easy to read, gaps where nothing was measured, nothing outside."""

from __future__ import annotations

import re

import pytest

from web.manage.charts import HEIGHT, WIDTH, build_bars, build_lines, round_up


@pytest.mark.parametrize(
    ("value", "top"), [(0, 1), (1, 1), (1.1, 2), (2, 2), (3, 5), (7, 10), (10, 10), (130, 200), (0.03, 0.05)]
)
def test_scales_end_at_round_numbers(value: float, top: float) -> None:
    assert round_up(value) == pytest.approx(top)


def test_bars_stand_on_the_ground_and_fill_the_width() -> None:
    drawn = build_bars([0, 4, 2])
    assert drawn.top == 5
    assert [bar.height for bar in drawn.bars] == [0, 80, 40]
    assert all(bar.y + bar.height == pytest.approx(HEIGHT) for bar in drawn.bars)
    assert drawn.bars[0].x > 0
    assert drawn.bars[-1].x + drawn.bars[-1].width < WIDTH
    assert build_bars([]).bars == []


def test_a_line_is_broken_where_a_value_is_missing() -> None:
    drawn = build_lines([[1.0, None, 2.0, 4.0], [None] * 4])
    assert (drawn.bottom, drawn.top) == (0, 5)
    assert drawn.paths[0].count("M") == 2
    assert drawn.paths[0].startswith("M0.0 80.0 L0.0 80.0"), "a lone value is a dot"
    assert drawn.paths[1] == ""


def test_a_line_near_its_top_is_seen_in_detail_and_stays_inside() -> None:
    drawn = build_lines([[0.9, 1.0, 0.95]], bottom=None, top=1.0)
    assert 0.88 < drawn.bottom < 0.9
    heights = [float(y) for y in re.findall(r" (\d+\.\d)", drawn.paths[0])]
    assert all(0 <= y <= HEIGHT for y in heights)
    assert max(heights) > 80
    flat = build_lines([[1.0, 1.0]], bottom=None, top=1.0)
    assert flat.paths[0], "all the same: no division by nothing"
