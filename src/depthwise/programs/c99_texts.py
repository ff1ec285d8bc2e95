"""Pieces of C text, and the types of expressions."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple, TypeAlias

import tvm_ffi

from depthwise.machine.c99_helpers import C_TYPES

Expr: TypeAlias = Any

PRIMARY, UNARY = 15, 14
"""How closely names and calls bind, and operators of one operand."""
_NARROW = {"int8", "uint8", "int16", "uint16"}
"""What C computes as `int`."""
_INT32 = 2**31


class Text(NamedTuple):
    """C text, and how closely its outermost operator binds."""

    text: str
    level: int = PRIMARY

    def within(self, level: int) -> str:
        """Return it as an operand of an operator that binds so closely."""
        return self.text if self.level >= level else f"({self.text})"


@dataclass
class Used:
    """What printed functions need."""

    helpers: set[str] = field(default_factory=set)
    headers: set[str] = field(default_factory=set)

    def helper(self, name: str, *arguments: str) -> Text:
        """Return a call of a helper."""
        self.helpers.add(name)
        return Text(f"{name}({', '.join(arguments)})")

    def unroll(self) -> str:
        """Return what stands before a loop whose arrays are to be registers."""
        self.helpers.add("dw_unroll")
        return "DW_UNROLL"


@cache
def scalar(dtype: str) -> str:
    """Return the type of an element of a vector."""
    return dtype.partition("x")[0]


def dtype_of(expr: Expr) -> str:
    """Return the element type of an expression."""
    return scalar(str(expr.ty.dtype))


def lanes_of(expr: Expr) -> int:
    """Return how many elements an expression has."""
    return int(expr.ty.dtype.lanes)


def bits_of(dtype: str) -> int:
    """Return the size of an element type."""
    return int(tvm_ffi.dtype(dtype).bits)


def integer(value: int, dtype: str) -> Text:
    """Print a whole number."""
    unsigned = "u" if dtype in ("uint32", "uint64") else ""
    if -_INT32 < value < _INT32:
        return Text(f"{value}{unsigned}", PRIMARY if value >= 0 else UNARY)
    if dtype in ("int32", "uint32"):
        return Text(f"{value}u") if unsigned else Text("-2147483647 - 1", 12)
    if value == -(2**63):
        return Text("-INT64_C(9223372036854775807) - 1", 12)
    sign = "-" * (value < 0)
    return Text(f"{sign}{unsigned.upper()}INT64_C({abs(value)})", UNARY if sign else PRIMARY)


def real(value: float, dtype: str) -> Text:
    """Print a number as the decimals that are read as the same number."""
    short = f"{value:.9g}" if dtype == "float32" else repr(value)
    if not set(short) & set(".e"):
        short += ".0"
    return Text(short + "f" * (dtype == "float32"), UNARY if short[0] == "-" else PRIMARY)


def is_short(text: Text) -> bool:
    """Whether a value is a name or a number."""
    return text.text.lstrip("-").replace(".", "").isalnum() or text.text.isidentifier()


def cast(value: Text, dtype: str) -> Text:
    """Return a value as one of another type."""
    return Text(f"({C_TYPES[dtype]}){value.within(UNARY)}", UNARY)


def narrowed(value: Text, dtype: str) -> Text:
    """Return a value of a type that C has computed as `int`."""
    return cast(value, dtype) if dtype in _NARROW else value
