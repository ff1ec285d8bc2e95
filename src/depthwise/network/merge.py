"""Linear branches of one value that are summed, and linear maps in a row, as one convolution."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from math import gcd
from typing import cast

import numpy as np

from depthwise.network.absorb import for_each_channel, keeps_type, not_ours, scale_and_shift
from depthwise.network.draft import POINT
from depthwise.network.graph import Graph, Node, Value
from depthwise.network.operators import BatchNorm, Binary, Convolution, Linear, Operator
from depthwise.problem.arrays import Array
from depthwise.problem.dtypes import DTYPES
from depthwise.problem.vocabulary import Pair

MOST_BRANCHES = 16
"""A sum of more that cannot be merged is looked at in parts: networks add hundreds of values."""


def merge(graph: Graph) -> None:
    """Make one convolution of each sum of branches, where it has no more MACs than they have.

    A branch is a convolution, a batch norm, a scale for each channel, or the value itself, and
    what is linear behind these.  A 1x1 convolution takes in a linear one before it likewise.  All
    is computed in float64 and rounded once.
    """
    with np.errstate(all="ignore"):  # weights that are not finite are left as they are
        _Merging(graph).run()


@dataclass(frozen=True, eq=False)
class Branch:
    """A convolution of a value, in float64; `weight` is (O, C/groups, KH, KW), `bias` (O,).

    Attributes:
        nodes: what it stands for.
        plain: whether it is the value itself, with nothing to be computed.
    """

    source: Value
    weight: Array
    bias: Array
    how: Convolution
    nodes: tuple[Node, ...] = ()
    plain: bool = False

    @property
    def macs(self) -> int:
        """Multiplications for each pixel of the result."""
        return int(self.weight.size)

    def then(self, scale: Array, shift: Array, *nodes: Node) -> Branch:
        """Return `y * scale + shift` for each channel of the result."""
        return replace(
            self,
            weight=self.weight * scale.reshape(-1, 1, 1, 1),
            bias=self.bias * scale + shift,
            nodes=(*self.nodes, *nodes),
            plain=False,
        )


def itself(value: Value) -> Branch:
    """Return a value as a branch of its own."""
    channels = cast("tuple[int, ...]", value.shape)[1]
    how = replace(POINT, groups=channels)
    return Branch(value, np.ones((channels, 1, 1, 1)), np.zeros(channels), how, plain=True)


def merged(one: Branch, other: Branch) -> Branch | None:
    """Return the sum of two branches as one; None where it is none or has more MACs.

    Their results are known to have the same size.
    """
    if one.source is not other.source or one.how.stride != other.how.stride:
        return None
    axes = [_common(*each) for each in zip(_windows(one), _windows(other), strict=True)]
    if axes[0] is None or axes[1] is None:
        return None
    groups = gcd(one.how.groups, other.how.groups)
    inputs = one.weight.shape[1] * one.how.groups // groups
    shape = (len(one.weight), inputs, axes[0].taps, axes[1].taps)
    if np.prod(shape) > one.macs + other.macs:
        return None
    weight = np.zeros(shape)
    for each in (one, other):
        rows, columns = (
            mine.within(whole) for mine, whole in zip(_windows(each), axes, strict=True)
        )
        weight[:, :, rows, columns] += in_groups(each.weight, each.how.groups, groups)
    how = Convolution(
        stride=one.how.stride,
        padding=(axes[0].padding, axes[1].padding),
        dilation=(axes[0].dilation, axes[1].dilation),
        groups=groups,
    )
    return Branch(one.source, weight, one.bias + other.bias, how, (*one.nodes, *other.nodes))


def in_groups(weight: Array, groups: int, fewer: int) -> Array:
    """Return the weight of a convolution in fewer groups that computes the same."""
    outputs, inputs, *taps = weight.shape
    each = groups // fewer
    old = weight.reshape(fewer, each, outputs // groups, inputs, *taps)
    new = np.zeros((fewer, each, outputs // groups, each, inputs, *taps))
    for number in range(each):
        new[:, number, :, number] = old[:, number]
    return new.reshape(outputs, each * inputs, *taps)


@dataclass(frozen=True)
class _Window:
    """One axis of a convolution."""

    taps: int
    dilation: int
    padding: Pair

    @property
    def grows(self) -> int:
        """How much longer the result is than the input, at a stride of 1."""
        return sum(self.padding) - self.dilation * (self.taps - 1)

    def within(self, whole: _Window | None) -> slice:
        """Return where its taps are among those of a larger window."""
        assert whole is not None
        first = (whole.padding[0] - self.padding[0]) // whole.dilation
        step = max(1, self.dilation // whole.dilation)
        return slice(first, first + step * (self.taps - 1) + 1, step)


def _windows(branch: Branch) -> list[_Window]:
    taps = branch.weight.shape[2:]
    return [
        _Window(*each) for each in zip(taps, branch.how.dilation, branch.how.padding, strict=True)
    ]


def _common(one: _Window, other: _Window) -> _Window | None:
    """Return the window of all taps of two that make results of one length for any input."""
    dilation = gcd(*(each.dilation for each in (one, other) if each.taps > 1)) or 1
    if one.grows != other.grows or (one.padding[0] - other.padding[0]) % dilation:
        return None
    padding = max(one.padding[0], other.padding[0]), max(one.padding[1], other.padding[1])
    return _Window((sum(padding) - one.grows) // dilation + 1, dilation, padding)


def in_a_row(first: Branch, weight: Array, bias: Array, node: Node) -> Branch | None:
    """Return a branch with a 1x1 convolution (O, C) behind it as one; None if that has more MACs.

    Depthwise convolutions become dense ones this way, which is seldom less.
    """
    _, inputs, *taps = first.weight.shape
    channels = inputs * first.how.groups
    if len(weight) * channels * np.prod(taps) > weight.size + first.macs:
        return None
    dense = in_groups(first.weight, first.how.groups, 1)
    return Branch(
        first.source,
        np.tensordot(weight, dense, axes=1),
        bias + weight @ first.bias,
        replace(first.how, groups=1),
        (*first.nodes, node),
    )


@dataclass(frozen=True)
class _Sum:
    """Branches that are summed, and what stands for none of them alone.

    Attributes:
        branches: those with the most MACs first.
        saved: how many branches and maps there were more.
    """

    branches: tuple[Branch, ...]
    nodes: tuple[Node, ...] = ()
    saved: int = 0

    def then(self, scale: Array, shift: Array, node: Node) -> _Sum:
        """Return `y * scale + shift` for each channel."""
        first, *rest = self.branches
        if not rest:
            return replace(self, branches=(first.then(scale, shift, node),))
        same = bool(np.all(scale == 1))
        others = rest if same else [each.then(scale, 0 * shift) for each in rest]
        return replace(
            self, branches=(first.then(scale, shift), *others), nodes=(*self.nodes, node)
        )

    def plus(self, other: _Sum, node: Node) -> _Sum:
        """Return the sum of two, with as few branches as may be."""
        found: list[Branch] = []
        both = sorted((*self.branches, *other.branches), key=lambda each: (-each.macs, each.plain))
        for branch in both:
            for place, before in enumerate(found):
                together = merged(before, branch) if _computes((before, branch)) else None
                if together is not None:
                    found[place] = together
                    break
            else:
                found.append(branch)
        saved = self.saved + other.saved + len(both) - len(found)
        return _Sum(tuple(found), (*self.nodes, *other.nodes, node), saved)


def _computes(branches: Iterable[Branch]) -> bool:
    """Whether there is more to branches than a value and numbers that it is multiplied by."""
    nodes = [node for branch in branches for node in branch.nodes]
    return any(isinstance(node.operator, (Convolution, Linear, BatchNorm)) for node in nodes)


class _Merging:
    """Walks along the nodes with the sums that the next ones may take in."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._order = {node: number for number, node in enumerate(graph.nodes)}
        self._sums: dict[Value, _Sum] = {}

    def run(self) -> None:
        for node in list(self._graph.nodes):
            rule = _RULES.get(type(node.operator))
            found = rule(self, node) if rule is not None and _is_ours(node) else None
            for value in node.inputs:
                if found is not None:
                    self._sums.pop(cast(Value, value), None)
                else:
                    self._finish(value)
            if found is not None:
                self._sums[node.output] = found
                if not self._goes_on(node.output):
                    self._finish(node.output)

    def _goes_on(self, value: Value) -> bool:
        return self._graph.used_once(value) and type(value.users[0].operator) in _RULES

    def _sum(self, value: Value) -> _Sum:
        return self._sums.get(value) or _Sum((itself(value),))

    def convolution(self, node: Node) -> _Sum | None:
        """Return a branch; a 1x1 convolution takes in one before it where that is cheaper."""
        if not_ours(node):
            return None
        weight, bias = _weights(node)
        how = node.operator if isinstance(node.operator, Convolution) else POINT
        before = self._sums.get(cast(Value, node.inputs[0]))
        if how == POINT and weight.shape[2:] == (1, 1) and before and len(before.branches) == 1:
            together = in_a_row(before.branches[0], weight[:, :, 0, 0], bias, node)
            if together is not None:
                return replace(before, branches=(together,), saved=before.saved + 1)
        self._finish(node.inputs[0])
        return _Sum((Branch(cast(Value, node.inputs[0]), weight, bias, how, (node,)),))

    def batch_norm(self, node: Node) -> _Sum | None:
        """Return what is before it with a scale and a shift."""
        found = scale_and_shift(node)
        return None if found is None else self._sum(cast(Value, node.inputs[0])).then(*found, node)

    def binary(self, node: Node) -> _Sum | None:
        """Return the branches of both, or those of one with a scale or a shift for each channel."""
        function = cast(Binary, node.operator).function
        x, other = (cast(Value, each) for each in node.inputs)
        if function not in ("add", "sub", "mul") or not keeps_type(node):
            return None
        if x.constant is None and other.constant is None:
            alike = x.sizes is not None and x.sizes == other.sizes == node.output.sizes
            return self._added(node, x, other) if alike and function != "mul" else None
        reversed_ = x.constant is not None
        x, constant = (other, x) if reversed_ else (x, other)
        given = for_each_channel(constant, x.shape)
        if given is None or x.shape != node.output.shape:
            return None
        wide = given.astype(np.float64)
        ones, zeros = np.ones(len(wide)), np.zeros(len(wide))
        if function == "mul":
            return self._sum(x).then(wide, zeros, node)
        if function == "sub" and reversed_:
            return self._sum(x).then(-ones, wide, node)
        return self._sum(x).then(ones, -wide if function == "sub" else wide, node)

    def _added(self, node: Node, x: Value, other: Value) -> _Sum | None:
        second = self._sum(other)
        if node.name == "sub":
            ones = np.ones(cast("tuple[int, ...]", other.shape)[1])
            branches = tuple(each.then(-ones, 0 * ones) for each in second.branches)
            second = replace(second, branches=branches)
        found = self._sum(x).plus(second, node)
        return found if len(found.branches) <= MOST_BRANCHES else None

    def _finish(self, value: Value | None) -> None:
        """Write down what was found of a value, where something was saved."""
        found = self._sums.pop(value, None) if value is not None else None
        if found is None or not found.saved or value is None or value.maker is None:
            return
        rounded = [_rounded(each, cast(str, value.dtype)) for each in found.branches]
        flat = len(value.shape or ()) == 2
        if any(not np.isfinite(array).all() for arrays in rounded for array in arrays):
            return
        if flat and any(not each.plain and each.how.groups > 1 for each in found.branches):
            return
        self._write(value.maker, found, rounded)

    def _write(self, root: Node, found: _Sum, rounded: list[list[Array]]) -> None:
        terms = [
            branch.source if branch.plain else self._written(root, branch, arrays)
            for branch, arrays in zip(found.branches, rounded, strict=True)
        ]
        total, *rest = terms
        for term in rest:
            total = self._graph.insert(
                root, Binary(function="add"), [total, term], like=root.output
            ).output
        last = cast(Node, total.maker)
        self._answer(last, found.nodes, root)
        self._graph.stand_in(root, last)
        nodes = {node for branch in found.branches for node in branch.nodes} | set(found.nodes)
        for node in sorted(nodes - {root}, key=self._order.__getitem__, reverse=True):
            self._graph.remove(node)

    def _written(self, root: Node, branch: Branch, arrays: list[Array]) -> Value:
        """Return what computes a branch, before the node that is to be replaced."""
        weight, bias = arrays
        operator: Operator = branch.how
        if len(cast("tuple[int, ...]", branch.source.shape)) == 2:
            operator, weight = Linear(), weight[:, :, 0, 0]
        name = root.output.name
        given = [
            self._graph.constant(weight, f"{name}.weight"),
            self._graph.constant(bias, f"{name}.bias"),
        ]
        made = self._graph.insert(root, operator, [branch.source, *given], like=root.output)
        self._answer(made, branch.nodes, root)
        return made.output

    def _answer(self, made: Node, nodes: Iterable[Node], root: Node) -> None:
        """Let a node stand for others, which will be removed; `root` will be replaced."""
        for node in sorted({*nodes} - {root}, key=self._order.__getitem__):
            made.covers += node.covers
            made.before_us += node.before_us


def _is_ours(node: Node) -> bool:
    """Whether a node makes images, or rows, of a type that kernels compute, of one."""
    x = node.inputs[0]
    if x is None or node.output.dtype not in DTYPES:
        return False
    if x.constant is not None and not isinstance(node.operator, Binary):
        return False
    known = [each.shape for each in (x, node.output) if each.constant is None]
    ranks = (2,) if isinstance(node.operator, Linear) else (2, 4)
    return all(shape is not None and len(shape) in ranks for shape in known)


def _weights(node: Node) -> tuple[Array, Array]:
    """Return the weight (O, C/groups, KH, KW) and the bias of a convolution or linear layer."""
    weight, bias = cast(Array, node.constant(1)), node.constant(2)
    wide = weight.astype(np.float64)
    shift = np.zeros(len(weight)) if bias is None else bias.astype(np.float64)
    return wide[:, :, None, None] if weight.ndim == 2 else wide, shift


def _rounded(branch: Branch, dtype: str) -> list[Array]:
    return [np.ascontiguousarray(each, dtype) for each in (branch.weight, branch.bias)]


_RULES: dict[type, Callable[[_Merging, Node], _Sum | None]] = {
    Convolution: _Merging.convolution,
    Linear: _Merging.convolution,
    BatchNorm: _Merging.batch_norm,
    Binary: _Merging.binary,
}
