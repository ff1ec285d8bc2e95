"""Arrays of a problem as PyTorch's tensors."""

from __future__ import annotations

import torch

from depthwise.bench.peers.parts import Order
from depthwise.measure.engine import Array
from depthwise.problem.arrays import as_tensor

_FORMATS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}


def tensor(array: Array, order: Order) -> torch.Tensor:
    """View four axes in this order as (N, C, H, W)."""
    view: torch.Tensor = as_tensor(array)
    return view.permute(0, 3, 1, 2) if order == "NHWC" else view


def converted(x: torch.Tensor, order: Order) -> torch.Tensor:
    """Return (N, C, H, W) with its memory in this order; itself, where it is."""
    return x.contiguous(memory_format=_FORMATS[order])
