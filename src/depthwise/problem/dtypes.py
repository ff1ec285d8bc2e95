"""The element types that a problem may have: one entry each, and no rule about them elsewhere.

A specification names its element type (`spec.dtype`); `spec.element` is the entry of that name.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

_Key = TypeVar("_Key")


@dataclass(frozen=True, kw_only=True)
class ElementType:
    """What the elements of a problem's arrays are, and what it is called in each library."""

    name: str
    """As problems have it, and NumPy."""
    tvm: str
    """What TensorIR calls the type that it is computed in."""
    torch: str
    """The attribute of `torch` that it is: "float32" is `torch.float32`."""
    accumulator: str
    """The name of the element type that sums of products are kept in."""
    storage: str = ""
    """What TensorIR calls what lies in memory, where that is not what is computed in."""
    library: str = ""
    """The module that gives NumPy the type, where that has none of its own."""

    @cached_property
    def numpy(self) -> str:
        """NumPy's name of it, which NumPy knows from then on."""
        if self.library:
            importlib.import_module(self.library)
        return self.name

    @cached_property
    def bytes(self) -> int:
        """The size of one element in memory."""
        return np.dtype(self.numpy).itemsize

    @property
    def computed(self) -> ElementType:
        """What it is computed in: itself, or what it is widened to when it is read."""
        return ELEMENT_TYPES[self.tvm]

    @cached_property
    def is_integer(self) -> bool:
        """Whether its elements are whole numbers."""
        return np.dtype(self.numpy).kind in "iu"

    @cached_property
    def epsilon(self) -> float:
        """The unit of rounding: the distance from 1 to the next larger number; 0 of integers."""
        if self.is_integer:
            return 0.0
        finfo: Any = importlib.import_module(self.library or "numpy").finfo
        return float(finfo(self.numpy).eps)

    @cached_property
    def range(self) -> tuple[int, int]:
        """The least and the largest of an integer type."""
        limits = np.iinfo(self.numpy)
        return int(limits.min), int(limits.max)


_FLOATS = (
    *(
        ElementType(name=name, tvm=name, torch=name, accumulator=name)
        for name in ("float32", "float64")
    ),
    ElementType(
        name="bfloat16", tvm="float32", torch="bfloat16", accumulator="float32",
        storage="uint16", library="ml_dtypes",
    ),
    ElementType(
        name="float16", tvm="float32", torch="float16", accumulator="float32", storage="float16"
    ),
)  # fmt: skip

_INTEGERS = tuple(
    ElementType(name=name, tvm=name, torch=name, accumulator="int32")
    for name in ("int8", "uint8", "int32")
)

ELEMENT_TYPES = {entry.name: entry for entry in (*_FLOATS, *_INTEGERS)}
DTYPES = tuple(entry.name for entry in _FLOATS)
"""The types of real numbers."""
ANY_REAL = f"{', '.join(DTYPES[:-1])} or {DTYPES[-1]}"
"""The same, as errors say it."""
QUANTIZED = ("int8", "uint8")
"""The types of whole numbers q that stand for scale * (q - zero point)."""
DEFAULT = DTYPES[0]
"""What a problem has unless it names another one."""


def element(name: str) -> ElementType:
    """Return the element type of a name."""
    return ELEMENT_TYPES[name]


def numpy_type(name: str) -> np.dtype[Any]:
    """Return NumPy's type of a name, also of one that another package gives it.

    Raises:
        TypeError: there is none.
    """
    known = ELEMENT_TYPES.get(name)
    return np.dtype(known.numpy if known else name)


def is_real(dtype: np.dtype[Any]) -> bool:
    """Whether elements are real numbers, also those of which NumPy does not say so."""
    return dtype.kind == "f" or dtype.name in DTYPES


def is_numeric(dtype: np.dtype[Any]) -> bool:
    """Whether elements are real or whole numbers, or truth values."""
    return is_real(dtype) or dtype.kind in "iub"


def rounding_of(dtype: np.dtype[Any]) -> float:
    """Return the unit of rounding of a type of real numbers."""
    known = ELEMENT_TYPES.get(dtype.name)
    return known.epsilon if known else float(np.finfo(dtype).eps)


def worded(text: str, dtypes: Iterable[str]) -> str:
    """Return a text on FLOPs as it is of these types: on OPs where one is of whole numbers."""
    return text.replace("FLOP", "OP") if any(element(name).is_integer for name in dtypes) else text


def names_by(key: Callable[[ElementType], _Key]) -> dict[_Key, str]:
    """Return the names in `DTYPES` by what `key` gives; the first of several entries wins."""
    names: dict[_Key, str] = {}
    for entry in _FLOATS:
        names.setdefault(key(entry), entry.name)
    return names
