"""Modules with the arguments, parameters, initial values and state-dict names of torch's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, device, dtype, nn
from torch.nn.modules.conv import _ConvNd

from depthwise.errors import ArrayError, SpecError
from depthwise.torch import ops
from depthwise.torch.conversion import arguments_of, refuse, with_parameters

if TYPE_CHECKING:
    from typing_extensions import Self


class _Depthwise(_ConvNd):
    """What the depthwise modules of one and two dimensions share."""

    _conv: type[_ConvNd]
    """The module of torch that computes the same."""

    @classmethod
    def from_conv(cls, conv: _ConvNd) -> Self:
        """Return the module that computes what `conv` does, with the same parameters.

        Raises:
            SpecError: `conv` is not torch's convolution of this dimension, not depthwise, or
                parametrized.
        """
        if not isinstance(conv, cls._conv) or conv.groups != conv.in_channels:
            raise refuse(conv, cls, f"an nn.{cls._conv.__name__} with groups=in_channels")
        return with_parameters(cls(**arguments_of(conv), device="meta"), conv)

    def to_conv(self) -> Any:
        """Return torch's convolution that computes the same, with the same parameters.

        Raises:
            SpecError: the padding is "causal", which torch's has not, or this is parametrized.
        """
        if self.padding == "causal":
            raise SpecError(f"padding of torch's convolutions is not 'causal': {self}")
        groups: Any = {"groups": self.groups, "device": "meta"}
        return with_parameters(self._conv(**arguments_of(self), **groups), self)


class DepthwiseConv2d(_Depthwise, nn.Conv2d):
    """One filter (or several) for each channel.

    Equivalent to `nn.Conv2d(in_channels, out_channels, kernel_size, ..., groups=in_channels)`:
    the same arguments, the same parameters, the same initial values after the same seed.

    Args:
        in_channels: C.
        out_channels: a multiple of C; the multiple is the channel multiplier.
        kernel_size: taps, one number or (height, width).
        stride: distance between outputs, one number or (height, width).
        padding: one number, (height, width), "same" (stride 1 only) or "valid".
        dilation: distance between taps, one number or (height, width).
        groups: C, or None for C.
        bias: whether an (out_channels,) bias is added.
        padding_mode: "zeros", "reflect", "replicate" or "circular".
        device: where the parameters are made; kernels compute on the CPU, torch elsewhere.
        dtype: torch.float32, float64, bfloat16 or float16.

    Shape:
        input (N, C, H, W) or (C, H, W) -> output (N, out_channels, OH, OW) or
        (out_channels, OH, OW), channels_last where the input is; weight (out_channels, 1, KH, KW).

    Raises:
        SpecError: `groups` is not C, or the call's problem cannot exist.
        ArrayError: the input's shape or device does not fit.
        DTypeError: the input is not of floating point, or not of the parameters' type.
    """

    _conv = nn.Conv2d

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int | None = None,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: device | str | None = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            _groups(groups, in_channels),
            bias,
            padding_mode,  # type: ignore[arg-type]
            device,
            dtype,
        )

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name that nn.Conv2d gives it)
        """Return the convolution of (N, C, H, W) or (C, H, W)."""
        check_input(self, input)
        window = self.stride, self.padding, self.dilation, self.padding_mode
        return ops.depthwise_conv2d(input, self.weight, self.bias, *window)


class DepthwiseConv1d(_Depthwise, nn.Conv1d):
    """One filter (or several) for each channel of a sequence.

    Equivalent to `nn.Conv1d(in_channels, out_channels, kernel_size, ..., groups=in_channels)`.

    Args:
        in_channels: C.
        out_channels: a multiple of C; the multiple is the channel multiplier.
        kernel_size: taps.
        stride: distance between outputs.
        padding: one number, "same" (stride 1 only), "valid" or "causal" (no output reads an input
            behind it).
        dilation: distance between taps.
        groups: C, or None for C.
        bias: whether an (out_channels,) bias is added.
        padding_mode: "zeros", "reflect", "replicate" or "circular".
        device: as of `DepthwiseConv2d`.
        dtype: as of `DepthwiseConv2d`.

    Shape:
        input (N, C, L) or (C, L) -> output (N, out_channels, OL) or (out_channels, OL); weight
        (out_channels, 1, K).  A transposed (N, L, C) is computed as it lies.

    Raises:
        SpecError, ArrayError, DTypeError: as `DepthwiseConv2d`.
    """

    _conv = nn.Conv1d

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int],
        stride: int | tuple[int] = 1,
        padding: int | tuple[int] | str = 0,
        dilation: int | tuple[int] = 1,
        groups: int | None = None,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: device | str | None = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            "valid" if padding == "causal" else padding,
            dilation,
            _groups(groups, in_channels),
            bias,
            padding_mode,  # type: ignore[arg-type]
            device,
            dtype,
        )
        if padding == "causal":
            self.padding = "causal"

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name that nn.Conv1d gives it)
        """Return the convolution of (N, C, L) or (C, L)."""
        check_input(self, input)
        window = self.stride, self.padding, self.dilation, self.padding_mode
        return ops.depthwise_conv1d(input, self.weight, self.bias, *window)


class PointwiseConv2d(nn.Conv2d):
    """A dense layer over the channels of each pixel.

    Equivalent to `nn.Conv2d(in_channels, out_channels, 1)`.

    Args:
        in_channels: C.
        out_channels: O.
        bias: whether an (O,) bias is added.
        device: as of `DepthwiseConv2d`.
        dtype: as of `DepthwiseConv2d`.

    Shape:
        input (N, C, H, W) or (C, H, W) -> output (N, O, H, W) or (O, H, W), channels_last where the
        input is; weight (O, C, 1, 1).

    Raises:
        ArrayError, DTypeError: as `DepthwiseConv2d`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        bias: bool = True,
        device: device | str | None = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, 1, bias=bias, device=device, dtype=dtype)

    @classmethod
    def from_conv(cls, conv: nn.Conv2d) -> Self:
        """Return the module that computes what `conv` does, with the same parameters.

        Raises:
            SpecError: `conv` is no 1x1 `nn.Conv2d` without stride, padding and groups, or it is
                parametrized.
        """
        if not isinstance(conv, nn.Conv2d) or not _mixes(conv):
            raise refuse(conv, cls, "a 1x1 nn.Conv2d with stride 1, no padding and one group")
        made: Any = {"bias": conv.bias is not None, "dtype": conv.weight.dtype}
        return with_parameters(
            cls(conv.in_channels, conv.out_channels, **made, device="meta"), conv
        )

    def to_conv(self) -> nn.Conv2d:
        """Return the `nn.Conv2d` that computes the same, with the same parameters.

        Raises:
            SpecError: this is parametrized.
        """
        return with_parameters(nn.Conv2d(**arguments_of(self), device="meta"), self)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name that nn.Conv2d gives it)
        """Return the convolution of (N, C, H, W) or (C, H, W)."""
        check_input(self, input)
        return ops.pointwise_conv2d(input, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return what is printed between the parentheses."""
        bias = "" if self.bias is not None else ", bias=False"
        return f"{self.in_channels}, {self.out_channels}{bias}"


def count_parameters(module: nn.Module, trainable: bool = True) -> int:
    """Return the number of a module's parameters, or of its trainable ones alone."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trainable)


def check_input(conv: _ConvNd, x: Tensor) -> None:
    """Refuse an input of other axes or channels than a module is made for.

    (Of a single channel, kernels would take all filters of a depthwise weight to be that one's.)
    """
    axes = 1 + len(conv.kernel_size)
    if x.dim() - axes not in (0, 1) or x.size(-axes) != conv.in_channels:
        sizes = f"{conv.in_channels}, {'H, W' if axes == 3 else 'L'}"
        raise ArrayError(f"an input is (N, {sizes}) or ({sizes}); got {tuple(x.shape)}: {conv}")


def _groups(groups: int | None, in_channels: int) -> int:
    if groups not in (None, in_channels):
        raise SpecError(
            "groups of a depthwise convolution are its input channels (or None); "
            f"got groups={groups}, in_channels={in_channels}"
        )
    return in_channels


def _mixes(conv: nn.Conv2d) -> bool:
    plain = conv.kernel_size == conv.stride == (1, 1) and conv.groups == 1
    return plain and conv.padding in ((0, 0), "valid", "same")
