"""Xception: Chollet, 2017, arXiv:1610.02357, figure 5."""

from __future__ import annotations

from torch import Tensor, nn

from depthwise.bench.networks.layers import Classifier


class Separable(nn.Sequential):
    """Depthwise and pointwise convolution with nothing between them, and batch norm."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
            nn.Conv2d(channels, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )


class Downsampling(nn.Module):
    """Two separable convolutions and max pooling, beside a strided pointwise convolution.

    Args:
        channels: of the input.
        middle: between the two.
        out_channels: of the output.
        activated: whether the first has a ReLU before it, as all others have.
    """

    def __init__(self, channels: int, middle: int, out_channels: int, activated: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *([nn.ReLU()] if activated else []),
            Separable(channels, middle),
            nn.ReLU(),
            Separable(middle, out_channels),
            nn.MaxPool2d(3, 2, 1),
        )
        self.shortcut = nn.Sequential(
            nn.Conv2d(channels, out_channels, 1, 2, bias=False), nn.BatchNorm2d(out_channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out_channels, H / 2, W / 2), rounded up."""
        y: Tensor = self.body(x) + self.shortcut(x)
        return y


class Residual(nn.Module):
    """Three separable convolutions, each after a ReLU, beside the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential()
        for _ in range(3):
            self.body.extend([nn.ReLU(), Separable(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, C, H, W)."""
        y: Tensor = x + self.body(x)
        return y


def stem(channels: int, out_channels: int, stride: int) -> list[nn.Module]:
    """Return a dense 3x3 convolution without padding, batch norm and ReLU."""
    convolution = nn.Conv2d(channels, out_channels, 3, stride, bias=False)
    return [convolution, nn.BatchNorm2d(out_channels), nn.ReLU()]


def xception() -> nn.Sequential:
    """Return the network: (N, 3, 299, 299) to (N, 1000) logits."""
    return nn.Sequential(
        *stem(3, 32, 2),
        *stem(32, 64, 1),
        Downsampling(64, 128, 128, activated=False),
        Downsampling(128, 256, 256, activated=True),
        Downsampling(256, 728, 728, activated=True),
        *(Residual(728) for _ in range(8)),
        Downsampling(728, 728, 1024, activated=True),
        Separable(1024, 1536),
        nn.ReLU(),
        Separable(1536, 2048),
        nn.ReLU(),
        Classifier(2048),
    )
