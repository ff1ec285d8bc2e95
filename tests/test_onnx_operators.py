"""Ways to write what a kernel computes: nothing of them is left to ONNX Runtime."""

import numpy as np
import pytest

from onnx_models import checked, left, model, node, noise, port

X = port("x", (1, 8, 6, 6))
IMAGE = noise(1, 8, 6, 6)
POINT = noise(8, 8, 1, 1)
NUMBERS = {"zero": np.float32(0), "one": np.float32(1), "six": np.float32([6]),
           "three": np.float32(3), "k": noise(8, 1, 1), "row": noise(1, 8, 1, 1),
           "half": np.float32(0.5), "fifth": np.float32(0.2), "slope": np.float32([[[0.01]]]),
           "slopes": np.full((8, 1, 1), 0.01, "float32")}  # fmt: skip
WAYS = {
    "max": [node("Max", "a zero", "y")],
    "max, the number first": [node("Max", "zero a", "y")],
    "relu and min": [node("Relu", "a", "b"), node("Min", "b six", "y")],
    "max and min": [node("Max", "zero a", "b"), node("Min", "six b", "y")],
    "prelu": [node("PRelu", "a slope", "y")],
    "prelu of channels": [node("PRelu", "a slopes", "y")],
    "a line, clipped": [node("Mul", "a fifth", "b"), node("Add", "half b", "c"),
                        node("Clip", "c zero one", "y")],
    "a quotient, clipped": [node("Add", "a three", "b"), node("Div", "b six", "c"),
                            node("Clip", "c zero one", "y")],
    "hardswish": [node("Add", "a three", "b"), node("Clip", "b zero six", "c"),
                  node("Div", "c six", "d"), node("Mul", "a d", "y")],
    "constant less image": [node("Sub", "k a", "y")],
    "image less constant": [node("Sub", "a k", "y")],
    "constants on both sides": [node("Mul", "row a", "b"), node("Add", "k b", "y")],
    "clip without end": [node("Clip", "a zero", "y")],
    "mean, flat": [node("GlobalAveragePool", "a", "b"), node("Flatten", "b", "y")],
    "mean, negative axes": [node("ReduceMean", "a", "y", axes=[-1, -2], keepdims=0)],
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_behind_a_convolution(way):
    nodes = [node("Conv", "x p", "a"), *WAYS[way]]
    network = checked(model(nodes, [X], ["y"], {"p": POINT, **NUMBERS}), IMAGE)
    assert left(network) == []


def test_clip_up_to_the_largest_number():
    nodes = [node("Conv", "x p", "a"), node("Clip", "a", "y", min=0.0, max=3.4028234663852886e38)]
    assert left(checked(model(nodes, [X], ["y"], {"p": POINT}, opset=9), IMAGE)) == []


@pytest.mark.parametrize("bias", [(5,), (1, 5), (1,), ()])
def test_behind_a_product(bias):
    nodes = [node("MatMul", "x m", "a"), node("Add", "b a", "c"), node("Mul", "c b", "d"),
             node("Sub", "b d", "e"), node("Relu", "e", "y")]  # fmt: skip
    made = model(nodes, [port("x", ("n", 8))], ["y"], {"m": noise(8, 5), "b": noise(*bias)})
    assert left(checked(made, noise(3, 8))) == []


def test_a_norm_behind_a_product():
    nodes = [node("Gemm", "x m", "a"), node("BatchNormalization", "a k k k v", "y")]
    constants = {"m": noise(8, 5), "k": noise(5), "v": np.abs(noise(5)) + 1}
    assert left(checked(model(nodes, [port("x", (3, 8))], ["y"], constants), noise(3, 8))) == []


@pytest.mark.parametrize("other", ["max of two", "min of one", "maximum of 1", "slope of 0.1"])
def test_what_is_no_activation_of_ours(other):
    """It is left to ONNX Runtime, or a function behind the convolution, in its kernel."""
    nodes = {"max of two": [node("Max", "a x", "y")], "min of one": [node("Min", "a", "y")],
             "maximum of 1": [node("Max", "a one", "y")],
             "slope of 0.1": [node("PRelu", "a fifth", "y")]}[other]  # fmt: skip
    nodes = [node("Conv", "x p", "a"), *nodes]
    network = checked(model(nodes, [X], ["y"], {"p": POINT, **NUMBERS}), IMAGE)
    assert bool(left(network)) == (other == "min of one")
    assert len(network.program.steps) == 1 + (other == "min of one")


@pytest.mark.parametrize("way", ["max", "hardswish", "a line, clipped"])
def test_numbers_of_more_axes(way):
    """A constant (1, 1, 1, 1, 1) gives the result a fifth axis."""
    wide = {name: array.reshape((1,) * 5) for name, array in NUMBERS.items() if array.size == 1}
    bounds = {name: NUMBERS[name] for name in ("zero", "one", "six")} if way != "max" else {}
    nodes = [node("Conv", "x p", "a"), *WAYS[way]]
    checked(model(nodes, [X], ["y"], {"p": POINT, **wide, **bounds}), IMAGE)


def test_rows_of_a_batch_are_no_channels():
    """(8, 1) beside (8, 8) is one number for each row."""
    nodes = [node("MatMul", "x m", "a"), node("Add", "a b", "y")]
    made = model(nodes, [port("x", (8, 8))], ["y"], {"m": noise(8, 8), "b": noise(8, 1)})
    checked(made, noise(8, 8))
