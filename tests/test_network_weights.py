"""A network has its packed weights once, whatever the shapes that it is called with."""

from __future__ import annotations

import numpy as np
import pytest

import depthwise as dw
from depthwise.problem.arrays import CACHE_LINE
from onnx_models import assert_close, by_runtime, model, node, noise, port

pytest.importorskip("onnxruntime")


@pytest.fixture
def two_convolutions():
    """A depthwise and a dense convolution, 3x3, of images of any size."""
    nodes = [
        node("Conv", "x depthwise", "y", group=8, pads=[1, 1, 1, 1]),
        node("Conv", "y dense", "z", pads=[1, 1, 1, 1]),
    ]
    weights = {"depthwise": noise(8, 1, 3, 3), "dense": noise(24, 8, 3, 3)}
    return model(nodes, [port("x", [1, 8, "h", "w"])], ["z"], constants=weights)


def test_executions_of_other_shapes_share_what_is_packed(two_convolutions):
    network = dw.load(two_convolutions)
    packed = []
    for size in (24, 32):
        x = noise(1, 8, size, size)
        assert_close([network(x)], by_runtime(two_convolutions, [x]))
        ready = network.execution([x])._ready.values()
        packed.append({each.ctypes.data for one in ready for each in one.packed})
    assert packed[0] == packed[1]


def test_packed_weights_lie_side_by_side_from_cache_line_to_cache_line(two_convolutions):
    network = dw.load(two_convolutions, inputs={"x": (1, 8, 6, 6)})
    ready = network.execution([np.zeros((1, 8, 6, 6), np.float32)])._ready.values()
    first, second = sorted((each for one in ready for each in one.packed), key=_start)
    assert _start(first) % CACHE_LINE == 0
    assert _start(second) == -(-(_start(first) + first.nbytes) // CACHE_LINE) * CACHE_LINE


def _start(array: np.ndarray) -> int:
    return array.ctypes.data
