"""Pools: the largest, or the mean, of the pixels in each window of an image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np

from depthwise.errors import SpecError
from depthwise.problem import quantized
from depthwise.problem.problem import Specification
from depthwise.problem.spec import ConvSpec
from depthwise.problem.text import pool_text
from depthwise.problem.values import flag, shown, word
from depthwise.problem.vocabulary import Layout

PoolKind = Literal["maxpool", "avgpool"]


@dataclass(frozen=True, kw_only=True)
class PoolSpec(Specification):
    """A pool of channels-last images (N, H, W, C), which gives (N, OH, OW, C).

    ::

        y[n, i, j, c] = the largest, or the mean, over r, s of
                        x[n, i*sh + r*dh - top, j*sw + s*dw - left, c]

    over those pixels of a window that exist.  With `padded`, those that do not count as zeros.
    Equivalent to `F.max_pool2d(x, kernel, stride, padding, dilation)`, to `F.avg_pool2d(x, kernel,
    stride, padding, count_include_pad=padded)` of (N, C, H, W), and, with `padded`, to
    `F.max_pool2d(F.pad(x, padding), kernel, stride, 0, dilation)`.

    Quantized, where the window's `dtype` is int8 or uint8, a mean is::

        y = clip(round(float32(sum of (x - zeros[0])) * (scale / pixels)) + zeros[1])

    as `QuantizedSpec` has it for whole images.

    Attributes:
        kind: maxpool or avgpool.
        window: the depthwise convolution whose windows these are.
        padded: whether a pool is over what lies in the padding, too.

    Raises:
        SpecError: the window is that of no such convolution, or lies in the padding as a whole; or
            the largest of quantized images is to be over padding, which has no number.
    """

    kind: PoolKind
    window: ConvSpec
    padded: bool = False

    def __post_init__(self) -> None:
        word("kind", self.kind, get_args(PoolKind))
        flag("padded", self.padded)
        window = self.window
        if not isinstance(window, ConvSpec):
            raise SpecError(f"a pool has the windows of a convolution; got {shown(window)}")
        plain = ConvSpec.depthwise(
            window.channels, (window.height, window.width), window.kernel, stride=window.stride,
            padding=window.padding, dilation=window.dilation, batch=window.batch, layout="NHWC",
            dtype=window.dtype,
        )  # fmt: skip
        if window != plain:
            raise SpecError(
                f"a pool has the windows of a depthwise convolution of nhwc images alone; "
                f"got {window}"
            )
        if any(_is_empty(self.window, axis) for axis in (0, 1)):
            raise SpecError(f"every window holds a pixel of the image; got {self}")
        if self.padded and self.kind == "maxpool" and window.quantized:
            raise SpecError(f"the largest of quantized images is over what exists; got {self}")

    @property
    def batch(self) -> int:
        """Images at once."""
        return self.window.batch

    @property
    def layout(self) -> Layout:
        """NHWC."""
        return self.window.layout

    @property
    def dtype(self) -> str:
        """The name of the element type of both images."""
        return self.window.dtype

    def dtype_of(self, name: str) -> str:
        """Return the name of the element type of an array; see `Problem.dtype_of`."""
        return quantized.dtype_of(name, self.dtype)

    @cached_property
    def input_shape(self) -> tuple[int, ...]:
        """(N, H, W, C)."""
        return self.window.input_shape

    @cached_property
    def output_shape(self) -> tuple[int, ...]:
        """(N, OH, OW, C)."""
        return self.window.output_shape

    @property
    def operands(self) -> dict[str, tuple[int, ...]]:
        """Those of a quantized mean: scale (1,), zeros (2,), bounds (2,)."""
        means = self.kind == "avgpool" and self.window.quantized
        return {"scale": (1,), "zeros": (2,), "bounds": (2,)} if means else {}

    def sides(self, height: Any, width: Any) -> tuple[Any, Any]:
        """Return the height and the width of the result; see `Layer.sides`."""
        return self.window.sides(height, width)

    def resized(self, batch: int, height: int, width: int) -> PoolSpec:
        """Return the same for so many images of this size; see `Layer.resized`."""
        return replace(self, window=self.window.resized(batch, height, width))

    def __str__(self) -> str:
        return pool_text(self)


def _is_empty(window: ConvSpec, axis: int) -> bool:
    """Whether a window has no tap on the image along an axis."""
    size, count = window.input_shape[1 + axis], window.output_shape[1 + axis]
    step, dilation = window.stride[axis], window.dilation[axis]
    starts = np.arange(count) * step - window.padding[axis][0]
    first = -(-np.maximum(-starts, 0) // dilation)
    missed = (first >= window.kernel[axis]) | (starts + first * dilation >= size)
    return bool(missed.any())
