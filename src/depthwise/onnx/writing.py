"""Nodes of a `network` graph written as a model of ONNX, for ONNX Runtime to compute."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    TypeProto,
    helper,
    numpy_helper,
)

from depthwise.errors import ModelError
from depthwise.network.graph import Node, Value
from depthwise.network.images import TO_NCHW, TO_NHWC
from depthwise.network.operators import (
    Activate,
    BatchNorm,
    Binary,
    ChannelNorm,
    Clip,
    Concat,
    Convolution,
    Foreign,
    GroupNorm,
    HardSigmoid,
    Identity,
    LayerNorm,
    Linear,
    Pad,
    Permute,
    Reduce,
    Reshape,
    Slice,
    Tail,
    Unary,
)
from depthwise.onnx.layouts import LIES_NHWC
from depthwise.onnx.versions import graphs_in, written_opset


@dataclass(frozen=True)
class Dialect:
    """What a file was written in.

    Attributes:
        opsets: the version of the operators of each domain.
        ir_version: of the file.
        types: the types of the file's values by name, as far as they are known.
    """

    opsets: Mapping[str, int]
    ir_version: int
    types: Mapping[str, TypeProto] = field(default_factory=dict)

    @property
    def opset(self) -> int:
        """The version of ONNX's own operators."""
        return self.opsets.get("", 1)


class Writer:
    """Writes nodes one after the other."""

    def __init__(self, dialect: Dialect) -> None:
        self.dialect = dialect
        self._nodes: list[NodeProto] = []
        self._initializers: list[TensorProto] = []
        self._names: dict[Value, str] = {}
        self._returns: dict[Value, str] = {}
        self._called: set[str] = set()
        self._made = 0

    def model(
        self, nodes: Sequence[Node], inputs: Sequence[Value], outputs: Sequence[Value],
        images: frozenset[Value],
    ) -> ModelProto:  # fmt: skip
        """Return nodes as a model of its own; see `Engine.write`."""
        taken = [self._taken(number, value, images) for number, value in enumerate(inputs)]
        self._returns = {
            value: f"out{number}@depthwise" + LIES_NHWC * _is_image(value, images)
            for number, value in enumerate(outputs)
        }
        for node in nodes:
            self._write(node)
        made = [self._returned(value) for value in outputs]
        graph = helper.make_graph(self._nodes, "left", taken, made, self._initializers)
        versions = {**self.dialect.opsets, "": written_opset(self._nodes, self.dialect.opset)}
        opsets = [helper.make_opsetid(*each) for each in versions.items()]
        return helper.make_model(graph, opset_imports=opsets, ir_version=self.dialect.ir_version)

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        """Add a node of one output, and return the name of that."""
        output = self._new()
        self._nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def array(self, array: Any, dtype: Any = None) -> str:
        """Return the name of an array that is given."""
        name = self._new()
        lies = np.ascontiguousarray(np.asarray(array, dtype))
        self._initializers.append(numpy_helper.from_array(lies.reshape(np.shape(array)), name))
        return name

    def _new(self) -> str:
        self._made += 1
        return f"{self._made}@depthwise"

    def _taken(self, number: int, value: Value, images: frozenset[Value]) -> Any:
        name = f"in{number}@depthwise"
        if _is_image(value, images):
            name += LIES_NHWC
            self._names[value] = self.add("Transpose", name, perm=TO_NCHW)
        else:
            self._names[value] = name
        return self._port(name, value)

    def _returned(self, value: Value) -> Any:
        name = self._returns[value]
        if name.endswith(LIES_NHWC):
            node = helper.make_node("Transpose", [self._names[value]], [name], perm=TO_NHWC)
            self._nodes.append(node)
        elif self._names[value] != name:
            self._nodes.append(helper.make_node("Identity", [self._names[value]], [name]))
        return self._port(name, value)

    def _port(self, name: str, value: Value) -> Any:
        """Return the declaration of an input or output: its type, without its sizes."""
        if value.dtype is not None:
            kind = helper.np_dtype_to_tensor_dtype(np.dtype(value.dtype))
            return helper.make_tensor_value_info(name, kind, None)
        found = self.dialect.types.get(value.name)
        if found is None:
            raise ModelError(f"the type of each value can be inferred; got none for {value.name!r}")
        return helper.make_value_info(name, found)

    def _name(self, value: Value | None) -> str:
        if value is None:
            return ""
        if value not in self._names:
            if value.constant is None:
                raise ModelError(f"each value is computed before it is used; got {value.name!r}")
            self._names[value] = self.array(value.constant)
        return self._names[value]

    def _write(self, node: Node) -> None:
        operator = node.operator
        if isinstance(operator, Foreign):
            self._foreign(node, operator)
            return
        names = [self._name(value) for value in node.inputs]
        write = cast("Callable[..., str]", _WRITERS[type(operator)])
        before = len(self._nodes)
        self._names[node.output] = write(self, operator, names, node)
        for made in self._nodes[before:]:
            self._call(made, ", ".join(node.covers))

    def _foreign(self, node: Node, operator: Foreign) -> None:
        """Write a node of the file, and the names that the graphs in it know values by."""
        proto = NodeProto()
        proto.ParseFromString(operator.payload)
        explicit, captured = node.inputs[: len(proto.input)], node.inputs[len(proto.input) :]
        names = map(self._name, captured)
        _recapture(proto, dict(zip(captured_names(proto), names, strict=True)))
        del proto.input[:]
        proto.input.extend(self._name(value) for value in explicit)
        outputs = iter(node.outputs)
        for position, output in enumerate(proto.output):
            if output:
                made = next(outputs)
                wanted = self._returns.get(made, LIES_NHWC)
                name = self._new() if wanted.endswith(LIES_NHWC) else wanted
                self._names[made] = proto.output[position] = name
        self._call(proto, proto.name)
        self._nodes.append(proto)

    def _call(self, proto: NodeProto, name: str) -> None:
        """Give a node the name by which errors call it, unless another has it."""
        proto.name = "" if name in self._called else name
        self._called.add(name)


def captured_names(proto: NodeProto) -> list[str]:
    """Return the names of values outside of a node that the graphs in it use."""
    found: dict[str, None] = {}
    for graph in graphs_in(proto):
        own = _given(graph)
        for node in graph.node:
            for name in (*node.input, *captured_names(node)):
                if name and name not in own:
                    found[name] = None
            own.update(node.output)
        found.update(dict.fromkeys(out.name for out in graph.output if out.name not in own))
    return list(found)


def _given(graph: GraphProto) -> set[str]:
    """Return the names that a graph within a node has before its own nodes."""
    sparse = (each.values for each in graph.sparse_initializer)
    return {each.name for each in (*graph.input, *graph.initializer, *sparse)}


def _recapture(proto: NodeProto, names: Mapping[str, str]) -> None:
    """Let the graphs in a node take values from outside of it by other names."""
    for graph in graphs_in(proto):
        own = _given(graph).union(*(node.output for node in graph.node))
        inside = {old: new for old, new in names.items() if old not in own}
        for node in graph.node:
            node.input[:] = [inside.get(name, name) for name in node.input]
            _recapture(node, inside)
        for output in graph.output:
            output.name = inside.get(output.name, output.name)


def _is_image(value: Value, images: frozenset[Value]) -> bool:
    return value in images and len(value.shape or ()) == 4


def _convolution(writer: Writer, how: Convolution, names: list[str], _: Node) -> str:
    (top, bottom), (left, right) = how.padding
    return writer.add(
        "Conv", *names, strides=how.stride, pads=(top, left, bottom, right),
        dilations=how.dilation, group=how.groups,
    )  # fmt: skip


def _linear(writer: Writer, _: Linear, names: list[str], node: Node) -> str:
    weight = node.constant(1)
    turned = (
        writer.add("Transpose", names[1], perm=[1, 0]) if weight is None else writer.array(weight.T)
    )
    made = writer.add("MatMul", names[0], turned)
    return writer.add("Add", made, names[2]) if len(names) > 2 else made


def _batch_norm(writer: Writer, norm: BatchNorm, names: list[str], _: Node) -> str:
    return writer.add("BatchNormalization", *names, epsilon=norm.epsilon)


def _layer_norm(writer: Writer, norm: LayerNorm, names: list[str], _: Node) -> str:
    return writer.add("LayerNormalization", *names, axis=-1, epsilon=norm.epsilon)


def _channel_norm(writer: Writer, norm: ChannelNorm, names: list[str], _: Node) -> str:
    pixels = writer.add("Transpose", names[0], perm=TO_NHWC)
    made = writer.add("LayerNormalization", pixels, *names[1:], axis=-1, epsilon=norm.epsilon)
    return writer.add("Transpose", made, perm=TO_NCHW)


def _activate(writer: Writer, activate: Activate, names: list[str], node: Node) -> str:
    return _ACTIVATIONS[activate.activation](writer, names[0], np.dtype(node.output.dtype))


def _relu6(writer: Writer, x: str, dtype: Any) -> str:
    return _clipped(writer, x, 0, 6, dtype)


def _clipped(writer: Writer, x: str, low: float, high: float, dtype: Any) -> str:
    if writer.dialect.opset < 11:
        return writer.add("Clip", x, min=float(low), max=float(high))
    return writer.add("Clip", x, writer.array(low, dtype), writer.array(high, dtype))


def _clip(writer: Writer, clip: Clip, names: list[str], node: Node) -> str:
    return _clipped(writer, names[0], clip.low, clip.high, np.dtype(node.output.dtype))


def _hard_sigmoid(writer: Writer, x: str, _: Any) -> str:
    return writer.add("HardSigmoid", x, alpha=1 / 6, beta=0.5)


def _gelu(writer: Writer, x: str, dtype: Any) -> str:
    scaled = writer.add("Mul", x, writer.array(math.sqrt(0.5), dtype))
    share = writer.add("Add", writer.add("Erf", scaled), writer.array(1, dtype))
    half = writer.add("Mul", x, writer.array(0.5, dtype))
    return writer.add("Mul", half, share)


_ACTIVATIONS: dict[str, Callable[[Writer, str, Any], str]] = {
    "relu": lambda writer, x, _: writer.add("Relu", x),
    "relu6": _relu6,
    "hardswish": lambda writer, x, kind: writer.add("Mul", x, _hard_sigmoid(writer, x, kind)),
    "silu": lambda writer, x, _: writer.add("Mul", x, writer.add("Sigmoid", x)),
    "gelu": _gelu,
    "leaky_relu": lambda writer, x, _: writer.add("LeakyRelu", x, alpha=0.01),
    "sigmoid": lambda writer, x, _: writer.add("Sigmoid", x),
    "hardsigmoid": _hard_sigmoid,
}


def _any_hard_sigmoid(writer: Writer, hard: HardSigmoid, names: list[str], _: Node) -> str:
    return writer.add("HardSigmoid", names[0], alpha=hard.slope, beta=hard.offset)


def _by_function(writer: Writer, operator: Unary | Binary, names: list[str], _: Node) -> str:
    name = operator.function
    if name == "square":
        return writer.add("Mul", *names, *names)
    if name == "gelu_tanh":
        return writer.add("Gelu", *names, approximate="tanh")
    return writer.add("PRelu" if name == "prelu" else name.capitalize(), *names)


def _group_norm(writer: Writer, norm: GroupNorm, names: list[str], node: Node) -> str:
    """Write an instance norm of groups in the place of channels, and the weights of channels."""
    (x, *_), images = names, cast(Value, node.inputs[0])
    weight, bias = node.constant(1), node.constant(2)
    if weight is None or bias is None or norm.groups == len(weight):
        return writer.add("InstanceNormalization", *names, epsilon=norm.epsilon)
    groups = writer.add("Reshape", x, writer.array([0, norm.groups, -1], np.int64))
    ones = np.ones(norm.groups, weight.dtype)
    made = writer.add(
        "InstanceNormalization", groups, writer.array(ones), writer.array(0 * ones),
        epsilon=norm.epsilon,
    )  # fmt: skip
    back = writer.add("Reshape", made, writer.add("Shape", x))
    others = (1,) * (len(images.shape or ()) - 2)
    each = [array.reshape(-1, *others) for array in (weight, bias)]
    scaled = writer.add("Mul", back, writer.array(each[0]))
    return writer.add("Add", scaled, writer.array(each[1]))


_REDUCTIONS = {
    "mean": "ReduceMean", "sum": "ReduceSum", "max": "ReduceMax", "l2": "ReduceL2",
    "sumsquare": "ReduceSumSquare", "meansquare": "ReduceMean",
}  # fmt: skip


def _reduce(writer: Writer, reduce: Reduce, names: list[str], _: Node) -> str:
    x, name = names[0], _REDUCTIONS[reduce.function]
    if reduce.function == "meansquare":
        x = writer.add("Mul", x, x)
    axes, keeps = list(reduce.axes), int(reduce.keeps_axes)
    if writer.dialect.opset < (13 if name == "ReduceSum" else 18):
        return writer.add(name, x, axes=axes, keepdims=keeps)
    return writer.add(name, x, writer.array(axes, np.int64), keepdims=keeps)


def _pad(writer: Writer, pad: Pad, names: list[str], node: Node) -> str:
    (top, bottom), (left, right) = pad.padding
    pads = [0, 0, top, left, 0, 0, bottom, right]
    if writer.dialect.opset < 11:
        return writer.add("Pad", names[0], pads=pads, value=pad.value)
    value = writer.array(pad.value, np.dtype(node.output.dtype))
    return writer.add("Pad", names[0], writer.array(pads, np.int64), value)


def _permute(writer: Writer, permute: Permute, names: list[str], _: Node) -> str:
    return writer.add("Transpose", names[0], perm=permute.order)


def _reshape(writer: Writer, reshape: Reshape, names: list[str], _: Node) -> str:
    return writer.add("Reshape", names[0], writer.array(reshape.shape, np.int64))


def _concat(writer: Writer, concat: Concat, names: list[str], _: Node) -> str:
    return writer.add("Concat", *names, axis=concat.axis)


def _slice(writer: Writer, cut: Slice, names: list[str], _: Node) -> str:
    where = {"starts": [cut.start], "ends": [cut.stop], "axes": [cut.axis]}
    where |= {"steps": [cut.step]} if cut.step > 1 else {}
    if writer.dialect.opset < 10:
        return writer.add("Slice", names[0], **where)
    return writer.add("Slice", names[0], *(writer.array(each, np.int64) for each in where.values()))


def _tail(writer: Writer, tail: Tail, names: list[str], _: Node) -> str:
    where = {"starts": [-tail.count], "ends": [2**31 - 1], "axes": [tail.axis]}
    if writer.dialect.opset < 10:
        return writer.add("Slice", names[0], **where)
    return writer.add("Slice", names[0], *(writer.array(each, np.int64) for each in where.values()))


def _identity(writer: Writer, _: Identity, names: list[str], __: Node) -> str:
    return writer.add("Identity", names[0])


_WRITERS: dict[type, Any] = {
    Convolution: _convolution,
    Linear: _linear,
    BatchNorm: _batch_norm,
    LayerNorm: _layer_norm,
    ChannelNorm: _channel_norm,
    GroupNorm: _group_norm,
    Activate: _activate,
    HardSigmoid: _any_hard_sigmoid,
    Clip: _clip,
    Unary: _by_function,
    Binary: _by_function,
    Reduce: _reduce,
    Pad: _pad,
    Permute: _permute,
    Reshape: _reshape,
    Concat: _concat,
    Slice: _slice,
    Tail: _tail,
    Identity: _identity,
}
