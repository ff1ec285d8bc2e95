"""JAX: XLA's convolution, and taps as shifted multiply-adds, which XLA fuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from depthwise.bench.peers import parts
from depthwise.bench.peers.parts import Layer, Limits, Order
from depthwise.measure.engine import Array, Clock, Prepared
from depthwise.problem.problem import Problem

_PADDING_MODES = {
    "zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap",
}  # fmt: skip
_LIMITS = Limits(dtypes=("float32", "float64"), padding_modes=tuple(_PADDING_MODES))

Tensor = Any


class Engine:
    """JAX on the CPU, jit, channels last.

    Variant "conv" is `lax.conv_general_dilated(feature_group_count=C)`; "shifts" adds up the
    shifted inputs times their weights, tap by tap.
    """

    name = "jax"
    variants = ("conv", "shifts")

    def __init__(self, threads: int) -> None:
        self._threads = threads  # XLA takes it from NPROC and does not tell
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_enable_x64", True)

    def version(self) -> str:
        """Return JAX's version."""
        return str(jax.__version__)

    def threads(self) -> int:
        """Return the count asked for."""
        return self._threads

    def rejects(self, spec: Problem, variant: str, clock: Clock) -> str | None:  # noqa: ARG002
        """Refuse shifts for what is not depthwise or pointwise."""
        if variant == "shifts" and any(part.kind == "conv" for part in parts.convolutions(spec)):
            return "shifts are for depthwise and pointwise convolutions"
        return _LIMITS.reason(spec)

    def prepare(
        self, spec: Problem, variant: str, clock: Clock, arrays: tuple[Array, ...]
    ) -> Prepared:
        """Compile the problem; NCHW arrays are transposed inside the call clock."""
        outside = parts.outside(spec, clock, "NHWC")
        x = jnp.asarray(parts.data(spec, arrays[0], outside))
        layers = parts.layers(spec, arrays)
        steps = [_step(layer, variant, parts.order(spec)) for layer in layers]

        def forward(x: Tensor) -> Tensor:
            y = first = x.transpose(0, 2, 3, 1) if outside == "NCHW" else x
            for step in steps:
                y = step(y)
            y = y + first if layers[-1].adds_input else y
            return y.transpose(0, 3, 1, 2) if outside == "NCHW" else y

        compiled = jax.jit(forward).lower(x).compile()
        y = x

        def run() -> None:
            nonlocal y
            y = compiled(x)
            y.block_until_ready()

        return Prepared(
            run, lambda: parts.result(spec, np.asarray(y), outside), "NHWC", "compiling"
        )


def _step(layer: Layer, variant: str, order: Order) -> Callable[[Tensor], Tensor]:
    convolve = _shifts if variant == "shifts" and layer.spec.kind != "pointwise" else _conv
    residual = None
    if layer.residual is not None and not layer.adds_input:
        residual = parts.reordered(layer.residual, order, "NHWC")

    def step(x: Tensor) -> Tensor:
        y = convolve(layer, _padded(layer, x))
        if layer.bias is not None:
            y += layer.bias
        if layer.spec.activation:
            y = _ACTIVATIONS[layer.spec.activation](y)
        return y if residual is None else y + residual

    return step


def _padded(layer: Layer, x: Tensor) -> Tensor:
    sides = ((0, 0), *layer.spec.padding, (0, 0))
    return jnp.pad(x, sides, mode=_PADDING_MODES[layer.spec.padding_mode])


def _conv(layer: Layer, x: Tensor) -> Tensor:
    spec = layer.spec
    return jax.lax.conv_general_dilated(
        x, layer.weight.transpose(2, 3, 1, 0), spec.stride, "VALID",
        rhs_dilation=spec.dilation, feature_group_count=spec.groups,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )  # fmt: skip


def _shifts(layer: Layer, x: Tensor) -> Tensor:
    spec = layer.spec
    (sh, sw), (dh, dw) = spec.stride, spec.dilation
    if spec.multiplier > 1:
        x = jnp.repeat(x, spec.multiplier, axis=3)
    rows, columns = (spec.out_height - 1) * sh + 1, (spec.out_width - 1) * sw + 1
    return sum(
        x[:, r * dh : r * dh + rows : sh, s * dw : s * dw + columns : sw] * layer.weight[:, 0, r, s]
        for r in range(spec.kernel[0])
        for s in range(spec.kernel[1])
    )


_ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": jax.nn.relu,
    "relu6": jax.nn.relu6,
    "hardswish": jax.nn.hard_swish,
    "silu": jax.nn.silu,
    "gelu": lambda y: jax.nn.gelu(y, approximate=False),
    "leaky_relu": lambda y: jax.nn.leaky_relu(y, 0.01),
    "sigmoid": jax.nn.sigmoid,
    "hardsigmoid": jax.nn.hard_sigmoid,
}
