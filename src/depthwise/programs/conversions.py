"""Numbers of 16 bits as float32 and back, in expressions of TensorIR: of one number or a vector.

Rounding is to the nearest, the even one of two; NaN stays NaN, infinities and subnormals stay what
they are.  bfloat16 is the upper half of float32, so that both ways are operations on whole numbers:
LLVM's own would be a call of a library, or, where there is an instruction (`vcvtneps2bf16`), lose
subnormals.  float16 is converted by instructions where a target has them, or else by operations on
whole numbers too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import tvm_ffi
from tvm import tirx

from depthwise.machine.target import Target
from depthwise.problem.dtypes import ElementType

Expr: TypeAlias = Any


@dataclass(frozen=True)
class Conversion:
    """How numbers lie in memory, and how they come from there and go back."""

    storage: str
    """TensorIR's name of what lies in memory."""
    widen: Callable[[Expr], Expr]
    """From that to float32."""
    narrow: Callable[[Expr], Expr]
    """From float32 to that."""


def conversion(element: ElementType, target: Target) -> Conversion | None:
    """Return the conversion of an element type; None where it is computed in itself."""
    if not element.storage:
        return None
    if element.name == "bfloat16":
        return Conversion("uint16", _from_bfloat16, _to_bfloat16)
    if target.converts_float16:
        return Conversion("float16", _cast("float32"), _cast("float16"))
    return Conversion("uint16", _from_float16, _to_float16)


def _from_bfloat16(value: Expr) -> Expr:
    return _real(_wide(value) << _like(16, value))


def _to_bfloat16(value: Expr) -> Expr:
    """Add half of the last place and drop what is below it; NaN becomes a quiet one."""

    def rounded(bits: Expr) -> Expr:
        odd = (bits >> _like(16, bits)) & _like(1, bits)
        up = (bits + (odd + _like(0x7FFF, bits))) >> _like(16, bits)
        quiet = (bits >> _like(16, bits)) | _like(0x40, bits)
        is_nan = (bits & _like(0x7FFFFFFF, bits)) > _like(0x7F800000, bits)
        return tirx.Select(is_nan, quiet, up)

    return _from_bits(value, rounded)


_INFINITE, _ONE_BEYOND, _LEAST = 0x7C00, 0x47800000, 0x38800000
"""float16's infinity; float32's 2**16, and 2**-14, the least of float16 with all its digits."""


def _from_float16(value: Expr) -> Expr:
    """Put exponent and digits in their places, and multiply by what the exponents differ by."""
    bits = _wide(value)
    sign = (bits & _like(0x8000, bits)) << _like(16, bits)
    digits = (bits & _like(0x7FFF, bits)) << _like(13, bits)
    finite = _bits(_real(digits) * _as(2.0**112, "float32", digits))
    other = digits | _like(0x7F800000, bits)
    is_finite = digits < _like(_INFINITE << 13, bits)
    return _real(tirx.Select(is_finite, finite, other) | sign)


def _to_float16(value: Expr) -> Expr:
    """Round where the last place is: that of 0.5 added for subnormals, or of the number itself."""

    def rounded(bits: Expr) -> Expr:
        sign = (bits >> _like(16, bits)) & _like(0x8000, bits)
        size = bits & _like(0x7FFFFFFF, bits)
        odd = (size >> _like(13, bits)) & _like(1, bits)
        whole = (size + (odd + _like(0x0FFF - (112 << 23) & 0xFFFFFFFF, bits))) >> _like(13, bits)
        half = _like(0x3F000000, bits)
        small = _bits(_real(size) + _as(0.5, "float32", bits)) - half
        least, most = _like(_LEAST, bits), _like(_ONE_BEYOND, bits)
        digits = (size >> _like(13, bits)) & _like(0x3FF, bits)
        nan = digits | _like(_INFINITE | 0x200, bits)
        is_nan = size > _like(0x7F800000, bits)
        other = tirx.Select(is_nan, nan, _like(_INFINITE, bits))
        found = tirx.Select(size < least, small, tirx.Select(size < most, whole, other))
        return found | sign

    return _from_bits(value, rounded)


def _from_bits(value: Expr, rounded: Callable[[Expr], Expr]) -> Expr:
    """Return the lower 16 bits of what is made of the bits of a number, which is computed once.

    (Of two names within each other TVM would drop one, and compute its value twice.)
    """
    bits = tirx.Var("bits", _kind("uint32", value))
    low = tirx.Cast(_kind("uint16", value), rounded(bits))
    return tirx.Let(bits, _bits(value), low)


def _wide(value: Expr) -> Expr:
    return tirx.Cast(_kind("uint32", value), value)


def _bits(value: Expr) -> Expr:
    return tirx.reinterpret(_kind("uint32", value), value)


def _real(bits: Expr) -> Expr:
    return tirx.reinterpret(_kind("float32", bits), bits)


def _cast(dtype: str) -> Callable[[Expr], Expr]:
    return lambda value: tirx.Cast(_kind(dtype, value), value)


def _kind(dtype: str, value: Expr) -> str:
    """Return the vector of a type that has as many lanes as a value."""
    lanes = _lanes(value)
    return f"{dtype}x{lanes}" if lanes > 1 else dtype


def _like(number: int, value: Expr) -> Expr:
    """Return a whole number without a sign, in as many lanes as a value has."""
    return _as(number, "uint32", value)


def _as(number: float, dtype: str, value: Expr) -> Expr:
    one, lanes = tirx.const(number, dtype), _lanes(value)
    return tirx.Broadcast(one, lanes) if lanes > 1 else one


def _lanes(value: Expr) -> int:
    return int(tvm_ffi.dtype(str(value.ty.dtype)).lanes)
