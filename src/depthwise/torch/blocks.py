"""Modules of several convolutions that follow one another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, device, dtype, nn
from torch.nn.modules import module as hooks

from depthwise.errors import SpecError
from depthwise.problem.values import word
from depthwise.problem.vocabulary import ACTIVATIONS
from depthwise.torch import ops
from depthwise.torch.activations import activate
from depthwise.torch.modules import DepthwiseConv2d, PointwiseConv2d, check_input
from depthwise.torch.paddings import around

if TYPE_CHECKING:
    from typing_extensions import Self


class SeparableConv2d(nn.Module):
    """A depthwise convolution, then a pointwise one: the submodules `depthwise` and `pointwise`.

    Takes (N, C, H, W) to the shape that `nn.Conv2d` with the same arguments gives, with about
    KH * KW times fewer parameters (`depthwise.problem.costs.parameter_ratio`).  Computed as one
    kernel; submodules with hooks, and others in their place, are called one after the other.

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
        wide = in_channels * multiplier
        self.depthwise = DepthwiseConv2d(
            in_channels, wide, kernel_size, stride, padding, dilation, bias=bias,
            padding_mode=padding_mode, device=device, dtype=dtype,
        )  # fmt: skip
        self.pointwise = PointwiseConv2d(wide, out_channels, bias, device, dtype)

    @classmethod
    def from_conv(cls, depthwise: nn.Conv2d, pointwise: nn.Conv2d) -> Self:
        """Return the module that computes what the two do, with the same parameters.

        Raises:
            SpecError: they are not a depthwise and a 1x1 convolution, or do not follow one another.
        """
        if depthwise.out_channels != pointwise.in_channels:
            raise SpecError(
                "the pointwise convolution takes what the depthwise one gives; "
                f"got {depthwise} and {pointwise}"
            )
        made = cls(1, 1, 1, device="meta")
        made.depthwise = DepthwiseConv2d.from_conv(depthwise)
        made.pointwise = PointwiseConv2d.from_conv(pointwise)
        return made.train(depthwise.training)

    def to_conv(self) -> nn.Sequential:
        """Return torch's convolutions that compute the same, with the same parameters and names."""
        made = nn.Sequential()
        made.add_module("depthwise", self.depthwise.to_conv())
        made.add_module("pointwise", self.pointwise.to_conv())
        return made.train(self.training)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name that nn.Conv2d gives it)
        """Return (N, O, OH, OW) for (N, C, H, W), or (O, OH, OW) for (C, H, W)."""
        depthwise, pointwise = self.depthwise, self.pointwise
        if not _as_made(depthwise, pointwise):
            output: Tensor = pointwise(depthwise(input))
            return output
        check_input(depthwise, input)
        weights = depthwise.weight, depthwise.bias, pointwise.weight, pointwise.bias
        window = depthwise.stride, depthwise.padding, depthwise.dilation, depthwise.padding_mode
        return ops.separable_conv2d(input, *weights, *window)


class InvertedResidual(nn.Module):
    """The block of MobileNetV2: the submodules `expand`, `depthwise` and `project`.

    Widens each pixel, convolves each channel with a filter of its own, narrows each pixel, and adds
    the input where the output has its shape for every input (equal channels, stride 1, a padding
    that keeps the size).  The activation follows the first two.  Computed as one kernel; submodules
    with hooks, and others in their place, are called one after the other.
    (Sandler et al. 2018, MobileNetV2: Inverted Residuals and Linear Bottlenecks; without its batch
    normalisation, which is folded into weights and biases for inference.)

    Args:
        in_channels: C.
        out_channels: O.
        kernel_size: of the depthwise convolution, and so
        stride: too.
        padding: too; None is dilation * (kernel_size - 1) // 2, with which odd kernels keep the
            size.
        dilation: too.
        bias: whether each convolution adds a bias.
        expansion: the depthwise convolution has round(C * expansion) channels; with 1 there is no
            `expand`.
        activation: None or one of `depthwise.problem.vocabulary.ACTIVATIONS`.
        device: as of `DepthwiseConv2d`.
        dtype: as of `DepthwiseConv2d`.

    Shape:
        input (N, C, H, W) or (C, H, W) -> output (N, O, OH, OW) or (O, OH, OW), channels_last where
        the input is.

    Raises:
        SpecError: the activation is none of them, or the problem cannot exist.
        ArrayError, DTypeError: as `DepthwiseConv2d`.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int] = 3,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str | None = None,
        dilation: int | tuple[int, int] = 1,
        bias: bool = True,
        expansion: float = 6,
        activation: str | None = "relu6",
        device: device | str | None = None,
        dtype: dtype | None = None,
    ) -> None:
        super().__init__()
        if activation is not None:
            word("activation", activation, ACTIVATIONS)
        self.activation = activation
        wide = round(in_channels * expansion)
        pads = _centred(kernel_size, dilation) if padding is None else padding
        self.expand = (
            None if expansion == 1 else PointwiseConv2d(in_channels, wide, bias, device, dtype)
        )
        self.depthwise = DepthwiseConv2d(
            wide, wide, kernel_size, stride, pads, dilation, bias=bias, device=device, dtype=dtype
        )
        self.project = PointwiseConv2d(wide, out_channels, bias, device, dtype)
        self.residual = in_channels == out_channels and _keeps_the_size(self.depthwise)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 (the name that nn.Conv2d gives it)
        """Return (N, O, OH, OW) for (N, C, H, W), or (O, OH, OW) for (C, H, W)."""
        expand, depthwise, project = self.expand, self.depthwise, self.project
        if not _as_made(depthwise, project, *([] if expand is None else [expand])):
            return self._in_parts(input)
        check_input(depthwise if expand is None else expand, input)
        return ops.inverted_residual(
            input,
            None if expand is None else expand.weight,
            None if expand is None else expand.bias,
            depthwise.weight,
            depthwise.bias,
            project.weight,
            project.bias,
            depthwise.stride,
            depthwise.padding,
            depthwise.dilation,
            self.activation,
            self.residual,
        )

    def extra_repr(self) -> str:
        """Return what is printed between the parentheses beside the submodules."""
        return f"activation={self.activation}, residual={self.residual}"

    def _in_parts(self, x: Tensor) -> Tensor:
        wide = x if self.expand is None else activate(self.expand(x), self.activation)
        output: Tensor = self.project(activate(self.depthwise(wide), self.activation))
        return output + x if self.residual else output


def _as_made(*modules: nn.Module) -> bool:
    """Whether calling these modules does what their parameters say, and nothing else."""
    return not hooks._has_any_global_hook() and all(
        type(module) in (DepthwiseConv2d, PointwiseConv2d)
        and not module._forward_hooks
        and not module._forward_pre_hooks
        and not module._backward_hooks
        and not module._backward_pre_hooks
        for module in modules
    )


def _centred(kernel: int | tuple[int, int], dilation: int | tuple[int, int]) -> tuple[int, int]:
    taps = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    apart = dilation if isinstance(dilation, tuple) else (dilation, dilation)
    return apart[0] * (taps[0] - 1) // 2, apart[1] * (taps[1] - 1) // 2


def _keeps_the_size(conv: nn.Conv2d) -> bool:
    """Whether a convolution's output has the height and width of every input."""
    taps, apart = conv.kernel_size, conv.dilation
    top, bottom, left, right = around(conv.padding, taps, apart)
    reach = apart[0] * (taps[0] - 1), apart[1] * (taps[1] - 1)
    return conv.stride == (1, 1) and (top + bottom, left + right) == reach
