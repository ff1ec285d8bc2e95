"""The parts that the networks share."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

Activation = Callable[[], nn.Module]


class ConvNorm(nn.Sequential):
    """A convolution that keeps the size at stride 1, batch norm, and an activation or none."""

    def __init__(
        self,
        channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        *,
        groups: int = 1,
        activation: Activation | None = None,
    ) -> None:
        super().__init__(
            nn.Conv2d(
                channels, out_channels, kernel, stride, kernel // 2, groups=groups, bias=False
            ),
            nn.BatchNorm2d(out_channels),
            *([activation()] if activation else []),
        )


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate computed from the means of all."""

    def __init__(
        self, channels: int, reduced: int, activation: Activation, gate: Activation
    ) -> None:
        super().__init__()
        self.scale = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, reduced, 1),
            activation(),
            nn.Conv2d(reduced, channels, 1),
            gate(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W) times (N, C, 1, 1)."""
        scaled: Tensor = x * self.scale(x)
        return scaled


class InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, linear projection; the input is added where shapes agree.

    Args:
        channels: of the input.
        wide: of the depthwise convolution; equal to `channels`, there is no expansion.
        out_channels: of the output.
        kernel: taps of the depthwise convolution, in both directions.
        stride: of the depthwise convolution.
        activation: after the expansion and the depthwise convolution.
        squeeze: made for the channels of the depthwise convolution, and applied after it.
    """

    def __init__(
        self,
        channels: int,
        wide: int,
        out_channels: int,
        kernel: int,
        stride: int,
        activation: Activation,
        squeeze: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        expand = [ConvNorm(channels, wide, 1, activation=activation)] if wide != channels else []
        self.body = nn.Sequential(
            *expand,
            ConvNorm(wide, wide, kernel, stride, groups=wide, activation=activation),
            *([squeeze(wide)] if squeeze else []),
            ConvNorm(wide, out_channels, 1),
        )
        self.residual = stride == 1 and channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out_channels, H / stride, W / stride)."""
        y: Tensor = self.body(x)
        return x + y if self.residual else y


class Classifier(nn.Sequential):
    """The means of all channels, and linear layers on them, hidden ones with an activation."""

    def __init__(
        self, channels: int, *hidden: int, activation: Activation = nn.Identity, classes: int = 1000
    ) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        for wide in hidden:
            self.extend([nn.Linear(channels, wide), activation()])
            channels = wide
        self.extend([nn.Dropout(0.2), nn.Linear(channels, classes)])


class Branched(nn.Module):
    """Branches of one input that are summed, as MobileOne, FastViT and RepVGG are trained.

    Each is a convolution with batch norm, the last one a batch norm alone where shapes agree.

    Args:
        channels: of the input.
        out_channels: of the output.
        kernel: taps of the convolutions, in both directions.
        stride: of all branches.
        groups: of all convolutions.
        convolutions: how many there are that are alike.
        scale: whether there is a 1x1 convolution beside larger ones.
        activation: of the sum, or none.
        squeeze: made for the channels of the output, and applied before the activation.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        kernel: int,
        stride: int = 1,
        *,
        groups: int = 1,
        convolutions: int = 1,
        scale: bool = True,
        activation: Activation | None = None,
        squeeze: Callable[[int], nn.Module] | None = None,
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleList()
        for taps in [kernel] * convolutions + [1] * (scale and kernel > 1):
            self.branches.append(ConvNorm(channels, out_channels, taps, stride, groups=groups))
        if stride == 1 and channels == out_channels:
            self.branches.append(nn.BatchNorm2d(channels))
        self.squeeze = squeeze(out_channels) if squeeze else nn.Identity()
        self.activation = activation() if activation else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out_channels, H / stride, W / stride)."""
        y: Tensor = self.activation(self.squeeze(sum(branch(x) for branch in self.branches)))
        return y
