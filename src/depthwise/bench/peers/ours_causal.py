"""Our causal convolutions: the kernel in either layout, and the functions that people call."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from depthwise.bench.peers import parts
from depthwise.bench.peers.parts import Order
from depthwise.compiler import compile as compile_kernel
from depthwise.functions.causal import causal_conv1d, causal_conv1d_update
from depthwise.measure import streams
from depthwise.measure.engine import Array, Prepared
from depthwise.problem.causal import CausalSpec

ORDERS: dict[str, Order] = {"ncl": "NCHW", "nlc": "NHWC"}
"""The variants, each with the order of the axes of images that its sequences are."""


def kernel(
    spec: CausalSpec, variant: str, arrays: tuple[Array, ...], cpu: str, threads: int
) -> Prepared:
    """Prepare a kernel without checks of its arguments; its state is one of its arrays."""
    order = ORDERS[variant]
    problem = parts.in_order(spec, order)
    x, *given, y = parts.arrays_in_order(spec, arrays, order)
    operands = [*given[:-1], given[-1].copy()] if spec.state else given
    run = partial(compile_kernel(problem, None, cpu).run, x, operands, y, threads)

    def ordered(array: Array) -> Array:
        axes = parts.four_axes(array, problem.layout)
        return parts.reordered(axes, order, parts.order(spec)).reshape(spec.shape_of(-1))

    excluded = "compiling, allocation, checks of the arguments"
    prepared = Prepared(run, lambda: ordered(y), problem.layout, excluded)
    if not spec.state:
        return prepared
    state = operands[-1]
    return streams.shown(prepared, lambda: np.copyto(state, given[-1]), lambda: ordered(state))


def function(spec: CausalSpec, arrays: tuple[Array, ...], threads: int) -> Prepared:
    """Prepare the function: that of whole sequences, or the one that goes on from a state."""
    x, *operands, _ = arrays
    named = dict(zip(spec.operands, operands, strict=True))
    attributes: dict[str, Any] = {
        "activation": spec.activation, "dilation": spec.dilation, "layout": spec.layout,
        "threads": threads,
    }  # fmt: skip
    weight, bias, given = named["weight"], named.get("bias"), named.get("state")
    if given is None:
        return _called(spec, partial(causal_conv1d, x, weight, bias, **attributes))
    state = given.copy()
    step = x.reshape(spec.batch, spec.channels) if spec.length == 1 else x
    call = partial(causal_conv1d_update, step, state, weight, bias, **attributes)
    return streams.shown(_called(spec, call), lambda: np.copyto(state, given), lambda: state)


def _called(spec: CausalSpec, call: Callable[[], Array]) -> Prepared:
    """Prepare a call whose result is a new array each time."""
    result: Array | None = None

    def run() -> None:
        nonlocal result
        result = call()

    def output() -> Array:
        assert result is not None
        return result.reshape(spec.output_shape)

    return Prepared(run, output, spec.layout, "compiling")
