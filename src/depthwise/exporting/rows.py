"""Which operations can be computed row by row, and the problem that a few rows are.

An image is read in windows of rows: those of a convolution's taps.  The rows of padding lie above
and below the image itself, so that the problem of a window has none, and is the same everywhere.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from depthwise.exporting.model import Operation
from depthwise.problem.elementwise import ElementwiseSpec
from depthwise.problem.pixels import PixelSpec
from depthwise.problem.pools import PoolSpec
from depthwise.problem.problem import Layer
from depthwise.problem.quantized_images import QuantizedSpec
from depthwise.problem.spec import ConvSpec
from depthwise.schedule.steps import INPUT

_BY_PIXEL = ("quantize", "dequantize", "lookup", "qadd", "qmul")
_NORM_OF_PIXELS = "norm"
_MEANS = ("mean", "qmean")


@dataclass(frozen=True)
class Window:
    """The rows that an operation reads for each row of its result.

    Attributes:
        rows: how many, from the first to the last.
        stride: from one row of the result to the next.
        above: the rows of padding before the first.
        below: those behind the last that are read.
        pad: the number that padding holds; None where there is none.
    """

    rows: int = 1
    stride: int = 1
    above: int = 0
    below: int = 0
    pad: Hashable = None


def window(operation: Operation) -> Window | None:
    """Return the window of an operation that can be computed row by row, None of any other."""
    found = _window(operation)
    if found is None or not _are_rows(operation):
        return None
    few, whole = of_rows(operation.problem, 1).operands, operation.problem.operands
    return found if all(few[name] == whole[name] for name in operation.weights) else None


def _window(operation: Operation) -> Window | None:
    problem = operation.problem
    if problem.batch != 1 or problem.pitches:
        return None
    if isinstance(problem, ConvSpec):
        return _of_convolution(problem, operation)
    if isinstance(problem, PoolSpec):
        return (
            None if any(problem.window.padding[0]) else _of_convolution(problem.window, operation)
        )
    if isinstance(problem, QuantizedSpec) and problem.kind in _BY_PIXEL:
        return Window()
    if isinstance(problem, ElementwiseSpec):
        return Window()
    if isinstance(problem, PixelSpec) and problem.kind == _NORM_OF_PIXELS:
        return Window()
    return None


def is_mean(problem: Layer) -> bool:
    """Whether a problem is the mean of the pixels of each channel of one image."""
    mean = isinstance(problem, (PixelSpec, QuantizedSpec)) and problem.kind in _MEANS
    over = getattr(problem, "over", "pixels")
    summed = over == "pixels" and problem.dtype != "float64"
    return mean and summed and problem.batch == 1 and not problem.pitches


def of_rows(problem: Layer, rows: int) -> Layer:
    """Return the problem of so many rows of the result, whose input has no padding above or below.

    Args:
        problem: one that has a `window`.
        rows: of the result.
    """
    spec: Any = problem
    if isinstance(spec, ConvSpec):
        return _convolution_of_rows(spec, rows)
    if isinstance(spec, PoolSpec):
        return replace(spec, window=_convolution_of_rows(spec.window, rows))
    resized: Layer = spec.resized(1, rows, spec.width)
    return resized


def _convolution_of_rows(spec: ConvSpec, rows: int) -> ConvSpec:
    reach = (spec.kernel[0] - 1) * spec.dilation[0] + 1
    height = (rows - 1) * spec.stride[0] + reach
    return replace(spec, height=height, padding=((0, 0), spec.padding[1]))


def _of_convolution(spec: ConvSpec, operation: Operation) -> Window | None:
    """Return the window of a convolution over channels-last images."""
    if spec.layout != "NHWC" or spec.padding_mode != "zeros":
        return None
    reach = (spec.kernel[0] - 1) * spec.dilation[0] + 1
    above = spec.padding[0][0]
    last = (spec.out_height - 1) * spec.stride[0] - above + reach
    below = max(last - spec.height, 0)
    pad = None
    if above or below:
        pad = int(np.ravel(operation.weights["zeros"])[0]) if spec.quantized else 0
    return Window(reach, spec.stride[0], above, below, pad)


def _are_rows(operation: Operation) -> bool:
    """Whether what an operation reads beside its input are images of the size of its result."""
    problem = operation.problem
    if len(problem.output_shape) != 4:
        return False
    shapes = problem.operands
    images = [shapes[name] for name in operation.reads if name != INPUT]
    height = problem.output_shape[1]
    return height > 1 and all(len(shape) == 4 and shape[1] == height for shape in images)
