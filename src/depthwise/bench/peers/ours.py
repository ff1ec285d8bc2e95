"""Our own kernels, hosted like every other engine."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from depthwise.bench.peers import parts
from depthwise.bench.peers.parts import Limits, Order
from depthwise.compiler import compile as compile_kernel
from depthwise.errors import PeerError
from depthwise.functions.blocks import inverted_residual, separable_conv2d
from depthwise.functions.convolutions import depthwise_conv1d, depthwise_conv2d, pointwise_conv2d
from depthwise.machine import team
from depthwise.machine.target import named
from depthwise.measure.engine import TARGET_VARIABLE, Array, Clock, Prepared
from depthwise.problem.arrays import aligned
from depthwise.problem.block import BlockSpec, Forward, forward_only
from depthwise.problem.dtypes import DTYPES
from depthwise.problem.problem import Problem
from depthwise.problem.spec import ConvSpec
from depthwise.problem.training import PassSpec
from depthwise.problem.vocabulary import PADDING_MODES
from depthwise.schedule import packed
from depthwise.store import database
from depthwise.version import __version__

_ORDERS: dict[str, Order] = {"nchw": "NCHW", "nhwc": "NHWC", "packed": "NCHW"}
_LIMITS = Limits(dtypes=DTYPES, padding_modes=PADDING_MODES)


class Engine:
    """The default schedule of each layout, and the documents' cached block over NCHW[x]c.

    The call clock has two ways to call it in the layout of the arrays: the function, which is given
    the weights, and "prepacked", a kernel to which they were bound beforehand.

    Passes of training run the kernels that they consist of; their call clock is that of the module
    of `depthwise.torch` with autograd.

    Plans are the heuristic's, whatever was tuned on this machine, unless DEPTHWISE_TUNED is 1.
    """

    name = "depthwise"
    variants = (*_ORDERS, "prepacked")

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._target = named(os.environ.get(TARGET_VARIABLE))
        os.environ.setdefault(database.VARIABLE, "0")

    def version(self) -> str:
        """Return this package's version."""
        return __version__

    def threads(self) -> int:
        """Return what every call is given."""
        return self._threads

    def rejects(self, spec: Problem, variant: str, clock: Clock) -> str | None:
        """Refuse another layout than the arrays', and packing what does not stay in its block."""
        if variant == "prepacked":
            if clock == "kernel":
                return "weights are packed ahead in the kernel clock of every variant"
            return _reason(spec, variant)
        order = _ORDERS[variant]
        if clock == "call" and order != parts.order(spec):
            return f"the arrays are {spec.layout}"
        problem = parts.in_order(spec, order)
        if variant != "packed":
            return _reason(problem, variant)
        if not isinstance(problem, ConvSpec):
            return "the cached block is a schedule of one convolution"
        return packed.rejects(problem, self._target)

    def network(self, folder: Path, variant: str) -> Prepared:
        """Make a network ready.

        Raises:
            PeerError: OpenMP's threads, which a network takes, are not as many as asked for.
        """
        from depthwise.bench.peers import torch_networks

        if team.size() != self._threads:
            raise PeerError(f"a network takes {self._threads} threads; got {team.size()}")
        return torch_networks.prepare(folder, variant)

    def prepare(
        self, spec: Problem, variant: str, clock: Clock, arrays: tuple[Array, ...]
    ) -> Prepared:
        """Make the problem ready.

        The call clock calls the function, or the bound kernel, that people call: either makes a new
        array.  The kernel clock runs a bound kernel without checks of its arguments.
        """
        if isinstance(spec, PassSpec):
            order = _ORDERS[variant]
            if clock == "kernel":
                return self._kernels(spec, arrays, order)
            return self._module(spec, arrays, order)
        if clock == "call" and variant in ("nchw", "nhwc") and _has_function(spec):
            return self._function(spec, arrays)
        order = _ORDERS.get(variant, parts.order(spec))
        problem = parts.in_order(spec, order)
        plan = None
        if variant == "packed" and isinstance(problem, ConvSpec):
            plan = packed.default_plan(problem, self._target, self._threads)
        x, *operands, y = parts.arrays_in_order(spec, arrays, order)
        kernel = compile_kernel(problem, plan, self._target.cpu)
        layout = f"NCHW{plan.tc}c" if plan else order

        def ordered(array: Array) -> Array:
            return parts.result(spec, parts.four_axes(array, problem.layout), order)

        if clock == "call":
            bound = partial(kernel.bind(*operands), x, threads=self._threads)
            return _returning(bound, ordered, layout, "compiling, weight packing")
        run = partial(kernel.run, x, kernel.pack(operands), y, self._threads)
        excluded = "compiling, weight packing, allocation, checks of the arguments"
        return Prepared(run, lambda: ordered(y), layout, excluded)

    def _kernels(self, spec: PassSpec, arrays: tuple[Array, ...], order: Order) -> Prepared:
        """Run the kernels of a pass one after another, each into an array of its own."""
        problem = parts.in_order(spec, order)
        assert isinstance(problem, PassSpec)
        *given, _ = parts.arrays_in_order(spec, arrays, order)
        named = dict(zip(problem.array_names, given, strict=True))
        results: dict[str, Array] = {}
        runs = []
        for part in problem.kernels:
            first, *operands = (named[name] for name in part.array_names)
            result = aligned(part.output_shape, part.element.numpy)
            kernel = compile_kernel(part, None, self._target.cpu)
            runs.append(partial(kernel.run, first, kernel.pack(operands), result, self._threads))
            if part.kind == "weight_gradient":
                results["weight"] = result
            else:
                name = "x" if part.kind == "input_gradient" else "y"
                results[name] = parts.four_axes(result, part.layout)

        def run() -> None:
            for each in runs:
                each()

        excluded = "compiling, weight packing, allocation, checks of the arguments"
        return Prepared(run, lambda: parts.pass_result(spec, results, order), order, excluded)

    def _module(self, spec: PassSpec, arrays: tuple[Array, ...], order: Order) -> Prepared:
        from depthwise.bench.peers import torch_training
        from depthwise.torch import DepthwiseConv2d

        return torch_training.modules(spec, arrays, order, DepthwiseConv2d)

    def _function(self, spec: Problem, arrays: tuple[Array, ...]) -> Prepared:
        x, *operands, _ = arrays
        arguments = _arguments(forward_only(spec, "a function"), operands)
        call = partial(_FUNCTIONS[spec.kind], x, **arguments, threads=self._threads)
        return _returning(call, lambda result: result, spec.layout, "compiling")


def _reason(spec: Problem, variant: str) -> str | None:
    if not isinstance(spec, PassSpec):
        return _LIMITS.reason(spec)
    if variant == "prepacked":
        return "weights that change are not packed ahead"
    return _LIMITS.reason(spec.conv)


def _returning(
    call: Callable[[], Array], ordered: Callable[[Array], Array], layout: str, excluded: str
) -> Prepared:
    """Prepare a call that makes its result anew."""
    result: Array | None = None

    def run() -> None:
        nonlocal result
        result = call()

    def output() -> Array:
        assert result is not None
        return ordered(result)

    return Prepared(run, output, layout, excluded)


_FUNCTIONS: dict[str, Callable[..., Array]] = {
    "depthwise": depthwise_conv2d,
    "depthwise1d": depthwise_conv1d,
    "pointwise": pointwise_conv2d,
    "separable": separable_conv2d,
    "inverted": inverted_residual,
}


def _has_function(spec: Problem) -> bool:
    """Whether one of the functions says it all: that of inverted residuals pads with zeros."""
    if isinstance(spec, BlockSpec) and spec.kind == "inverted":
        return spec.depthwise.padding_mode == "zeros"
    return spec.kind in _FUNCTIONS


def _arguments(spec: Forward, operands: list[Array]) -> dict[str, Any]:
    """Return the function's arguments beside the input."""
    arguments: dict[str, Any] = dict(zip(spec.operands, operands, strict=True))
    arguments["layout"] = spec.layout
    if isinstance(spec, ConvSpec):
        arguments["activation"] = spec.activation
        return arguments if spec.kind == "pointwise" else arguments | _window(spec)
    arguments |= _window(spec.depthwise)
    if spec.kind == "separable":
        arguments["depthwise_activation"] = spec.depthwise.activation
        arguments["activation"] = spec.project.activation
        return arguments
    del arguments["padding_mode"]
    return {"expand_weight": None, **arguments, "activation": spec.depthwise.activation}


def _window(spec: ConvSpec) -> dict[str, Any]:
    window = {name: getattr(spec, name) for name in ("stride", "padding", "dilation")}
    if spec.kind == "depthwise1d":
        window = {name: both[1] for name, both in window.items()}
    return {**window, "padding_mode": spec.padding_mode}
