"""Products of whole numbers lane by lane, as TensorIR: steps of four bytes, two words, or one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from tvm import tirx
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.programs.direct import spread, vector

Expr: TypeAlias = Any


@dataclass(frozen=True)
class Dots:
    """How inputs are taken, and multiplied with weights."""

    group: int
    """Elements of a step, whose products an instruction adds to a sum."""
    lanes: int
    """Sums of a vector."""
    dtype: str
    """The type of inputs as they are given."""

    @property
    def input_type(self) -> str:
        """The type of inputs as they are taken."""
        return "uint8" if self.group == 4 else "int16"

    @property
    def bytes(self) -> int:
        """The bytes of an input as it is taken, and of a weight."""
        return 1 if self.group == 4 else 2

    def taken(self, value: Expr, lanes: int) -> Expr:
        """Return inputs as they are taken: bytes have no sign."""
        if self.group != 4:
            return tirx.Cast(of("int16", lanes), value)
        if self.dtype == "uint8":
            return value
        bits = T.reinterpret(of("uint8", lanes), value)
        return bits ^ spread(tirx.const(128, "uint8"), lanes)

    def padding(self, zero: Expr) -> Expr:
        """Return what padding holds, as inputs are taken."""
        return self.taken(tirx.Cast(self.dtype, zero), 1)

    def zero(self, zero: Expr) -> Expr:
        """Return what inputs as they are taken have for their zero point."""
        return zero + 128 if self.group == 4 and self.dtype == "int8" else zero

    def inputs(self, array: Any, at: Expr) -> Expr:
        """Return a step for each lane, which lie side by side."""
        ints, elements = of("int32", self.lanes), array[vector(at, self.lanes * self.group)]
        return tirx.Cast(ints, elements) if self.group == 1 else T.reinterpret(ints, elements)

    def weights(self, packed: Any, at: Expr) -> Expr:
        """Return a step of the weights of all lanes, from a place in bytes on."""
        if self.group == 1:
            return T.reinterpret(of("int16", self.lanes), packed[vector(at, 2 * self.lanes)])
        return T.reinterpret(of("int32", self.lanes), packed[vector(at, 4 * self.lanes)])

    def sums(self, packed: Any, at: Expr) -> Expr:
        """Return int32 that lie among packed weights, from a place in bytes on."""
        return T.reinterpret(of("int32", self.lanes), packed[vector(at, 4 * self.lanes)])

    def add(self, total: Expr, x: Expr, weights: Expr) -> Expr:
        """Return sums with a step more."""
        lanes, ints = self.lanes, of("int32", self.lanes)
        if self.group == 1:
            return total + x * tirx.Cast(ints, weights)
        if self.group == 2:
            kind = of("int16", 2 * lanes)
            return add_words(total, T.reinterpret(kind, x), T.reinterpret(kind, weights), lanes)
        return add_bytes(total, x, weights, lanes, in_pairs=False)


def add_bytes(total: Expr, x: Expr, weights: Expr, lanes: int, *, in_pairs: bool) -> Expr:
    """Return sums with the products of four bytes more, those of x without a sign.

    In pairs, whose sums of 16 bits saturate, where four are not multiplied in one instruction.
    """
    ints, bits = of("int32", lanes), 32 * lanes
    x, weights = (
        T.reinterpret(of(kind, 4 * lanes), each) for kind, each in (("uint8", x), ("int8", weights))
    )
    if not in_pairs:
        name = f"llvm.x86.avx512.vpdpbusd.{bits}"
        return T.call_llvm_pure_intrin(ints, name, total, x, weights)
    pairs = T.call_llvm_pure_intrin(of("int16", 2 * lanes), _MULTIPLY_BYTES[bits], x, weights)
    return add_words(total, pairs, spread(tirx.const(1, "int16"), 2 * lanes), lanes)


def add_words(total: Expr, x: Expr, weights: Expr, lanes: int) -> Expr:
    """Return sums with the products of two int16 each more."""
    name = _MULTIPLY_PAIRS[32 * lanes]
    return total + T.call_llvm_pure_intrin(of("int32", lanes), name, x, weights)


_MULTIPLY_BYTES = {256: "llvm.x86.avx2.pmadd.ub.sw", 512: "llvm.x86.avx512.pmaddubs.w.512"}
_MULTIPLY_PAIRS = {256: "llvm.x86.avx2.pmadd.wd", 512: "llvm.x86.avx512.pmaddw.d.512"}
"""What multiplies, and adds pairs, by the bits of its vectors."""


def of(dtype: str, lanes: int) -> str:
    """Return the type of so many numbers of a type."""
    return dtype if lanes == 1 else f"{dtype}x{lanes}"
