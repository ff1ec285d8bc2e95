"""Pools as kernels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from depthwise.errors import SpecError
from depthwise.network.absorb import draft_of, place, release
from depthwise.network.draft import Draft
from depthwise.network.graph import Graph, Node, Value
from depthwise.network.operators import Foreign, Pad, Pool
from depthwise.network.pixels import is_beside_kernels
from depthwise.problem.dtypes import DTYPES
from depthwise.problem.pools import PoolSpec
from depthwise.problem.spec import ConvSpec
from depthwise.problem.vocabulary import Pads, Pair


def stage_pools(graph: Graph) -> bool:
    """Make kernels of the pools of images that kernels make or take; whether there was any."""
    found = False
    for node in list(graph.nodes):
        meaning = node.operator.meaning if isinstance(node.operator, Foreign) else None
        if isinstance(meaning, Pool):
            found |= _pool(graph, node, meaning)
    return found


def _pool(graph: Graph, node: Node, pool: Pool) -> bool:
    x = cast(Value, node.inputs[0])
    pad = x.maker
    whole = _with_padding(pool, pad.operator) if pad and isinstance(pad.operator, Pad) else None
    if pad is None or whole is None:
        return is_beside_kernels(node) and _placed(graph, node, pool, x) is not None
    x = cast(Value, pad.inputs[0])
    ours = draft_of(x) is not None or is_beside_kernels(node)
    made = _placed(graph, node, whole, x) if ours else None
    if made is not None:
        release(graph, pad, made)
    return made is not None


def _with_padding(pool: Pool, pad: Pad) -> Pool | None:
    """Return the pool of a padded image as one of the image; None where that is none.

    What is padded with zeros counts as zeros, and what is padded with less than any number as none.
    """
    padding = tuple(
        (mine[0] + its[0], mine[1] + its[1])
        for mine, its in zip(pool.padding, pad.padding, strict=True)
    )
    found = replace(pool, padding=cast(Pads, padding), padded=pad.value == 0)
    if pool.kind == "maxpool" and pad.value <= _LEAST:
        return found
    alone = not any(map(any, pool.padding))
    return found if pad.value == 0 and (alone or pool.padded) else None


_LEAST = -3.4e38
"""About the least number of float32; a bound below it is none."""


def _placed(graph: Graph, node: Node, pool: Pool, x: Value) -> Node | None:
    """Put a kernel in the place of a node that is a pool of x, if there is one."""
    if x.shape is None or len(x.shape) != 4 or x.dtype not in DTYPES or 0 in x.shape:
        return None
    try:
        spec = pool_of(x, pool)
    except SpecError as error:
        node.reason = str(error)
        return None
    return place(graph, node, Draft(spec=spec, operands={}), x)


def pool_of(x: Value, pool: Pool) -> PoolSpec:
    """Return the problem of the pool of an image.

    Raises:
        SpecError: it cannot exist.
    """
    batch, channels, *size = cast("tuple[int, ...]", x.shape)
    window = ConvSpec.depthwise(
        channels, (size[0], size[1]), pool.kernel, stride=pool.stride, padding=pool.padding,
        dilation=pool.dilation, batch=batch, layout="NHWC", dtype=cast(str, x.dtype),
    )  # fmt: skip
    return PoolSpec(kind=pool.kind, window=window, padded=pool.padded)


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
