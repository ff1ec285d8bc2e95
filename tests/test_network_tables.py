"""Functions of one quantized image are tables, however they are written."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import onnx
import onnxruntime
import pytest

import depthwise as dw
from onnx_models import model, node, port
from test_network_quantized import kinds

SCALES = {"x": (0.04, 110), "s": (1 / 255, 0), "y": (0.03, 12), "z": (0.05, 140)}
CONSTANTS = {
    "three": np.float32(3), "six": np.float32(6), "zero": np.float32(0), "half": np.float32(0.5),
    "one": np.float32(1), "root": np.float32(np.sqrt(2)),
}  # fmt: skip
IMAGE = (2, 4, 8, 9)


def quantize(value: str, to: str, scale: str) -> list:
    """Return the nodes that round a value, and make it real again as `to`."""
    numbers = f"{scale}_scale {scale}_zero"
    return [
        node("QuantizeLinear", f"{value} {numbers}", f"{to}_q"),
        node("DequantizeLinear", f"{to}_q {numbers}", to),
    ]


def network(nodes: list, *inputs: str, constants: Mapping = CONSTANTS) -> onnx.ModelProto:
    """Return a model from real images to the real numbers of `y_q`."""
    arrays = dict(constants)
    for name, (scale, zero) in SCALES.items():
        arrays |= {f"{name}_scale": np.float32(scale), f"{name}_zero": np.uint8(zero)}
    before = [each for name in inputs for each in quantize(f"{name}_in", name, name)]
    ports = [port(f"{name}_in", ("n", *IMAGE[1:])) for name in inputs]
    return model([*before, *nodes], ports, ["y"], arrays)


HARDSWISH = [
    node("Add", "x three", "a"), node("Clip", "a zero six", "b"), node("Mul", "x b", "c"),
    node("Div", "c six", "d"), *quantize("d", "y", "y"),
]  # fmt: skip
SILU = [
    node("Sigmoid", "x", "a"), *quantize("a", "s", "s"), node("Mul", "x s", "d"),
    *quantize("d", "y", "y"),
]  # fmt: skip
GELU = [
    node("Div", "x root", "a"), node("Erf", "a", "b"), node("Add", "b one", "c"),
    node("Mul", "x c", "d"), node("Mul", "d half", "e"), *quantize("e", "y", "y"),
]  # fmt: skip
TURNED = [node("Sub", "three x", "a"), node("Neg", "a", "b"), *quantize("b", "y", "y")]
TWICE = [
    node("Relu", "x", "a"), *quantize("a", "s", "z"), node("Tanh", "s", "b"),
    *quantize("b", "y", "y"),
]  # fmt: skip
CONVOLUTION = [
    node("DequantizeLinear", "w_q w_scale w_zero", "w"), node("Conv", "z w", "v"),
    *quantize("v", "x", "x"),
]  # fmt: skip
WEIGHTS = CONSTANTS | {
    "w_q": np.random.default_rng(3).integers(-60, 60, (4, 4, 1, 1)).astype(np.int8),
    "w_scale": np.float32(0.01), "w_zero": np.int8(0),
}  # fmt: skip
FUNCTIONS = {"hardswish": HARDSWISH, "silu": SILU, "gelu": GELU, "turned": TURNED, "twice": TWICE}


def results(made: onnx.ModelProto, *arrays: np.ndarray) -> np.ndarray:
    """Return what ONNX Runtime computes node by node."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(made.SerializeToString(), options)
    names = [each.name for each in session.get_inputs()]
    return session.run(None, dict(zip(names, arrays, strict=True)))[0]


def every_number(scale: str) -> np.ndarray:
    """Return images that have all 256 numbers of a scale."""
    size, zero = SCALES[scale]
    codes = np.resize(np.arange(256), np.prod(IMAGE)).reshape(IMAGE)
    return ((codes - zero) * size).astype(np.float32)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_of_one_image_is_a_table(name: str) -> None:
    made = network(FUNCTIONS[name], "x")
    net, x = dw.load(made), every_number("x")
    assert kinds(net) == ["quantize", "lookup", "dequantize"]
    assert np.abs(net(x) - results(made, x)).max() <= 1e-6 + UNITS.get(name, 0) * SCALES["y"][0]


UNITS = {"gelu": 1, "silu": 1, "twice": 1}
"""Where exponentials and error functions may be rounded otherwise before the last rounding."""


def test_a_function_of_two_images_is_none() -> None:
    nodes = [
        node("Sigmoid", "z", "a"), *quantize("a", "s", "s"), node("Mul", "x s", "d"),
        *quantize("d", "y", "y"),
    ]  # fmt: skip
    made = network(nodes, "x", "z")
    net = dw.load(made)
    assert kinds(net) == ["quantize", "quantize", "lookup", "qmul", "dequantize"]
    x, z = every_number("x"), every_number("z")[::-1].copy()
    assert np.abs(net(x, z) - results(made, x, z)).max() <= 1.001 * SCALES["y"][0]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_convolution_looks_up_its_own_result(name: str) -> None:
    made = network([*CONVOLUTION, *FUNCTIONS[name]], "z", constants=WEIGHTS)
    net, z = dw.load(made), every_number("z")
    assert kinds(net) == ["quantize", "pointwise", "dequantize"]
    assert "table" in str(net.program.stages()[1].spec)
    assert np.abs(net(z) - results(made, z)).max() <= 2.001 * SCALES["y"][0]


def test_what_is_looked_up_twice_in_a_row_is_looked_up_once() -> None:
    """Numbers that are concatenated with others are brought to the scale of the result before."""
    nodes = [
        node("Sigmoid", "x", "a"), *quantize("a", "s", "s"),
        node("Concat", "s z", "c", axis=1), *quantize("c", "y", "y"),
    ]  # fmt: skip
    made = network([*CONVOLUTION, *nodes], "z", constants=WEIGHTS)
    net, z = dw.load(made), every_number("z")
    assert kinds(net).count("lookup") == 1  # of z
    (conv,) = [each.spec for each in net.program.stages() if each.spec.kind == "pointwise"]
    assert "table" in str(conv)
    assert np.abs(net(z) - results(made, z)).max() <= 2.001 * SCALES["y"][0]


def test_a_result_that_others_take_is_no_part_of_a_table() -> None:
    made = network([*SILU, node("Add", "y s", "out")], "x")
    made.graph.output[0].name = "out"
    net, x = dw.load(made), every_number("x")
    assert kinds(net).count("lookup") == 2
    assert np.abs(net(x) - results(made, x)).max() <= 1.001 * SCALES["y"][0]


@pytest.mark.parametrize("length", [40, 3000])
def test_long_chains_of_functions_are_read(length: int) -> None:
    names = ["x", *(f"a{number}" for number in range(length))]
    nodes = [node("Neg", one, other) for one, other in pairwise(names)]
    made = network([*nodes, *quantize(names[-1], "y", "y")], "x")
    x = every_number("x")
    assert np.abs(dw.load(made)(x) - results(made, x)).max() <= 1.001 * SCALES["y"][0]


@pytest.mark.parametrize("length", [14, 60])
def test_sums_of_a_value_with_itself_are_read_once_each(length: int) -> None:
    names = ["x", *(f"a{number}" for number in range(length))]
    nodes = [node("Add", f"{one} {one}", other) for one, other in pairwise(names)]
    made = network([*nodes, *quantize(names[-1], "y", "y")], "x")
    x = every_number("x")
    np.testing.assert_allclose(dw.load(made)(x), results(made, x), atol=1e-6)
