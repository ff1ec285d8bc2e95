"""Quantized files that are unusual: computed as ONNX Runtime does, or left to it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, helper

import depthwise as dw
from depthwise.errors import ModelError
from depthwise.onnx.quantized import as_qdq
from onnx_models import model, node, port

UNIT = 0.05


def quantized(x: str, y: str, zero: str = "zero", scale: str = "unit") -> list[NodeProto]:
    return [
        node("QuantizeLinear", f"{x} {scale} {zero}", f"{y}/q"),
        node("DequantizeLinear", f"{y}/q {scale} {zero}", y),
    ]


def file(nodes: Sequence[NodeProto], shape: Sequence[int], **constants: np.ndarray) -> ModelProto:
    usual = {"unit": np.float32(UNIT), "zero": np.uint8(120)}
    return model(nodes, [port("x", shape)], ["y"], {**usual, **constants})


def check(built: ModelProto, shape: Sequence[int], units: int = 1) -> dw.Network:
    """Hold a file against what ONNX Runtime computes node by node."""
    from test_network_quantized import expected

    net = dw.load(built)
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    assert np.abs(net(x) - expected(built, x)).max() <= 1.001 * units * UNIT
    return net


def convolution(weight: np.ndarray, scales: np.ndarray, bias: np.ndarray) -> ModelProto:
    nodes = [
        *quantized("x", "xr"),
        node("DequantizeLinear", "w scales zeros", "wr", axis=0),
        node("Conv", "xr wr bias", "c"),
        *quantized("c", "y"),
    ]
    zeros = np.zeros(scales.shape, np.int8)
    constants = {"w": weight, "scales": scales, "zeros": zeros, "bias": bias}
    return file(nodes, (1, 4, 5, 5), **constants)


@pytest.mark.parametrize("small", [1e-12, 0.0])
def test_a_channel_of_almost_no_weight_keeps_its_bias(small: float) -> None:
    weight = np.full((2, 4, 1, 1), 3, np.int8)
    scales = np.array([0.02, small], np.float32)
    check(convolution(weight, scales, np.ones(2, np.float32)), (1, 4, 5, 5))


def test_sums_that_could_leave_32_bits_are_computed_otherwise() -> None:
    weight, scales = np.full((2, 4, 1, 1), 127, np.int8), np.full(2, 1e-6, np.float32)
    net = check(convolution(weight, scales, np.full(2, 107.37, np.float32)), (1, 4, 5, 5), 0)
    assert not any(each.spec.kind == "pointwise" and each.spec.quantized
                   for each in net.program.stages() if hasattr(each.spec, "quantized"))  # fmt: skip


def test_a_sum_takes_the_zero_point_that_it_is_given() -> None:
    weight = np.full((4, 4, 1, 1), 9, np.int8)
    nodes = [
        *quantized("x", "xr"),
        node("DequantizeLinear", "w scale none", "wr"),
        node("Conv", "xr wr", "c"),
        node("QuantizeLinear", "c unit zero", "cq"),
        node("DequantizeLinear", "cq unit other", "cr"),
        node("Add", "cr xr", "s"),
        *quantized("s", "y"),
    ]
    constants = {
        "w": weight, "scale": np.float32(0.01), "none": np.int8(0), "other": np.uint8(130)
    }  # fmt: skip
    check(file(nodes, (1, 4, 5, 5), **constants), (1, 4, 5, 5))


def test_sums_of_rows_and_of_single_numbers_are_computed() -> None:
    for shape in ((1, 7, 6), (2, 3, 4, 5, 6), (4,)):
        nodes = [*quantized("x", "a"), node("Add", "a a", "s"), *quantized("s", "y")]
        check(file(nodes, shape), shape)


def test_a_product_too_long_for_32_bits_is_left_to_real_numbers() -> None:
    nodes = [
        *quantized("x", "xr"),
        node("DequantizeLinear", "w scale none", "wr"),
        node("MatMul", "xr wr", "y"),
    ]
    weight = np.random.default_rng(0).integers(-3, 4, (70000, 2)).astype(np.int8)
    built = file(
        nodes, (1, 70000), w=weight, scale=np.float32(0.01), none=np.int8(0)
    )  # fmt: skip
    check(built, (1, 70000))


def with_runtimes(nodes: Sequence[NodeProto], **constants: np.ndarray) -> ModelProto:
    built = file(nodes, (3, 4), **constants)
    built.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return built


def of_runtime(operator: str, inputs: str, outputs: str, **attributes) -> NodeProto:
    return node(operator, inputs, outputs, domain="com.microsoft", **attributes)


def test_a_sum_without_a_zero_point_is_onnx_runtimes() -> None:
    nodes = [
        node("QuantizeLinear", "x unit sign", "q"),
        of_runtime("QLinearAdd", "q unit sign q unit sign unit", "s"),
        node("DequantizeLinear", "s unit sign", "y"),
    ]
    check(with_runtimes(nodes, sign=np.int8(0)), (3, 4))


def test_a_product_with_a_scale_for_each_row_stays_as_it_is() -> None:
    nodes = [
        node("QuantizeLinear", "x unit zero", "q"),
        node("QLinearMatMul", "q rows zeros w scale none unit zero", "s"),
        node("DequantizeLinear", "s unit zero", "y"),
    ]
    constants = {
        "rows": np.array([0.01, 0.02, 0.03], np.float32), "zeros": np.full(3, 120, np.uint8),
        "w": np.full((4, 2), 50, np.int8), "scale": np.float32(0.01), "none": np.int8(0),
    }  # fmt: skip
    made = as_qdq(file(nodes, (3, 4), **constants))
    assert [each.op_type for each in made.graph.node] == [each.op_type for each in nodes]


@pytest.mark.parametrize(
    "broken",
    [
        of_runtime("QLinearAdd", "q unit", "s"),
        of_runtime("QLinearSigmoid", "q unit zero", "s"),
    ],
)
def test_operators_with_too_few_inputs_are_refused_in_words(broken: NodeProto) -> None:
    nodes = [
        node("QuantizeLinear", "x unit zero", "q"), broken,
        node("DequantizeLinear", "s unit zero", "y"),
    ]  # fmt: skip
    with pytest.raises(ModelError):
        dw.load(with_runtimes(nodes))(np.zeros((3, 4), np.float32))
