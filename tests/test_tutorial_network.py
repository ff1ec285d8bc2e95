"""The tutorial's drawings of a whole network: what is drawn, where, and what is told of it."""

from __future__ import annotations

import pytest

pytest.importorskip("matplotlib")
places = pytest.importorskip("depthwise.network.places")

from depthwise.tutorial.network import memory_map, time_by_part  # noqa: E402


def test_each_part_has_its_bars_and_its_limit():
    drawn = time_by_part({"stem": (30.0, 10.0, 4.0), "head": (8.0, 6.0, 2.0)}, "Two parts.")
    (axes,) = drawn.figure.axes
    before, after = axes.containers
    assert [bar.get_width() for bar in before] == [30, 8]
    assert [bar.get_width() for bar in after] == [10, 6]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["stem", "head"]
    (strokes,) = axes.collections
    assert [segment[0][0] for segment in strokes.get_segments()] == [4, 2]
    assert "Two parts." in drawn.text
    assert "head: 8 us before, 6 after, limit 2" in drawn.text


def test_arrays_lie_where_and_when_they_are_needed():
    needs = {
        "a": places.Life(2048, 0, 1),
        "b": places.Life(1024, 1, 2),
        "c": places.Life(2048, 2, 3),
    }
    found = places.planned(needs)
    drawn = memory_map(needs, found)
    (axes,) = drawn.figure.axes
    boxes = [(b.get_x(), b.get_width(), b.get_y(), b.get_height()) for b in axes.patches]
    assert boxes == [(0, 2, 0, 2), (1, 2, 2, 1), (2, 2, 0, 2)]
    assert "3 arrays of 5 KiB together lie in 3 KiB" in drawn.text
