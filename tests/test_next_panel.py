"""Weights fetched one panel ahead: each line of it, and no more steps than there are."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from depthwise.schedule.tiling import Panels, next_panel

LINE = 16
PAIR = 2 * LINE


@given(
    width=st.sampled_from([8, 16, 32, 64]),
    tile=st.integers(1, 14),
    rows=st.integers(1, 900),
    inner=st.integers(1, 700),
    turns=st.sampled_from([1, 3, 5, 9]),
)
def test_every_pair_of_lines_is_fetched_by_some_step(width, tile, rows, inner, turns):
    panel = Panels(start=0, count=2, width=width, used=width, rows=tile)
    depth, tiles = inner * turns, -(-rows // tile)
    how = next_panel(panel, rows, depth, turns, LINE)
    if tiles > 64:
        assert how is None
        return
    assert how.lines * how.steps == inner
    fetched = {number * how.stride // PAIR for number in range(tiles * turns * how.lines)}
    assert fetched >= set(range(-(-depth * width // PAIR))) or how.steps == 1
