"""Tensors as NumPy's arrays in the same memory, and back: also those of types that NumPy lacks."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import torch
from torch import Tensor

from depthwise.problem.arrays import Array

_BFLOAT16 = "bfloat16"


def as_array(tensor: Tensor) -> Array:
    """Return a tensor on the CPU as an array."""
    held = tensor.detach()
    if held.is_neg() or held.is_conj():
        held = held.resolve_neg().resolve_conj()
    if held.dtype == torch.bfloat16:
        array: Array = held.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        return array
    found: Array = held.numpy()
    return found


def as_tensor(array: Array) -> Tensor:
    """Return the tensor of an array."""
    if array.dtype.name == _BFLOAT16:
        return torch.from_numpy(array.view("int16")).view(torch.bfloat16)
    return torch.from_numpy(array)


def lent(array: Array) -> Tensor:
    """Return the tensor of any array, for who does not write to it; a copy where it lies backward.

    (Torch has no tensors of memory that is only read.)
    """
    if not array.flags.writeable:
        array = np.asarray(_Lent(array))
    if any(stride < 0 for stride in array.strides):
        array = np.ascontiguousarray(array)
    return as_tensor(array)


class _Lent:
    """An array that says that it may be written to, without which torch warns."""

    def __init__(self, array: Array) -> None:
        address, _ = array.__array_interface__["data"]
        self.__array_interface__ = {**array.__array_interface__, "data": (address, False)}
        self._keeps_alive = array


def dtype_name(value: Any) -> str | None:
    """Return NumPy's name of a tensor's element type; None for what is no tensor."""
    if not isinstance(value, Tensor):
        return None
    return str(value.dtype).removeprefix("torch.")
