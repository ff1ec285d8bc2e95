"""GhostNetV2: Tang et al., 2022, arXiv:2211.12905, figure 4: GhostNet with attention."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from depthwise.bench.networks.ghostnet import Ghost, network_of
from depthwise.bench.networks.layers import ConvNorm

PLAIN = 2
"""The first blocks, which are those of GhostNet."""


class LongRange(nn.Sequential):
    """Decoupled fully connected attention: a row and a column of an image of half the size."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__(nn.AvgPool2d(2), ConvNorm(channels, out_channels, 1))
        for kernel, padding in (((1, 5), (0, 2)), ((5, 1), (2, 0))):
            self.extend(
                [
                    nn.Conv2d(
                        out_channels, out_channels, kernel, padding=padding, groups=out_channels,
                        bias=False,
                    ),
                    nn.BatchNorm2d(out_channels),
                ]
            )  # fmt: skip
        self.append(nn.Sigmoid())


class Attentive(nn.Module):
    """A ghost module, each of whose results has a weight."""

    def __init__(self, channels: int, out_channels: int) -> None:
        super().__init__()
        self.ghost = Ghost(channels, out_channels, activated=True)
        self.attention = LongRange(channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return (N, out_channels, H, W)."""
        weights = functional.interpolate(self.attention(x), size=x.shape[2:], mode="nearest")
        y: Tensor = self.ghost(x) * weights
        return y


def ghostnet_v2() -> nn.Sequential:
    """Return the network of width 1: (N, 3, 224, 224) to (N, 1000) logits."""
    return network_of(
        lambda channels, wide, place: (
            Ghost(channels, wide, activated=True) if place < PLAIN else Attentive(channels, wide)
        )
    )
