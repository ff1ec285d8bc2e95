"""Small torch models, and the three passes of their cost."""

import torch
from torch import nn


class Call(nn.Module):
    """A model of one function; what else it is given are its parameters."""

    def __init__(self, function, **shapes) -> None:
        super().__init__()
        self.function = function
        for name, shape in shapes.items():
            self.register_parameter(name, nn.Parameter(torch.randn(shape)))

    def forward(self, *inputs):
        return self.function(*inputs, **dict(self.named_parameters()))


class Bottleneck(nn.Module):
    """The block of MobileNetV2."""

    def __init__(self, channels: int, out_channels: int, stride: int, expansion: int = 2) -> None:
        super().__init__()
        wide = channels * expansion
        self.body = nn.Sequential(
            nn.Conv2d(channels, wide, 1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(inplace=True),
            nn.Conv2d(wide, wide, 3, stride, 1, groups=wide, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU6(inplace=True),
            nn.Conv2d(wide, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.residual = stride == 1 and channels == out_channels

    def forward(self, x):
        return x + self.body(x) if self.residual else self.body(x)


def mobilenet() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU6(),
        Bottleneck(8, 8, 1),
        Bottleneck(8, 16, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(16, 10),
    )


def passes(result) -> tuple[int, int, int]:
    return result.macs, result.input_gradient_macs, result.weight_gradient_macs
