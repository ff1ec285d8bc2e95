"""A graph without what changes nothing, and with images in one order of axes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload

from depthwise.torch.network.operators import (
    TO_NCHW,
    TO_NHWC,
    activation_of,
    arguments,
    channel_norm,
    is_in_place,
    name_of,
    shape_of,
)
from depthwise.torch.network.tracing import Trace

aten: Any = torch.ops.aten


def simplify(trace: Trace) -> None:
    """Drop what does nothing, compute what is constant, and bring images to (N, C, H, W)."""
    _whole_batch_norms(trace.graph)
    _of_any_strides(trace.graph)
    for node in list(trace.graph.nodes):
        same = _same_as(node)
        if same is not None:
            node.meta["idle"] = True
            replace(node, same)
    _fold_constants(trace)
    _gates_as_activations(trace.graph)
    _Images(trace).reorder()
    trace.graph.eliminate_dead_code()


def replace(node: fx.Node, by: fx.Node) -> None:
    """Put one node in the place of another, which is erased; the new one answers for both."""
    node.replace_all_uses_with(by)
    covers(by).extend(covers(node))
    node.graph.erase_node(node)


def covers(node: fx.Node) -> list[fx.Node]:
    """Return the nodes of the model as it was traced that a node stands for."""
    found: list[fx.Node] = node.meta.setdefault("covers", [])
    return found


def insert(before: fx.Node, target: Any, *args: Any) -> fx.Node:
    """Insert a node that stands for nothing yet before another."""
    with before.graph.inserting_before(before):
        return before.graph.call_function(target, args)


def _same_as(node: fx.Node) -> fx.Node | None:
    """Return the operand that a node is, in inference; None where it computes something."""
    name = name_of(node)
    if name not in _NOTHING or not isinstance(node.args[0], fx.Node):
        return None
    if any(user.op == "output" or is_in_place(user) for user in node.users):
        return None  # the copy is another's to change
    return node.args[0] if _NOTHING[name](node) else None


def _always(_: fx.Node) -> bool:
    return True


def _not_training(node: fx.Node) -> bool:
    return not arguments(node).get("train")


def _same_type(node: fx.Node) -> bool:
    before, after = (each.meta.get("val") for each in (node.args[0], node))  # type: ignore[union-attr]
    return isinstance(before, Tensor) and isinstance(after, Tensor) and before.dtype == after.dtype


def _pads_nothing(node: fx.Node) -> bool:
    return not any(pad != 0 for pad in arguments(node)["pad"])


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
    "pad": _pads_nothing,
    "constant_pad_nd": _pads_nothing,
    "slice": _all_of_it,
}


def _of_any_strides(graph: fx.Graph) -> None:
    """Let views be copies where they must: images here lie in another order than the model's."""
    for node in graph.nodes:
        node.target = _ANY_STRIDES.get(node.target, node.target)


_ANY_STRIDES = {
    aten.view.default: aten.reshape.default,
    aten._unsafe_view.default: aten.reshape.default,
    aten.view_as.default: aten.reshape_as.default,
}


def _whole_batch_norms(graph: fx.Graph) -> None:
    """Rewrite batch norms of which only the first result is used as those with one result."""
    for node in list(graph.nodes):
        if name_of(node) != "_native_batch_norm_legit_no_training":
            continue
        users = list(node.users)
        if len(users) == 1 and users[0].args[1:] == (0,):
            x, weight, bias, mean, variance, momentum, eps = node.args
            rest = False, momentum, eps, False
            made = insert(node, aten.batch_norm.default, x, weight, bias, mean, variance, *rest)
            made.meta |= users[0].meta | {"covers": list(covers(node))}
            replace(users[0], made)
            graph.erase_node(node)


def _fold_constants(trace: Trace) -> None:
    """Compute what depends on constants alone, as a parametrized weight does."""
    for node in list(trace.graph.nodes):
        needed = node.all_input_nodes
        if not needed or not isinstance(node.target, OpOverload) or name_of(node) == "sym_size":
            continue
        changed = any(map(is_in_place, (node, *node.users)))
        if not changed and all(each in trace.constants for each in needed):
            args, kwargs = fx.node.map_arg((node.args, node.kwargs), trace.constants.__getitem__)
            value = node.target(*args, **kwargs)
            if isinstance(value, Tensor):
                trace.constants[node] = value


def _gates_as_activations(graph: fx.Graph) -> None:
    """Rewrite x * sigmoid(x) as SiLU and x * hardsigmoid(x) as hard swish."""
    for node in list(graph.nodes):
        if name_of(node) != "mul":
            continue
        for x, gate in (node.args[:2], node.args[1::-1]):
            if name_of(gate) in _GATED and gate.args[0] is x and len(gate.users) == 1:
                made = insert(node, _GATED[name_of(gate)], x)
                made.meta |= node.meta | {"covers": list(covers(gate))}
                replace(node, made)
                graph.erase_node(gate)
                break


_GATED = {"sigmoid": aten.silu.default, "hardsigmoid": aten.hardswish.default}


class _Images:
    """Rewrites what is computed on (N, H, W, C) between two permutations as on (N, C, H, W)."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._nchw: dict[fx.Node, fx.Node] = {}
        """Permuted images, each with the one that it is the permutation of."""

    def reorder(self) -> None:
        """Move permutations behind what can be computed before them; pairs of them vanish."""
        for node in list(self._trace.graph.nodes):
            if len(shape_of(node)) != 4:
                continue
            if name_of(node) == "permute":
                self._permutation(node)
            elif made := self._on_nchw(node):
                made.meta |= node.meta
                made.meta["shape"] = _nchw(shape_of(node))
                self._permuted(node, made)
        for node, x in self._nchw.items():
            if not node.users:
                covers(x).extend(covers(node))

    def _permutation(self, node: fx.Node) -> None:
        x, order = arguments(node)["self"], [axis % 4 for axis in arguments(node)["dims"]]
        if order == TO_NHWC:
            self._nchw[node] = x
        elif order == TO_NCHW and x in self._nchw:
            replace(node, self._nchw[x])

    def _permuted(self, node: fx.Node, made: fx.Node) -> None:
        """Put the permutation of a new node in the place of one."""
        back = insert(node, aten.permute.default, made, TO_NHWC)
        back.meta |= {"shape": shape_of(node), "dtype": made.meta["dtype"]}
        self._nchw[back] = made
        node.replace_all_uses_with(back)
        node.graph.erase_node(node)

    def _on_nchw(self, node: fx.Node) -> fx.Node | None:
        """Insert the same on (N, C, H, W); None where a node stays as it is."""
        name = name_of(node)
        x: Any = node.args[0] if node.args else None
        if name == "linear":
            return self._linear(node)
        if name == "layer_norm" and x in self._nchw:
            given = arguments(node)
            if len(given["normalized_shape"]) == 1:
                rest = given["weight"], given["bias"], given["eps"]
                return insert(node, channel_norm, self._nchw[x], *rest)
        if x in self._nchw and activation_of(node):
            return insert(node, node.target, self._nchw[x], *node.args[1:])
        if name in ("add", "mul"):
            return self._elementwise(node)
        return None

    def _linear(self, node: fx.Node) -> fx.Node | None:
        given = arguments(node)
        x, weight = given["input"], given["weight"]
        if x not in self._nchw or weight not in self._trace.constants:
            return None
        matrix = insert(node, aten.reshape.default, weight, [-1, x.meta["shape"][-1], 1, 1])
        self._trace.constants[matrix] = self._trace.constants[weight][:, :, None, None]
        return insert(node, aten.conv2d.default, self._nchw[x], matrix, given["bias"])

    def _elementwise(self, node: fx.Node) -> fx.Node | None:
        """Rewrite the sum or product of two images, or of one and a constant for each channel."""
        operands = [self._operand(node, each) for each in node.args[:2]]
        if node.kwargs or None in operands or not any(x in self._nchw for x in node.args[:2]):
            return None
        return insert(node, node.target, *operands)

    def _operand(self, node: fx.Node, x: Any) -> Any:
        if x in self._nchw:
            return self._nchw[x]
        constant = self._trace.constants.get(x) if isinstance(x, fx.Node) else None
        if constant is None or constant.dim() != 1:
            return x if isinstance(x, (int, float)) else None
        image = insert(node, aten.reshape.default, x, [-1, 1, 1])
        image.meta |= {"shape": (len(constant), 1, 1), "dtype": constant.dtype}
        self._trace.constants[image] = constant[:, None, None]
        return image


def _nchw(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(shape[axis] for axis in TO_NCHW)
