"""What is computed of quantized images beside convolutions, and what stands at their ends."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from depthwise.errors import SpecError
from depthwise.network.absorb import place
from depthwise.network.draft import Draft
from depthwise.network.endings import Ending, Taken, is_image, meant, taken
from depthwise.network.graph import Graph, Node, Value
from depthwise.network.operators import PIXELS, Binary, Dequantize, Pool, Quantize, Reduce, Reshape
from depthwise.network.pixels import is_beside_kernels
from depthwise.network.pools import pool_of
from depthwise.network.tables import lookup, numbers, stood_for
from depthwise.problem.dtypes import element
from depthwise.problem.quantized_images import QuantizedKind, QuantizedSpec


def added(ending: Ending, first: Taken, second: Taken) -> Node | None:
    """Stage the sum of two images."""
    scales = np.array([first.scale, second.scale], np.float32)
    zeros = first.how.zero, second.how.zero, ending.how.zero
    factors = scales / np.float32(ending.how.scale)
    return _placed(ending, "qadd", first, second, factors=factors, zeros=zeros)


def multiplied(ending: Ending, core: Node) -> Node | None:
    """Stage the product of two images, or of an image and a number for each of its channels."""
    if cast(Binary, core.operator).function != "mul":
        return None
    for first, second in (core.inputs[:2], core.inputs[1::-1]):
        x, other = taken(first), taken(second)
        if x is None or other is None or not (x.is_image and other.is_image):
            continue
        if {x.source.dtype, other.source.dtype} != {ending.how.dtype}:
            return None
        sizes, others = cast(Any, x.source.sizes), cast(Any, other.source.sizes)
        gate = sizes != others
        if gate and (len(sizes) != 4 or others != (*sizes[:2], 1, 1)):
            continue
        zeros = x.how.zero, other.how.zero, ending.how.zero
        factor = x.scale * other.scale / np.float32(ending.how.scale)
        return _placed(ending, "qmul", x, other, factor=factor, zeros=zeros, gate=gate)
    return None


def mean(ending: Ending, core: Node) -> Node | None:
    """Stage the mean of the pixels of each channel."""
    x, reduce = taken(core.inputs[0]), cast(Reduce, meant(core))
    if x is None or not x.is_image or (reduce.function, reduce.axes) != ("mean", PIXELS):
        return None
    if x.source.dtype != ending.how.dtype or len(x.source.shape or ()) != 4:
        return None
    scale = x.scale / np.float32(ending.how.scale)
    draft = _draft(ending, "qmean", x.source, scale=scale, zeros=(x.how.zero, ending.how.zero))
    if reduce.keeps_axes:
        return place(ending.graph, ending.node, draft, x.source)
    graph, node = ending.graph, ending.node
    made = graph.insert(node, draft, [x.source], like=node.output)
    shape, sizes = cast(Any, x.source.shape), cast(Any, x.source.sizes)
    made.output.shape, made.output.sizes = (*shape[:2], 1, 1), (*sizes[:2], 1, 1)
    flat = graph.insert(node, Reshape(shape=(0, -1)), [made.output], like=node.output)
    graph.stand_in(node, flat)
    return made


def concatenated(ending: Ending, core: Node) -> Node | None:
    """Concatenate whole numbers, those of another scale brought to that of the result before."""
    given = [taken(value) for value in core.inputs]
    images = [x for x in given if x is not None and x.is_image]
    if len(images) < len(given) or {x.source.dtype for x in images} != {ending.how.dtype}:
        return None
    plain = ending.bounds == element(ending.how.dtype).range
    sources = []
    for x in images:
        value = x.source
        if not (plain and ending.same(x)):
            real = stood_for(numbers(ending.how.dtype), x.how)
            table = ending.rounded(real).astype(ending.how.dtype)
            made = ending.graph.insert(ending.node, lookup(value, table), [value], like=value)
            value = made.output
        sources.append(value)
    joined = ending.graph.insert(ending.node, core.operator, sources, like=ending.node.output)
    ending.graph.stand_in(ending.node, joined)
    return joined


def moved(ending: Ending, core: Node) -> Node | None:
    """Move whole numbers in the place of what they stand for."""
    x = taken(core.inputs[0])
    plain = ending.bounds == element(ending.how.dtype).range
    if x is None or not plain or not ending.same(x):
        return None
    made = ending.graph.insert(ending.node, core.operator, [x.source], like=ending.node.output)
    ending.graph.stand_in(ending.node, made)
    return made


def pooled(ending: Ending, core: Node) -> Node | None:
    """Stage the largest of each window."""
    x, pool = taken(core.inputs[0]), cast(Pool, meant(core))
    plain = ending.bounds == element(ending.how.dtype).range
    if x is None or not x.is_image or not plain or pool.kind != "maxpool" or pool.padded:
        return None
    if not ending.same(x) or len(x.source.shape or ()) != 4:
        return None
    spec = pool_of(x.source, pool)
    return place(ending.graph, ending.node, Draft(spec=spec, operands={}), x.source)


def _placed(
    ending: Ending,
    kind: QuantizedKind,
    x: Taken,
    other: Taken,
    *,
    gate: bool = False,
    **numbers: Any,
) -> Node | None:
    draft = _draft(ending, kind, x.source, gate=gate, **numbers)
    return place(ending.graph, ending.node, draft, x.source, other.source)


def _draft(
    ending: Ending, kind: QuantizedKind, value: Value, *, gate: bool = False, **numbers: Any
) -> Draft:
    """Return the problem of a kind with its numbers."""
    spec = _spec(kind, value, gate=gate)
    numbers["bounds"] = ending.bounds
    operands = {
        name: np.array(each, spec.dtype_of(name)).reshape(spec.operands[name])
        for name, each in numbers.items()
    }
    return Draft(spec=spec, operands=operands)


def _spec(kind: QuantizedKind, value: Value, *, gate: bool = False) -> QuantizedSpec:
    batch, channels, height, width = (*cast("tuple[int, ...]", value.shape), 1, 1)[:4]
    return QuantizedSpec(
        kind=kind, batch=batch, channels=channels, height=height, width=width,
        dtype=cast(str, value.dtype), gate=gate,
    )  # fmt: skip


def stage_ends(graph: Graph) -> bool:
    """Make kernels of what stands between whole numbers and what is computed otherwise.

    That is where a kernel makes or takes either.  Returns whether there was any.
    """
    found = False
    for node in list(graph.nodes):
        operator = meant(node)
        if isinstance(operator, (Quantize, Dequantize)) and is_beside_kernels(node):
            whole = node.output if isinstance(operator, Quantize) else node.inputs[0]
            found |= _end(graph, node, operator, cast(Value, whole))
    return found


def _end(graph: Graph, node: Node, operator: Quantize | Dequantize, value: Value) -> bool:
    if not is_image(value):
        return False
    kind: QuantizedKind = "quantize" if isinstance(operator, Quantize) else "dequantize"
    operands = {
        "scale": np.array([operator.scale], np.float32), "zero": np.array([operator.zero], np.int32)
    }  # fmt: skip
    try:
        spec = _spec(kind, value)
    except SpecError as error:
        node.reason = str(error)
        return False
    place(graph, node, Draft(spec=spec, operands=operands), cast(Value, node.inputs[0]))
    return True
