"""Hypothesis strategies for problems that can exist, small enough for any engine to be quick."""

from dataclasses import replace
from typing import get_args

from hypothesis import strategies as st

from depthwise.problem.attention import AttentionSpec, usual_scale
from depthwise.problem.block import BlockSpec, SqueezeExcite
from depthwise.problem.causal import CausalSpec
from depthwise.problem.causal_gradient import DIFFERENTIATED, CausalGradientSpec
from depthwise.problem.dtypes import DTYPES, QUANTIZED
from depthwise.problem.elementwise import ElementwiseSpec
from depthwise.problem.gathers import GatherSpec, Run
from depthwise.problem.links import Link, is_short
from depthwise.problem.pixels import NORMS, PIXEL_KINDS, REDUCTIONS, PixelSpec
from depthwise.problem.pools import PoolKind, PoolSpec
from depthwise.problem.problem import Problem
from depthwise.problem.quantized_images import QUANTIZED_KINDS, QuantizedSpec
from depthwise.problem.resizes import COORDINATES, ROUNDINGS, ResizeKind, ResizeSpec
from depthwise.problem.spec import ConvSpec
from depthwise.problem.training import PassKind, PassSpec
from depthwise.problem.vocabulary import (
    ACTIVATIONS,
    BINARY,
    KINDS,
    LAYOUTS_1D,
    OPERANDS,
    PADDING_MODES,
    UNARY,
)

_SIZES = st.integers(1, 9)
_LAYOUTS = st.sampled_from(["NCHW", "NHWC"])
_DTYPES = st.sampled_from(DTYPES)
_ALL_DTYPES = st.sampled_from(DTYPES + QUANTIZED)
_ACTIVATIONS = st.none() | st.sampled_from(ACTIVATIONS)


@st.composite
def _windows(
    draw: st.DrawFn, padding_modes: tuple[str, ...], flat: bool, **largest: int
) -> dict[str, object]:
    """Draw what the two axes of a convolution have; `flat` leaves nothing to draw of the height."""
    mode = draw(st.sampled_from(padding_modes))
    rows = (1, 1, 1, 1, (0, 0)) if flat else draw(_axes(mode, **largest))
    names = ("size", "kernel", "stride", "dilation", "padding")
    window = dict(zip(names, zip(rows, draw(_axes(mode, **largest)), strict=True), strict=True))
    return {"padding_mode": mode, **window}


@st.composite
def _axes(
    draw: st.DrawFn, mode: str, size: int = 9, kernel: int = 5
) -> tuple[int, int, int, int, tuple[int, int]]:
    """Draw an axis of at most so many elements, with at most so many taps."""
    zeros = kernel - 1
    size = draw(st.integers(1, size))
    most = {"reflect": size - 1, "circular": size}.get(mode, zeros)
    stride, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    kernel = draw(st.integers(1, min(kernel, (size + 2 * most - 1) // dilation + 1)))
    needed = max(dilation * (kernel - 1) + 1 - size, 0)
    before = draw(st.integers(max(needed - most, 0), most))
    after = draw(st.integers(max(needed - before, 0), most))
    return size, kernel, stride, dilation, (before, after)


@st.composite
def conv_specs(
    draw: st.DrawFn,
    kinds: tuple[str, ...] = KINDS,
    padding_modes: tuple[str, ...] = PADDING_MODES,
) -> ConvSpec:
    """Draw a convolution of any of these kinds.

    Unequal strides and dilations, padding on any side alone, even kernels and kernels larger than
    the input are all among them.
    """
    kind = draw(st.sampled_from(kinds))
    common = {
        "batch": draw(st.integers(1, 3)),
        "layout": draw(st.sampled_from(["NCL", "NLC"]) if kind == "depthwise1d" else _LAYOUTS),
        "dtype": draw(_DTYPES),
        "bias": draw(st.booleans()),
        "activation": draw(_ACTIVATIONS),
    }
    if kind == "pointwise":
        size = draw(_SIZES), draw(_SIZES)
        common["residual"] = draw(st.booleans())
        return ConvSpec.pointwise(draw(_SIZES), draw(_SIZES), size, **common)
    window = draw(_windows(padding_modes, flat=kind == "depthwise1d"))
    if kind == "conv":
        groups, inner, outer = (draw(st.integers(1, 3)) for _ in range(3))
        return ConvSpec.conv(groups * inner, groups * outer, groups=groups, **window, **common)
    channels, multiplier = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    if kind == "depthwise1d":
        one = {name: value[1] for name, value in window.items() if isinstance(value, tuple)}
        one["length"] = one.pop("size")
        common["padding_mode"] = window["padding_mode"]
        return ConvSpec.depthwise1d(channels, multiplier=multiplier, **one, **common)
    return ConvSpec.depthwise(channels, multiplier=multiplier, **window, **common)


@st.composite
def depthwise_specs(
    draw: st.DrawFn,
    *,
    size: int = 40,
    kernel: int = 13,
    channels: int = 70,
    activations: tuple[str | None, ...] = (None, *ACTIVATIONS),
) -> ConvSpec:
    """Draw a depthwise convolution of one or two dimensions, large enough to fill whole tiles."""
    flat = draw(st.sampled_from([False, False, True]))
    modes = ("zeros", "zeros", *PADDING_MODES)
    window = draw(_windows(modes, flat, size=size, kernel=kernel))
    height, width = window.pop("size")
    groups = draw(st.integers(1, channels))
    return ConvSpec(
        kind="depthwise1d" if flat else "depthwise",
        channels=groups,
        groups=groups,
        out_channels=groups * draw(st.just(1) | st.integers(2, 4)),
        height=height,
        width=width,
        **window,
        batch=draw(st.integers(1, 2)),
        layout=draw(st.sampled_from(LAYOUTS_1D) if flat else _LAYOUTS),
        dtype=draw(_DTYPES),
        bias=draw(st.booleans()),
        activation=draw(st.sampled_from(activations)),
    )


def _near(*units: int) -> st.SearchStrategy[int]:
    """Draw a number at most one away from a multiple of one of these."""
    return st.builds(
        lambda unit, times, beside: max(1, unit * times + beside),
        st.sampled_from(units), st.integers(1, 4), st.integers(-1, 1),
    )  # fmt: skip


WIDTHS_OF_NETWORKS = (1, 3, 8, 16, 24, 40, 58, 116, 728)
_CHANNELS = st.sampled_from(WIDTHS_OF_NETWORKS) | _near(8, 16) | st.integers(1, 70)


@st.composite
def pointwise_specs(
    draw: st.DrawFn, *, activations: tuple[str | None, ...] = (None, *ACTIVATIONS)
) -> ConvSpec:
    """Draw a pointwise convolution whose pixels and channels end near the ends of tiles."""
    plane = st.tuples(st.just(1), _near(4, 5, 6, 12)) | st.tuples(_SIZES, _SIZES)
    return ConvSpec.pointwise(
        draw(_CHANNELS),
        draw(_CHANNELS),
        draw(plane),
        batch=draw(st.integers(1, 3)),
        layout=draw(_LAYOUTS),
        dtype=draw(_DTYPES),
        bias=draw(st.booleans()),
        activation=draw(st.sampled_from(activations)),
        residual=draw(st.booleans()),
    )


@st.composite
def dense_specs(
    draw: st.DrawFn, *, activations: tuple[str | None, ...] = (None, *ACTIVATIONS)
) -> ConvSpec:
    """Draw a convolution with several runs of pixels, or few: channels-first also in groups."""
    modes = (*["zeros"] * 5, *PADDING_MODES)
    window = draw(_windows(modes, flat=False, size=24, kernel=5))
    if draw(st.booleans()):
        window |= {"padding": 0, "kernel": tuple(map(min, window["kernel"], window["size"]))}
        window["dilation"] = 1
    layout = draw(_LAYOUTS)
    groups = 1 if layout == "NHWC" else draw(st.sampled_from([1, 1, 2, 3]))
    return ConvSpec.conv(
        groups * draw(st.integers(1 if layout == "NHWC" else 2, 20)),
        groups * draw(_CHANNELS),
        groups=groups,
        **window,
        batch=draw(st.integers(1, 3)),
        layout=layout,
        dtype=draw(_DTYPES),
        bias=draw(st.booleans()),
        activation=draw(st.sampled_from(activations)),
    )


@st.composite
def wide_block_specs(
    draw: st.DrawFn,
    *,
    size: int = 20,
    kernel: int = 7,
    activations: tuple[str | None, ...] = (None, *ACTIVATIONS),
    gates: bool = False,
) -> BlockSpec:
    """Draw a block, large enough to fill whole tiles and several strips.

    Only with `gates` are there gates, which make the numbers no longer whole.
    """
    modes = (*["zeros"] * 5, *PADDING_MODES)
    fields = {
        "batch": draw(st.integers(1, 3)),
        "layout": draw(_LAYOUTS),
        "dtype": draw(_DTYPES),
        "multiplier": draw(st.sampled_from([1, 1, 1, 2, 3])),
        "activation": draw(st.sampled_from(activations)),
        "depthwise_bias": draw(st.booleans()),
        "residual": draw(st.booleans()),
        **draw(_windows(modes, flat=False, size=size, kernel=kernel)),
    }
    channels, out_channels = draw(_CHANNELS), draw(_CHANNELS)
    if draw(st.booleans()):
        fields["pointwise_bias"] = draw(st.booleans())
        fields["depthwise_activation"] = draw(st.sampled_from(activations))
        return BlockSpec.separable(channels, out_channels, **fields)
    expanded = draw(st.none() | _CHANNELS)
    fields["expand_bias"] = draw(st.booleans()) and expanded is not None
    fields["project_bias"] = draw(st.booleans())
    fields["squeeze_excite"] = draw(st.none() | _gates(20)) if gates else None
    return BlockSpec.inverted(channels, out_channels, expanded=expanded, **fields)


@st.composite
def block_specs(draw: st.DrawFn) -> BlockSpec:
    """Draw a separable convolution or an inverted residual."""
    fields = {
        "batch": draw(st.integers(1, 2)),
        "layout": draw(_LAYOUTS),
        "dtype": draw(_DTYPES),
        "multiplier": draw(st.integers(1, 2)),
        "activation": draw(_ACTIVATIONS),
        "depthwise_bias": draw(st.booleans()),
        "residual": draw(st.booleans()),
        **draw(_windows(PADDING_MODES, flat=False)),
    }
    channels, out_channels = draw(_SIZES), draw(_SIZES)
    if draw(st.booleans()):
        fields["pointwise_bias"] = draw(st.booleans())
        fields["depthwise_activation"] = draw(_ACTIVATIONS)
        return BlockSpec.separable(channels, out_channels, **fields)
    expanded = draw(st.none() | st.integers(1, 12))
    fields["expand_bias"] = draw(st.booleans()) and expanded is not None
    fields["project_bias"] = draw(st.booleans())
    fields["squeeze_excite"] = draw(st.none() | _gates(4))
    return BlockSpec.inverted(channels, out_channels, expanded=expanded, **fields)


def _gates(channels: int) -> st.SearchStrategy[SqueezeExcite]:
    names = st.sampled_from(ACTIVATIONS)
    return st.builds(SqueezeExcite, channels=st.integers(1, channels), activation=names, gate=names)


@st.composite
def pass_specs(draw: st.DrawFn, kinds: tuple[str, ...] = get_args(PassKind)) -> PassSpec:
    """Draw a pass of training through a depthwise convolution."""
    conv = draw(conv_specs(kinds=("depthwise", "depthwise1d"), padding_modes=("zeros",)))
    return PassSpec(kind=draw(st.sampled_from(kinds)), conv=replace(conv, activation=None))


def specs() -> st.SearchStrategy[Problem]:
    """Draw any problem."""
    small = pixel_specs(size=9, channels=9) | elementwise_specs(size=9, channels=9, tame=True)
    small |= pool_specs(size=9, channels=9) | gather_specs(channels=9)
    small |= resize_specs(size=9, channels=9)
    small |= attention_specs(size=5, keys=9, channels=5)
    small |= quantized_specs(size=9, channels=9)
    small |= causal_specs(length=9, kernel=5, channels=9)
    small |= causal_gradient_specs(length=9, kernel=5, channels=9)
    return conv_specs() | block_specs() | pass_specs() | small


@st.composite
def quantized_specs(draw: st.DrawFn, *, size: int = 20, channels: int = 300) -> QuantizedSpec:
    """Draw what is computed of quantized images, large enough to fill whole vectors."""
    kind = draw(st.sampled_from(QUANTIZED_KINDS))
    return QuantizedSpec(
        kind=kind,
        channels=draw(st.integers(1, channels)),
        height=draw(st.integers(1, size)),
        width=draw(st.integers(1, size)),
        batch=draw(st.integers(1, 3)),
        dtype=draw(st.sampled_from(QUANTIZED)),
        gate=kind == "qmul" and draw(st.booleans()),
    )


@st.composite
def gather_specs(draw: st.DrawFn, *, channels: int = 80) -> GatherSpec:
    """Draw channels of several images, some of them in turn."""
    images = tuple(draw(st.lists(st.integers(1, channels), min_size=1, max_size=4)))
    picks = []
    for _ in range(draw(st.integers(1, 5))):
        runs = draw(st.lists(st.sampled_from(range(len(images))), min_size=1, max_size=3))
        count = draw(st.integers(1, min(images[image] for image in runs)))
        starts = [draw(st.integers(0, images[image] - count)) for image in runs]
        pairs = zip(runs, starts, strict=True)
        picks.append(tuple(Run(image, start, start + count) for image, start in pairs))
    return GatherSpec(
        images=images,
        picks=tuple(picks),
        height=draw(st.integers(1, 9)),
        width=draw(st.integers(1, 9)),
        batch=draw(st.integers(1, 3)),
        dtype=draw(_ALL_DTYPES),
    )


@st.composite
def pool_specs(draw: st.DrawFn, *, size: int = 20, channels: int = 80) -> PoolSpec:
    """Draw a pool of which every window holds a pixel."""
    kind = draw(st.sampled_from(get_args(PoolKind)))
    axes = [draw(_pool_axes(size)) for _ in range(2)]
    sizes, kernel, stride, padding, dilation = zip(*axes, strict=True)
    window = ConvSpec.depthwise(
        draw(st.integers(1, channels)), sizes, kernel, stride=stride, padding=padding,
        dilation=dilation, batch=draw(st.integers(1, 3)), layout="NHWC", dtype=draw(_ALL_DTYPES),
    )  # fmt: skip
    padded = draw(st.booleans()) and not (kind == "maxpool" and window.quantized)
    return PoolSpec(kind=kind, window=window, padded=padded)


@st.composite
def _pool_axes(draw: st.DrawFn, size: int) -> tuple[int, int, int, tuple[int, int], int]:
    """Draw a size, taps, a stride, less padding than a window has taps, and a dilation."""
    pixels, stride = draw(st.integers(1, size)), draw(st.integers(1, 3))
    dilation = 1 if pixels < 4 else draw(st.integers(1, 2))
    taps = draw(st.integers(1, max(1, min(5, (pixels - 1) // dilation + 1))))
    sides = st.integers(0, min(taps - 1, 3))
    return pixels, taps, stride, (draw(sides), draw(sides)), dilation


@st.composite
def resize_specs(draw: st.DrawFn, *, size: int = 20, channels: int = 80) -> ResizeSpec:
    """Draw an image in another size, larger or smaller along each axis."""
    kind = draw(st.sampled_from(get_args(ResizeKind)))
    sides, factors = st.integers(1, size), st.integers(1, 3)
    target = draw(st.sampled_from(["size", "factor"]))
    return ResizeSpec(
        kind=kind,
        channels=draw(st.integers(1, channels)),
        height=draw(sides),
        width=draw(sides),
        size=(draw(sides), draw(sides)) if target == "size" else None,
        factor=(draw(factors), draw(factors)) if target == "factor" else None,
        batch=draw(st.integers(1, 3)),
        dtype=draw(_ALL_DTYPES if kind == "nearest" else _DTYPES),
        coordinates=draw(st.sampled_from(COORDINATES)),
        rounding=draw(st.sampled_from(ROUNDINGS)) if kind == "nearest" else "floor",
    )


@st.composite
def pixel_specs(draw: st.DrawFn, *, size: int = 30, channels: int = 200) -> PixelSpec:
    """Draw a problem of pixels, large enough to fill whole vectors and several tasks."""
    kind = draw(st.sampled_from(PIXEL_KINDS))
    groups = draw(st.sampled_from([1, 2, 3, 8, 200])) if kind == "groupnorm" else 1
    each = draw(st.integers(1, max(1, channels // groups)))
    return PixelSpec(
        kind=kind,
        channels=min(groups, channels) * each,
        groups=min(groups, channels),
        height=draw(st.integers(1, size)),
        width=draw(st.integers(1, size)),
        batch=draw(st.integers(1, 3)),
        dtype=draw(_DTYPES),
        epsilon=draw(st.sampled_from([1e-6, 1e-5, 0.001])) if kind in NORMS else 0.0,
        over=draw(st.sampled_from(["pixels", "channels"])) if kind in REDUCTIONS else "pixels",
    )


@st.composite
def attention_specs(
    draw: st.DrawFn, *, size: int = 12, keys: int = 80, channels: int = 40
) -> AttentionSpec:
    """Draw attention with up to so many channels a head, large enough to fill whole tiles."""
    heads = draw(st.integers(1, 3))
    depth = heads * draw(st.sampled_from([1, 8, 16]) | st.integers(1, channels))
    return AttentionSpec(
        channels=depth,
        out_channels=heads * draw(st.sampled_from([1, 16, 32, 64]) | st.integers(1, channels)),
        height=draw(st.integers(1, size)),
        width=draw(st.integers(1, size)),
        keys=draw(st.sampled_from([1, 2]) | st.integers(1, keys)),
        heads=heads,
        scale=draw(st.just(usual_scale(depth, heads)) | st.sampled_from([0.0, 0.25])),
        biases=draw(st.sampled_from([0, 0, 1, 2, 3])),
        batch=draw(st.integers(1, 3)),
        dtype=draw(_DTYPES),
    )


@st.composite
def causal_specs(
    draw: st.DrawFn, *, length: int = 90, kernel: int = 64, channels: int = 70
) -> CausalSpec:
    """Draw a causal convolution: short and long filters, sequences shorter than they, no state."""
    taps = draw(st.sampled_from([1, 2, 3, 4, 4]) | st.integers(1, kernel))
    dilation = draw(st.sampled_from([1, 1, 1, 2, 3]))
    before = dilation * (taps - 1)
    return CausalSpec(
        channels=draw(st.integers(1, channels)),
        length=draw(st.sampled_from([1, 1, 2]) | st.integers(1, length)),
        kernel=taps,
        dilation=dilation,
        batch=draw(st.integers(1, 3)),
        layout=draw(st.sampled_from(LAYOUTS_1D)),
        dtype=draw(_DTYPES),
        bias=draw(st.booleans()),
        activation=draw(st.sampled_from([None, "silu", *ACTIVATIONS])),
        state=draw(st.sampled_from([0, before]) | st.integers(before, before + 9)),
    )


def causal_gradient_specs(**sizes: int) -> st.SearchStrategy[CausalGradientSpec]:
    """Draw the gradients of one; see `causal_specs`."""
    activations = st.sampled_from(DIFFERENTIATED)
    return st.builds(
        lambda conv, activation: CausalGradientSpec(conv=replace(conv, activation=activation)),
        causal_specs(**sizes), activations,
    )  # fmt: skip


_WILD = ("exp", "sqrt", "reciprocal", "square", "div", "rdiv")
"""Functions that make few numbers of many, or none of some."""


def _chains(*, tame: bool) -> st.SearchStrategy[tuple[Link, ...]]:
    """Draw functions of each element; tame ones keep the size of numbers about as it is."""
    unary, binary = (
        st.sampled_from([name for name in names if not (tame and name in _WILD)])
        for names in (UNARY, BINARY)
    )
    link = st.builds(Link, unary) | st.builds(Link, binary, st.sampled_from(OPERANDS))
    return st.lists(link, min_size=1, max_size=5).map(tuple)


@st.composite
def chained_specs(draw: st.DrawFn) -> ConvSpec:
    """Draw a convolution of any kind with functions of each element behind it."""
    wide = depthwise_specs(size=20, kernel=7) | pointwise_specs() | dense_specs()
    convs = wide | conv_specs(kinds=("conv", "depthwise", "pointwise"))
    conv = draw(convs.filter(lambda spec: spec.layout == "NHWC"))
    chain = tuple(link for link in draw(_chains(tame=True)) if is_short(link))
    return replace(conv, chain=chain or (Link("relu"),))


@st.composite
def elementwise_specs(
    draw: st.DrawFn, *, size: int = 20, channels: int = 80, tame: bool = False
) -> ElementwiseSpec:
    """Draw a chain of functions; tame ones keep the size of numbers about as it is."""
    return ElementwiseSpec(
        channels=draw(st.integers(1, channels)),
        height=draw(st.integers(1, size)),
        width=draw(st.integers(1, size)),
        batch=draw(st.integers(1, 3)),
        dtype=draw(_DTYPES),
        chain=draw(_chains(tame=tame)),
    )


@st.composite
def wide_pass_specs(draw: st.DrawFn, *, size: int = 24, kernel: int = 7) -> PassSpec:
    """Draw a gradient, large enough to fill whole tiles, blocks of channels and several parts."""
    conv = draw(depthwise_specs(size=size, kernel=kernel, activations=(None,)))
    kind = draw(st.sampled_from(["input_gradient", "weight_gradient"]))
    return PassSpec(kind=kind, conv=replace(conv, padding_mode="zeros"))
