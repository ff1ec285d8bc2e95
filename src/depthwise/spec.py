"""The problem: frozen dataclasses for one convolution and for a block of them.

THE rule for output size and padding stands here (`output_size`, `resolve_padding`); nothing else in
the package computes either.  Every specification prints as one line of text, and
`depthwise.parse` reads that line back.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

from depthwise.errors import DTypeError, SpecError
from depthwise.rules import conv_rules
from depthwise.text import axes, conv_text
from depthwise.vocabulary import (
    LAYOUTS_1D,
    Activation,
    DType,
    Kind,
    Layout,
    Padding,
    PaddingMode,
    Pads,
    Pair,
)


def output_size(size: int, kernel: int, stride: int, padding: Pair, dilation: int) -> int:
    """Return the number of outputs along one axis: floor((n + p - d(k-1) - 1) / s) + 1.

    Args:
        size: n, the input's extent.
        kernel: k, the number of taps.
        stride: s, the distance between outputs.
        padding: elements added before and after; p is their sum.
        dilation: d, the distance between taps.

    Returns:
        The extent of the output; zero or less where the dilated kernel does not fit.
    """
    return (size + sum(padding) - dilation * (kernel - 1) - 1) // stride + 1


def resolve_padding(
    padding: Padding, size: Pair, kernel: Pair, stride: Pair, dilation: Pair
) -> Pads:
    """Turn any accepted form of padding into ((top, bottom), (left, right)).

    Args:
        padding: one number for all sides, (height, width), ((top, bottom), (left, right)),
            "valid" (none) or "same" (TensorFlow's rule: ceil(n / s) outputs, the odd element at
            the end), in any case.
        size: input height and width.
        kernel: taps along height and width.
        stride: distance between outputs along height and width.
        dilation: distance between taps along height and width.

    Raises:
        SpecError: the form is none of these.
    """
    if isinstance(padding, str):
        word = padding.lower()
        if word == "valid":
            return (0, 0), (0, 0)
        if word == "same":
            return tuple(map(_same_padding, size, kernel, stride, dilation))  # type: ignore[return-value]
        raise SpecError(f"padding as a word is 'same' or 'valid'; got {padding!r}")
    if isinstance(padding, (tuple, list)):
        if len(padding) == 2 and all(isinstance(p, (tuple, list)) for p in padding):
            return _pair("padding of the height", padding[0]), _pair(
                "padding of the width", padding[1]
            )
        ph, pw = _pair("padding", padding)
    else:
        ph = pw = whole("padding", padding)
    return (ph, ph), (pw, pw)


def causal_padding(kernel: int, dilation: int) -> Pair:
    """Return the padding with which output t reads no input after t: d(k-1) before, none after."""
    return dilation * (kernel - 1), 0


def _same_padding(size: int, kernel: int, stride: int, dilation: int) -> Pair:
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


def whole(name: str, value: object) -> int:
    """Return `value` as an int; refuse anything that is not a whole number."""
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise SpecError(f"{name} is a whole number; got {value!r}") from None


def _pair(name: str, value: object) -> Pair:
    if isinstance(value, (tuple, list)):
        if len(value) != 2:
            raise SpecError(f"{name} is one number or two; got {value!r}")
        return whole(name, value[0]), whole(name, value[1])
    both = whole(name, value)
    return both, both


@dataclass(frozen=True, kw_only=True)
class ConvSpec:
    """One 2-D convolution (1-D where `kind` is "depthwise1d": height 1) with its epilogue.

    Computes, for batch n, output channel o, output row i and column j::

        y[n,o,i,j] = activation(bias[o] + sum over c, r, s of
                     x[n, c, i*sh + r*dh - top, j*sw + s*dw - left] * weight[o, c, r, s]) + residual

    where c runs over the channels of o's group.  Equivalent to
    `F.conv2d(F.pad(x, (left, right, top, bottom)), weight, bias, stride, 0, dilation, groups)`,
    then the activation and the sum.

    Prefer the constructors `depthwise`, `depthwise1d`, `pointwise` and `conv`, which take numbers
    and words in the forms people write; this one takes every field in its resolved form.

    Raises:
        SpecError: the problem cannot exist; the message names the rule and the values.
        DTypeError: the element type is not supported.
    """

    kind: Kind
    channels: int
    height: int
    width: int
    kernel: Pair
    out_channels: int
    groups: int = 1
    stride: Pair = (1, 1)
    padding: Pads = ((0, 0), (0, 0))
    dilation: Pair = (1, 1)
    batch: int = 1
    layout: Layout = "NCHW"
    dtype: DType = "float32"
    bias: bool = False
    activation: Activation | None = None
    residual: bool = False
    padding_mode: PaddingMode = "zeros"

    def __post_init__(self) -> None:
        for name in ("channels", "height", "width", "out_channels", "groups", "batch"):
            object.__setattr__(self, name, whole(name, getattr(self, name)))
        for name in ("kernel", "stride", "dilation"):
            object.__setattr__(self, name, _pair(name, getattr(self, name)))
        for rule, broken in conv_rules():
            if values := broken(self):
                error = DTypeError if rule.startswith("dtype") else SpecError
                raise error(f"{rule}; got {values}: {self}")

    @classmethod
    def depthwise(
        cls,
        channels: int,
        size: int | Pair,
        kernel: int | Pair,
        *,
        stride: int | Pair = 1,
        padding: Padding = 0,
        dilation: int | Pair = 1,
        multiplier: int = 1,
        **fields: Any,
    ) -> ConvSpec:
        """Return the depthwise convolution of (N, C, H, W) with (C * multiplier, 1, KH, KW)."""
        channels = whole("channels", channels)
        out_channels = channels * whole("multiplier", multiplier)
        return _conv(
            "depthwise", channels, size, kernel, out_channels, channels, stride, padding,
            dilation, fields,
        )  # fmt: skip

    @classmethod
    def depthwise1d(
        cls,
        channels: int,
        length: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: int | Pair | str = 0,
        dilation: int = 1,
        multiplier: int = 1,
        layout: str = "NCL",
        **fields: Any,
    ) -> ConvSpec:
        """Return the depthwise convolution of (N, C, L) with (C * multiplier, 1, K).

        `padding` is one number, (left, right), "same", "valid" or "causal".
        """
        taps, step, gap = (
            whole("kernel", kernel),
            whole("stride", stride),
            whole("dilation", dilation),
        )
        length, channels = whole("length", length), whole("channels", channels)
        if isinstance(padding, str) and padding.lower() == "causal":
            sides = causal_padding(taps, gap)
        elif isinstance(padding, str):
            sides = resolve_padding(padding, (1, length), (1, taps), (1, step), (1, gap))[1]
        else:
            sides = _pair("padding", padding)
        return _conv(
            "depthwise1d", channels, (1, length), (1, taps),
            channels * whole("multiplier", multiplier), channels, (1, step), ((0, 0), sides),
            (1, gap), {"layout": layout, **fields},
        )  # fmt: skip

    @classmethod
    def pointwise(
        cls, channels: int, out_channels: int, size: int | Pair, **fields: Any
    ) -> ConvSpec:
        """Return the 1x1 convolution of (N, C, H, W) with (O, C)."""
        return _conv("pointwise", channels, size, 1, out_channels, 1, 1, 0, 1, fields)

    @classmethod
    def conv(
        cls,
        channels: int,
        out_channels: int,
        size: int | Pair,
        kernel: int | Pair,
        *,
        groups: int = 1,
        stride: int | Pair = 1,
        padding: Padding = 0,
        dilation: int | Pair = 1,
        **fields: Any,
    ) -> ConvSpec:
        """Return the (grouped) convolution of (N, C, H, W) with (O, C / groups, KH, KW)."""
        return _conv(
            "conv", channels, size, kernel, out_channels, groups, stride, padding, dilation, fields
        )

    @property
    def multiplier(self) -> int:
        """Output channels per input channel."""
        return self.out_channels // self.channels

    @property
    def channels_last(self) -> bool:
        """Whether neighbouring elements in memory are neighbouring channels."""
        return self.layout in ("NHWC", "NLC")

    @property
    def out_height(self) -> int:
        """Rows of the output."""
        return self._output_size(0)

    @property
    def out_width(self) -> int:
        """Columns of the output."""
        return self._output_size(1)

    def _output_size(self, axis: int) -> int:
        size = (self.height, self.width)[axis]
        return output_size(
            size, self.kernel[axis], self.stride[axis], self.padding[axis], self.dilation[axis]
        )

    @property
    def padded_height(self) -> int:
        """Rows of the input with its padding."""
        return self.height + sum(self.padding[0])

    @property
    def padded_width(self) -> int:
        """Columns of the input with its padding."""
        return self.width + sum(self.padding[1])

    @property
    def input_shape(self) -> tuple[int, ...]:
        """The input's shape in this layout, batch first."""
        return self._arrange(self.channels, self.height, self.width)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The output's shape in this layout, batch first."""
        return self._arrange(self.out_channels, self.out_height, self.out_width)

    def _arrange(self, channels: int, height: int, width: int) -> tuple[int, ...]:
        plane = (width,) if self.layout in LAYOUTS_1D else (height, width)
        if self.channels_last:
            return (self.batch, *plane, channels)
        return (self.batch, channels, *plane)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(O, C) where pointwise, (O, C / groups, K) where 1-D, else (O, C / groups, KH, KW)."""
        if self.kind == "pointwise":
            return self.out_channels, self.channels
        taps = self.kernel[1:] if self.kind == "depthwise1d" else self.kernel
        return (self.out_channels, self.channels // self.groups, *taps)

    @property
    def operands(self) -> dict[str, tuple[int, ...]]:
        """The arrays beside the input, in the order of a call, with their shapes."""
        shapes = {"weight": self.weight_shape}
        if self.bias:
            shapes["bias"] = (self.out_channels,)
        if self.residual:
            shapes["residual"] = self.output_shape
        return shapes

    def __str__(self) -> str:
        return conv_text(self)


def _conv(
    kind: Kind, channels: int, size: int | Pair, kernel: int | Pair, out_channels: int,
    groups: int, stride: int | Pair, padding: Padding, dilation: int | Pair,
    fields: dict[str, Any],
) -> ConvSpec:  # fmt: skip
    plane, taps = _pair("size", size), _pair("kernel", kernel)
    step, gap = _pair("stride", stride), _pair("dilation", dilation)
    if isinstance(padding, str) and min(*step, *gap) < 1:
        raise SpecError(f"stride and dilation are at least 1; got s{axes(step)} d{axes(gap)}")
    return ConvSpec(
        kind=kind, channels=channels, height=plane[0], width=plane[1], kernel=taps,
        out_channels=out_channels, groups=groups, stride=step, dilation=gap,
        padding=resolve_padding(padding, plane, taps, step, gap),
        **fields,
    )  # fmt: skip
