"""Modules of several convolutions that follow one another."""

from __future__ import annotations

from torch import Tensor, device, dtype, nn

from depthwise.torch.modules import DepthwiseConv2d, PointwiseConv2d


class SeparableConv2d(nn.Module):
    """A depthwise convolution, then a pointwise one: the submodules `depthwise` and `pointwise`.

    Takes (N, C, H, W) to the shape that `nn.Conv2d` with the same arguments gives, with about
    KH * KW times fewer parameters (`depthwise.costs.parameter_ratio`).

    Args:
        in_channels: C.
        out_channels: O, of the pointwise convolution's output.
        kernel_size: as for `DepthwiseConv2d`, and so
        stride, padding, dilation: too.
        bias: whether each of the two adds a bias.
        padding_mode: of the depthwise convolution.
        device: as of `DepthwiseConv2d`.
        dtype: as of `DepthwiseConv2d`.
        multiplier: filters for each channel; the pointwise convolution takes C * multiplier.

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
        device: device | str | None = None,
        dtype: dtype | None = None,
        multiplier: int = 1,
    ) -> None:
        super().__init__()
        self.depthwise = DepthwiseConv2d(
            in_channels,
            in_channels * multiplier,
            kernel_size,
            stride,
            padding,
            dilation,
            bias=bias,
            padding_mode=padding_mode,
            device=device,
            dtype=dtype,
        )
        self.pointwise = PointwiseConv2d(
            in_channels * multiplier, out_channels, bias, device, dtype
        )

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name that nn.Conv2d gives it)
        """Return (N, O, OH, OW) for (N, C, H, W), or (O, OH, OW) for (C, H, W)."""
        output: Tensor = self.pointwise(self.depthwise(input))
        return output
