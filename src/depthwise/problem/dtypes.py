"""The element types that a problem may have: one entry each, and no rule about them elsewhere.

A specification names its element type (`spec.dtype`); `spec.element` is the entry of that name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

import numpy as np

_Key = TypeVar("_Key")


@dataclass(frozen=True, kw_only=True)
class ElementType:
    """What the elements of a problem's arrays are, and what it is called in each library."""

    name: str
    """As problems have it."""
    numpy: str
    """NumPy's name of it."""
    tvm: str
    """TensorIR's name of it."""
    torch: str
    """The attribute of `torch` that it is: "float32" is `torch.float32`."""
    accumulator: str
    """The name of the element type that sums of products are kept in."""

    @cached_property
    def bytes(self) -> int:
        """The size of one element."""
        return np.dtype(self.numpy).itemsize

    @cached_property
    def is_integer(self) -> bool:
        """Whether its elements are whole numbers."""
        return np.dtype(self.numpy).kind in "iu"

    @cached_property
    def epsilon(self) -> float:
        """The unit of rounding: the distance from 1 to the next larger number; 0 of integers."""
        return 0.0 if self.is_integer else float(np.finfo(self.numpy).eps)

    @cached_property
    def range(self) -> tuple[int, int]:
        """The least and the largest of an integer type."""
        limits = np.iinfo(self.numpy)
        return int(limits.min), int(limits.max)


_FLOATS = (
    ElementType(
        name="float32", numpy="float32", tvm="float32", torch="float32", accumulator="float32"
    ),
    ElementType(
        name="float64", numpy="float64", tvm="float64", torch="float64", accumulator="float64"
    ),
)

_INTEGERS = tuple(
    ElementType(name=name, numpy=name, tvm=name, torch=name, accumulator="int32")
    for name in ("int8", "uint8", "int32")
)

ELEMENT_TYPES = {entry.name: entry for entry in (*_FLOATS, *_INTEGERS)}
DTYPES = tuple(entry.name for entry in _FLOATS)
"""The types of real numbers."""
QUANTIZED = ("int8", "uint8")
"""The types of whole numbers q that stand for scale * (q - zero point)."""
DEFAULT = DTYPES[0]
"""What a problem has unless it names another one."""


def element(name: str) -> ElementType:
    """Return the element type of a name."""
    return ELEMENT_TYPES[name]


def worded(text: str, dtypes: Iterable[str]) -> str:
    """Return a text on FLOPs as it is of these types: on OPs where one is of whole numbers."""
    return text.replace("FLOP", "OP") if any(element(name).is_integer for name in dtypes) else text


def names_by(key: Callable[[ElementType], _Key]) -> dict[_Key, str]:
    """Return the names in `DTYPES` by what `key` gives; the first of several entries wins."""
    names: dict[_Key, str] = {}
    for entry in _FLOATS:
        names.setdefault(key(entry), entry.name)
    return names
