"""Arrays of a problem as PyTorch's tensors."""

from __future__ import annotations

import numpy as np
import torch

from depthwise.bench.peers.parts import Order
from depthwise.measure.engine import Array
from depthwise.problem.dtypes import element

_FORMATS = {"NCHW": torch.contiguous_format, "NHWC": torch.channels_last}


def viewed(array: Array) -> torch.Tensor:
    """View an array, in a type of torch's own where NumPy has none."""
    if array.dtype.isbuiltin == 1:
        return torch.from_numpy(array)
    return torch.from_numpy(array.view(np.int16)).view(getattr(torch, array.dtype.name))


def as_array(tensor: torch.Tensor) -> Array:
    """View a tensor as an array of the type of problems."""
    if tensor.dtype is not torch.bfloat16:
        return tensor.numpy()
    return tensor.view(torch.int16).numpy().view(element("bfloat16").numpy)


def tensor(array: Array, order: Order) -> torch.Tensor:
    """View four axes in this order as (N, C, H, W)."""
    view = viewed(array)
    return view.permute(0, 3, 1, 2) if order == "NHWC" else view


def converted(x: torch.Tensor, order: Order) -> torch.Tensor:
    """Return (N, C, H, W) with its memory in this order; itself, where it is."""
    return x.contiguous(memory_format=_FORMATS[order])
