"""Weights fetched one panel ahead: each line of it, and no more steps than there are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import depthwise as dw
from depthwise.schedule.tiling import Panels, next_panel

LINE = 16
PAIR = 2 * LINE


@given(
    width=st.sampled_from([8, 16, 32, 64]),
    tile=st.integers(1, 14),
    rows=st.integers(1, 900),
    inner=st.integers(1, 700),
    turns=st.sampled_from([1, 3, 5, 9]),
    lanes=st.sampled_from([8, 16]),
)
def test_every_pair_of_lines_is_fetched_by_some_step(width, tile, rows, inner, turns, lanes):
    panel = Panels(start=0, count=2, width=width, used=width, rows=tile)
    depth, tiles = inner * turns, -(-rows // tile)
    how = next_panel(panel, rows, depth, turns, LINE, lanes)
    if tiles > 64:
        assert how is None
        return
    assert how.lines * how.steps == inner
    fetched = {number * how.stride // PAIR for number in range(tiles * turns * how.lines)}
    assert fetched >= set(range(-(-depth * width // PAIR))) or how.steps == 1


@pytest.mark.parametrize(
    "line",
    ["separable c512 o256 hw28 k1 nhwc dbias relu/none", "pointwise c512 o256 hw14 nhwc bias",
     "conv c256 o256 hw14 k3 p1 nhwc"],
)  # fmt: skip
def test_sums_stay_in_registers_while_weights_are_fetched(line):
    code = dw.compile(line).show("asm").splitlines()
    fetches = [at for at, each in enumerate(code) if "prefetcht1" in each]
    assert fetches
    for at in fetches:
        begin = max(n for n in range(at) if code[n].startswith(".LBB"))
        end = next(n for n in range(at, len(code)) if code[n].split()[:1] in (["jne"], ["jb"]))
        around = code[begin:end]
        assert not [each for each in around if "vmov" in each and each.endswith("rsp)")]
