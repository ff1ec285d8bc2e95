"""Modules with the arguments, parameters, initial values and state-dict names of `nn.Conv2d`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from depthwise.errors import SpecError
from depthwise.torch import ops


class DepthwiseConv2d(nn.Conv2d):
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
        device: where the parameters are made; the module computes on the CPU.
        dtype: torch.float32 or torch.float64.

    Shape:
        input (N, C, H, W) or (C, H, W) -> output (N, out_channels, OH, OW) or
        (out_channels, OH, OW), channels_last where the input is; weight (out_channels, 1, KH, KW).

    Raises:
        SpecError: `groups` is not C, or the call's problem cannot exist.
        ArrayError: the input is not on the CPU, or its shape does not fit.
        DTypeError: the input is neither float32 nor float64, or not of the parameters' type.
    """

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
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if groups not in (None, in_channels):
            raise SpecError(
                "groups of a depthwise convolution are its input channels (or None); "
                f"got groups={groups}, in_channels={in_channels}"
            )
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            in_channels,
            bias,
            padding_mode,  # type: ignore[arg-type]
            device,
            dtype,
        )

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name that nn.Conv2d gives it)
        """Return the convolution of (N, C, H, W) or (C, H, W)."""
        return ops.depthwise_conv2d(
            input,
            self.weight,
            self.bias,
            stride=self.stride,
            padding=self.padding,
            dilation=self.dilation,
            padding_mode=self.padding_mode,
        )


class PointwiseConv2d(nn.Conv2d):
    """A dense layer over the channels of each pixel.

    Equivalent to `nn.Conv2d(in_channels, out_channels, 1)`.

    Args:
        in_channels: C.
        out_channels: O.
        bias: whether an (O,) bias is added.
        device: where the parameters are made; the module computes on the CPU.
        dtype: torch.float32 or torch.float64.

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
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(in_channels, out_channels, 1, bias=bias, device=device, dtype=dtype)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name that nn.Conv2d gives it)
        """Return the convolution of (N, C, H, W) or (C, H, W)."""
        return ops.pointwise_conv2d(input, self.weight, self.bias)


class SeparableConv2d(nn.Module):
    """A depthwise convolution, then a pointwise one: the submodules `depthwise` and `pointwise`.

    Takes (N, C, H, W) to the shape that `nn.Conv2d` with the same arguments gives, with about
    KH * KW times fewer parameters (`depthwise.costs.parameter_ratio`).

    Args:
        in_channels: C, of the depthwise convolution's input and output.
        out_channels: O, of the pointwise convolution's output.
        kernel_size: as for `DepthwiseConv2d`, and so
        stride, padding, dilation: too.
        bias: whether each of the two adds a bias.
        padding_mode: of the depthwise convolution.
        device: where the parameters are made; the module computes on the CPU.
        dtype: torch.float32 or torch.float64.

    Raises:
        SpecError, ArrayError, DTypeError: as `DepthwiseConv2d`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.depthwise = DepthwiseConv2d(
            in_channels,
            in_channels,
            kernel_size,
            stride,
            padding,
            dilation,
            bias=bias,
            padding_mode=padding_mode,
            device=device,
            dtype=dtype,
        )
        self.pointwise = PointwiseConv2d(in_channels, out_channels, bias, device, dtype)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name that nn.Conv2d gives it)
        """Return (N, O, OH, OW) for (N, C, H, W), or (O, OH, OW) for (C, H, W)."""
        output: Tensor = self.pointwise(self.depthwise(input))
        return output


def count_parameters(module: nn.Module, trainable: bool = True) -> int:
    """Return the number of a module's parameters, or of its trainable ones alone."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trainable)
