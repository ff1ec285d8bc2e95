"""Names beside lines: apart, in the order of the lines, in columns."""

from __future__ import annotations

import pytest

from depthwise.drawing import columns, spread


@pytest.mark.parametrize(
    ("heights", "moved"),
    [
        ([0.2, 0.5], [0.2, 0.5]),
        ([0.5, 0.5], [0.45, 0.55]),
        ([0.5, 0.4, 0.45], [0.55, 0.35, 0.45]),
        ([1.0, 1.0], [0.9, 1.0]),
    ],
)
def test_labels_move_apart_and_keep_their_order(heights: list[float], moved: list[float]) -> None:
    assert spread(heights, 0.1) == pytest.approx(moved)


def test_labels_of_neighbouring_points_share_a_column() -> None:
    assert columns([0.9, 0.1, 0.15, 0.5]) == [[1, 2], [3], [0]]
    assert columns([]) == []
