"""When each step runs within a call: parts that add up to the whole."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import depthwise as dw
from depthwise.network.clock import Span, spans, typical
from onnx_models import model, node, noise, port


def test_moments_are_means_of_the_fastest_quarter():
    slow = [50.0, 50.9, 51.0]
    fast, faster = [7.0, 7.1, 7.4], [1.0, 1.1, 1.2]
    assert typical([slow, fast, *[slow] * 3, faster, slow]) == pytest.approx([0, 0.1e6, 0.3e6])
    assert typical([fast, slow, faster, slow, slow]) == pytest.approx([0, 0.1e6, 0.3e6])
    assert typical([slow, fast, faster]) == pytest.approx([0, 0.1e6, 0.2e6])
    assert typical([fast]) == pytest.approx([0, 0.1e6, 0.4e6])


def test_a_value_that_several_runs_make_has_the_time_of_all():
    moments = [0.0, 1.0, 3.0, 4.0, 8.0, 9.0, 9.5, 11.0]
    assert spans([7, 7, 2], moments) == {7: Span(1.0, 6.0), 2: Span(9.0, 0.5)}
    assert spans([], [0.0, 1.0]) == {}


def test_a_call_with_a_clock_computes_the_same_and_its_moments_are_in_order():
    made = model(
        [node("Conv", "x p", "a"), node("LpPool", "a", "b", kernel_shape=[2, 2]),
         node("Conv", "b p", "y")],
        [port("x", (1, 8, 6, 6))], ["y"], {"p": noise(8, 8, 1, 1)},
    )  # fmt: skip
    net = dw.load(made)
    x = noise(1, 8, 6, 6)
    wanted = net(x)
    execution = net.execution([x])
    moments = execution.clocked([x])
    assert len(moments) == 2 + 2 * len(execution.makes)
    assert all(begin <= end for begin, end in pairwise(moments))
    made_by_steps = [step.outputs[0] for step in net.program.steps]
    assert [*dict.fromkeys(execution.makes)] == [0, *made_by_steps]
    np.testing.assert_array_equal(net(x), wanted)
