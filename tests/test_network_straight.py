"""Pixels of images brought into another order: with one copy, and the same ones."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import depthwise.torch as dwt
from depthwise.network.steps import View
from depthwise.network.straight import _steps
from onnx_models import assert_close, by_runtime, called, checked, left, noise
from test_network_attention import exported

C, H, W = 6, 8, 12


def patches(x: Tensor, size: int = 2) -> Tensor:
    """As MobileViT has them: (N * pixels of a patch, patches, C)."""
    n, c, h, w = x.shape
    y = x.reshape(n * c * h // size, size, w // size, size).transpose(1, 2)
    y = y.reshape(n, c, h * w // size**2, size**2).transpose(1, 3)
    return y.reshape(n * size**2, -1, c)


def image(y: Tensor, size: int = 2) -> Tensor:
    y = y.reshape(-1, size**2, H * W // size**2, C).transpose(1, 3)
    y = y.reshape(-1, W // size, size, size).transpose(1, 2)
    return y.reshape(-1, C, H, W)


def rows_of_patches(x: Tensor) -> Tensor:
    """The pixels of a patch one after the other."""
    n, c, h, w = x.shape
    y = x.view(n, c, h // 4, 4, w // 4, 4).permute(0, 2, 4, 3, 5, 1)
    return y.reshape(n, -1, c)


def image_of_patches(y: Tensor) -> Tensor:
    y = y.view(-1, H // 4, W // 4, 4, 4, C).permute(0, 5, 1, 3, 2, 4)
    return y.reshape(-1, C, H, W)


def swapped(x: Tensor) -> Tensor:
    """Rows as columns."""
    return x.flatten(2).view(-1, C, H, W).transpose(2, 3).reshape(-1, C, W * H).transpose(1, 2)


def image_of_swapped(y: Tensor) -> Tensor:
    return y.transpose(1, 2).view(-1, C, W, H).transpose(2, 3).flatten(2).view(-1, C, H, W)


def channels_too(x: Tensor) -> Tensor:
    """Pixels of a patch as channels, and channels of a group as pixels."""
    n = x.shape[0]
    return x.view(n, 2, 3, H * W).transpose(1, 2).reshape(n, C, -1).transpose(1, 2)


def image_of_channels(y: Tensor) -> Tensor:
    n = y.shape[0]
    return y.transpose(1, 2).reshape(n, 3, 2, H, W).transpose(1, 2).reshape(n, C, H, W)


class Around(nn.Module):
    def __init__(self, there: Callable[..., Tensor], back: Callable[..., Tensor]) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(C, C, 1), nn.Conv2d(C, C, 3, padding=1)
        self.norm, self.linear = nn.LayerNorm(C), nn.Linear(C, C)
        self.there, self.back = there, back

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.back(self.linear(self.norm(self.there(self.first(x))))))


WAYS = {
    "patches": (patches, image), "rows of patches": (rows_of_patches, image_of_patches),
    "swapped": (swapped, image_of_swapped), "channels too": (channels_too, image_of_channels),
}  # fmt: skip


@pytest.mark.parametrize("any_batch", [False, True])
@pytest.mark.parametrize("name", WAYS)
def test_pixels_in_another_order(name: str, any_batch: bool) -> None:
    module, x = Around(*WAYS[name]).eval(), torch.from_numpy(noise(2, C, H, W))
    made = exported(module, x, any_batch=any_batch)
    network = checked(made, x.numpy())
    if any_batch:
        more = noise(3, C, H, W)
        assert_close(called(network, more), by_runtime(made, [more]))
    fast = dwt.optimize(module, x)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), module(x), rtol=1e-4, atol=1e-5)
    if name != "channels too":
        assert left(network) == left(fast.network) == []


def test_patches_are_copied_once() -> None:
    module, x = Around(patches, image).eval(), torch.from_numpy(noise(2, C, H, W))
    network = checked(exported(module, x, any_batch=False), x.numpy())
    array, copies = np.ascontiguousarray(noise(2, H, W, C)).transpose(0, 3, 1, 2), 0
    for step in network.program.steps[1:]:
        if isinstance(step.work, View):
            seen = step.work.of(array)
            copies += not np.shares_memory(seen, array)
            array = seen
        else:
            array = np.empty_like(array)
    assert copies == 2


@pytest.mark.parametrize(
    ("pixels", "steps"),
    [
        (np.arange(12), [(12, 1)]),
        (np.arange(12).reshape(3, 4).T, [(4, 1), (3, 4)]),
        (np.arange(24).reshape(2, 3, 4).transpose(0, 2, 1), [(2, 12), (4, 1), (3, 4)]),
        (np.arange(24).reshape(4, 6)[::-1], None),
        (np.array([0, 1, 3, 2]), None),
        (np.array([0, 1, 4, 5]), None),
        (np.array([3, 2, 1, 0]), None),
    ],
)
def test_steps_from_pixel_to_pixel(pixels: np.ndarray, steps: list[tuple[int, int]] | None) -> None:
    assert _steps(pixels.ravel()) == steps
