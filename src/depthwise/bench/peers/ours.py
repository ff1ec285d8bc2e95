"""Our own kernels, hosted like every other engine."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from depthwise.bench.peers import ours_causal, parts
from depthwise.bench.peers.parts import Limits, Order
from depthwise.bench.peers.posing import CHAINS
from depthwise.compiler import compile as compile_kernel
from depthwise.errors import PeerError, installs
from depthwise.functions.blocks import inverted_residual, separable_conv2d
from depthwise.functions.convolutions import depthwise_conv1d, depthwise_conv2d, pointwise_conv2d
from depthwise.machine import team
from depthwise.machine.target import named
from depthwise.measure import network_files
from depthwise.measure.catalogue import LOADED
from depthwise.measure.engine import TARGET_VARIABLE, Array, Clock, Prepared
from depthwise.problem.arrays import aligned
from depthwise.problem.block import BlockSpec
from depthwise.problem.causal import CausalSpec
from depthwise.problem.dtypes import DTYPES, QUANTIZED
from depthwise.problem.problem import Problem
from depthwise.problem.spec import ConvSpec
from depthwise.problem.training import PassSpec
from depthwise.problem.vocabulary import PADDING_MODES
from depthwise.schedule import packed
from depthwise.store import database
from depthwise.version import __version__

_ORDERS: dict[str, Order] = {"nchw": "NCHW", "nhwc": "NHWC", "packed": "NCHW"}
_KNOWN = {**_ORDERS, **ours_causal.ORDERS}
_LIMITS = Limits((*CHAINS, PassSpec, CausalSpec), (*DTYPES, *QUANTIZED), PADDING_MODES)
_FEWER: dict[str, tuple[tuple[type[Any], ...], str]] = {
    "packed": ((ConvSpec,), "the cached block is a schedule of one convolution"),
    "prepacked": (CHAINS, "weights that change are not packed ahead"),
}
"""The variants that take some types of specification alone, and why no other."""


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
    special: ClassVar = {CausalSpec.kind: tuple(ours_causal.ORDERS)}

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._target = named(os.environ.get(TARGET_VARIABLE))
        self._ways: dict[type[Any], Callable[..., Prepared]] = {
            ConvSpec: self._forward,
            BlockSpec: self._forward,
            PassSpec: self._training,
            CausalSpec: self._causal,
        }
        os.environ.setdefault(database.VARIABLE, "0")

    def version(self) -> str:
        """Return this package's version."""
        return __version__

    def threads(self) -> int:
        """Return what every call is given."""
        return self._threads

    def rejects(self, spec: Problem, variant: str, clock: Clock) -> str | None:
        """Refuse another layout than the arrays', and packing what does not stay in its block."""
        if variant == "prepacked" and clock == "kernel":
            return "weights are packed ahead in the kernel clock of every variant"
        order = _KNOWN.get(variant, parts.order(spec))
        if clock == "call" and order != parts.order(spec):
            return f"the arrays are {spec.layout}"
        if reason := _LIMITS.reason(spec):
            return reason
        if spec.dtype in QUANTIZED and order != "NHWC":
            return "whole numbers are computed channels-last"
        if spec.dtype in QUANTIZED and (clock, variant) == ("call", "nhwc"):
            return "no function takes whole numbers; bound kernels do"
        if clock == "call" and isinstance(spec, PassSpec) and find_spec("torch") is None:
            return (
                f"training is called as a module of PyTorch, which is missing: {installs('torch')}"
            )
        types, reason = _FEWER.get(variant, (_LIMITS.types, ""))
        if type(spec) not in types:
            return reason
        problem: Any = parts.in_order(spec, order)
        return packed.rejects(problem, self._target) if variant == "packed" else None

    def network(self, folder: Path, variant: str) -> Prepared:
        """Make a network ready.

        Raises:
            PeerError: OpenMP's threads, which a network takes, are not as many as asked for.
        """
        if team.size() != self._threads:
            raise PeerError(f"a network takes {self._threads} threads; got {team.size()}")
        if variant == LOADED:
            return self._loaded(folder)
        from depthwise.bench.peers import torch_networks

        return torch_networks.prepare(folder, variant)

    def _loaded(self, folder: Path) -> Prepared:
        """Load the file of a network, without PyTorch."""
        from depthwise.loading import load

        images, file = network_files.inputs(folder), network_files.file(folder)
        shapes = {name: array.shape for name, array in images.items()}
        saved = (folder / network_files.SAVED).exists()
        network = load(file, inputs=None if saved else shapes, threads=self._threads)
        given, results = [images[port.name] for port in network.inputs], None

        def run() -> None:
            nonlocal results
            results = network(*given)

        def output() -> Sequence[Array]:
            return results if isinstance(results, tuple) else (results,)

        return Prepared(run, output, "NHWC", "nothing")

    def prepare(
        self, spec: Problem, variant: str, clock: Clock, arrays: tuple[Array, ...]
    ) -> Prepared:
        """Make the problem ready.

        The call clock calls the function, or the bound kernel, that people call: either makes a new
        array.  The kernel clock runs a bound kernel without checks of its arguments.
        """
        return self._ways[type(spec)](spec, variant, clock, arrays)

    def _forward(
        self, spec: Any, variant: str, clock: Clock, arrays: tuple[Array, ...]
    ) -> Prepared:
        """Make a convolution or block ready: its kernel, or the function that people call."""
        if clock == "call" and variant in ("nchw", "nhwc") and _has_function(spec):
            return self._function(spec, arrays)
        order = _ORDERS.get(variant, parts.order(spec))
        problem = parts.in_order(spec, order)
        plan = None
        if variant == "packed":
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

    def _causal(
        self, spec: CausalSpec, variant: str, clock: Clock, arrays: tuple[Array, ...]
    ) -> Prepared:
        """Make a causal convolution ready: its kernel, or the function that people call."""
        if clock == "call":
            return ours_causal.function(spec, arrays, self._threads)
        return ours_causal.kernel(spec, variant, arrays, self._target.cpu, self._threads)

    def _training(
        self, spec: PassSpec, variant: str, clock: Clock, arrays: tuple[Array, ...]
    ) -> Prepared:
        """Make a pass of training ready: its kernels, or the module with autograd."""
        order = _ORDERS[variant]
        if clock == "kernel":
            return self._kernels(spec, arrays, order)
        from depthwise.bench.peers import torch_training
        from depthwise.torch import DepthwiseConv2d

        return torch_training.modules(spec, arrays, order, DepthwiseConv2d)

    def _kernels(self, spec: PassSpec, arrays: tuple[Array, ...], order: Order) -> Prepared:
        """Run the kernels of a pass one after another, each into an array of its own."""
        problem = parts.in_order(spec, order)
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

    def _function(self, spec: Any, arrays: tuple[Array, ...]) -> Prepared:
        x, *operands, _ = arrays
        function, further = _FUNCTIONS[spec.kind]
        arguments = dict(zip(spec.operands, operands, strict=True)) | further(spec)
        call = partial(function, x, **arguments, layout=spec.layout, threads=self._threads)
        return _returning(call, lambda result: result, spec.layout, "compiling")


def _returning(
    call: Callable[[], Array], ordered: Callable[[Array], Array], layout: str, excluded: str
) -> Prepared:
    """Prepare a call whose result is a new array each time."""
    result: Array | None = None

    def run() -> None:
        nonlocal result
        result = call()

    def output() -> Array:
        assert result is not None
        return ordered(result)

    return Prepared(run, output, layout, excluded)


def _has_function(spec: Problem) -> bool:
    """Whether a function computes it in one call; that of inverted residuals pads with zeros."""
    if spec.kind == "inverted":
        return all(part.padding_mode == "zeros" for part in spec.parts)
    return spec.kind in _FUNCTIONS


def _of_depthwise(spec: ConvSpec) -> dict[str, Any]:
    return {**_window(spec), "padding_mode": spec.padding_mode, "activation": spec.activation}


def _of_depthwise1d(spec: ConvSpec) -> dict[str, Any]:
    along = {name: both[1] for name, both in _window(spec).items()}
    return {**along, "padding_mode": spec.padding_mode, "activation": spec.activation}


def _of_pointwise(spec: ConvSpec) -> dict[str, Any]:
    return {"activation": spec.activation}


def _of_separable(spec: BlockSpec) -> dict[str, Any]:
    return {
        **_window(spec.depthwise),
        "padding_mode": spec.depthwise.padding_mode,
        "depthwise_activation": spec.depthwise.activation,
        "activation": spec.project.activation,
    }


def _of_inverted(spec: BlockSpec) -> dict[str, Any]:
    without = {} if spec.expand else {"expand_weight": None}
    return {**without, **_window(spec.depthwise), "activation": spec.depthwise.activation}


def _window(spec: ConvSpec) -> dict[str, Any]:
    return {"stride": spec.stride, "padding": spec.padding, "dilation": spec.dilation}


_FUNCTIONS: dict[str, tuple[Callable[..., Array], Callable[[Any], dict[str, Any]]]] = {
    "depthwise": (depthwise_conv2d, _of_depthwise),
    "depthwise1d": (depthwise_conv1d, _of_depthwise1d),
    "pointwise": (pointwise_conv2d, _of_pointwise),
    "separable": (separable_conv2d, _of_separable),
    "inverted": (inverted_residual, _of_inverted),
}
"""By kind, the function that people call, and its arguments beside arrays and layout."""
