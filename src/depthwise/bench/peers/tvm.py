"""TVM as it comes: the definition under the default schedule, through its own pipeline."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import tvm

from depthwise.bench.peers import parts
from depthwise.bench.peers.parts import Layer, Limits, Order
from depthwise.machine.target import named
from depthwise.measure.engine import TARGET_VARIABLE, Array, Clock, Prepared
from depthwise.problem.dtypes import DTYPES
from depthwise.problem.problem import Problem
from depthwise.problem.spec import ConvSpec
from depthwise.problem.vocabulary import PADDING_MODES
from depthwise.programs import define
from depthwise.schedule.form import PlainForm

_LIMITS = Limits(dtypes=DTYPES, padding_modes=PADDING_MODES)


class Engine:
    """TVM's default schedule: the loops as they are written, vectorised by LLVM, on one thread."""

    name = "tvm"
    variants = ("default",)

    def __init__(self, threads: int) -> None:
        del threads  # nothing in the default schedule runs in parallel
        self._target = tvm.target.Target(
            {"kind": "llvm", "mcpu": named(os.environ.get(TARGET_VARIABLE)).cpu}
        )

    def version(self) -> str:
        """Return TVM's version."""
        return str(tvm.__version__)

    def threads(self) -> int:
        """Return 1, whatever was asked for."""
        return 1

    def rejects(self, spec: Problem, variant: str, clock: Clock) -> str | None:  # noqa: ARG002
        """Refuse what has no definition yet."""
        return _LIMITS.reason(spec)

    def prepare(
        self,
        spec: Problem,
        variant: str,  # noqa: ARG002
        clock: Clock,
        arrays: tuple[Array, ...],
    ) -> Prepared:
        """Compile one function a convolution, with NCHW or with the problem's own loops."""
        outside = parts.outside(spec, clock, "NCHW")
        x = tvm.runtime.tensor(parts.data(spec, arrays[0], outside))
        y = x
        calls: list[Callable[[], object]] = []
        for layer in parts.layers(spec, arrays):
            part = _two_dimensional(layer.spec, outside)
            z = tvm.runtime.tensor(np.full(part.output_shape, np.nan, part.element.numpy))
            operands = _operands(layer, spec, outside)
            if layer.adds_input:
                operands[-1] = x
            calls.append(self._compile(part, [y, *operands, z]))
            y = z

        def run() -> None:
            for call in calls:
                call()

        return Prepared(
            run,
            lambda: parts.result(spec, y.numpy(), outside),
            layout=outside,
            excluded="compiling, allocation",
        )

    def _compile(self, spec: ConvSpec, arguments: list[Any]) -> Callable[[], object]:
        function = tvm.compile(define.define(spec, PlainForm()), target=self._target).mod["main"]
        return lambda: function(*arguments)


def _two_dimensional(spec: ConvSpec, order: Order) -> ConvSpec:
    """Return the same convolution with four axes in this order."""
    kind = "conv" if spec.kind == "depthwise1d" else spec.kind
    return replace(spec, kind=kind, layout=order)


def _operands(layer: Layer, spec: Problem, order: Order) -> list[Any]:
    """Return weight, bias and residual as the definition takes them."""
    weight = layer.weight if order == "NCHW" else layer.weight.transpose(2, 3, 1, 0)
    operands = [weight]
    if layer.bias is not None:
        operands.append(layer.bias)
    if layer.residual is not None:
        operands.append(parts.reordered(layer.residual, parts.order(spec), order))
    return [tvm.runtime.tensor(np.ascontiguousarray(operand)) for operand in operands]
