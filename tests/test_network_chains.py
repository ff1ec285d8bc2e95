"""Chains of functions of each element in networks: which are kernels, and the same results."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from depthwise.errors import ArrayError, ModelError
from depthwise.loading import load
from depthwise.network.saved import container
from depthwise.network.steps import Stage
from onnx_models import assert_close, by_runtime, called, checked, left, model, node, noise, port

X = port("x", (2, 8, 6, 5))
IMAGE = noise(2, 8, 6, 5)
POINT = noise(8, 8, 1, 1)


def chains(network):
    """Return the functions of each kernel that has some, of its own or behind a convolution."""
    stages = [step.work for step in network.program.steps if isinstance(step.work, Stage)]
    found = [getattr(stage.spec, "chain", ()) for stage in stages]
    return [" ".join(map(str, chain)) for chain in found if chain]


def conv(inputs: str, output: str):
    return node("Conv", f"{inputs} p", output)


def test_a_chain_between_convolutions_is_one_kernel():
    nodes = [conv("x", "a"), node("Relu", "a", "b"), node("Mul", "b k", "c"), node("Erf", "c", "d"),
             node("Sub", "two d", "e"), node("Sub", "e x", "f"), conv("f", "y")]  # fmt: skip
    constants = {"p": POINT, "k": noise(8, 1, 1), "two": np.float32(2)}
    network = checked(model(nodes, [X], ["y"], constants), IMAGE)
    assert chains(network) == ["mul.channel erf rsub.scalar sub.image"]
    assert left(network) == []


def test_a_result_that_is_used_twice_ends_a_chain():
    nodes = [conv("x", "a"), node("Tanh", "a", "b"), node("Abs", "b", "c"), node("Exp", "c", "d"),
             node("Mul", "c d", "e"), conv("e", "y")]  # fmt: skip
    network = checked(model(nodes, [X], ["y"], {"p": POINT}), IMAGE)
    assert sorted(chains(network)) == ["exp mul.image", "tanh abs"]
    assert left(network) == []


def test_a_result_that_the_network_returns_ends_a_chain():
    nodes = [conv("x", "a"), node("Tanh", "a", "b"), node("Neg", "b", "c"), conv("c", "y")]
    network = checked(model(nodes, [X], ["y", "b"], {"p": POINT}), IMAGE)
    assert chains(network) == ["tanh", "neg"]
    assert left(network) == []


GATE, ROWS = port("g", (2, 8, 1, 1)), port("g", (2, 1, 6, 5))


@pytest.mark.parametrize("small", [GATE, ROWS], ids=["gate", "pixel"])
@pytest.mark.parametrize(
    ("function", "there", "back"),
    [("Add", "add", "add"), ("Mul", "mul", "mul"), ("Sub", "sub", "rsub"), ("Div", "div", "rdiv")],
)
def test_the_smaller_operand_comes_first_or_second(function, there, back, small):
    kind = "gate" if small is GATE else "pixel"
    operand = 2 + np.abs(noise(*(each.dim_value for each in small.type.tensor_type.shape.dim)))
    for inputs, wanted in (("b g", there), ("g b", back)):
        nodes = [conv("x", "a"), node("Exp", "a", "b"), node(function, inputs, "c"), conv("c", "y")]
        network = checked(model(nodes, [X, small], ["y"], {"p": POINT}), IMAGE, operand)
        assert chains(network) == [f"exp {wanted}.{kind}"]
        assert left(network) == []


def test_what_the_smaller_operand_is_made_of_is_a_chain_of_its_own():
    nodes = [conv("g", "a"), node("Exp", "a", "b"), node("Mul", "b x", "c"), node("Tanh", "c", "d"),
             conv("d", "y")]  # fmt: skip
    network = checked(model(nodes, [X, GATE], ["y"], {"p": POINT}), IMAGE, noise(2, 8, 1, 1))
    assert chains(network) == ["exp", "mul.gate tanh"]
    assert left(network) == []


def test_squeeze_and_excite_without_a_projection():
    nodes = [conv("x", "a"), node("GlobalAveragePool", "a", "m"), conv("m", "r"),
             node("Relu", "r", "s"), conv("s", "t"), node("Sigmoid", "t", "g"),
             node("Mul", "a g", "y")]  # fmt: skip
    network = checked(model(nodes, [X], ["y"], {"p": POINT}), IMAGE)
    assert chains(network) == ["mul.gate"]
    assert left(network) == []


@pytest.mark.parametrize(
    ("first", "second"),
    [((2, 8, 6, 1), (2, 8, 1, 5)), ((2, 8, 6, 5), (1, 8, 6, 5)), ((2, 8, 6, 5), (2, 8, 6, 1))],
    ids=["both smaller", "one image for all", "rows of each channel"],
)
def test_what_is_broadcast_otherwise_is_left(first, second):
    nodes = [conv("x", "a"), conv("z", "b"), node("Mul", "a b", "c"), conv("c", "y")]
    ports = [port("x", first), port("z", second)]
    network = checked(model(nodes, ports, ["y"], {"p": POINT}), noise(*first), noise(*second))
    assert chains(network) == []


@pytest.mark.parametrize("shape", [(1, 8, 6, 5), (6, 5), (1, 1, 6, 5), (1, 1, 1, 1, 1)])
def test_constants_that_are_no_numbers_for_channels_are_left(shape):
    nodes = [conv("x", "a"), node("Mul", "a k", "b"), node("Reshape", "b s", "c"), conv("c", "y")]
    constants = {"p": POINT, "k": noise(*shape), "s": np.int64([2, 8, 6, 5])}
    network = checked(model(nodes, [X], ["y"], constants), IMAGE)
    assert chains(network) == []


def test_the_same_value_twice():
    nodes = [conv("x", "a"), node("Mul", "a a", "b"), node("Sub", "b b", "c"), conv("c", "y")]
    network = checked(model(nodes, [X], ["y"], {"p": POINT}), IMAGE)
    assert chains(network) == ["mul.image", "sub.image"]


def test_what_lies_between_the_engines_own_is_left_to_it():
    pool = {"kernel_shape": [1, 1]}
    nodes = [node("MaxPool", "x", "a", **pool), node("Tanh", "a", "b"), node("Add", "a b", "c"),
             node("MaxPool", "c", "y", **pool)]  # fmt: skip
    network = checked(model(nodes, [X], ["y"]), IMAGE)
    assert chains(network) == []


def test_an_image_of_the_engine_is_not_brought_here_for_another_of_its():
    """One permutation before the sum, where there would be one before it and one behind it."""
    pool = {"kernel_shape": [1, 1]}
    nodes = [node("MaxPool", "x", "a", **pool), conv("x", "b"), node("Tanh", "b", "c"),
             node("Add", "a c", "d"), node("MaxPool", "d", "y", **pool)]  # fmt: skip
    network = checked(model(nodes, [X], ["y"], {"p": POINT}), IMAGE)
    assert chains(network) == ["tanh"]


def test_a_long_chain_is_several_kernels():
    nodes = [conv("x", "a0"), *(node("Neg", f"a{n}", f"a{n + 1}") for n in range(50)),
             conv("a50", "y")]  # fmt: skip
    network = checked(model(nodes, [X], ["y"], {"p": POINT}), IMAGE)
    assert [len(each.split()) for each in chains(network)] == [20, 20, 10]


def test_matrices_have_chains():
    weight = noise(8, 8)
    nodes = [node("MatMul", "x w", "a"), node("Tanh", "a", "b"), node("Mul", "b k", "c"),
             node("Add", "c x", "d"), node("Mul", "d n", "e"),
             node("MatMul", "e w", "y")]  # fmt: skip
    ports = [port("x", (3, 8)), port("n", (3, 1))]
    made = model(nodes, ports, ["y"], {"w": weight, "k": noise(8)})
    network = checked(made, noise(3, 8), noise(3, 1))
    assert chains(network) == ["tanh mul.channel add.image mul.pixel"]
    assert left(network) == []


FUNCTIONS = {
    "Abs": "abs", "Exp": "exp", "Neg": "neg", "Erf": "erf", "Tanh": "tanh", "Softplus": "softplus",
    "Mish": "mish", "Reciprocal": "reciprocal", "Sqrt": "sqrt", "Gelu tanh": "gelu_tanh",
    "Pow 2": "square", "Pow 0.5": "sqrt", "Max 0.5": "max.scalar", "Min 0.5": "min.scalar",
    "PRelu 0.3": "prelu.scalar", "LeakyRelu": "prelu.scalar",
    "Clip": "max.scalar min.scalar", "HardSigmoid": "mul.scalar add.scalar max.scalar min.scalar",
    "HardSwish": "hardswish", "Relu": "relu",
}  # fmt: skip
"""Operators of ONNX, some with an operand or in a variant, each with the chain that it is."""


@pytest.mark.parametrize("opset", [9, 20])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_of_onnx(name, opset):
    """Behind a small square plus something, which is positive; left alone behind the input."""
    operator, _, operand = name.partition(" ")
    if opset == 9 and operator in ("Mish", "Gelu", "HardSwish"):
        pytest.skip("no operator of this opset")
    how = {"LeakyRelu": {"alpha": 0.25}, "HardSigmoid": {"alpha": 0.3}}.get(operator, {})
    inputs, constants = "b", {"p": POINT, "tenth": np.float32(0.1)}
    if operator == "Gelu":
        how = {"approximate": "tanh"}
    elif operand:
        inputs, constants["k"] = "b k", np.float32(operand)
    if operator == "Clip" and opset == 9:
        how = {"min": 0.2, "max": 0.7}
    elif operator == "Clip":
        inputs, constants["low"], constants["high"] = "b low high", *np.float32([0.2, 0.7])
    nodes = [conv("x", "a"), node("Mul", "a a", "s"), node("Add", "s tenth", "b"),
             node(operator, inputs, "c", **how), conv("c", "y"),
             node(operator, inputs.replace("b", "q"), "z", **how),
             node("Add", "x tenth", "q0"), node("Abs", "q0", "q")]  # fmt: skip
    nodes = [*nodes[:5], *nodes[6:], nodes[5]]
    network = checked(model(nodes, [X], ["y", "z"], constants, opset), IMAGE / 4)
    assert any(each.endswith(f"add.scalar {FUNCTIONS[name]}") for each in chains(network))


def test_sizes_that_are_open():
    nodes = [conv("x", "a"), node("Tanh", "a", "b"), node("Mul", "b g", "c"),
             node("Add", "c x", "d"), node("Mul", "d r", "e"), conv("e", "y")]  # fmt: skip
    ports = [
        port("x", ("n", 8, "h", "w")),
        port("g", ("n", 8, 1, 1)),
        port("r", ("n", 1, "h", "w")),
    ]
    made = model(nodes, ports, ["y"], {"p": POINT})
    example = {"x": (2, 8, 6, 5), "g": (2, 8, 1, 1), "r": (2, 1, 6, 5)}

    network = load(made, inputs=example)
    assert chains(network) == ["tanh mul.gate add.image mul.pixel"]
    for n, h, w in ((2, 6, 5), (1, 3, 9), (3, 1, 1), (0, 4, 4)):
        arrays = [noise(n, 8, h, w), noise(n, 8, 1, 1), noise(n, 1, h, w)]
        assert_close(called(network, *arrays), by_runtime(made, arrays))


def test_a_file_has_chains_with_their_operands(tmp_path):
    nodes = [conv("x", "a"), node("Mul", "a k", "b"), node("Mul", "b g", "c"),
             node("Tanh", "c", "d"), node("Add", "d x", "e"), conv("e", "y")]  # fmt: skip
    made = model(nodes, [X, GATE], ["y"], {"p": POINT, "k": noise(8, 1, 1)})
    arrays = [IMAGE, noise(2, 8, 1, 1)]
    network = checked(made, *arrays)
    network.save(tmp_path / "net.dw", with_code=True)
    again = load(tmp_path / "net.dw", trust=True)
    assert chains(again) == chains(network) != []
    np.testing.assert_array_equal(again(*arrays), network(*arrays))


FORGED = {
    "another kind of operand": {"kernel": ("mul.gate", "mul.image")},
    "one more that is computed": {"kernel": ("mul.channel", "mul.gate")},
    "one fewer": {"kernel": ("add.image", "abs")},
    "another order": {"inputs": lambda given: [given[0], given[2], given[1]]},
    "an image too few": {"inputs": lambda given: given[:-1]},
    "the smaller one first": {"inputs": lambda given: [given[1], given[1], given[2]]},
}


@pytest.fixture(scope="module", params=["then", "elementwise"])
def in_a_file(tmp_path_factory, request):
    longer = "Abs" if request.param == "elementwise" else "Identity"
    nodes = [conv("x", "a"), node("Neg", "a", "s"), node(longer, "s", "t"),
             node("Mul", "t k", "b"), node("Mul", "b g", "c"), node("Add", "c x", "e"),
             conv("e", "y")]  # fmt: skip
    path = tmp_path_factory.mktemp("forged") / "net.dw"
    load(model(nodes, [X, GATE], ["y"], {"p": POINT, "k": noise(8, 1, 1)})).save(path)
    return request.param, *container.read(path)


@pytest.mark.parametrize("name", FORGED)
def test_a_step_that_does_not_fit_its_operands_is_refused(in_a_file, name):
    word, description, tensors = copy.deepcopy(in_a_file)
    (step,) = (each for each in description["steps"] if word in each.get("kernel", "").split())
    for key, change in FORGED[name].items():
        step[key] = step[key].replace(*change) if key == "kernel" else change(step[key])
    with pytest.raises((ArrayError, ModelError)):
        load(bytes(container.written(description, tensors)))(IMAGE, noise(2, 8, 1, 1))


def test_a_network_that_takes_images_of_one_height_alone_has_known_sizes_too():
    nodes = [conv("x", "a"), node("Tanh", "a", "b"), node("Mul", "b two", "c"),
             node("AveragePool", "c", "d", kernel_shape=[6, 1]),
             node("Squeeze", "d axis", "y")]  # fmt: skip
    constants = {"p": POINT, "two": np.float32(2), "axis": np.array([2])}
    read = model(nodes, [port("x", ("n", 8, "h", "w"))], ["y"], constants)
    with pytest.raises(ModelError, match=r"may be 224, 256, 512 \(say with inputs="):
        load(read)
    network = load(read, inputs={"x": (2, 8, 6, 5)})
    assert chains(network) == ["tanh mul.scalar"]
    for shape in ((2, 8, 6, 5), (3, 8, 6, 9)):
        image = noise(*shape)
        assert_close(called(network, image), by_runtime(read, [image]))
