"""The rules that a convolution keeps, each beside the check that finds the values breaking it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias

from depthwise.problem.links import is_short
from depthwise.problem.quantized import MOST_PRODUCTS
from depthwise.problem.text import axes
from depthwise.problem.values import MAX_ELEMENTS, MAX_STEP, below_one
from depthwise.problem.vocabulary import LAYOUTS_1D

if TYPE_CHECKING:
    from depthwise.problem.spec import ConvSpec

Check: TypeAlias = "Callable[[ConvSpec], object]"
"""Returns the offending values, or something empty where the rule holds."""


def conv_rules() -> Iterator[tuple[str, Check]]:
    """Yield every rule with its check, in an order in which each may rely on those before."""
    yield "sizes are at least 1", _sizes_below_one
    yield f"strides and dilations are at most {MAX_STEP}", _far_steps
    yield "padding is not negative", lambda s: [p for pads in s.padding for p in pads if p < 0]
    yield (
        "groups divide the input and the output channels",
        lambda s: (
            ""
            if s.channels % s.groups == 0 and s.out_channels % s.groups == 0
            else f"{s.groups} groups, {s.channels} -> {s.out_channels} channels"
        ),
    )
    yield "the kind's own shape holds (depthwise: one channel a group; pointwise: 1x1)", _wrong_kind
    yield "1-D layouts go with depthwise1d, 2-D layouts with the rest", _wrong_rank
    yield (
        "packed layouts go with depthwise, one output a channel, in whole blocks of channels "
        "(zeros added to x, weight and bias make blocks whole)",
        _unpackable,
    )
    yield (
        "functions behind a convolution are of nhwc images of real numbers",
        lambda s: s.chain and (s.quantized or s.layout != "NHWC") and f"{s.dtype} {s.layout}",
    )
    yield (
        "functions behind a convolution are short (others are elementwise problems)",
        lambda s: " ".join(str(link) for link in s.chain if not is_short(link)),
    )
    yield "the dilated kernel fits into the padded input", _empty_output
    yield "reflect padding is smaller than the input, circular not larger", _padding_beyond_input
    yield (
        "a table stands for the activation of a quantized convolution whose results are whole",
        _activation_of_numbers,
    )
    yield (
        "quantized convolutions are channels-last",
        lambda s: s.layout if s.quantized and not s.channels_last else "",
    )
    yield (
        f"a quantized sum has at most {MOST_PRODUCTS} products",
        lambda s: s.depth if s.quantized and s.depth > MOST_PRODUCTS else "",
    )
    yield f"no array has more than {MAX_ELEMENTS} elements", _huge


def _sizes_below_one(s: ConvSpec) -> str:
    sizes = {
        "c": s.channels, "o": s.out_channels, "g": s.groups, "n": s.batch, "h": s.height,
        "w": s.width, "kh": s.kernel[0], "kw": s.kernel[1], "sh": s.stride[0], "sw": s.stride[1],
        "dh": s.dilation[0], "dw": s.dilation[1],
    }  # fmt: skip
    return below_one(sizes)


def _far_steps(s: ConvSpec) -> str:
    steps = {"s": s.stride, "d": s.dilation}
    return " ".join(f"{name}{axes(pair)}" for name, pair in steps.items() if max(pair) > MAX_STEP)


def _wrong_kind(s: ConvSpec) -> str:
    if s.is_depthwise and s.groups != s.channels:
        return f"{s.groups} groups for {s.channels} channels"
    window = (s.kernel, s.stride, s.dilation, s.padding)
    if s.kind == "pointwise" and (window != ((1, 1),) * 3 + (((0, 0), (0, 0)),) or s.groups != 1):
        return f"kernel {s.kernel}, stride {s.stride}, padding {s.padding}, {s.groups} groups"
    if s.kind == "pointwise" and s.padding_mode != "zeros":
        return f"padding mode {s.padding_mode!r} where nothing is padded"
    if s.residual and s.kind != "pointwise":
        return f"a residual with kind {s.kind!r}, where only pointwise takes one"
    return ""


def _activation_of_numbers(s: ConvSpec) -> str:
    if s.quantized and s.activation:
        return f"activation {s.activation!r} with dtype {s.dtype!r}"
    if s.real and (s.table or s.residual):
        return "real results with a table or a residual"
    flags = [name for name in ("table", "real") if getattr(s, name)]
    return f"{', '.join(flags)} with dtype {s.dtype!r}" if flags and not s.quantized else ""


def _wrong_rank(s: ConvSpec) -> str:
    one_dimensional = s.kind == "depthwise1d"
    flat = (s.height, s.kernel[0], s.stride[0], s.dilation[0], s.padding[0]) == (1, 1, 1, 1, (0, 0))
    if (s.layout in LAYOUTS_1D) != one_dimensional or (one_dimensional and not flat):
        return f"kind {s.kind!r} with layout {s.layout!r} and height {s.height}"
    return ""


def _unpackable(s: ConvSpec) -> str:
    if not s.packed or (s.is_depthwise and s.multiplier == 1 and s.channels % s.packed == 0):
        return ""
    return f"kind {s.kind!r}, {s.channels} -> {s.out_channels} channels, blocks of {s.packed}"


def _empty_output(s: ConvSpec) -> str:
    if s.out_height >= 1 and s.out_width >= 1:
        return ""
    (kh, kw), (dh, dw) = s.kernel, s.dilation
    reach = dh * (kh - 1) + 1, dw * (kw - 1) + 1
    return f"dilated kernel {axes(reach)}, padded input {s.padded_height}x{s.padded_width}"


def _padding_beyond_input(s: ConvSpec) -> str:
    most = {"reflect": -1, "circular": 0}.get(s.padding_mode)
    sides = zip("hw", (s.height, s.width), s.padding, strict=True)
    return " ".join(
        f"{axis}={size} with padding {pads}"
        for axis, size, pads in sides
        if most is not None and max(pads) > size + most
    )


def _huge(s: ConvSpec) -> str:
    counts = {
        "padded input": s.batch * s.channels * s.padded_height * s.padded_width,
        "weight": s.out_channels * (s.channels // s.groups) * s.kernel[0] * s.kernel[1],
        "output": s.batch * s.out_channels * s.out_height * s.out_width,
    }
    return ", ".join(f"{name} of {n}" for name, n in counts.items() if n > MAX_ELEMENTS)
