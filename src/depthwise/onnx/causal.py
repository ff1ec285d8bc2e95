"""`CausalConvWithState` written as what it stands for: Concat, Conv, an activation and Slice.

It is ONNX's since version 27, and an operator of ONNX Runtime's own domain before that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, TypeProto, helper, numpy_helper

from depthwise.errors import ModelError
from depthwise.onnx.files import in_a_line

_NAME, _DOMAINS = "CausalConvWithState", ("", "ai.onnx", "com.microsoft")
_HALVES = (TensorProto.FLOAT16, TensorProto.BFLOAT16)
_END = np.iinfo(np.int64).max


def without_causal(model: ModelProto) -> ModelProto:
    """Return a model without such operators.

    Raises:
        ModelError: the shape of a weight is not known, or an attribute is none of the operator's.
    """
    if not any(map(_is_ours, model.graph.node)):
        return model
    made = ModelProto()
    made.CopyFrom(model)
    writing = _Writing(_types(model))
    del made.graph.node[:]
    for node in model.graph.node:
        if _is_ours(node):
            writing.write(node)
        else:
            writing.nodes.append(node)
    made.graph.node.extend(writing.nodes)
    made.graph.initializer.extend(writing.constants)
    return made


def _is_ours(node: NodeProto) -> bool:
    return node.op_type == _NAME and node.domain in _DOMAINS


def _types(model: ModelProto) -> dict[str, TypeProto]:
    """Return the types and shapes of a model's values by name, as far as they are known."""
    try:
        known = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception as error:  # in several classes
        raise ModelError(f"the nodes of a model fit together; got {in_a_line(error)}") from None
    found = {each.name: each.type for each in (*known.value_info, *known.input)}
    for each in known.initializer:
        found[each.name] = helper.make_tensor_type_proto(each.data_type, list(each.dims))
    return found


@dataclass
class _Writing:
    """What is written for a model's nodes.

    Attributes:
        types: of the model's values.
        nodes: those that are written.
        constants: those that are added.
    """

    types: Mapping[str, TypeProto]
    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)

    def write(self, node: NodeProto) -> None:
        """Write what a node stands for."""
        x, weight, bias, past = (*node.input, "", "")[:4]
        channels, taps = self._window(node, weight)
        whole = self._behind(node, x, past, taps)
        given = {each.name: helper.get_attribute_value(each) for each in node.attribute}
        activation = given.get("activation", b"none").decode()
        if activation not in ("none", "silu", "swish") or given.get("ndim", 1) != 1:
            raise ModelError(
                f"{_NAME} is of sequences, with an activation none, silu or swish; got "
                f"{_called(node)!r} with {given}"
            )
        y = node.output[0]
        inner = y if activation == "none" else f"{y}/convolved"
        self._add(node, "Conv", [whole, weight, *filter(None, [bias])], inner, group=channels)
        if activation != "none":
            self._activate(node, inner, y, self.types[x].tensor_type.elem_type)
        if len(node.output) > 1 and node.output[1]:
            starts = self._array(node, "starts", [1 - taps if taps > 1 else _END])
            ends, axes = self._array(node, "ends", [_END]), self._array(node, "axes", [2])
            self._add(node, "Slice", [whole, starts, ends, axes], node.output[1])

    def _window(self, node: NodeProto, weight: str) -> tuple[int, int]:
        """Return the channels and taps of a weight.

        Raises:
            ModelError: they are not known.
        """
        kind = self.types.get(weight)
        sizes = [] if kind is None else [each.dim_value for each in kind.tensor_type.shape.dim]
        if len(sizes) != 3 or min(sizes) < 1 or sizes[1] != 1:
            raise ModelError(
                f"the weight of {_NAME} has a known shape (channels, 1, taps); got {sizes} for "
                f"{_called(node)!r}"
            )
        return sizes[0], sizes[2]

    def _behind(self, node: NodeProto, x: str, past: str, taps: int) -> str:
        """Write a sequence behind its state, or behind zeros; return its name."""
        name = f"{node.output[0]}/whole"
        if past:
            self._add(node, "Concat", [past, x], name, axis=2)
        else:
            pads = self._array(node, "pads", [0, 0, taps - 1, 0, 0, 0])
            self._add(node, "Pad", [x, pads], name)
        return name

    def _activate(self, node: NodeProto, x: str, y: str, kind: int) -> None:
        """Write y = x * sigmoid(x), in float32 of numbers of 16 bits."""
        wide, product = x, y
        if kind in _HALVES:
            wide, product = f"{y}/wide", f"{y}/product"
            self._add(node, "Cast", [x], wide, to=TensorProto.FLOAT)
        self._add(node, "Sigmoid", [wide], f"{y}/sigmoid")
        self._add(node, "Mul", [wide, f"{y}/sigmoid"], product)
        if kind in _HALVES:
            self._add(node, "Cast", [product], y, to=kind)

    def _add(
        self, node: NodeProto, operator: str, inputs: Sequence[str], output: str, **others: int
    ) -> None:
        name = _called(node)
        self.nodes.append(helper.make_node(operator, inputs, [output], name, **others))

    def _array(self, node: NodeProto, what: str, numbers: list[int]) -> str:
        name = f"{node.output[0]}/{what}"
        self.constants.append(numpy_helper.from_array(np.array(numbers, np.int64), name))
        return name


def _called(node: NodeProto) -> str:
    return str(node.name) or f"{node.op_type} {node.output[0]}"
