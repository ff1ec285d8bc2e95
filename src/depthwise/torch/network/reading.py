"""From a trace to a `network` graph: each operator of torch as one of ours, where it is one."""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor, fx
from torch._ops import OpOverload

from depthwise.errors import ModelError
from depthwise.network.graph import Graph, Node, Value
from depthwise.network.operators import (
    PIXELS,
    Activate,
    BatchNorm,
    Binary,
    Clip,
    Concat,
    Convolution,
    Foreign,
    GroupNorm,
    Identity,
    LayerNorm,
    Linear,
    Operator,
    Pad,
    Permute,
    Pool,
    Reduce,
    Repeat,
    Slice,
    Unary,
    repeated,
    reshaped,
)
from depthwise.network.pools import ceiled
from depthwise.problem.arrays import Array
from depthwise.problem.dtypes import DTYPES
from depthwise.problem.pools import PoolKind
from depthwise.problem.spec import resolve_padding
from depthwise.problem.vocabulary import Pads, Pair
from depthwise.torch.network import attention, channels, quantized, resizes
from depthwise.torch.network.calls import FunctionCall, Ref
from depthwise.torch.network.constants import as_array, dtype_name
from depthwise.torch.network.functions import name_of_function
from depthwise.torch.network.operators import activation_of, arguments, is_in_place, name_of
from depthwise.torch.network.tracing import Trace, may_view, module_path

Read: TypeAlias = "tuple[Operator, list[Value | None]] | None"
aten: Any = torch.ops.aten


def graph_of(trace: Trace) -> tuple[Graph, list[Any]]:
    """Return the graph of a trace whose shapes were measured, and what the model returns.

    That is a list with a `Ref` for each of the outputs of the graph.

    Raises:
        ModelError: it calls something that cannot be saved.
    """
    reading = _Reading(trace)
    return reading.graph, reading.results


class _Reading:
    def __init__(self, trace: Trace) -> None:
        self.graph = Graph()
        self.results: list[Any] = []
        self._trace = trace
        self._values: dict[fx.Node, Value] = {}
        for node in trace.graph.nodes:
            if node in trace.constants:
                self._values[node] = value = _constant(node, trace.constants[node])
                value.codes = quantized.codes_of(trace, node)
            elif node.op == "output":
                self._return(node.args[0])
            else:
                self._values[node] = _value(node)
                if node.op != "placeholder":
                    self._read(node)
        self.graph.inputs = [self._values[node] for node in trace.inputs]

    def _return(self, results: Any) -> None:
        """Let the graph return the values among some results."""
        for each in results:
            if isinstance(each, fx.Node):
                self.graph.names.append(f"output{len(self.graph.outputs)}")
                self.graph.outputs.append(self._values[each])
                self.results.append(Ref(len(self.graph.outputs) - 1))
            else:
                self.results.append(each)

    def _read(self, node: fx.Node) -> None:
        if name_of(node) == "roll" and (turns := channels.roll(self.value, node)):
            self._roll(node, turns)
            return
        found = self._found(node)
        if found is None:
            taken = list(dict.fromkeys(node.all_input_nodes))
            name = name_of(node)
            pool = _pool(self, node) if name in _POOLS else None
            resize = resizes.meaning(self.value, node, name) or _repeat(self, node)
            meaning = pool or resize or attention.meaning(self.value, node, name)
            meaning = meaning or quantized.meaning(self.value, node, name)
            found = _foreign(node, taken, meaning), [self._values[each] for each in taken]
        what, inputs = found
        made = Node(what, inputs, [self._values[node]], [module_path(node)])
        made.before_us = float(node.meta.get("us", 0.0))
        self.graph.add(made)

    def _roll(self, node: fx.Node, turns: list[tuple[Slice, Slice, Concat]]) -> None:
        """Add a roll: for each of its axes what cuts a value in two, and what joins the parts."""
        x, made = self._values[cast(fx.Node, node.args[0])], self._values[node]
        for number, (*cuts, join) in enumerate(turns, 1):
            parts = []
            for cut in cuts:
                part = Value(f"{made.name}#{number}", made.shape, made.sizes, made.dtype)
                part.resize(cut.axis, cut.stop - cut.start)
                parts.append(part)
                self.graph.add(Node(cut, [x], [part], [module_path(node)]))
            x = made
            if number < len(turns):
                x = Value(f"{made.name}#{number}", made.shape, made.sizes, made.dtype)
            self.graph.add(Node(join, [*parts], [x], [module_path(node)]))

    def _found(self, node: fx.Node) -> Read:
        """Return the operator that a node is, with its inputs; None where it is none of ours."""
        if node.target is operator.getitem:
            if name_of(node.args[0]) in channels.SPLITS:
                return channels.part(self.value, node)
            if name_of(node.args[0]) == "unbind":
                return attention.unbound(self.value, node)
            return _first_of_batch_norm(self, node)
        name = name_of(node)
        if name in _NOTHING and isinstance(node.args[0], fx.Node):
            return self._nothing(node, name)
        reader = _READERS.get(name)
        if activation_of(node):
            reader = _activation
        real = self._values[node].dtype in DTYPES
        if reader is None or not (real or name in _VIEWS):
            return None
        return reader(self, node)

    def _nothing(self, node: fx.Node, name: str) -> Read:
        """Return the identity, where what is computed is nothing in inference."""
        if any(user.op == "output" or is_in_place(user) for user in node.users):
            return None  # the copy is another's to change
        return (Identity(), [self.value(node.args[0])]) if _NOTHING[name](node) else None

    def value(self, given: Any, like: Value | None = None) -> Value | None:
        """Return an argument as a value: a tensor, or a number of the type of another value."""
        if isinstance(given, fx.Node):
            return self._values[given]
        if given is None or like is None or like.dtype is None:
            return None
        return _constant_value(np.asarray(given, like.dtype), str(given))


def _value(node: fx.Node) -> Value:
    """Return the value that a node makes."""
    shape, found = node.meta.get("shape"), node.meta.get("dtype")
    dtype = None if found is None else str(found).removeprefix("torch.")
    traced = node.meta.get("val")
    sizes = shape
    if shape is not None and isinstance(traced, Tensor):
        sizes = tuple(int(s) if str(s).isdecimal() else str(s) for s in traced.shape)
    return Value(node.name, shape, sizes, dtype)


def _constant(node: fx.Node, tensor: Tensor) -> Value:
    try:
        array = as_array(tensor)
    except (RuntimeError, TypeError) as error:
        raise ModelError(f"a model's constants are dense tensors; got {node}: {error}") from None
    value = _constant_value(array, node.name)
    value.dtype = dtype_name(tensor)
    return value


def _constant_value(array: Array, name: str) -> Value:
    return Value(name, array.shape, array.shape, array.dtype.name, array)


def _foreign(node: fx.Node, taken: list[fx.Node], meaning: Operator | None) -> Foreign:
    """Return the call of an operator, its arguments as references to what it takes."""
    target = _ANY_STRIDES.get(node.target, node.target)
    name = name_of_function(target)
    if name is None:
        raise ModelError(f"a model calls torch's operators; got {node.format_node()}")
    order = {each: number for number, each in enumerate(taken)}
    refer: Any = lambda each: Ref(order[each])  # noqa: E731 (fx knows of no references)
    args, kwargs = fx.node.map_arg((tuple(node.args), dict(node.kwargs)), refer)
    return Foreign(
        called=name.removeprefix("torch.ops."),
        payload=FunctionCall(name, tuple(args), dict(kwargs)),
        of_shapes=name_of(node) in ("sym_size", "sym_numel"),
        repeatable=not _is_of_chance(target),
        may_view=may_view(target),
        meaning=meaning,
    )


def _pool(reading: _Reading, node: fx.Node) -> Pool | None:
    """Return what a pool is, where a kernel can compute it."""
    given = arguments(node)
    x = reading.value(given["self"])
    size = () if x is None or x.sizes is None else x.sizes[2:]
    if len(size) != 2 or given.get("divisor_override") is not None:
        return None
    kernel, dilation = _pair(given["kernel_size"]), _pair(given.get("dilation", [1]))
    pool = Pool(
        kind=_POOLS[name_of(node)], kernel=kernel, stride=_pair(given["stride"] or kernel),
        padding=_pads(given["padding"], kernel, dilation), dilation=dilation,
        padded=bool(given.get("count_include_pad")) and any(_pair(given["padding"])),
    )  # fmt: skip
    return ceiled(pool, size) if given["ceil_mode"] else pool


def _repeat(reading: _Reading, node: fx.Node) -> Repeat | None:
    """Return what a view is in which axes of one element are as long as others."""
    given = node.args[0] if name_of(node) in ("expand", "expand_as") else None
    x, made = reading.value(given), reading.value(node)
    return None if x is None or made is None else repeated(x.sizes, made.sizes)


_POOLS: dict[str, PoolKind] = {"max_pool2d": "maxpool", "avg_pool2d": "avgpool"}


def _is_of_chance(target: Any) -> bool:
    return isinstance(target, OpOverload) and torch.Tag.nondeterministic_seeded in target.tags


_ANY_STRIDES = {
    aten.view.default: aten.reshape.default,
    aten._unsafe_view.default: aten.reshape.default,
    aten.view_as.default: aten.reshape_as.default,
}
"""Views that may be copies: images here lie in another order than the model's."""


def _convolution(reading: _Reading, node: fx.Node) -> Read:
    given = arguments(node)
    x, weight = reading.value(given["input"]), reading.value(given["weight"])
    if given.get("transposed") or x is None or weight is None or weight.shape is None:
        return None
    if x.shape is None or len(x.shape) != 4:
        return None
    taps = (weight.shape[2], weight.shape[3])
    stride, dilation = _pair(given["stride"]), _pair(given["dilation"])
    pads = _pads(given["padding"], taps, dilation)
    how = Convolution(stride=stride, padding=pads, dilation=dilation, groups=given["groups"])
    bias = reading.value(given["bias"])
    return how, [x, weight] if bias is None else [x, weight, bias]


def _pair(value: Any) -> Pair:
    first, *others = value
    return first, others[0] if others else first


def _pads(padding: Any, taps: Pair, dilation: Pair) -> Pads:
    if isinstance(padding, str):
        return resolve_padding(padding, (1, 1), taps, (1, 1), dilation)
    vertical, horizontal = _pair(padding)
    return (vertical, vertical), (horizontal, horizontal)


def _linear(reading: _Reading, node: fx.Node) -> Read:
    given = arguments(node)
    inputs = [reading.value(given[name]) for name in ("input", "weight", "bias")]
    return Linear(), inputs if inputs[2] is not None else inputs[:2]


def _batch_norm(reading: _Reading, node: fx.Node) -> Read:
    given = arguments(node)
    names = ("weight", "bias", "running_mean", "running_var")
    found = [given["input"], *(given[name] for name in names)]
    if given.get("training"):
        return None
    return _normalised(reading, found, given["eps"])


def _first_of_batch_norm(reading: _Reading, node: fx.Node) -> Read:
    """Read the first result of a batch norm that has three, in inference."""
    whole, index = node.args
    if index != 0 or name_of(whole) != "_native_batch_norm_legit_no_training":
        return None
    assert isinstance(whole, fx.Node)
    given = arguments(whole)
    names = ("input", "weight", "bias", "running_mean", "running_var")
    return _normalised(reading, [given[name] for name in names], given["eps"])


def _normalised(reading: _Reading, given: list[Any], epsilon: float) -> Read:
    """Return a batch norm, with ones and zeros for a weight and a bias that are left out."""
    x, weight, bias, mean, variance = map(reading.value, given)
    if x is None or mean is None or variance is None or mean.shape is None:
        return None
    ones = _constant_value(np.ones(mean.shape, mean.dtype), "ones")
    zeros = _constant_value(np.zeros(mean.shape, mean.dtype), "zeros")
    return BatchNorm(epsilon=epsilon), [x, weight or ones, bias or zeros, mean, variance]


def _layer_norm(reading: _Reading, node: fx.Node) -> Read:
    given = arguments(node)
    x = reading.value(given["input"])
    size = given["normalized_shape"]
    if x is None or len(size) != 1 or type(size[0]) is not int:
        return None
    ones = _constant_value(np.ones(size[0], x.dtype), "ones")
    zeros = _constant_value(np.zeros(size[0], x.dtype), "zeros")
    weight, bias = reading.value(given["weight"]), reading.value(given["bias"])
    return LayerNorm(epsilon=given["eps"]), [x, weight or ones, bias or zeros]


def _activation(reading: _Reading, node: fx.Node) -> Read:
    name: Any = activation_of(node)
    return Activate(activation=name), [reading.value(node.args[0])]


def _unary(reading: _Reading, node: fx.Node) -> Read:
    return Unary(function=name_of(node)), [reading.value(node.args[0])]


def _gelu(reading: _Reading, node: fx.Node) -> Read:
    return Unary(function="gelu_tanh"), [reading.value(node.args[0])]


def _softplus(reading: _Reading, node: fx.Node) -> Read:
    given = arguments(node)
    plain = given["beta"] == 1 and given["threshold"] >= _SOFTPLUS_END
    return _unary(reading, node) if plain else None


_SOFTPLUS_END = 20
"""Beyond it softplus(x) is x but for 1e-10 of it."""


def _clip(reading: _Reading, node: fx.Node) -> Read:
    given = arguments(node)
    bounds = [given.get(a, given.get(b)) for a, b in (("min", "min_val"), ("max", "max_val"))]
    if not all(each is None or isinstance(each, (int, float)) for each in bounds):
        return None
    low, high = (
        end if each is None else float(each)
        for each, end in zip(bounds, (-math.inf, math.inf), strict=True)
    )
    return Clip(low=low, high=high), [reading.value(node.args[0])]


def _leaky_relu(reading: _Reading, node: fx.Node) -> Read:
    x = reading.value(node.args[0])
    slope = reading.value(arguments(node)["negative_slope"], like=x)
    return None if slope is None else (Binary(function="prelu"), [x, slope])


def _prelu(reading: _Reading, node: fx.Node) -> Read:
    """Read a slope for each channel, or one for all, as an operand that is broadcast."""
    x, weight = map(reading.value, node.args[:2])
    if x is None or x.shape is None or weight is None or weight.constant is None:
        return None
    slope = weight.constant.reshape(-1, *(1,) * max(len(x.shape) - 2, 0))
    return Binary(function="prelu"), [x, _constant_value(slope, weight.name)]


def _power(reading: _Reading, node: fx.Node) -> Read:
    name = {2: "square", 0.5: "sqrt"}.get(arguments(node)["exponent"])
    return None if name is None else (Unary(function=name), [reading.value(node.args[0])])


def _extremum(reading: _Reading, node: fx.Node) -> Read:
    operands = list(map(reading.value, node.args[:2]))
    return Binary(function=name_of(node).removesuffix("imum")), operands


def _binary(reading: _Reading, node: fx.Node) -> Read:
    given = arguments(node)
    if given.get("alpha", 1) != 1 or given.get("rounding_mode") is not None:
        return None
    tensor = next((reading.value(x) for x in node.args[:2] if isinstance(x, fx.Node)), None)
    operands = [reading.value(x, like=tensor) for x in node.args[:2]]
    if any(each is None or each.shape is None for each in operands):
        return None
    return Binary(function=name_of(node)), operands


def _turned_difference(reading: _Reading, node: fx.Node) -> Read:
    """Read other - x as the difference that it is."""
    found = _binary(reading, node)
    return None if found is None else (Binary(function="sub"), found[1][::-1])


def _group_norm(reading: _Reading, node: fx.Node) -> Read:
    given = arguments(node)
    return _grouped(reading, given["input"], given["num_groups"], given)


def _instance_norm(reading: _Reading, node: fx.Node) -> Read:
    given = arguments(node)
    x = reading.value(given["input"])
    if x is None or x.shape is None or not given["use_input_stats"]:
        return None
    return _grouped(reading, given["input"], x.shape[1], given)


def _grouped(reading: _Reading, given: Any, groups: int, others: dict[str, Any]) -> Read:
    """Return a norm of groups, with ones and zeros for a weight and a bias that are left out."""
    x, weight, bias = (reading.value(each) for each in (given, others["weight"], others["bias"]))
    if x is None or x.shape is None:
        return None
    ones = _constant_value(np.ones(x.shape[1], x.dtype), "ones")
    zeros = _constant_value(np.zeros(x.shape[1], x.dtype), "zeros")
    return GroupNorm(groups=groups, epsilon=others["eps"]), [x, weight or ones, bias or zeros]


def _reduce(reading: _Reading, node: fx.Node) -> Read:
    given = arguments(node)
    x = reading.value(given["self"])
    rank = 0 if x is None else len(x.shape or ())
    function = _REDUCTIONS[name_of(node)]
    named = np.atleast_1d(given.get("dim") or []).tolist()
    axes = tuple(sorted({axis % rank for axis in named} if rank else ()))
    if not axes or given.get("dtype") is not None or given.get("ord", 2) != 2:
        return None
    return Reduce(function=function, axes=axes, keeps_axes=bool(given["keepdim"])), [x]


_REDUCTIONS = {"mean": "mean", "sum": "sum", "amax": "max", "linalg_vector_norm": "l2"}


def _pooled_mean(reading: _Reading, node: fx.Node) -> Read:
    x = reading.value(node.args[0])
    whole = list(arguments(node)["output_size"]) == [1, 1]
    ours = x is not None and whole and len(x.shape or ()) == 4
    return (Reduce(function="mean", axes=PIXELS), [x]) if ours else None


def _pad(reading: _Reading, node: fx.Node) -> Read:
    given = arguments(node)
    x, around = reading.value(given["self"]), given["pad"]
    value = float(given["value"] or 0)
    plain = given.get("mode", "constant") == "constant" and not math.isnan(value)
    if not plain or len(around) > 4 or any(type(pad) is not int or pad < 0 for pad in around):
        return None
    if x is None or len(x.shape or ()) != 4:
        return None
    left, right, top, bottom = [*around, 0, 0, 0][:4]
    return Pad(padding=((top, bottom), (left, right)), value=value), [x]


def _permute(reading: _Reading, node: fx.Node) -> Read:
    dims = arguments(node)["dims"]
    order = tuple(axis % len(dims) for axis in dims)
    return Permute(order=order), [reading.value(node.args[0])]


def _swapped(reading: _Reading, node: fx.Node) -> Read:
    given, x = arguments(node), reading.value(node.args[0])
    order = [*range(len(x.shape or ()))] if x is not None else []
    if len(order) < 2:
        return None
    first, second = given.get("dim0", -2), given.get("dim1", -1)
    order[first], order[second] = order[second], order[first]
    return Permute(order=tuple(order)), [x]


def _squeezed(reading: _Reading, node: fx.Node) -> Read:
    """Read what drops axes of one element, where it does so whatever the sizes that are open."""
    x = reading.value(node.args[0])
    axes = arguments(node).get("dim")
    sizes = () if x is None or x.sizes is None else x.sizes
    asked = sizes if axes is None else [sizes[axis] for axis in np.atleast_1d(axes) if sizes]
    return None if any(isinstance(size, str) for size in asked) else _shaped(reading, node)


def _shaped(reading: _Reading, node: fx.Node) -> Read:
    x, made = reading.value(node.args[0]), reading.value(node)
    found = None if x is None or made is None else reshaped(x.sizes, made.sizes)
    return None if found is None else (found, [x])


def _always(_: fx.Node) -> bool:
    return True


def _not_training(node: fx.Node) -> bool:
    return not arguments(node).get("train")


def _same_type(node: fx.Node) -> bool:
    before, after = (each.meta.get("val") for each in (node.args[0], node))  # type: ignore[union-attr]
    return isinstance(before, Tensor) and isinstance(after, Tensor) and before.dtype == after.dtype


def _all_of_it(node: fx.Node) -> bool:
    given = arguments(node)
    return (given["start"] or 0, given["step"]) == (0, 1) and given["end"] in (None, sys.maxsize)


_NOTHING: dict[str, Callable[[fx.Node], bool]] = {
    "dropout": _not_training,
    "feature_dropout": _not_training,
    "alpha_dropout": _not_training,
    "alias": _always,
    "detach": _always,
    "lift_fresh_copy": _always,
    "contiguous": _always,
    "clone": _always,
    "to": _same_type,
    "_to_copy": _same_type,
    "slice": _all_of_it,
}
"""What computes nothing in inference, and when."""

_SHAPED = ("view", "_unsafe_view", "reshape", "flatten", "unflatten", "unsqueeze", "squeeze")
_SWAPPED = ("transpose", "mT", "t")
_VIEWS = ("permute", *_SHAPED, *_SWAPPED)
_READERS: dict[str, Callable[[_Reading, fx.Node], Read]] = {
    "conv2d": _convolution,
    "convolution": _convolution,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "layer_norm": _layer_norm,
    **dict.fromkeys(
        ("abs", "erf", "exp", "mish", "neg", "reciprocal", "sqrt", "square", "tanh"), _unary
    ),
    "clamp": _clip,
    "clamp_max": _clip,
    "clamp_min": _clip,
    "gelu": _gelu,
    "hardtanh": _clip,
    "leaky_relu": _leaky_relu,
    "maximum": _extremum,
    "minimum": _extremum,
    "pow": _power,
    "prelu": _prelu,
    "softplus": _softplus,
    "add": _binary,
    "sub": _binary,
    "rsub": _turned_difference,
    "mul": _binary,
    "div": _binary,
    "group_norm": _group_norm,
    "instance_norm": _instance_norm,
    **dict.fromkeys(_REDUCTIONS, _reduce),
    "adaptive_avg_pool2d": _pooled_mean,
    "pad": _pad,
    "constant_pad_nd": _pad,
    "cat": lambda reading, node: channels.concat(reading.value, node),
    "slice": lambda reading, node: channels.cut(reading.value, node),
    **dict.fromkeys(_SHAPED, _shaped),
    **dict.fromkeys(_SWAPPED, _swapped),
    "permute": _permute,
    "squeeze": _squeezed,
}
