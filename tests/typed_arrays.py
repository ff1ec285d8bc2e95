"""Read by mypy, never run: what comes out is of the kind that went in."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import assert_type

import depthwise as dw
from depthwise.functions.gradients import (
    depthwise_conv2d_input_gradient,
    depthwise_conv2d_weight_gradient,
)


def arrays(x: NDArray[np.float32], mapped: np.memmap[Any, np.dtype[np.float32]]) -> None:
    assert_type(dw.depthwise_conv2d(x, x), NDArray[Any])
    assert_type(dw.depthwise_conv2d(mapped, x), NDArray[Any])
    assert_type(dw.depthwise_conv1d(x, x), NDArray[Any])
    assert_type(dw.pointwise_conv2d(x, x), NDArray[Any])
    assert_type(dw.separable_conv2d(x, x, x), NDArray[Any])
    assert_type(dw.inverted_residual(x, x, x, x), NDArray[Any])
    assert_type(depthwise_conv2d_input_gradient(x, x, (4, 4)), NDArray[Any])
    assert_type(depthwise_conv2d_weight_gradient(x, x, (3, 3)), NDArray[Any])
    assert_type(dw.unpack_nchwc(dw.pack_nchwc(x, 8), 8), NDArray[Any])
    assert_type(dw.from_tensorflow_filter(x), NDArray[Any])
    kernel = dw.compile("depthwise c8 hw8 k3")
    assert_type(kernel(x, x), NDArray[Any])
    assert_type(kernel.bind(x)(x), NDArray[Any])


def tensors(x: torch.Tensor, weight: torch.nn.Parameter) -> None:
    assert_type(dw.depthwise_conv2d(x, weight), torch.Tensor)
    assert_type(dw.depthwise_conv2d(weight, x), torch.Tensor)
    assert_type(dw.inverted_residual(x, None, x, x, residual=True), torch.Tensor)
    assert_type(depthwise_conv2d_weight_gradient(x, x, (3, 3)), torch.Tensor)
    assert_type(dw.pack_nchwc(x, 8), torch.Tensor)
    kernel = dw.compile("depthwise c8 hw8 k3")
    assert_type(kernel(x, x), torch.Tensor)
    assert_type(kernel.bind(x)(x), torch.Tensor)


def no_arrays() -> None:
    dw.depthwise_conv2d([[1.0]], [[1.0]])  # type: ignore[type-var]
    dw.pack_nchwc("x", 8)  # type: ignore[type-var]
