"""Images in another size as kernels."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import cast

from depthwise.errors import SpecError
from depthwise.network.absorb import place
from depthwise.network.draft import Draft
from depthwise.network.graph import Graph, Node, Value
from depthwise.network.operators import Foreign, Resize
from depthwise.network.pixels import is_beside_kernels
from depthwise.problem.dtypes import DTYPES
from depthwise.problem.resizes import ResizeSpec
from depthwise.schedule.resizes import places

_CLOSE = Fraction(1, 1000)
"""A place that is no nearer than this to where two pixels are equally near is rounded alike by all
who compute it in float32."""


def stage_resizes(graph: Graph) -> bool:
    """Make kernels of images in another size that kernels make or take; say if any was made."""
    changed = False
    for node in list(graph.nodes):
        meaning = node.operator.meaning if isinstance(node.operator, Foreign) else None
        if isinstance(meaning, Resize) and is_beside_kernels(node):
            changed |= _resize(graph, node, meaning)
    return changed


def _resize(graph: Graph, node: Node, resize: Resize) -> bool:
    x = cast(Value, node.inputs[0])
    if x.shape is None or len(x.shape) != 4 or x.dtype not in DTYPES or 0 in x.shape:
        return False
    batch, channels, height, width = x.shape
    try:
        spec = ResizeSpec(
            kind=resize.kind, batch=batch, channels=channels, height=height, width=width,
            dtype=x.dtype, size=resize.size, factor=resize.factor,
            coordinates=resize.coordinates, rounding=resize.rounding,
        )  # fmt: skip
    except SpecError as error:
        node.reason = str(error)
        return False
    if spec.kind == "nearest" and not all(_is_settled(spec, axis) for axis in (1, 2)):
        node.reason = "which pixel is nearest depends on how the place of some is rounded"
        return False
    place(graph, node, Draft(spec=spec, operands={}), x)
    return True


def _is_settled(spec: ResizeSpec, axis: int) -> bool:
    """Whether the nearest pixels along an axis are the same however their places are rounded."""
    before, after = spec.input_shape[axis], spec.output_shape[axis]
    if spec.coordinates != "align_corners" and after % before == 0:
        return True  # by a whole number: places are exact, or far from where they are rounded
    if spec.factor is not None:
        return False  # it might be another size that is not settled
    step, start, parts, _ = places(spec, axis)
    middle = Fraction(0 if spec.rounding in ("floor", "ceil") else 1, 2)
    found = (Fraction(number * step + start, parts) - middle for number in range(after))
    return all(abs(at - round(at)) > _CLOSE or at == -middle for at in found)


def target_of(
    before: Sequence[int | str], after: Sequence[int | str], factors: Sequence[float] | None
) -> tuple[str, tuple[int, int]] | None:
    """Return the size of a result or the factor for it, with the field of `Resize` that it is.

    Args:
        before: the height and the width.
        after: those of the result.
        factors: what the former are multiplied by, where that is said.

    Returns:
        None where neither is a whole number for images of any size, or where places follow from
        factors that are not those of the sizes.
    """
    if factors is not None and all(factor >= 1 and factor == int(factor) for factor in factors):
        return "factor", (int(factors[0]), int(factors[1]))
    if any(isinstance(size, str) for size in after):
        return None
    if factors is not None:
        sizes = [*before, *after]
        if any(isinstance(size, str) for size in sizes):
            return None
        exact = zip(before, after, factors, strict=True)
        if any(abs(int(b) * factor - int(a)) > _EXACT * int(a) for b, a, factor in exact):
            return None
    return "size", (int(after[0]), int(after[1]))


_EXACT = 1e-6
"""How far from a whole number a size is that follows from a factor of float32."""
