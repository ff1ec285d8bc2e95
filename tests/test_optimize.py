"""Whole networks optimized, against torch: results, and what became kernels."""

from __future__ import annotations

import pytest
import torch

import depthwise.torch as dwt
from depthwise.errors import ArrayError
from optimizing import check, images, kinds, left_to_torch
from small_networks import SIZE, small_network

MATCHED = {
    "mobilenet_v1": {"conv": 1, "separable": 2, "pointwise": 1, "mean": 1},
    "mobilenet_v2": {"conv": 1, "separable": 1, "inverted": 2, "pointwise": 2, "mean": 1},
    "mobilenet_v3_large": {"conv": 1, "inverted": 2, "pointwise": 3, "mean": 1},
    "efficientnet_b0": {"conv": 1, "inverted": 3, "pointwise": 2, "mean": 1},
    "convnext_tiny": {"conv": 2, "depthwise": 3, "norm": 6, "pointwise": 7, "mean": 1},
    "xception": {
        "conv": 3,
        "separable": 5,
        "pointwise": 1,
        "mean": 1,
        "elementwise": 2,
        "maxpool": 1,
    },
    "transformers.mobilenet_v1": {"conv": 1, "separable": 2, "pointwise": 1, "mean": 1},
    "transformers.mobilenet_v2": {
        "conv": 1,
        "separable": 1,
        "inverted": 2,
        "pointwise": 1,
        "mean": 1,
    },
    "transformers.efficientnet": {"conv": 1, "inverted": 3, "pointwise": 2},
    "transformers.convnext": {"conv": 2, "depthwise": 3, "norm": 6, "pointwise": 7, "mean": 1},
    "transformers.convnext_v2": {
        "conv": 2,
        "depthwise": 3,
        "norm": 6,
        "pointwise": 7,
        "mean": 4,
        "l2": 3,
        "elementwise": 9,
    },
}
BETWEEN = {"adaptive_avg_pool2d", "flatten", "reshape"}
LEFT = {
    "transformers.efficientnet": BETWEEN | {"avg_pool2d"},
}


ANOTHER_BATCH = {"mobilenet_v2", "convnext_tiny"}
"""Networks that are tried with it: each batch has kernels of its own to be compiled."""


ALIKE = {
    "mobilenet_v1",
    "transformers.mobilenet_v2",
    "transformers.efficientnet",
    "transformers.convnext",
}
"""Networks of the same operators as another of `MATCHED`."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in ALIKE else ()) for name in MATCHED],
)
def test_networks(name: str) -> None:
    model = small_network(name)
    state = {key: value.clone() for key, value in model.state_dict().items()}
    x = images(1, 3, SIZE, SIZE)
    with torch.no_grad():
        before = model(x)
    fast = dwt.optimize(model, x)
    assert kinds(fast) == MATCHED[name]
    assert left_to_torch(fast) <= LEFT.get(name, BETWEEN)
    assert fast.report.traced == "torch.export"
    with torch.no_grad():
        after = model(x)
    assert type(after) is type(before)
    for same, (key, value) in zip(model.state_dict().values(), state.items(), strict=True):
        assert torch.equal(same, value), key
    for batch in (1, 2, 1) if name in ANOTHER_BATCH else (1,):
        check(model, fast, images(batch, 3, SIZE, SIZE, seed=batch))
    with pytest.raises(ArrayError, match="for others"):
        fast(images(1, 3, SIZE, SIZE + 1))
