"""Pools as kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from depthwise.errors import SpecError
from depthwise.network.absorb import place
from depthwise.network.draft import Draft
from depthwise.network.graph import Graph, Node, Value
from depthwise.network.operators import Foreign, Pool
from depthwise.network.pixels import is_beside_kernels
from depthwise.problem.dtypes import DTYPES
from depthwise.problem.pools import PoolSpec
from depthwise.problem.spec import ConvSpec
from depthwise.problem.vocabulary import Pair


def stage_pools(graph: Graph) -> bool:
    """Make kernels of the pools of images that kernels make or take; whether there was any."""
    found = False
    for node in list(graph.nodes):
        meaning = node.operator.meaning if isinstance(node.operator, Foreign) else None
        if isinstance(meaning, Pool) and is_beside_kernels(node):
            found |= _pool(graph, node, meaning)
    return found


def _pool(graph: Graph, node: Node, pool: Pool) -> bool:
    x = cast(Value, node.inputs[0])
    if x.shape is None or len(x.shape) != 4 or x.dtype not in DTYPES or 0 in x.shape:
        return False
    batch, channels, *size = x.shape
    try:
        window = ConvSpec.depthwise(
            channels, (size[0], size[1]), pool.kernel, stride=pool.stride, padding=pool.padding,
            dilation=pool.dilation, batch=batch, layout="NHWC", dtype=x.dtype,
        )  # fmt: skip
        spec = PoolSpec(kind=pool.kind, window=window, padded=pool.padded)
    except SpecError as error:
        node.reason = str(error)
        return False
    place(graph, node, Draft(spec=spec, operands={}), x)
    return True


def ceiled(pool: Pool, size: Sequence[int | str]) -> Pool | None:
    """Return a pool with the windows, too, that begin on an image of a size but end outside.

    That is "ceil mode" in ONNX and in torch.  None where the size is open, or where a mean would
    count less than the padding: `padded` means all that lies in a window.
    """
    height, width = size
    if isinstance(height, str) or isinstance(width, str):
        return None
    (kh, kw), (sh, sw), (dh, dw) = pool.kernel, pool.stride, pool.dilation
    padding = (
        _whole_windows(height, kh, sh, pool.padding[0], dh),
        _whole_windows(width, kw, sw, pool.padding[1], dw),
    )
    if pool.padded and padding != pool.padding:
        return None
    return replace(pool, padding=padding)


def _whole_windows(size: int, kernel: int, stride: int, padding: Pair, dilation: int) -> Pair:
    """Return the padding with which no window that begins on the image ends outside of it."""
    (before, after), reach = padding, dilation * (kernel - 1) + 1
    outputs = -(-(size + before + after - reach) // stride) + 1
    if (outputs - 1) * stride >= size + before:
        outputs -= 1
    return before, max(after, (outputs - 1) * stride + reach - size - before)
