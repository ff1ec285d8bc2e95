"""Our own kernels, hosted like every other engine."""

from __future__ import annotations

import os
from functools import partial

import depthwise as dw
from depthwise import schedule
from depthwise.bench.peers import parts
from depthwise.bench.peers.base import TARGET_VARIABLE, Array, Clock, Prepared
from depthwise.bench.peers.parts import Limits, Order
from depthwise.block import BlockSpec, Spec
from depthwise.spec import ConvSpec
from depthwise.target import named
from depthwise.vocabulary import PADDING_MODES

_ORDERS: dict[str, Order] = {"nchw": "NCHW", "nhwc": "NHWC", "packed": "NCHW"}
_LIMITS = Limits(dtypes=("float32", "float64"), padding_modes=PADDING_MODES)


class Engine:
    """The default schedule of each layout, and the documents' cached block over NCHW[x]c."""

    name = "depthwise"
    variants = tuple(_ORDERS)

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._target = named(os.environ.get(TARGET_VARIABLE))

    def version(self) -> str:
        """Return this package's version."""
        return dw.__version__

    def threads(self) -> int:
        """Return what every call is given."""
        return self._threads

    def rejects(self, spec: Spec, variant: str, clock: Clock) -> str | None:
        """Refuse another layout than the arrays', and packing what does not stay in its block."""
        order = _ORDERS[variant]
        if clock == "call" and order != parts.order(spec):
            return f"the arrays are {spec.layout}"
        problem = parts.in_order(spec, order)
        if variant != "packed":
            return _LIMITS.reason(problem)
        if isinstance(problem, BlockSpec):
            return "the cached block is a schedule of one convolution"
        return schedule.packed.rejects(problem, self._target)

    def prepare(
        self, spec: Spec, variant: str, clock: Clock, arrays: tuple[Array, ...]
    ) -> Prepared:
        """Compile the problem and pack its weights.

        The call clock calls the bound kernel, its result into an array given; the kernel clock runs
        the same code without the checks of the arguments.
        """
        order = _ORDERS[variant]
        problem = parts.in_order(spec, order)
        plan = None
        if variant == "packed" and isinstance(problem, ConvSpec):
            plan = schedule.packed.default_plan(problem, self._target)
        x, *operands, y = parts.arrays_in_order(spec, arrays, order)
        bound = dw.compile(problem, plan, self._target.cpu).bind(*operands)
        if clock == "call":
            run = partial(bound, x, out=y, threads=self._threads)
        else:
            run = partial(bound.run, x, y, self._threads)
        excluded = "compiling, weight packing, allocation"
        if clock == "kernel":
            excluded += ", checks of the arguments"
        layout = f"NCHW{plan.tc}c" if plan else order
        four = parts.four_axes(y, problem.layout)
        return Prepared(run, lambda: parts.result(spec, four, order), layout, excluded)
