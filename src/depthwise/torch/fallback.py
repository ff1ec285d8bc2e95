"""What this package's kernels do not compute is left to torch's own convolution."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (the name that everyone gives it)

from depthwise.problem.arrays import check_storage
from depthwise.torch.dtypes import DTYPES
from depthwise.torch.formats import four_sides, same_kind

_said: set[str] = set()


def left_to_torch(x: Tensor, weight: Tensor) -> bool:
    """Return whether torch computes; why is said once in a process.

    That is so on other devices than the CPU, and, without a word, where there is nothing to
    compute.

    Raises:
        ArrayError, DTypeError: torch would compute, and the tensors differ in device or dtype.
    """
    if x.is_cpu:
        return x.dtype in DTYPES and x.numel() == 0
    same_kind(x, weight)
    what = f"device {x.device.type!r}"
    if what not in _said:
        _said.add(what)
        warnings.warn(
            f"kernels compute on the CPU; got {what}, where torch's own convolution computes",
            RuntimeWarning,
            stacklevel=2,
        )
    return True


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """Return the depthwise convolution; arguments as those of `depthwise::conv2d`."""
    padded = _padded(x, padding)
    return F.conv2d(padded, weight, bias, tuple(stride), 0, tuple(dilation), x.shape[1])


def input_gradient(
    grad: Tensor,
    weight: Tensor,
    input_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Tensor:
    """Return it as `depthwise::conv2d_input_gradient` does."""
    top, bottom, left, right = four_sides(padding)
    batch, channels, height, width = input_size
    padded = grad.new_empty((batch, channels, height + top + bottom, width + left + right))
    given = _gradients(grad, padded, weight, stride, dilation, (True, False, False))[0]
    return given[:, :, top : top + height, left : left + width]


def weight_gradient(
    grad: Tensor,
    x: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    bias: bool,
) -> tuple[Tensor, Tensor]:
    """Return them as `depthwise::conv2d_weight_gradient` does."""
    weight = grad.new_empty((grad.shape[1], 1, *kernel))
    mask = (False, True, bias)
    _, given, sums = _gradients(grad, _padded(x, padding), weight, stride, dilation, mask)
    return given, sums if bias else grad.new_empty(0)


def _gradients(
    grad: Tensor,
    x: Tensor,
    weight: Tensor,
    stride: Sequence[int],
    dilation: Sequence[int],
    mask: tuple[bool, bool, bool],
) -> tuple[Tensor, Tensor, Tensor]:
    gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
        grad, x, weight, [grad.shape[1]], stride, (0, 0), dilation, False, (0, 0), x.shape[1], mask
    )
    return gradients


def _padded(x: Tensor, padding: Sequence[int]) -> Tensor:
    top, bottom, left, right = four_sides(padding)
    if not any(padding):
        return x
    check_storage(x, "x")
    return F.pad(x, (left, right, top, bottom))
