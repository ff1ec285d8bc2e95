"""Whole numbers in the engines of the benchmark: computed as the oracle does, or refused."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest

import depthwise as dw
from depthwise.bench.peers import copies, onnxruntime, parts
from depthwise.measure import posed
from depthwise.measure.process import Worker
from test_peers import DEFAULT_SET, check


@pytest.fixture(scope="module", params=DEFAULT_SET)
def engine(request):
    with Worker(request.param, threads=1) as worker:
        yield worker


@pytest.mark.parametrize(
    "problem",
    [
        "depthwise c16 hw9 k3 p1 nhwc uint8 bias",
        "depthwise c8 hw9 k3 s2 same m2 nhwc int8",
        "pointwise c8 o12 hw6 nhwc uint8 bias",
    ],
)
def test_whole_numbers_are_computed_or_refused_in_words(engine, problem):
    reasons = check(engine, problem)
    if engine.engine in ("depthwise", "onnxruntime"):
        assert None in reasons
    else:
        assert reasons == {f"no {dw.parse(problem).dtype}"}


def test_onnxruntime_computes_copies_of_whole_numbers_in_8_bits(tmp_path):
    spec = dw.parse("depthwise c16 hw9 k3 p1 nhwc uint8 bias")
    arrays = posed.arrays(spec)
    options = onnxruntime.options(1, "kernel")
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    x = parts.data(spec, arrays[0], "NCHW")
    nodes = []
    for count in (1, copies.COPIES):
        y = np.zeros(copies.pooled_shape(spec), np.uint8)
        graph = onnxruntime.Engine(1).copies(spec, arrays, count)
        onnxruntime.bound_call(options, graph.model(x.shape, y.shape), {"x": x}, {"y": y})()
        model = onnx.load(tmp_path / "optimised.onnx")
        nodes.append(Counter(node.op_type for node in model.graph.node))
    one, many = nodes
    assert one["QLinearConv"] == 1
    assert many - one == Counter(QLinearConv=copies.COPIES - 1)


def test_copies_of_whole_numbers_have_other_weights():
    spec = dw.parse("depthwise c8 hw9 k3 p1 nhwc int8")
    layers = parts.layers(spec, posed.arrays(spec))
    weights = []
    copies.outputs(spec, layers, copies.COPIES, 0, lambda made, _: weights.append(made[0].weight))
    assert len({each.tobytes() for each in weights}) == copies.COPIES
    assert {each.dtype for each in weights} == {np.dtype("int8")}


@pytest.mark.parametrize("table", ["", " table"])
def test_what_no_adapter_has_words_for_is_refused(table):
    spec = dw.parse(f"depthwise c8 hw9 k3 p1 nhwc int8{table}")
    reason = onnxruntime.Engine(1).rejects(spec, "nchwc", "call")
    assert reason == ("the adapter has no tables, and no sums of whole numbers" if table else None)
