"""One convolution as a problem, and THE rule for output size and padding.

Nothing else in the package computes either (`output_size`, `resolve_padding`).  Every specification
prints as one line of text, and `depthwise.problem.parse` reads that line back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from depthwise.errors import SpecError
from depthwise.problem import quantized
from depthwise.problem.dtypes import DEFAULT, DTYPES, QUANTIZED
from depthwise.problem.links import (
    Chain,
    check_chain,
    computed_operands,
    image_operands,
    operand_shapes,
)
from depthwise.problem.pitches import Pitches, ordered
from depthwise.problem.problem import OfRuns
from depthwise.problem.rules import conv_rules
from depthwise.problem.text import axes, conv_text, errors_with
from depthwise.problem.values import flag, meant, pair, shown, whole, word
from depthwise.problem.vocabulary import (
    ACTIVATIONS,
    DEPTHWISE_KINDS,
    KINDS,
    LAYOUTS,
    LAYOUTS_1D,
    LAYOUTS_PACKED,
    PADDING_MODES,
    PADDING_WORDS,
    Activation,
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
        SpecError: the form is none of these, or "same" meets a stride that is not positive.
    """
    if isinstance(padding, str):
        name = padding.lower()
        if name == "valid":
            return (0, 0), (0, 0)
        if name != "same":
            raise SpecError(
                f"padding as a word is 'same', 'valid' or, in 1-D, 'causal'; got {shown(padding)}"
                f"{meant(padding, PADDING_WORDS)}"
            )
        if min(stride) < 1:
            raise SpecError(f"stride is at least 1; got s{axes(stride)}")
        height, width = map(_same_padding, size, kernel, stride, dilation)
        return height, width
    if isinstance(padding, (tuple, list)) and any(isinstance(p, (tuple, list)) for p in padding):
        if len(padding) != 2:
            raise SpecError(f"padding is ((top, bottom), (left, right)); got {shown(padding)}")
        return pair("padding of the height", padding[0]), pair("padding of the width", padding[1])
    vertical, horizontal = pair("padding", padding)
    return (vertical, vertical), (horizontal, horizontal)


def causal_padding(kernel: int, dilation: int) -> Pair:
    """Return the padding with which output t reads no input after t: d(k-1) before, none after."""
    return dilation * (kernel - 1), 0


def _same_padding(size: int, kernel: int, stride: int, dilation: int) -> Pair:
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
    return total // 2, total - total // 2


_WORDS = {
    "kind": KINDS,
    "layout": LAYOUTS,
    "dtype": DTYPES + QUANTIZED,
    "padding_mode": PADDING_MODES,
}


@dataclass(frozen=True, kw_only=True)
class ConvSpec(OfRuns):
    """One 2-D convolution (1-D where `kind` is "depthwise1d": height 1) with its epilogue.

    Computes, for batch n, output channel o, output row i and column j::

        y[n,o,i,j] = activation(bias[o] + sum over c, r, s of
                     x[n, c, i*sh + r*dh - top, j*sw + s*dw - left] * weight[o, c, r, s]) + residual

    where c runs over the channels of o's group.  Equivalent to
    `F.conv2d(F.pad(x, (left, right, top, bottom)), weight, bias, stride, 0, dilation, groups)`,
    then the activation and the sum.  The functions of `chain` follow, one after the other, as those
    of `ElementwiseSpec`, with its operands; they are of NHWC images.

    Quantized, where `dtype` is int8 or uint8, it computes whole numbers; see `quantized`.

    The constructors `depthwise`, `depthwise1d`, `pointwise` and `conv` fill in what their kind
    fixes.  Kernel, stride, dilation and padding are stored in their resolved form, whichever of
    the accepted forms (`resolve_padding` has those of padding) they are given in.

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
    dtype: str = DEFAULT
    bias: bool = False
    activation: Activation | None = None
    residual: bool = False
    padding_mode: PaddingMode = "zeros"
    chain: Chain = ()
    pitches: Pitches = ()
    table: bool = False
    real: bool = False

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if name != "kind"}
        with errors_with(self.kind, given, defaults=vars(ConvSpec)):
            self._resolve()
        for rule, broken in conv_rules():
            if values := broken(self):
                raise SpecError(f"{rule}; got {values}: {self}")
        if self.pitches:
            with errors_with(self.kind, given, defaults=vars(ConvSpec)):
                object.__setattr__(self, "pitches", ordered(self.pitches, self.image_shapes()))

    def image_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the arrays that may be runs of channels, by name."""
        if self.layout != "NHWC":
            return {}
        images = {"x": self.input_shape, "y": self.output_shape}
        names = [*["residual"] * self.residual, *image_operands(self.chain)]
        return images | dict.fromkeys(names, self.output_shape)

    def _resolve(self) -> None:
        for name, allowed in _WORDS.items():
            word(name, getattr(self, name), allowed)
        if self.activation is not None:
            word("activation", self.activation, ACTIVATIONS)
        for name in ("bias", "residual", "table", "real"):
            flag(name, getattr(self, name))
        check_chain(self.chain, 0)
        for name in ("channels", "height", "width", "out_channels", "groups", "batch"):
            object.__setattr__(self, name, whole(name, getattr(self, name)))
        for name in ("kernel", "stride", "dilation"):
            object.__setattr__(self, name, pair(name, getattr(self, name)))
        size = self.height, self.width
        pads = resolve_padding(self.padding, size, self.kernel, self.stride, self.dilation)
        object.__setattr__(self, "padding", pads)

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
        """Return the depthwise convolution of (N, C, H, W) by (C * multiplier, 1, KH, KW)."""
        return _depthwise(
            "depthwise", channels, size, multiplier, kernel=kernel, stride=stride,
            padding=padding, dilation=dilation, **fields,
        )  # fmt: skip

    @classmethod
    def depthwise1d(
        cls,
        channels: int,
        length: int,
        kernel: int,
        *,
        stride: int = 1,
        padding: Padding = 0,
        dilation: int = 1,
        multiplier: int = 1,
        layout: str = "NCL",
        **fields: Any,
    ) -> ConvSpec:
        """Return the depthwise convolution of sequences (N, C, L) by (C * multiplier, 1, K).

        `padding` is one number, (left, right), "same", "valid" or "causal".
        """
        window = {"kernel": kernel, "padding": padding, "dilation": dilation}
        with errors_with("depthwise1d", {"channels": channels, "length": length, **window}):
            if isinstance(padding, str) and padding.lower() == "causal":
                padding = causal_padding(whole("kernel", kernel), whole("dilation", dilation))
            if not isinstance(padding, str):
                padding = (0, 0), pair("padding", padding)
        return _depthwise(
            "depthwise1d", channels, (1, length), multiplier, kernel=(1, kernel),
            stride=(1, stride), padding=padding, dilation=(1, dilation), layout=layout, **fields,
        )  # fmt: skip

    @classmethod
    def pointwise(
        cls, channels: int, out_channels: int, size: int | Pair, **fields: Any
    ) -> ConvSpec:
        """Return the 1x1 convolution of (N, C, H, W) by (O, C)."""
        window = {"kernel": 1} | fields
        return _conv("pointwise", channels, size, out_channels=out_channels, **window)

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
        """Return the convolution, in groups, of (N, C, H, W) by (O, C / groups, KH, KW)."""
        return _conv(
            "conv", channels, size, out_channels=out_channels, kernel=kernel, groups=groups,
            stride=stride, padding=padding, dilation=dilation, **fields,
        )  # fmt: skip

    @property
    def is_depthwise(self) -> bool:
        """Whether each channel of the input is convolved with filters of its own, by `kind`."""
        return self.kind in DEPTHWISE_KINDS

    @property
    def multiplier(self) -> int:
        """Output channels per input channel."""
        return self.out_channels // self.channels

    @property
    def depth(self) -> int:
        """Products in the sum of an output: the taps times the channels of a group."""
        return self.kernel[0] * self.kernel[1] * (self.channels // self.groups)

    @property
    def channels_last(self) -> bool:
        """Whether neighbouring elements in memory are neighbouring channels."""
        return self.layout in ("NHWC", "NLC")

    @property
    def packed(self) -> int:
        """How many channels of a pixel lie side by side in a packed layout; 0 in the others."""
        return LAYOUTS_PACKED.get(self.layout, 0)

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

    @cached_property
    def input_shape(self) -> tuple[int, ...]:
        """(N, C, H, W), (N, H, W, C) or (N, C / x, H, W, x); in 1-D (N, C, L) or (N, L, C).

        These are the axes of `layout`.
        """
        return self._arrange(self.channels, self.height, self.width)

    @cached_property
    def output_shape(self) -> tuple[int, ...]:
        """(N, O, OH, OW), (N, OH, OW, O), (N, O / x, OH, OW, x); 1-D (N, O, OL) or (N, OL, O)."""
        return self._arrange(self.out_channels, self.out_height, self.out_width)

    def _arrange(self, channels: int, height: int, width: int) -> tuple[int, ...]:
        plane = (width,) if self.layout in LAYOUTS_1D else (height, width)
        if self.channels_last:
            return (self.batch, *plane, channels)
        if self.packed:
            return (self.batch, channels // self.packed, *plane, self.packed)
        return (self.batch, channels, *plane)

    @cached_property
    def weight_shape(self) -> tuple[int, ...]:
        """(O, C) where pointwise, (O, C / groups, K) where 1-D, else (O, C / groups, KH, KW)."""
        if self.kind == "pointwise":
            return self.out_channels, self.channels
        taps = self.kernel[1:] if self.kind == "depthwise1d" else self.kernel
        return (self.out_channels, self.channels // self.groups, *taps)

    @cached_property
    def operands(self) -> dict[str, tuple[int, ...]]:
        """Weight, bias (O,), residual, of the output's shape, and those of the chain, if any.

        Before the residual come those of a quantized convolution; see `quantized.operands`.
        """
        shapes = {"weight": self.weight_shape}
        if self.bias:
            shapes["bias"] = (self.out_channels,)
        if self.quantized:
            shapes |= quantized.operands(
                self.out_channels, real=self.real, table=self.table, sum=self.residual
            )
        if self.residual:
            shapes["residual"] = self.output_shape
        return shapes | operand_shapes(self.chain, self.output_shape)

    @cached_property
    def computed(self) -> tuple[str, ...]:
        """The residual, and the operands of the chain that are images or each image's own."""
        own = computed_operands(operand_shapes(self.chain, self.output_shape))
        return *["residual"] * self.residual, *own

    @property
    def quantized(self) -> bool:
        """Whether it is computed with whole numbers; see `depthwise.problem.quantized`."""
        return self.dtype in QUANTIZED

    def dtype_of(self, name: str) -> str:
        """Return the name of the element type of an array; see `Problem.dtype_of`."""
        if self.real and name == "y":
            return DEFAULT
        return quantized.dtype_of(name, self.dtype) if self.quantized else self.dtype

    @property
    def parts(self) -> tuple[ConvSpec]:
        """The convolution itself."""
        return (self,)

    def pitch(self, name: str) -> int:
        """Return how many elements lie from pixel to pixel of x, y or an operand that is one."""
        return dict(self.pitches).get(name, self.channels if name == "x" else self.out_channels)

    def sides(self, height: Any, width: Any) -> tuple[Any, Any]:
        """Return the height and the width of the result; see `Layer.sides`."""
        given = (height, width), self.kernel, self.stride, self.padding, self.dilation
        rows, columns = (output_size(*axis) for axis in zip(*given, strict=True))
        return rows, columns

    def resized(self, batch: int, height: int, width: int) -> ConvSpec:
        """Return the same convolution for so many images of this size; see `Layer.resized`."""
        return replace(self, batch=batch, height=height, width=width)

    def __str__(self) -> str:
        return conv_text(self)


def _depthwise(
    kind: Kind, channels: int, size: int | Pair, multiplier: int, **fields: Any
) -> ConvSpec:
    given = {"channels": channels, "size": size, "multiplier": multiplier, **fields}
    with errors_with(kind, given, defaults={"multiplier": 1, **vars(ConvSpec)}):
        groups = whole("channels", channels)
        out_channels = groups * whole("multiplier", multiplier)
    return _conv(kind, channels, size, groups=groups, out_channels=out_channels, **fields)


def _conv(kind: Kind, channels: int, size: int | Pair, **fields: Any) -> ConvSpec:
    with errors_with(kind, {"channels": channels, "size": size, **fields}, vars(ConvSpec)):
        height, width = pair("size", size)
    return ConvSpec(kind=kind, channels=channels, height=height, width=width, **fields)
