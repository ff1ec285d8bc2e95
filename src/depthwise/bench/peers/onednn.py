"""oneDNN itself: convolution primitives with weights {C, 1, 1, KH, KW} and fused activations."""

from __future__ import annotations

import ctypes
import ctypes.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from depthwise.bench.peers import parts
from depthwise.bench.peers.onednn_api import (
    ANY,
    BIAS,
    DST,
    DST_MD,
    SRC,
    SRC_MD,
    WEIGHTS,
    WEIGHTS_MD,
    Descriptor,
    Library,
    Memory,
    Primitive,
)
from depthwise.bench.peers.parts import Layer, Limits
from depthwise.measure.engine import Array, Clock, Prepared
from depthwise.problem.problem import Problem

Step: TypeAlias = Callable[[], None]

_LIMITS = Limits()
_ACTIVATIONS = {
    "relu": ("eltwise_relu", 0.0, 0.0),
    "relu6": ("eltwise_clip", 0.0, 6.0),
    "hardswish": ("eltwise_hardswish", 1 / 6, 0.5),
    "silu": ("eltwise_swish", 1.0, 0.0),
    "gelu": ("eltwise_gelu_erf", 0.0, 0.0),
    "leaky_relu": ("eltwise_relu", 0.01, 0.0),
    "sigmoid": ("eltwise_logistic", 0.0, 0.0),
    "hardsigmoid": ("eltwise_hardsigmoid", 1 / 6, 0.5),
}


def library_path() -> str:
    """Return Debian's library where it is installed, otherwise the wheel's."""
    return ctypes.util.find_library("dnnl") or str(Path(sys.prefix) / "lib" / "libdnnl.so.3")


class Engine:
    """oneDNN in its OpenMP build.

    Variant "any" lets the primitives choose the layout, "blocked" is nChw16c or nChw8c, by the
    width of a vector.  The kernel clock sees the primitives alone; the call clock begins and ends
    with arrays in the problem's layout.
    """

    name = "onednn"
    variants = ("any", "blocked", "nhwc")

    def __init__(self, threads: int) -> None:
        self._library = Library(library_path())
        self._openmp = ctypes.CDLL("libgomp.so.1")
        self._openmp.omp_set_num_threads(threads)
        self._block = 16 if "avx512" in self._library.instruction_set() else 8

    def version(self) -> str:
        """Return oneDNN's version."""
        return ".".join(map(str, self._library.version))

    def threads(self) -> int:
        """Return what OpenMP says."""
        return int(self._openmp.omp_get_max_threads())

    def rejects(self, spec: Problem, variant: str, clock: Clock) -> str | None:  # noqa: ARG002
        """Refuse what the library or the block does not take."""
        if reason := _LIMITS.reason(spec):
            return reason
        layers = parts.convolutions(spec)
        for name in {layer.activation for layer in layers if layer.activation}:
            if self._library.value_of("alg_kind", _ACTIVATIONS[name][0]) is None:
                return f"oneDNN {self.version()} has no {name}"
        channels = {c for layer in layers for c in (layer.channels, layer.out_channels)}
        if variant == "blocked" and any(c % self._block for c in channels):
            return f"channels in multiples of {self._block} only"
        return None

    def prepare(
        self, spec: Problem, variant: str, clock: Clock, arrays: tuple[Array, ...]
    ) -> Prepared:
        """Make one primitive a convolution, and a reorder at each end that needs one."""
        x, y = (self._library.plain(_logical(spec, array)) for array in (arrays[0], arrays[-1]))
        before, convolutions, after = self._steps(spec, self._tag(variant), arrays, x, y)
        whole = [*before, *convolutions, after]
        steps = whole if clock == "call" else convolutions
        self._library.run(before)

        def output() -> Array:
            # A residual is where the result goes, so that one call of the kernels has used it up.
            self._library.run(whole if spec.operands.get("residual") else [after])
            return arrays[-1]

        excluded = "weight packing, compiling"
        return Prepared(
            lambda: self._library.run(steps),
            output,
            layout=f"nChw{self._block}c" if variant == "blocked" else variant,
            excluded=excluded if clock == "call" else f"{excluded}, reorders at both ends",
        )

    def _tag(self, variant: str) -> int:
        if variant == "any":
            return ANY
        name = "acdb" if variant == "nhwc" else f"aBcd{self._block}b"
        tag = self._library.value_of("fmt_tag", name)
        if tag is None:
            raise RuntimeError(f"oneDNN {self.version()} has no format {name}")
        return tag

    def _steps(
        self, spec: Problem, tag: int, arrays: tuple[Array, ...], x: Memory, y: Memory
    ) -> tuple[list[Step], list[Step], Step]:
        """Return what comes before, the convolutions, and what comes after.

        That is: the reorder of the input, and of the residual to where it is added; that of the
        output.  A reorder from a layout to itself does nothing.  Each convolution takes the layout
        that the one before it gives.
        """
        library = self._library
        layers = parts.layers(spec, arrays)
        before: list[Step] = []
        steps: list[Step] = []
        source = None
        for layer in layers:
            described = self._describe(layer, tag, None if source is None else source.descriptor)
            if source is None:
                source = library.alike(x, library.layout_of(described, SRC_MD))
                before.append(library.reorder(x, source))
            layout = library.layout_of(described, DST_MD)
            target = library.alike(y, layout) if layer is layers[-1] else library.memory(layout)
            steps.append(self._bind(layer, described, source, target))
            source = target
        assert source is not None
        if layer.residual is not None:
            residual = library.plain(_logical(spec, layer.residual))
            before.append(library.reorder(residual, source))
        return before, steps, library.reorder(source, y)

    def _describe(self, layer: Layer, tag: int, source: Descriptor | None) -> ctypes.c_void_p:
        library, spec = self._library, layer.spec
        shape = (spec.batch, spec.out_channels, spec.out_height, spec.out_width)
        descriptors = (
            source or library.tagged((spec.batch, spec.channels, spec.height, spec.width), tag),
            library.tagged(_grouped(layer).shape, ANY),
            None if layer.bias is None else library.strided(layer.bias.shape, (1,)),
            library.tagged(shape, tag),
        )
        geometry = (
            spec.stride,
            [gap - 1 for gap in spec.dilation],
            [before for before, _ in spec.padding],
            [after for _, after in spec.padding],
        )
        epilogue = None
        if spec.activation:
            name, alpha, beta = _ACTIVATIONS[spec.activation]
            epilogue = (library.value_of("alg_kind", name) or 0, alpha, beta)
        return library.convolution(descriptors, geometry, epilogue, accumulates=spec.residual)

    def _bind(
        self, layer: Layer, described: ctypes.c_void_p, source: Memory, target: Memory
    ) -> Primitive:
        library = self._library
        weight = library.plain(_grouped(layer))
        packed = library.alike(weight, library.layout_of(described, WEIGHTS_MD))
        library.reorder(weight, packed)()
        arguments = {SRC: source, WEIGHTS: packed, DST: target}
        if layer.bias is not None:
            arguments[BIAS] = library.plain(layer.bias)
        return library.primitive(described, arguments)


def _logical(spec: Problem, array: Array) -> Array:
    """View an array of the problem as (N, C, H, W), whatever its strides."""
    array = parts.four_axes(array, spec.layout)
    return array.transpose(0, 3, 1, 2) if parts.order(spec) == "NHWC" else array


def _grouped(layer: Layer) -> Array:
    """Return the weight as (G, O / G, C / G, KH, KW), or (O, C, KH, KW) where G is 1."""
    groups = layer.spec.groups
    if groups == 1:
        return layer.weight
    return layer.weight.reshape(groups, -1, *layer.weight.shape[1:])
