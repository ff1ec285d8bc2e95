"""Functions of each element, one after the other: part of a convolution, or a pass over memory.

A chain begins with an image x and ends where its result is used several times or otherwise.  What
is combined with it on its way is an operand: a constant, or another value that is computed.  The
convolution whose result x is computes the chain as well, if nobody else takes it; elsewhere it is a
kernel of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import numpy as np

from depthwise.network.absorb import (
    for_each_channel,
    is_ours,
    is_wanted,
    keeps_type,
    place,
    sole,
)
from depthwise.network.draft import Draft
from depthwise.network.graph import Graph, Node, Value
from depthwise.network.operators import Activate, Binary, Clip, HardSigmoid, Operator, Unary
from depthwise.problem.arrays import Array
from depthwise.problem.dtypes import DTYPES
from depthwise.problem.elementwise import ElementwiseSpec
from depthwise.problem.links import MOST_LINKS, Chain, Link, is_short
from depthwise.problem.vocabulary import BINARY, UNARY

_TURNED = {"add": "add", "mul": "mul", "min": "min", "max": "max", "sub": "rsub", "div": "rdiv"}
"""Functions of two elements, each with the one that takes them the other way round."""
_MOST_BEHIND = 4
"""Functions behind a convolution, whose tiles are unrolled: more take long to compile."""


@dataclass(frozen=True)
class Piece:
    """A link with its operand: an array that is the same in each call, or a value."""

    link: Link
    operand: Array | Value | None = None


@dataclass(frozen=True, eq=False)
class _Chain:
    """What nodes compute of x, one after the other."""

    x: Value
    pieces: tuple[Piece, ...]
    nodes: tuple[Node, ...]

    def before(self, node: Node, pieces: tuple[Piece, ...]) -> _Chain:
        """Return this chain with a node behind it."""
        return _Chain(self.x, (*self.pieces, *pieces), (*self.nodes, node))

    @property
    def computed(self) -> list[Value]:
        """The operands that are values."""
        return [each.operand for each in self.pieces if isinstance(each.operand, Value)]

    @property
    def images(self) -> list[Value]:
        """What is read that is as large as the result."""
        return [self.x, *(value for value in self.computed if value.sizes == self.x.sizes)]


def stage_chains(graph: Graph) -> bool:
    """Make kernels of chains, but of those that would only bring images into another order.

    An image that the engine makes lies otherwise in memory than one of ours.  Where a chain is no
    kernel, those of ours round it are brought into the engine's order, and the other way round.
    Returns whether any was made: others may be worth it then.
    """
    endings = _endings(graph)
    changed = False
    for node in reversed(list(graph.nodes)):
        chain = endings.get(node.outputs[0]) if node.outputs else None
        if chain is not None and node.outputs[0].maker is node and _is_worth_it(graph, chain):
            _stage(graph, chain)
            changed = True
    return changed


def _endings(graph: Graph) -> dict[Value, _Chain]:
    """Return for each value the longest chain that ends with it, where there is one."""
    found: dict[Value, _Chain] = {}
    for node in graph.nodes:
        ways = []
        for x, pieces in _readings(node):
            before = found.get(x) if graph.used_once(x) else None
            if before is None or len(before.pieces) + len(pieces) > MOST_LINKS:
                before = _Chain(x, (), ())
            ways.append(before.before(node, pieces))
        if ways:
            found[node.output] = max(
                ways, key=lambda chain: (len(chain.nodes), _before(graph, chain) is not None)
            )
    return found


def _before(graph: Graph, chain: _Chain) -> Node | None:
    """Return the convolution that may compute a chain as well."""
    draft = sole(graph, chain.x)
    conv = None if draft is None else draft.conv
    if not all(is_short(piece.link) for piece in chain.pieces):
        return None
    if conv is None or conv.chain or conv.quantized or len(chain.pieces) > _MOST_BEHIND:
        return None
    return chain.x.maker


def _readings(node: Node) -> list[tuple[Value, tuple[Piece, ...]]]:
    """Return what a node computes as pieces of a value of its own size, for each such value."""
    if not _is_image(node.outputs[0]) or not _same_types(node):
        return []
    operator = node.operator
    if isinstance(operator, Binary):
        return _binary(node, operator.function)
    x = node.inputs[0] if node.inputs else None
    pieces = single(operator, node.output.dtype)
    return [(x, pieces)] if pieces and x is not None and x.sizes == node.output.sizes else []


def _same_types(node: Node) -> bool:
    return len(node.outputs) == 1 and node.output.dtype in DTYPES and keeps_type(node)


def _is_image(value: Value) -> bool:
    shape = value.shape
    return value.sizes is not None and shape is not None and len(shape) in (2, 4) and 0 not in shape


def single(operator: Operator, dtype: str | None) -> tuple[Piece, ...]:
    """Return a function of one element as pieces of a chain; () where it is none."""
    if isinstance(operator, Activate):
        return (Piece(Link(operator.activation)),)
    if isinstance(operator, Unary) and operator.function in UNARY:
        return (Piece(Link(operator.function)),)
    numbers: dict[str, float] = {}
    if isinstance(operator, HardSigmoid):
        numbers = {"mul": operator.slope, "add": operator.offset, "max": 0, "min": 1}
    elif isinstance(operator, Clip):
        numbers = {"max": operator.low, "min": operator.high}
    return tuple(
        Piece(Link(function, "scalar"), np.full(1, number, dtype))
        for function, number in numbers.items()
        if math.isfinite(number)
    )


def _binary(node: Node, function: str) -> list[tuple[Value, tuple[Piece, ...]]]:
    first, second = cast("list[Value]", node.inputs)
    ways = [(first, second, function), (second, first, _TURNED.get(function))]
    found: list[tuple[Value, tuple[Piece, ...]]] = []
    for x, other, name in ways:
        if name in BINARY and x.constant is None and x.sizes == node.output.sizes:
            operand = _operand(x, other)
            if operand is not None:
                found.append((x, (Piece(Link(name, operand[0]), operand[1]),)))
    return found


def _operand(x: Value, other: Value) -> tuple[str, Array | Value] | None:
    """Return the kind of an operand, and the operand; None where a chain takes none like it."""
    if (constant := other.constant) is not None:
        if constant.size == 1 and constant.ndim <= len(x.shape or ()):
            return "scalar", np.array(constant).reshape(1)
        factors = for_each_channel(other, x.shape)
        return None if factors is None else ("channel", np.array(factors))
    sizes = cast("tuple[int | str, ...]", x.sizes)
    batch, channels, *pixels = sizes
    kinds = {
        (batch, 1, *pixels): "pixel",
        (batch, channels, *(1 for _ in pixels)): "gate",
        sizes: "image",
    }
    kind = kinds.get(other.sizes or ())
    return None if kind is None else (kind, other)


def _is_worth_it(graph: Graph, chain: _Chain) -> bool:
    """Whether no more images are brought into another order than without the kernel."""
    end = chain.nodes[-1].output
    ours = sum(_is_ours(value, chain) for value in chain.images)
    for_us = is_wanted(end)
    others = len(chain.images) - ours
    for_others = graph.is_output(end) or not all(
        isinstance(user.operator, Draft) for user in end.users
    )
    turned = others + for_others if len(end.shape or ()) == 4 else 0
    return 0 < ours + for_us >= turned


def _is_ours(value: Value, chain: _Chain) -> bool:
    """Whether a kernel of ours makes a value, or takes it besides."""
    users = (user for user in value.users if user not in chain.nodes)
    return is_ours(value) or any(isinstance(user.operator, Draft) for user in users)


def _stage(graph: Graph, chain: _Chain) -> None:
    """Put a kernel in the place of a chain, and of the convolution before it."""
    operands = {
        f"operand{number}": piece.operand
        for number, piece in enumerate(chain.pieces, 1)
        if isinstance(piece.operand, np.ndarray)
    }
    links = tuple(piece.link for piece in chain.pieces)
    convolution = _before(graph, chain)
    if convolution is None:
        before, draft = [], Draft(spec=_alone(chain.x, links), operands=operands)
        inputs = [chain.x]
    else:
        draft = cast(Draft, convolution.operator).chained(links, operands)
        before, inputs = [convolution], cast("list[Value]", convolution.inputs)
    *others, end = chain.nodes
    made = place(graph, end, draft, *inputs, *chain.computed)
    for node in reversed([*before, *others]):
        made.covers[:0] = node.covers
        made.before_us += node.before_us
        graph.remove(node)


def _alone(x: Value, links: Chain) -> ElementwiseSpec:
    """Return a chain of an image as a problem."""
    batch, channels, height, width = (*cast("tuple[int, ...]", x.shape), 1, 1)[:4]
    return ElementwiseSpec(
        batch=batch, channels=channels, height=height, width=width, dtype=cast(str, x.dtype),
        chain=links,
    )  # fmt: skip
