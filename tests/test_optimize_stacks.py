"""Stacks of blocks that hypothesis makes up, against torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import depthwise.torch as dwt
from depthwise.problem.vocabulary import ACTIVATIONS
from optimizing import check, images, random_

MATCHED: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "hardswish": nn.Hardswish,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "leaky_relu": nn.LeakyReLU,
    "sigmoid": nn.Sigmoid,
    "hardsigmoid": nn.Hardsigmoid,
}
OTHERS: list[Callable[[], nn.Module]] = [
    nn.Identity,
    lambda: nn.ReLU(inplace=True),
    lambda: nn.SiLU(inplace=True),
    lambda: nn.Hardtanh(-1, 1),
    lambda: nn.Hardtanh(0, 6, inplace=True),
    lambda: nn.LeakyReLU(0.2),
    lambda: nn.GELU("tanh"),
    lambda: nn.Threshold(0.1, 0.2),
    lambda: nn.Dropout(0.5),
    lambda: Function(lambda x: x * x.sigmoid()),
    lambda: Function(lambda x: x * 1.5 + 0.25),
    lambda: Function(lambda x: x.clamp(min=0).clone().mul_(2)),
]
ACTIVATION = st.sampled_from([*MATCHED.values(), *OTHERS])


class Function(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Beside(nn.Module):
    """The sum of an input and what a body makes of it, where the shapes are the same."""

    def __init__(self, body: nn.Module, *, in_place: bool) -> None:
        super().__init__()
        self.body, self.in_place = body, in_place

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        if x.shape != y.shape:
            return y
        return y.add_(x) if self.in_place else x + y


class Gated(nn.Module):
    def __init__(self, channels: int, squeezed: int, between: nn.Module, last: nn.Module) -> None:
        super().__init__()
        self.reduce, self.restore = (
            nn.Conv2d(channels, squeezed, 1),
            nn.Conv2d(squeezed, channels, 1),
        )
        self.between, self.last = between, last

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean((2, 3), keepdim=True)
        return x * self.last(self.restore(self.between(self.reduce(mean))))


class Next(nn.Module):
    """ConvNeXt's block, or one with some of its parts."""

    def __init__(self, channels: int, kernel: int, norm: bool, scale: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6) if norm else nn.Identity()
        self.first, self.second = nn.Linear(channels, 12), nn.Linear(12, channels)
        self.scale = nn.Parameter(torch.empty(channels)) if scale else 0.5

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x).permute(0, 2, 3, 1))
        y = self.second(F.gelu(self.first(y)))
        return x + (self.scale * y).permute(0, 3, 1, 2)


@st.composite
def convolutions(
    draw: st.DrawFn, channels: int, out_channels: int | None = None
) -> tuple[list[nn.Module], int]:
    """Draw a convolution with what may follow it, and its output channels.

    It is depthwise, where the channels are not given.
    """
    layers: list[nn.Module] = []
    bias = draw(st.booleans())
    if out_channels is not None:
        layers.append(nn.Conv2d(channels, out_channels, 1, bias=bias))
    else:
        kernel, stride = draw(st.sampled_from([1, 2, 3, 5])), draw(st.integers(1, 2))
        out_channels = channels * draw(st.sampled_from([1, 1, 1, 2]))
        how: dict[str, Any] = {"stride": stride, "bias": bias, "groups": channels}
        if draw(st.booleans()):
            pads = draw(st.tuples(*[st.integers(0, kernel - 1)] * 4))
            layers += [nn.ZeroPad2d(pads)]
        else:
            how |= {"padding": kernel // 2, "dilation": draw(st.integers(1, 2))}
            how["padding"] *= how["dilation"]
        layers.append(nn.Conv2d(channels, out_channels, kernel, **how))
    if draw(st.booleans()):
        layers.append(nn.BatchNorm2d(out_channels))
    return [*layers, draw(ACTIVATION)()], out_channels


@st.composite
def blocks(draw: st.DrawFn, channels: int) -> tuple[nn.Module, int]:
    """Draw a block that takes so many channels, and its output channels."""
    kind = draw(st.sampled_from(["depthwise", "pointwise", "separable", "inverted", "next"]))
    if kind == "next":
        norm, scale = draw(st.booleans()), draw(st.booleans())
        return Next(channels, draw(st.sampled_from([3, 7])), norm, scale), channels
    layers: list[nn.Module] = []
    now = channels
    if kind in ("inverted", "pointwise"):
        more, now = draw(convolutions(now, draw(st.sampled_from([5, 8, 12]))))
        layers += more
    if kind != "pointwise":
        more, now = draw(convolutions(now))
        layers += more
    if kind == "inverted" and draw(st.booleans()):
        between, last = draw(st.sampled_from([nn.ReLU, nn.SiLU])), draw(ACTIVATION)
        layers.append(Gated(now, draw(st.integers(1, 4)), between(), last()))
    if kind in ("separable", "inverted"):
        more, now = draw(convolutions(now, draw(st.sampled_from([channels, 7]))))
        layers += more if draw(st.booleans()) else more[:1]
    body = nn.Sequential(*layers)
    return (Beside(body, in_place=draw(st.booleans())) if draw(st.booleans()) else body), now


@st.composite
def stacks(draw: st.DrawFn) -> nn.Module:
    """Draw a network of (N, 6, H, W)."""
    made: list[nn.Module] = []
    channels = 6
    for _ in range(draw(st.integers(1, 3))):
        block, channels = draw(blocks(channels))
        made.append(block)
    return nn.Sequential(*made)


def test_all_activations_are_drawn() -> None:
    assert set(MATCHED) == set(ACTIVATIONS)


@given(stacks(), st.integers(0, 99), st.sampled_from([torch.float32] * 3 + [torch.float64]))
@settings(max_examples=6)
def test_stacks_of_blocks(model: nn.Module, seed: int, dtype: torch.dtype) -> None:
    model = random_(model, seed).to(dtype)
    shape = 1 + seed % 2, 6, 9, 11
    fast = dwt.optimize(model, images(*shape, dtype=dtype))
    check(model, fast, images(*shape, seed=seed, dtype=dtype))
