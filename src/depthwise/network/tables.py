"""Functions of one quantized image, however they are written: tables of all its numbers.

What a function makes of each number is computed as the graph says it, operator by operator in
float32, so a table is exact.  Functions of functions are one table, and so is a product of an image
with a function of itself (hard-swish, SiLU).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from depthwise.network.absorb import draft_of, place, release
from depthwise.network.chains import single
from depthwise.network.draft import Draft
from depthwise.network.endings import Ending, is_image, meant, taken
from depthwise.network.graph import Graph, Node, Value
from depthwise.network.operators import Binary, Dequantize
from depthwise.problem.arrays import Array
from depthwise.problem.dtypes import DEFAULT, QUANTIZED, element
from depthwise.problem.elementwise import ElementwiseSpec
from depthwise.problem.links import Chain, Link
from depthwise.problem.quantized_images import QuantizedSpec
from depthwise.problem.reference import forward
from depthwise.problem.vocabulary import BINARY

_MOST_OPERATORS = 16
"""One behind the other in a function; what is written out has eight."""


@dataclass(frozen=True)
class _Function:
    """What a value is for each number of an image."""

    root: Value
    """The image."""
    results: Array


def looked_up(ending: Ending, core: Node) -> Node | None:
    """Stage a function of one image as a table."""
    read: dict[Node, _Function] = {}
    found = _real(core.output, read, _MOST_OPERATORS)
    if found is None or found.root.dtype != ending.how.dtype:
        return None
    x = taken(core.output)
    if x is not None and ending.same(x) and ending.bounds == element(ending.how.dtype).range:
        ending.passed.append(core)
        return None
    table = ending.rounded(found.results).astype(ending.how.dtype)
    ending.passed += reversed(read)
    return place(ending.graph, ending.node, lookup(found.root, table), found.root)


def _real(value: Value | None, read: dict[Node, _Function], most: int) -> _Function | None:
    """Return a value of real numbers as a function; `read` is what was read of nodes before."""
    maker = None if value is None else value.maker
    if maker is None or not most or len(maker.outputs) > 1:
        return None
    if maker in read:
        return read[maker]
    operator = meant(maker)
    if isinstance(operator, Dequantize):
        x = _whole(maker.inputs[0], read)
        found = None if x is None else replace(x, results=stood_for(x.results, operator))
    elif isinstance(operator, Binary):
        found = _of_two(maker, operator.function, read, most - 1)
    else:
        pieces = single(operator, DEFAULT)
        x = _real(maker.inputs[0], read, most - 1) if pieces else None
        operands = [cast(Array, each.operand) for each in pieces if each.operand is not None]
        chain = tuple(piece.link for piece in pieces)
        found = None if x is None else replace(x, results=_computed(chain, x.results, *operands))
    if found is not None:
        read[maker] = found
    return found


def _whole(value: Value | None, read: dict[Node, _Function]) -> _Function | None:
    """Return an image of whole numbers as a function: of itself, or of what it was looked up by."""
    if value is None or not is_image(value) or value.dtype not in QUANTIZED:
        return None
    draft = draft_of(value)
    if draft is None or not _is_lookup(draft):
        return _Function(value, numbers(value.dtype))
    maker = cast(Node, value.maker)
    before = _whole(maker.inputs[0], read)
    if before is None:
        return None
    read[maker] = replace(before, results=_entries(draft, before.results))
    return read[maker]


def _of_two(node: Node, function: str, read: dict[Node, _Function], most: int) -> _Function | None:
    """Return what combines two functions of one image, or one with a number."""
    if function not in BINARY:
        return None
    found = [_real(value, read, most) for value in node.inputs[:2]]
    roots = list(dict.fromkeys(each.root for each in found if each is not None))
    if len(roots) != 1:
        return None
    results = [
        _number(value) if each is None else each.results
        for value, each in zip(node.inputs, found, strict=True)
    ]
    if any(each is None for each in results):
        return None
    count = len(numbers(cast(str, roots[0].dtype)))
    first, second = (np.broadcast_to(cast(Array, each), count) for each in results)
    return _Function(roots[0], _computed((Link(function, "image"),), first, second))


def _number(value: Value | None) -> Array | None:
    """Return a constant of one element."""
    constant = None if value is None else value.constant
    return constant.reshape(1) if constant is not None and constant.size == 1 else None


def numbers(dtype: str) -> Array:
    """Return all whole numbers of a type."""
    least, most = element(dtype).range
    return np.arange(least, most + 1, dtype=np.int32)


def stood_for(numbers: Array, how: Dequantize) -> Array:
    """Return the real numbers that whole ones stand for, in float32."""
    real: Array = (numbers.astype(np.int32) - how.zero).astype(np.float32) * np.float32(how.scale)
    return real


def _computed(chain: Chain, x: Array, *operands: Array) -> Array:
    """Return functions of each number, in float32."""
    spec = ElementwiseSpec(channels=x.size, height=1, width=1, chain=chain)
    shapes = spec.input_shape, *spec.operands.values()
    given = [
        np.ascontiguousarray(each, np.float32).reshape(shape)
        for each, shape in zip((x, *operands), shapes, strict=True)
    ]
    return forward(spec, *given).reshape(-1).astype(np.float32)


def lookup(value: Value, table: Array) -> Draft:
    """Return the problem that replaces the numbers of an image by those of a table."""
    batch, channels, height, width = (*cast("tuple[int, ...]", value.shape), 1, 1)[:4]
    spec = QuantizedSpec(
        kind="lookup", batch=batch, channels=channels, height=height, width=width,
        dtype=cast(str, value.dtype),
    )  # fmt: skip
    return Draft(spec=spec, operands={"table": table})


def _is_lookup(draft: Draft) -> bool:
    return isinstance(draft.spec, QuantizedSpec) and draft.spec.kind == "lookup"


def _entries(draft: Draft, numbers: Array) -> Array:
    least, _ = element(draft.spec.dtype).range
    entries: Array = draft.operands["table"][numbers.astype(np.int32) - least]
    return entries


def look_up_in_convolutions(graph: Graph) -> None:
    """Let a convolution whose result is only looked up in a table do that itself."""
    for node in list(graph.nodes):
        draft = node.operator
        if not isinstance(draft, Draft) or not _is_lookup(draft):
            continue
        x = cast(Value, node.inputs[0])
        before = draft_of(x)
        conv = None if before is None else before.conv
        if before is None or conv is None or conv.residual or not graph.used_once(x):
            continue
        table = draft.operands["table"]
        if conv.table:
            table = _entries(draft, before.operands["table"])
        made = Draft(spec=replace(conv, table=True), operands={**before.operands, "table": table})
        maker = cast(Node, x.maker)
        release(graph, maker, place(graph, node, made, cast(Value, maker.inputs[0])))
