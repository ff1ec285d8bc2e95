"""Causal convolutions in PyTorch: behind their state, and as transformers computes them on CPUs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

from depthwise.bench.peers import parts
from depthwise.bench.peers.parts import Order
from depthwise.bench.peers.torch_tensors import converted, tensor
from depthwise.measure import streams
from depthwise.measure.engine import Array, Clock, Prepared
from depthwise.problem.arrays import as_tensor, of_tensor
from depthwise.problem.causal import CausalSpec

Step: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Stream:
    """The state of a problem as a tensor (N, C, 1, S) that calls update."""

    spec: CausalSpec
    given: Tensor
    state: Tensor

    @classmethod
    def of(cls, spec: CausalSpec, arrays: tuple[Array, ...], order: Order) -> Stream:
        """Return that of a problem, in memory in this order."""
        given = tensor(parts.data(spec, arrays[-2], order), order)
        return cls(spec, given, converted(given, order).clone())

    def continued(self, x: Tensor) -> Tensor:
        """Return x (N, C, 1, L) with what its taps reach of the state before it."""
        together = torch.cat([self.state, x], 3)
        self.state.copy_(together[..., -self.spec.state :])
        return together[..., -(self.spec.before + self.spec.length) :]

    def shown(self, prepared: Prepared) -> Prepared:
        """Return what was prepared with the output that is verified."""
        return streams.shown(
            prepared,
            lambda: self.state.copy_(self.given),
            lambda: parts.reordered(
                of_tensor(self.state.contiguous()), "NCHW", parts.order(self.spec)
            ),
        )


def transformers(
    spec: CausalSpec, clock: Clock, arrays: tuple[Array, ...], activate: Step
) -> Prepared:
    """Prepare what the models of transformers compute where no kernels are installed.

    Whole sequences are padded on both sides, convolved and cut; chunks stand behind their state.
    One step of a sequence is a sum of products, as it was until version 5.

    Args:
        spec: the problem.
        clock: the call clock has the arrays as they are given, seen as (N, C, L).
        arrays: the problem's.
        activate: the activation, into a new tensor.
    """
    outside = parts.outside(spec, clock, "NCHW")
    x = tensor(parts.data(spec, arrays[0], outside), outside)[:, :, 0]
    weight = as_tensor(arrays[1])
    bias = as_tensor(arrays[2]) if spec.bias else None
    stream = Stream.of(spec, arrays, outside) if spec.state else None
    state = None if stream is None else stream.state[:, :, 0]
    y = x

    def run() -> None:
        nonlocal y
        if state is None:
            y = _whole(spec, x, weight, bias)
        elif spec.length == 1:
            y = _step(spec, x, state, weight, bias)
        else:
            y = _chunk(spec, x, state, weight, bias)
        y = activate(y)

    def output() -> Array:
        return parts.result(spec, of_tensor(y[:, :, None].contiguous()), "NCHW")

    alike = spec.element.computed is spec.element
    prepared = Prepared(run, output, "NCL", "nothing", rounds_alike=alike)
    return prepared if stream is None else stream.shown(prepared)


def _whole(spec: CausalSpec, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    y = functional.conv1d(
        x, weight, bias, padding=spec.before, dilation=spec.dilation, groups=spec.channels
    )
    return y[:, :, : spec.length]


def _chunk(
    spec: CausalSpec, x: Tensor, state: Tensor, weight: Tensor, bias: Tensor | None
) -> Tensor:
    together = torch.cat([state, x], -1)
    state.copy_(together[:, :, -spec.state :])
    y = functional.conv1d(together, weight, bias, dilation=spec.dilation, groups=spec.channels)
    return y[:, :, -spec.length :]


def _step(
    spec: CausalSpec, x: Tensor, state: Tensor, weight: Tensor, bias: Tensor | None
) -> Tensor:
    together = torch.cat([state, x], -1)
    state.copy_(together[:, :, 1:])
    reached = together[:, :, -(spec.before + 1) :: spec.dilation]
    y = torch.sum(reached * weight[:, 0], -1, keepdim=True)
    return y if bias is None else y + bias[:, None]
