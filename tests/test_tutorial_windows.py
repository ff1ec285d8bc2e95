"""The pictures of windows and channels show what the oracle computes."""

from __future__ import annotations

import numpy as np
import pytest

from depthwise.problem import reference
from depthwise.problem.parse import parse
from depthwise.tutorial import windows

SPECS = [
    "depthwise c1 hw5 k3 p1",
    "depthwise c1 hw7 k3 p1 s2",
    "depthwise c1 h6 w7 k3x2 p2,1,0,3 d2x1",
]


def read(spec, output):
    """Return which elements of the input an output depends on, as the oracle computes it."""
    found = []
    for row in range(spec.height):
        for column in range(spec.width):
            x = np.zeros(spec.input_shape)
            x[0, 0, row, column] = 1
            if reference.forward(spec, x, np.ones(spec.weight_shape))[(0, 0, *output)]:
                found.append((row, column))
    return found


@pytest.mark.parametrize("text", SPECS)
def test_a_window_is_what_an_output_depends_on(text):
    spec = parse(text)
    last = (spec.out_height - 1, spec.out_width - 1)
    for output in ((0, 0), (1, 2), last):
        places = windows.window(spec, output)
        assert len(places) == np.prod(spec.kernel)
        inside = [p for p in places if 0 <= p[0] < spec.height and 0 <= p[1] < spec.width]
        assert sorted(inside) == read(spec, output)


@pytest.mark.parametrize(
    "text",
    ["conv c4 o6 hw3 k3 p1", "conv c4 o6 hw3 k3 p1 g2", "depthwise c3 hw3 k3 p1 m2",
     "pointwise c3 o2 hw3"],
)  # fmt: skip
def test_channels_meet_as_the_oracle_has_it(text):
    spec = parse(text)
    met = set()
    for channel in range(spec.channels):
        x = np.zeros(spec.input_shape)
        x[0, channel] = 1
        y = reference.forward(spec, x, np.ones(spec.weight_shape))
        met |= {(channel, output) for output in range(spec.out_channels) if y[0, output].any()}
    assert sorted(windows.meetings(spec)) == sorted(met)


def test_the_window_is_drawn_in_the_plane_and_its_result_beside_it():
    spec = parse("depthwise c1 hw5 k3 p1")
    picture = windows.sliding_window(spec, [(0, 0), (2, 3)])
    before, after = picture.figure.axes
    filled = [
        [cell.get_xy()[::-1] for cell in axes.patches if cell.get_fill()]
        for axes in (before, after)
    ]
    assert filled == [windows.window(spec, (0, 0)) + windows.window(spec, (2, 3)), [(0, 0), (2, 3)]]
    assert len(before.patches) == 7 * 7 + 18
    assert [np.ptp(axes.get_ylim()) for axes in (before, after)] == [7, 7]  # cells of one size
    assert [text.get_text() for text in before.texts] == ["0"] * (7 * 7 - 5 * 5)
    assert (
        "The output at row 0, column 0 sums the 9 elements at rows -1, 0, 1 and columns -1, 0, 1, "
        "5 of which are padding. The output at row 2, column 3 sums the 9 elements at "
        "rows 1, 2, 3 and columns 2, 3, 4."
    ) in picture.text


def test_each_filter_of_one_plane_is_a_line():
    problems = {
        "standard": parse("conv c4 o3 hw5 k3 p1"),
        "separable": parse("separable c4 o3 hw5 k3 p1"),
    }
    picture = windows.channel_structure(problems)
    standard, separable = picture.figure.axes
    assert (len(standard.lines), len(separable.lines)) == (4 * 3, 4 + 4 * 3)
    assert (len(standard.patches), len(separable.patches)) == (4 + 3, 4 + 4 + 3)
    assert [text.get_text() for text in separable.texts] == ["3 by 3", "1 by 1"]
    assert picture.text == (
        "standard: each of 3 outputs sums 9 taps of 4 of 4 channels; 108 weights. "
        "separable: each of 4 outputs sums 9 taps of 1 of 4 channels, "
        "then each of 3 outputs sums 1 tap of 4 of 4 channels; 48 weights."
    )
