"""Images in another size in networks: beside kernels they are kernels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 (the name that everyone gives it)

import depthwise.torch as dwt
from depthwise.network.steps import Stage
from onnx_models import checked, left, model, node, noise, port

pytest.importorskip("onnxruntime")

C, H, W = 8, 6, 5
COORDINATES = ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners")
ROUNDINGS = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")


def resized(inputs: str, arrays: dict, opset: int = 17, x=(2, C, H, W), **how):
    """Return the network of a convolution and a resize, held against ONNX Runtime."""
    nodes = [node("Conv", "x k", "a"), node("Resize", f"a {inputs}", "y", **how)]
    constants = {"k": noise(C, C, 1, 1), **arrays}
    return checked(model(nodes, [port("x", x)], ["y"], constants, opset=opset), noise(*x))


def of_size(*size: int) -> dict:
    return {"size": np.array([2, C, *size])}


def by(*factors: float) -> dict:
    return {"scales": np.array([1, 1, *factors], "f")}


def kinds(network) -> list[str]:
    return [step.work.spec.kind for step in network.program.steps if isinstance(step.work, Stage)]


@pytest.mark.parametrize("size", [(12, 10), (13, 3), (6, 15), (1, 1)])
@pytest.mark.parametrize("coordinates", COORDINATES)
def test_linear(coordinates, size):
    network = resized("- - size", of_size(*size), mode="linear",
                      coordinate_transformation_mode=coordinates)  # fmt: skip
    ours = coordinates != "pytorch_half_pixel" or 1 not in size
    assert (left(network) == []) == ours
    assert kinds(network) == ["pointwise", *["linear"] * ours]


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("size", [(12, 15), (13, 7), (3, 2), (9, 10), (4, 5)])
def test_nearest(rounding, coordinates, size):
    """Where engines round alike it is a kernel; else it is left, and the result is right too."""
    resized("- - size", of_size(*size), mode="nearest", nearest_mode=rounding,
            coordinate_transformation_mode=coordinates)  # fmt: skip


@pytest.mark.parametrize(
    ("how", "size", "ours"),
    [
        ({}, (12, 10), True),
        ({"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}, (13, 7), True),
        ({"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"}, (4, 5), False),
        ({"coordinate_transformation_mode": "align_corners"}, (12, 10), True),
        ({"coordinate_transformation_mode": "align_corners"}, (11, 10), False),
    ],
)
def test_which_nearest_ones_are_kernels(how, size, ours):
    """From 6 to 4 pixels, number 2 lies at 3, or, where 3/2 is rounded, a little before it.

    From 6 to 11, with the corners upon one another, every second one lies between two.
    """
    network = resized("- - size", of_size(*size), mode="nearest", **how)
    assert (left(network) == []) == ours


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("factors", [(2, 3), (1, 2), (0.5, 1), (1.5, 0.5), (1.3, 2.6)])
def test_factors(mode, factors):
    network = resized("- scales", by(*factors), mode=mode)
    if all(factor == int(factor) for factor in factors):
        assert left(network) == []


@pytest.mark.parametrize(
    "how",
    [
        {"mode": "cubic"}, {"mode": "linear", "antialias": 1},
        {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize"},
    ],
)  # fmt: skip
def test_what_no_kernel_has_is_left_to_onnx_runtime(how):
    arrays = {**by(2, 2), "region": np.array([0, 0, 0.1, 0, 1, 1, 0.9, 1], "f")}
    region = "region" if "coordinate_transformation_mode" in how else "-"
    assert left(resized(f"{region} scales", arrays, opset=18, **how)) == ["Resize"]


def test_axes_of_a_resize_are_left_to_onnx_runtime():
    arrays = {"scales": np.array([2, 2], "f")}
    assert left(resized("- scales", arrays, opset=18, mode="linear", axes=[2, 3])) != []


def test_channels_that_are_resized_are_left_to_onnx_runtime():
    arrays = {"scales": np.array([1, 2, 1, 1], "f")}
    assert left(resized("- scales", arrays, mode="nearest")) != []


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("opset", [9, 10])
def test_older_versions(mode, opset):
    operator = "Upsample" if opset == 9 else "Resize"
    nodes = [node("Conv", "x k", "a"), node(operator, "a scales", "y", mode=mode)]
    constants = {"k": noise(C, C, 1, 1), **by(2, 2)}
    made = model(nodes, [port("x", (2, C, H, W))], ["y"], constants, opset=opset)
    assert left(checked(made, noise(2, C, H, W))) == []


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_factors_of_images_of_any_size(mode):
    nodes = [node("Conv", "x k", "a"), node("Resize", "a - scales", "y", mode=mode)]
    constants = {"k": noise(C, C, 1, 1), **by(2, 2)}
    made = model(nodes, [port("x", ("n", C, "h", "w"))], ["y"], constants)
    for shape in ((1, C, 4, 7), (3, C, 5, 5)):
        assert left(checked(made, noise(*shape))) == []


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_images_of_any_size_to_one_size(mode):
    nodes = [node("Conv", "x k", "a"), node("Resize", "a - - size", "y", mode=mode)]
    constants = {"k": noise(C, C, 1, 1), **of_size(12, 12)}
    made = model(nodes, [port("x", (2, C, "h", "w"))], ["y"], constants)
    for shape in ((2, C, 6, 6), (2, C, 5, 4), (2, C, 24, 9)):
        checked(made, noise(*shape))


def test_a_resize_that_no_kernel_is_beside_is_left_to_onnx_runtime():
    made = model([node("Resize", "x - scales", "y", mode="linear")],
                 [port("x", (2, C, H, W))], ["y"], by(2, 2))  # fmt: skip
    assert left(checked(made, noise(2, C, H, W))) == ["Resize"]


class Pyramid(nn.Module):
    """A small image beside a large one, as in PP-OCR's and in U-Nets."""

    def __init__(self, **how) -> None:
        super().__init__()
        self.large, self.small = nn.Conv2d(4, C, 1), nn.Conv2d(4, C, 3, 2, 1)
        self.last, self.how = nn.Conv2d(C, 4, 3, padding=1), how

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return an image."""
        large = self.large(x)
        return self.last(large + F.interpolate(self.small(x), **self.how))


@pytest.mark.parametrize(
    "how",
    [
        {"scale_factor": 2}, {"size": (8, 12)}, {"size": (8, 12), "mode": "nearest-exact"},
        {"scale_factor": 2.0, "mode": "bilinear"}, {"size": (8, 12), "mode": "bilinear"},
        {"scale_factor": (2, 2), "mode": "bilinear", "align_corners": True},
    ],
    ids=str,
)  # fmt: skip
def test_models_of_torch(how):
    network, x = Pyramid(**how).eval(), torch.randn(2, 4, 8, 12)
    fast = dwt.optimize(network, x)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), network(x), rtol=1e-4, atol=1e-4)
    assert left(fast.network) == []


def test_a_mode_that_no_kernel_has_is_left_to_torch():
    network, x = Pyramid(scale_factor=2, mode="bicubic").eval(), torch.randn(2, 4, 8, 12)
    fast = dwt.optimize(network, x)
    with torch.no_grad():
        torch.testing.assert_close(fast(x), network(x), rtol=1e-4, atol=1e-4)
    assert left(fast.network) != []
