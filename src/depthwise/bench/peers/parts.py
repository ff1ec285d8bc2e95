"""What the adapters share: a problem as a chain of 2-D convolutions with their arrays.

A 1-D problem is one of height 1, so every engine sees four axes.  The oracle reads none of this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from depthwise.bench.peers.posing import CHAINS, POSINGS, Posing, S
from depthwise.measure.engine import Array, Clock
from depthwise.problem.arrays import aligned
from depthwise.problem.problem import Problem
from depthwise.problem.spec import ConvSpec
from depthwise.problem.training import PassSpec
from depthwise.problem.vocabulary import ACTIVATIONS, Layout

Order = Literal["NCHW", "NHWC"]
"""The order of the four axes in memory."""

_AXES = {("NCHW", "NHWC"): (0, 2, 3, 1), ("NHWC", "NCHW"): (0, 3, 1, 2)}

_SWAPPED: dict[Layout, Layout] = {"NCHW": "NHWC", "NHWC": "NCHW", "NCL": "NLC", "NLC": "NCL"}
_WITH_PIXELS = ("x", "grad", "residual", "state", "output")


@dataclass(frozen=True)
class Layer:
    """One convolution of a problem with its arrays."""

    spec: ConvSpec
    weight: Array
    """(O, C / groups, KH, KW)"""
    bias: Array | None
    """(O,)"""
    residual: Array | None
    """Four axes in the problem's own order; added after the activation."""
    adds_input: bool = False
    """Whether the residual is the input of the whole problem."""
    scale: Array | None = None
    """(O,) of a quantized convolution; see `depthwise.problem.quantized`."""
    zeros: Array | None = None
    """(2,) of its input and its result."""


def convolutions(spec: Problem) -> tuple[ConvSpec, ...]:
    """Return the convolutions that a problem is posed as; () where it is posed as none."""
    posing = POSINGS.get(type(spec))
    return tuple(posing.convolutions(spec).values()) if posing else ()


def layers(spec: Problem, arrays: tuple[Array, ...]) -> list[Layer]:
    """Return the convolutions of a problem with their arrays, as they run.

    That is one of `CHAINS`, or causal, whose convolution is behind its state.
    """
    named = dict(zip(spec.operands, arrays[1:-1], strict=True))
    parts = POSINGS[type(spec)].convolutions(spec)
    *firsts, last = [_layer(part, prefix, named) for prefix, part in parts.items()]
    return [*firsts, replace(last, adds_input=named.get("residual") is arrays[0])]


def _layer(spec: ConvSpec, prefix: str, named: dict[str, Array]) -> Layer:
    shape = (spec.out_channels, spec.channels // spec.groups, *spec.kernel)
    weight = np.ascontiguousarray(named[f"{prefix}weight"].reshape(shape))
    residual = four_axes(named["residual"], spec.layout) if spec.residual else None
    bias = named.get(f"{prefix}bias")
    return Layer(spec, weight, bias, residual, scale=named.get("scale"), zeros=named.get("zeros"))


def order(spec: Problem) -> Order:
    """Return the order of the axes of the arrays that the problem comes with."""
    return "NHWC" if spec.layout in ("NHWC", "NLC") else "NCHW"


def outside(spec: Problem, clock: Clock, favourite: Order) -> Order:
    """Return the order in which the arrays stand before the clock starts.

    Where it is not the engine's favourite one, the conversions are part of what is timed.
    """
    return favourite if clock == "kernel" else order(spec)


def four_axes(array: Array, layout: str) -> Array:
    """View a 1-D array as 2-D of height 1; a 2-D one stays as it is."""
    if layout in ("NCL", "NLC"):
        return np.expand_dims(array, 2 if layout == "NCL" else 1)
    return array


def reordered(array: Array, given: Order, wanted: Order) -> Array:
    """Return the four axes in another order, contiguous in memory, aligned where copied."""
    axes = array if given == wanted else array.transpose(_AXES[given, wanted])
    if axes.flags.c_contiguous:
        return axes
    copy = aligned(axes.shape, axes.dtype)
    copy[...] = axes
    return copy


def data(spec: Problem, array: Array, wanted: Order) -> Array:
    """Return an array of the problem as four axes in this order."""
    return reordered(four_axes(array, spec.layout), order(spec), wanted)


def result(spec: Problem, array: Array, given: Order) -> Array:
    """Return four axes in this order as the problem's output."""
    return reordered(np.asarray(array), given, order(spec)).reshape(spec.output_shape)


def pass_result(spec: PassSpec, results: Mapping[str, Array], given: Order) -> Array:
    """Return the results of a pass of training as the problem's output.

    Args:
        spec: the pass.
        results: as far as it has them, in the order of `PassSpec`: "y", and the gradients of "x",
            "weight" and "bias"; the first two with four axes.
        given: the order of these axes.
    """
    wanted = order(spec)
    flat = [
        (reordered(array, given, wanted) if name in ("y", "x") else array).ravel()
        for name, array in results.items()
    ]
    return np.concatenate(flat).reshape(spec.output_shape)


def in_order(spec: S, wanted: Order) -> S:
    """Return the same problem on arrays whose axes are in this order."""
    if order(spec) == wanted:
        return spec
    posing: Posing[S] = POSINGS[type(spec)]
    return posing.laid_out(spec, _SWAPPED[spec.layout])


def arrays_in_order(spec: Problem, arrays: tuple[Array, ...], wanted: Order) -> list[Array]:
    """Return the arrays of `in_order(spec, wanted)`, laid out anew where they differ.

    What is one array stays one.
    """
    problem = in_order(spec, wanted)
    has_pixels = len(problem.output_shape) > 1
    names = (*spec.array_names, "output" if has_pixels else "flat output")
    shapes = (problem.input_shape, *problem.operands.values(), problem.output_shape)
    arranged = {
        id(array): data(spec, array, wanted).reshape(shape) if name in _WITH_PIXELS else array
        for name, array, shape in zip(names, arrays, shapes, strict=True)
    }
    return [arranged[id(array)] for array in arrays]


def symmetric(spec: ConvSpec) -> bool:
    """Whether both sides of each axis are padded alike."""
    return all(before == after for before, after in spec.padding)


@dataclass(frozen=True)
class Limits:
    """What an engine computes; the rest is rejected in words."""

    types: tuple[type[Any], ...] = CHAINS
    """The types of specification that it has an adapter for."""
    dtypes: tuple[str, ...] = ("float32",)
    padding_modes: tuple[str, ...] = ("zeros",)
    activations: tuple[str, ...] = ACTIVATIONS
    dense: bool = True
    """Whether it takes a `conv` with fewer groups than channels."""
    equal_strides: bool = False
    stride_or_dilation: bool = False
    """Whether it refuses a stride and a dilation above 1 in one convolution."""

    def reason(self, spec: Problem) -> str | None:
        """Return the first thing in the problem that the engine does not do."""
        if type(spec) not in self.types:
            return f"no adapter for {spec.kind}"
        obstacle = POSINGS[type(spec)].obstacle(spec)
        return next(filter(None, (obstacle, *map(self._reason, convolutions(spec)))), None)

    def _reason(self, spec: ConvSpec) -> str | None:
        if spec.dtype not in self.dtypes:
            return f"no {spec.dtype}"
        if spec.padding_mode not in self.padding_modes:
            return f"no padding mode {spec.padding_mode}"
        if spec.activation and spec.activation not in self.activations:
            return f"no activation {spec.activation}"
        if not self.dense and spec.kind == "conv":
            return "no grouped or dense convolution, depthwise and pointwise only"
        if self.equal_strides and spec.stride[0] != spec.stride[1]:
            return f"equal strides only, not {spec.stride[0]}x{spec.stride[1]}"
        if self.stride_or_dilation and max(spec.stride) > 1 and max(spec.dilation) > 1:
            return "no stride together with dilation"
        return None
