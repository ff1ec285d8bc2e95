"""The shape and the memory format of what an operator returns; one rule for real and fake tensors.

A result lies as the input does: channels_last where that is, otherwise contiguous.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from depthwise.errors import ArrayError, DTypeError, SpecError
from depthwise.problem.spec import output_size


def memory_format(x: Tensor) -> torch.memory_format:
    """Return channels_last where (N, C, H, W) lies so and not contiguously, else contiguous."""
    if not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last):
        return torch.channels_last
    return torch.contiguous_format


def as_lies(tensor: Tensor, x: Tensor) -> Tensor:
    """Return `tensor` in the memory format of `x`; itself where it has that."""
    return tensor.contiguous(memory_format=memory_format(x))


def empty_as(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Return a tensor of this shape in the memory format of `x`."""
    return torch.empty(tuple(shape), dtype=x.dtype, device=x.device, memory_format=memory_format(x))


def attributes(stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int]) -> Any:
    """Return an operator's attributes as arguments of `depthwise.functions.convolutions`."""
    top, bottom, left, right = four_sides(padding)
    return {
        "stride": tuple(stride),
        "padding": ((top, bottom), (left, right)),
        "dilation": tuple(dilation),
    }


def output_shape(
    shape: Sequence[int],
    weight: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> tuple[int, ...]:
    """Return (N, C * multiplier, OH, OW) of a depthwise convolution.

    Args:
        shape: (N, C, H, W), the input's.
        weight: (C * multiplier, 1, KH, KW), the weight's.
        stride: along height and width.
        padding: (top, bottom, left, right).
        dilation: along height and width.

    Raises:
        ArrayError: the tensors have other axes.
        SpecError: the dilated kernel does not fit into the padded input.
    """
    if (
        not len(shape) == len(weight) == 4
        or weight[1] != 1
        or shape[1] == 0
        or weight[0] % shape[1]
    ):
        raise ArrayError(
            "x is (N, C, H, W) and weight (C * multiplier, 1, KH, KW); "
            f"got {tuple(shape)} and {tuple(weight)}"
        )
    top, bottom, left, right = four_sides(padding)
    around = (top, bottom), (left, right)
    sides = zip(shape[2:], weight[2:], stride, around, dilation, strict=True)
    height, width = (output_size(*side) for side in sides)
    if height < 1 or width < 1:
        raise SpecError(
            "the dilated kernel fits into the padded input; "
            f"got x {tuple(shape)}, weight {tuple(weight)}, padding {tuple(padding)}"
        )
    return shape[0], weight[0], height, width


def four_sides(padding: Sequence[int]) -> Sequence[int]:
    """Return an operator's padding; raise SpecError where it is not one of four sides."""
    if len(padding) != 4:
        raise SpecError(
            "the padding of an operator is (top, bottom, left, right), as (1, 1, 1, 1); "
            f"got {tuple(padding)}"
        )
    return padding


def four_axes(*tensors: Tensor) -> None:
    """Raise ArrayError where one is not an (N, C, H, W), or a weight of as many axes."""
    if {*map(Tensor.dim, tensors)} != {4}:
        got = " and ".join(str(tuple(tensor.shape)) for tensor in tensors)
        raise ArrayError(f"images and weights have 4 axes (use .unsqueeze(0)); got {got}")


def same_kind(x: Tensor, weight: Tensor) -> None:
    """Raise ArrayError where two tensors differ in device, DTypeError where in element type."""
    if x.device != weight.device:
        raise ArrayError(f"tensors are on one device; got {x.device} and {weight.device}")
    if x.dtype != weight.dtype:
        raise DTypeError(f"tensors are of one dtype; got {x.dtype} and {weight.dtype}")
