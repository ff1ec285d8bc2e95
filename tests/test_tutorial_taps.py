"""The products of a convolution along one axis as the tutorial draws them."""

from __future__ import annotations

import numpy as np
import pytest

import depthwise as dw
from depthwise.problem import reference
from depthwise.schedule.window import axes
from depthwise.tutorial import taps


@pytest.mark.parametrize("window", ["k1x3 p0,0,1,1", "k1x3 s1x2 p0,0,1,1", "k1x4 d1x2 p0,0,0,5"])
def test_sums_over_the_edges_are_the_convolution_and_its_gradient(window):
    spec = dw.parse(f"depthwise c1 h1 w9 {window} float64")
    _, columns = axes(spec)
    x, weight, _ = dw.random_problem(spec)
    grad = np.random.default_rng(1).standard_normal(spec.output_shape)
    y, dx = np.zeros(spec.out_width), np.zeros(spec.width)
    for source, output, tap in taps.edges(columns):
        y[output] += x.flat[source] * weight.flat[tap]
        dx[source] += grad.flat[output] * weight.flat[tap]
    np.testing.assert_allclose(y, reference.forward(spec, x, weight).ravel())
    np.testing.assert_allclose(dx, reference.input_gradient(spec, grad, weight).ravel())


def test_an_input_is_told_by_the_outputs_that_read_it():
    drawing = taps.connections(dw.parse("depthwise c1 h1 w6 k1x3 s1x2 p0,0,1,1"), [2, 3])
    assert drawing.text == (
        "6 inputs above, 3 outputs below, stride 2, 3 taps: x2 is read by y1 through tap 1; x3 is "
        "read by y1 through tap 2, y2 through tap 0."
    )
    (drawn,) = drawing.figure.axes
    assert len([line for line in drawn.lines if len(line.get_xdata())]) == 8
