"""Quantized operators (QLinearConv and its like) written as what a QDQ file has in their place.

That is: whole numbers made real numbers (DequantizeLinear), an operator of real numbers, and its
result rounded to whole numbers (QuantizeLinear).  Those of ONNX, and those of ONNX Runtime's own
domain that its quantizer writes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from depthwise.problem.arrays import Array

_FIRST_OPSET = 13
"""From this version on a scale may be that of a channel."""
_RUNTIME = "com.microsoft"


def as_qdq(model: ModelProto) -> ModelProto:
    """Return a model without quantized operators, as far as there is another way to write them."""
    opset = max((each.version for each in model.opset_import if each.domain in _PLAIN), default=0)
    if opset < _FIRST_OPSET or not any(_writer(node) for node in model.graph.node):
        return model
    made = ModelProto()
    made.CopyFrom(model)
    writing = _Writing({each.name: each for each in model.graph.initializer})
    del made.graph.node[:]
    for node in model.graph.node:
        made.graph.node.extend(writing.written(node))
    made.graph.initializer.extend(writing.constants)
    return made


_PLAIN = ("", "ai.onnx")


@dataclass(frozen=True)
class _Numbers:
    """Whole numbers with their scale and zero point: the names of three inputs."""

    array: str
    scale: str
    zero: str


@dataclass
class _Writing:
    """What is written for a model's nodes.

    Attributes:
        known: the model's own constants.
        constants: those that are added.
        nodes: those for the node at hand.
    """

    known: dict[str, TensorProto]
    constants: list[TensorProto] = field(default_factory=list)
    nodes: list[NodeProto] = field(default_factory=list)

    def written(self, node: NodeProto) -> list[NodeProto]:
        """Return the nodes that stand for one, which may be itself."""
        writer = _writer(node)
        self.nodes = []
        known = len(self.constants)
        try:
            if writer is not None and writer(self, node):
                return self.nodes
        except (LookupError, TypeError):  # fewer inputs than it needs: ONNX Runtime's to say so
            pass
        del self.constants[known:]
        return [node]

    def real(self, node: NodeProto, numbers: _Numbers, axis: int | None = None) -> str:
        """Return the name of the real numbers that whole ones stand for."""
        inputs = [numbers.array, numbers.scale, *filter(None, [numbers.zero])]
        name = f"{node.output[0]}/{len(self.nodes)}"
        axes = {} if axis is None else {"axis": axis}
        self._add(node, "DequantizeLinear", inputs, name, axes)
        return name

    def computed(
        self, node: NodeProto, operator: str, inputs: Sequence[str], end: tuple[str, str],
        keep: Sequence[str] = (),
    ) -> bool:  # fmt: skip
        """Write an operator of real numbers and the rounding of its result.

        Args:
            node: what is written otherwise.
            operator: of real numbers.
            inputs: its inputs.
            end: the scale and the zero point of the result.
            keep: the attributes that it has of the node's.
        """
        name = f"{node.output[0]}/{len(self.nodes)}"
        given = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        chosen = {key: value for key, value in given.items() if key in keep}
        self._add(node, operator, inputs, name, chosen)
        self._add(node, "QuantizeLinear", [name, *filter(None, end)], node.output[0], {})
        return True

    def _add(
        self, node: NodeProto, operator: str, inputs: Sequence[str], output: str,
        attributes: Mapping[str, object],
    ) -> None:  # fmt: skip
        name = node.name or f"{node.op_type} {node.output[0]}"
        self.nodes.append(helper.make_node(operator, inputs, [output], name, **attributes))

    def constant(self, name: str) -> Array | None:
        """Return a constant by its name."""
        tensor = self.known.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def bias(self, node: NodeProto, name: str, x: _Numbers, weight: _Numbers) -> str | None:
        """Return the name of a bias, whose scale is that of the products; None if it is unknown."""
        scales = [self.constant(each.scale) for each in (x, weight)]
        if scales[0] is None or scales[1] is None or scales[0].size != 1:
            return None
        product = (scales[0].reshape(()) * scales[1]).astype(np.float32)
        numbers = _Numbers(name, f"{node.output[0]}/scale", f"{node.output[0]}/zero")
        self.constants += [
            numpy_helper.from_array(product, numbers.scale),
            numpy_helper.from_array(np.zeros(product.shape, np.int32), numbers.zero),
        ]
        return self.real(node, numbers, axis=0)


_Writer = Callable[[_Writing, NodeProto], bool]


def _given(node: NodeProto, first: int) -> _Numbers:
    return _Numbers(*node.input[first : first + 3])


def _optional(node: NodeProto, place: int) -> str:
    return node.input[place] if place < len(node.input) else ""


def _convolution(writing: _Writing, node: NodeProto) -> bool:
    x, weight = _given(node, 0), _given(node, 3)
    inputs = [writing.real(node, x), writing.real(node, weight, axis=0)]
    if name := _optional(node, 8):
        bias = writing.bias(node, name, x, weight)
        if bias is None:
            return False
        inputs.append(bias)
    keep = "auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"
    return writing.computed(node, "Conv", inputs, (node.input[6], node.input[7]), keep)


def _matrix_product(writing: _Writing, node: NodeProto) -> bool:
    first, second = _given(node, 0), _given(node, 3)
    scales = [writing.constant(each.scale) for each in (first, second)]
    if any(scale is None or scale.size != 1 for scale in scales[:1]) or scales[1] is None:
        return False
    weight = writing.constant(second.array)
    if scales[1].size != 1 and (weight is None or weight.ndim != 2):
        return False
    inputs = [writing.real(node, first), writing.real(node, second, axis=1)]
    return writing.computed(node, "MatMul", inputs, (node.input[6], node.input[7]))


def _gemm(writing: _Writing, node: NodeProto) -> bool:
    x, weight = _given(node, 0), _given(node, 3)
    scale = _optional(node, 7)
    alpha = next((each.f for each in node.attribute if each.name == "alpha"), 1.0)
    if not scale or alpha != 1 or not _optional(node, 8):
        return False  # its result is of real numbers, or of another scale
    transposed = any(each.name == "transB" and each.i for each in node.attribute)
    inputs = [writing.real(node, x), writing.real(node, weight, axis=1 - transposed)]
    if name := _optional(node, 6):
        bias = writing.bias(node, name, x, weight)
        if bias is None:
            return False
        inputs.append(bias)
    keep = "alpha", "transA", "transB"
    return writing.computed(node, "Gemm", inputs, (scale, _optional(node, 8)), keep)


def _pair(operator: str) -> _Writer:
    def write(writing: _Writing, node: NodeProto) -> bool:
        if not _optional(node, 7):
            return False
        inputs = [writing.real(node, _given(node, place)) for place in (0, 3)]
        return writing.computed(node, operator, inputs, (node.input[6], _optional(node, 7)))

    return write


def _single(operator: str, *keep: str) -> _Writer:
    def write(writing: _Writing, node: NodeProto) -> bool:
        if any(each.name == "channels_last" and each.i for each in node.attribute):
            return False
        if not _optional(node, 4) or node.op_type == "QLinearSoftmax":
            return False
        inputs = [writing.real(node, _given(node, 0))]
        end = node.input[3], _optional(node, 4)
        return writing.computed(node, operator, inputs, end, keep)

    return write


def _concat(writing: _Writing, node: NodeProto) -> bool:
    inputs = [writing.real(node, _given(node, at)) for at in range(2, len(node.input), 3)]
    return writing.computed(node, "Concat", inputs, (node.input[0], node.input[1]), ("axis",))


_POOL = "auto_pad", "ceil_mode", "count_include_pad", "kernel_shape", "pads", "strides"
_WRITERS: dict[str, dict[str, _Writer]] = {
    "": {"QLinearConv": _convolution, "QLinearMatMul": _matrix_product},
    _RUNTIME: {
        "QGemm": _gemm,
        "QLinearAdd": _pair("Add"),
        "QLinearMul": _pair("Mul"),
        "QLinearSigmoid": _single("Sigmoid"),
        "QLinearLeakyRelu": _single("LeakyRelu", "alpha"),
        "QLinearGlobalAveragePool": _single("GlobalAveragePool"),
        "QLinearAveragePool": _single("AveragePool", *_POOL),
        "QLinearConcat": _concat,
    },
}
"""By domain and operator."""


def _writer(node: NodeProto) -> _Writer | None:
    domain = "" if node.domain in _PLAIN else node.domain
    return _WRITERS.get(domain, {}).get(node.op_type)
