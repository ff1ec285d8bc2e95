"""In which element type causal convolutions are computed, with and without autocast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from depthwise.errors import DTypeError
from depthwise.problem.arrays import check_storage
from depthwise.torch.registry import AUTOCAST_DEVICES, unwatched


def as_one_type(x: Tensor, *others: Tensor | None) -> tuple[torch.dtype, list[Any]]:
    """Return the type of a result, and the tensors in the type that it is computed in.

    Autocast has all in its type, as with torch's convolutions; otherwise the result has that of x,
    and is computed in the wider of those of x and the weight, the first of the others.

    Raises:
        DTypeError: x is not of floating point.
        ArrayError: the storage of a tensor that is converted does not hold it.
    """
    weight = others[0]
    assert weight is not None
    if not x.dtype.is_floating_point:
        raise DTypeError(f"x is of floating point; got {x.dtype}")
    kind, computed = x.dtype, torch.promote_types(x.dtype, weight.dtype)
    if _casts(x.device.type) and x.dtype != torch.float64:
        kind = computed = torch.get_autocast_dtype(x.device.type)
    tensors = x, *others
    if unwatched(*tensors):
        for tensor in tensors:
            if tensor is not None and tensor.dtype != computed:
                check_storage(tensor, "a tensor of another type")
    return kind, [each if each is None else each.to(computed) for each in tensors]


def as_it_is(device: str, operator: Callable[..., Any], *arguments: Any) -> Any:
    """Call an operator whose arguments autocast is not to convert."""
    if not _casts(device):
        return operator(*arguments)
    with torch.autocast(device, enabled=False):
        return operator(*arguments)


def _casts(device: str) -> bool:
    return device in AUTOCAST_DEVICES and torch.is_autocast_enabled(device)
