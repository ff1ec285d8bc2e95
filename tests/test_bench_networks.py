"""Networks of the bench with branches, parts, shuffles or attention: what is made of each."""

from __future__ import annotations

import warnings
from pathlib import Path

import onnx
import pytest
import torch

import depthwise.torch as dwt
from onnx_models import checked
from optimizing import check, images, kinds, left_to_torch
from small_networks import OTHERS, SIZE, small_network

KERNELS = {
    "mobileone_s0": {"conv": 1, "separable": 3, "mean": 1, "pointwise": 1},
    "repvgg_a0": {"conv": 3, "mean": 1, "pointwise": 1},
}
"""One for each sum of branches, and one for both of a separable convolution."""


@pytest.mark.parametrize("name", KERNELS)
def test_branches_are_one_kernel(name: str) -> None:
    model, x = small_network(name), images(1, 3, SIZE, SIZE)
    fast = dwt.optimize(model, x)
    check(model, fast, x)
    assert kinds(fast) == KERNELS[name]
    assert left_to_torch(fast) <= {"reshape"}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in OTHERS if name not in KERNELS])
def test_models_of_pytorch(name: str) -> None:
    model, x = small_network(name), images(1, 3, SIZE, SIZE)
    fast = dwt.optimize(model, x)
    check(model, fast, x)
    check(model, fast, images(2, 3, SIZE, SIZE))


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_files_of_onnx(name: str, tmp_path: Path) -> None:
    x, file = images(1, 3, SIZE, SIZE), tmp_path / "network.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(small_network(name), (x,), file, dynamo=False, opset_version=17)
    checked(onnx.load(file), x.numpy())
