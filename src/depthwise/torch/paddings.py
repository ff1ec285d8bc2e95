"""Padding as torch's modules have it, and who pads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (the name that everyone gives it)

from depthwise.problem.spec import resolve_padding
from depthwise.torch.fallback import left_to_torch
from depthwise.torch.registry import differentiated, unwatched

Sides: TypeAlias = "tuple[int, int, int, int]"
"""(top, bottom, left, right)"""


def around(padding: tuple[int, ...] | str, kernel: Sequence[int], dilation: Sequence[int]) -> Sides:
    """Return (top, bottom, left, right) of a padding as torch's modules have it.

    ("same" goes with stride 1 there, so that it does not depend on the size.)
    """
    if isinstance(padding, str):
        (height, width), (rows, columns) = kernel, dilation
        sides = resolve_padding(padding, (1, 1), (height, width), (1, 1), (rows, columns))
        return *sides[0], *sides[1]
    vertical, horizontal = padding
    return vertical, vertical, horizontal, horizontal


def padded(x: Tensor, sides: Sides, padding_mode: str) -> Tensor:
    """Return (N, C, H, W) padded by torch, in the memory format of `x`."""
    top, bottom, left, right = sides
    return F.pad(x, (left, right, top, bottom), padding_mode)


def pads_as_it_reads(x: Tensor, weight: Tensor, *others: Tensor | None) -> bool:
    """Whether a kernel pads as it reads: nothing differentiates or watches the padding."""
    tensors = x, weight, *others
    if not unwatched(*tensors) or differentiated(*tensors):
        return False
    return not left_to_torch(x, weight)
