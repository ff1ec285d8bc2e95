"""Which nodes of a model are computed with whole numbers.

Convolutions and products with given weights are *layers*: they are quantized unless they are to be
left in float.  What moves, joins or pools what layers made is quantized where all that it takes
comes from quantized nodes.  Functions of each element of one such value are not: they are computed
in float between a layer and what quantizes its result, where a kernel does both at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

_FUNCTIONS = frozenset((
    "Abs", "Add", "Clip", "Div", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish",
    "Identity", "LeakyRelu", "Max", "Min", "Mish", "Mul", "Neg", "PRelu", "Pow", "Relu", "Selu",
    "Sigmoid", "Softplus", "Softsign", "Sqrt", "Sub", "Tanh", "ThresholdedRelu",
))  # fmt: skip
"""Functions of each element, where they are of one computed value."""
_JOINS = frozenset(("Add", "Mul", "Concat"))
"""What takes several values that are quantized."""
_POOLS = frozenset(("AveragePool", "GlobalAveragePool", "MaxPool", "ReduceMean"))
_MOVES = frozenset((
    "DepthToSpace", "Flatten", "Pad", "Reshape", "Resize", "Slice", "SpaceToDepth", "Split",
    "Squeeze", "Transpose", "Unsqueeze",
))  # fmt: skip
_PIXELS = ((-2, -1), (1, 2), (2, 3))
"""The axes of pixels, in images of either order of axes."""
SUMS = frozenset(("Conv", "ConvTranspose", "Gemm", "MatMul"))
QUANTIZED = SUMS | _JOINS | _POOLS | _MOVES
"""The operators that may be computed with whole numbers."""


@dataclass(frozen=True)
class Layer:
    """A convolution or product that may be quantized.

    Attributes:
        name: of its node.
        kind: what it is in words, e.g. "depthwise 3x3".
        weight: the name of its weight.
        output: the name of what it makes.
    """

    name: str
    kind: str
    weight: str
    output: str


def layers(model: ModelProto) -> tuple[Layer, ...]:
    """Return the layers of a model whose constants are initializers, in order."""
    return tuple(_layers(model))


def chosen(model: ModelProto, float_layers: Collection[str]) -> list[str]:
    """Return the names of the nodes that are quantized.

    Args:
        model: whose constants are initializers, and whose nodes have a name each.
        float_layers: the names of the layers that are not.
    """
    sums = {layer.name for layer in layers(model)} - set(float_layers)
    constants = {each.name: each for each in model.graph.initializer}
    origins: dict[str, tuple[str, bool]] = {}
    names = []
    for node in model.graph.node:
        computed = [name for name in node.input if name and name not in constants]
        found = {origins.get(name, (name, False)) for name in computed}
        if node.op_type in _FUNCTIONS and len(found) == 1:
            (origin,) = found
            origins[node.output[0]] = origin
            continue
        moved = node.op_type in QUANTIZED - SUMS and _may_be_whole(node, constants)
        whole = moved and bool(found) and all(each for _, each in found)
        if quantized := node.name in sums or whole:
            names.append(node.name)
        origins.update({name: (name, quantized) for name in node.output})
    return _without_last_moves(model, names)


def _may_be_whole(node: NodeProto, constants: Mapping[str, TensorProto]) -> bool:
    """Whether a node is no mean but of all pixels of each channel: others are parts of norms."""
    if node.op_type != "ReduceMean":
        return True
    axes = [tuple(each.ints) for each in node.attribute if each.name == "axes"]
    axes += [tuple(numpy_helper.to_array(constants[n])) for n in node.input[1:] if n in constants]
    return bool(axes) and tuple(sorted(axes[0])) in _PIXELS


def _without_last_moves(model: ModelProto, names: Collection[str]) -> list[str]:
    """Return the names without nodes that only move what is not quantized after them."""
    taken: set[str] = set()
    kept = set(names)
    for node in reversed(model.graph.node):
        if node.name in kept and node.op_type in _MOVES and taken.isdisjoint(node.output):
            kept.remove(node.name)
        if node.name in kept or (node.op_type in _FUNCTIONS and not taken.isdisjoint(node.output)):
            taken.update(node.input)
    return [name for name in names if name in kept]


def _layers(model: ModelProto) -> Iterator[Layer]:
    given = {
        each.name: tuple(each.dims)
        for each in model.graph.initializer
        if each.data_type == TensorProto.FLOAT
    }
    for node in model.graph.node:
        weight = node.input[1] if node.op_type in SUMS else ""
        if weight in given and node.input[0] not in given:
            yield Layer(node.name, _kind(node, given[weight]), weight, node.output[0])


def _kind(node: NodeProto, weight: tuple[int, ...]) -> str:
    if node.op_type in ("Gemm", "MatMul"):
        return "linear"
    how: dict[str, Any] = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    window = "x".join(map(str, weight[2:]))
    groups = how.get("group", 1)
    if node.op_type == "ConvTranspose":
        return f"transposed {window}"
    if weight[1] == 1 and groups > 1:
        return f"depthwise {window}"
    if set(weight[2:]) == {1} and groups == 1:
        return "pointwise"
    return f"conv {window}" + (f" groups {groups}" if groups > 1 else "")
