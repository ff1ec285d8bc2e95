"""How the arrays of a call lie, and where: asked in each call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from depthwise.machine import team
from depthwise.problem.arrays import check_storage, is_tensor, reach, tracked


def signature(array: Any) -> Any:
    """Return what of an array, beside its values, a call depends on: shape, strides and type.

    Calls with equal signatures are prepared once.

    Raises:
        TypeError: arrays of this kind have none; each call has to look at them anew.
    """
    if type(array) is np.ndarray:
        return array.shape, array.strides, array.dtype
    if array is None:
        return None
    if not is_tensor(array) or tracked(array):
        raise TypeError(type(array))
    return team.native().lies(array)


def addresses_of(
    tensors: Sequence[Any], names: Sequence[str]
) -> Callable[[Sequence[Any]], list[int]]:
    """Return the function that gives the addresses of tensors like these.

    Shapes, strides and the element type, which is one for all, have been checked.  What these do
    not tell is asked in each call: whether the storage of each tensor, which may be freed or shrunk
    at any time, holds all of its elements.

    Args:
        tensors: those of one call.
        names: what errors call them.

    Raises:
        ArrayError: from that function, where a storage is too small.
    """
    called = tuple(names)

    def refuse(same: Sequence[Any]) -> None:
        for tensor, name in zip(same, called, strict=True):
            check_storage(tensor, name)

    reaches, size = tuple(map(reach, tensors)), tensors[0].element_size()
    return partial(team.native().addresses, refuse, reaches, size)
