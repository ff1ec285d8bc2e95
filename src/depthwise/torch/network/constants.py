"""Tensors as NumPy's arrays in the same memory, and back: also those of types that NumPy lacks."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from depthwise.problem.arrays import Array, as_tensor, of_tensor


def as_array(tensor: Tensor) -> Array:
    """Return a tensor on the CPU as an array."""
    held = tensor.detach()
    if held.is_neg() or held.is_conj():
        held = held.resolve_neg().resolve_conj()
    return of_tensor(held)


def lent(array: Array) -> Tensor:
    """Return the tensor of any array, for who does not write to it; a copy where it lies backward.

    (Torch has no tensors of memory that is only read.)
    """
    if not array.flags.writeable:
        array = np.asarray(_Lent(array))
    if any(stride < 0 for stride in array.strides):
        array = np.ascontiguousarray(array)
    tensor: Tensor = as_tensor(array)
    return tensor


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
