"""The arithmetic of quantized numbers, as TensorIR: the same bits on every processor.

It is conversions, products and quotients of float32, rounding to even, and a fused multiply-add.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from tvm import tirx
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.programs.direct import spread

Expr: TypeAlias = Any
Ends: TypeAlias = "tuple[Expr, Expr, Expr]"
"""A zero point, the least and the largest number."""


def of(dtype: str, lanes: int) -> str:
    """Return the type of so many numbers."""
    return dtype if lanes == 1 else f"{dtype}x{lanes}"


def apart(numbers: Expr, zero: Expr, lanes: int) -> Expr:
    """Return the differences of whole numbers from a zero point, as float32."""
    wide = tirx.Cast(of("int32", lanes), numbers)
    return tirx.Cast(of("float32", lanes), wide - spread(zero, lanes))


def added(first: Expr, second: Expr, factors: tuple[Expr, Expr], lanes: int) -> Expr:
    """Return fma(first, its factor, second * its factor)."""
    own, other = (spread(factor, lanes) for factor in factors)
    return T.call_llvm_pure_intrin(of("float32", lanes), "llvm.fma", first, own, second * other)


def rounded(value: Expr, lanes: int, ends: Ends) -> Expr:
    """Return clip(round(value) + zero, least, most) as int32, whatever the size of the value.

    A NaN becomes the least.
    """
    zero, least, most = ends
    low, high = (spread(tirx.Cast("float32", bound - zero), lanes) for bound in (least, most))
    inside = tirx.min(tirx.max(value, low), high)
    near = T.call_llvm_pure_intrin(of("int32", lanes), "llvm.lrint", inside)
    return near + spread(zero, lanes)


def rounded_to_word(value: Expr, ends: Ends, dtype: str, *, whole: bool) -> Expr:
    """Return the same of one value, where an instruction rounds to an int32, and saturates.

    A NaN becomes the zero point.

    Args:
        value: what is rounded.
        ends: the zero point and the bounds.
        dtype: the type of bytes that they are of.
        whole: whether the bounds are those of the type, so that an instruction cuts, too.
    """
    zero, least, most = ends
    near = T.call_llvm_pure_intrin("float32", "llvm.arm.vcvtr", value)
    moved = T.call_llvm_pure_intrin("int32", "llvm.sadd.sat", T.reinterpret("int32", near), zero)
    if not whole:
        return tirx.max(tirx.min(moved, most), least)
    name = f"llvm.arm.{'s' if dtype == 'int8' else 'u'}sat"
    return T.call_llvm_pure_intrin("int32", name, moved, tirx.const(8, "int32"))
