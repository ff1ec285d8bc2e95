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
        bits = 32 * lanes
        if self.group == 2:
            kind = of("int16", 2 * lanes)
            product = T.call_llvm_pure_intrin(
                ints, _MULTIPLY_PAIRS[bits], T.reinterpret(kind, x), T.reinterpret(kind, weights)
            )
            return total + product
        bytes_of_x = T.reinterpret(of("uint8", 4 * lanes), x)
        bytes_of_weights = T.reinterpret(of("int8", 4 * lanes), weights)
        name = f"llvm.x86.avx512.vpdpbusd.{bits}"
        return T.call_llvm_pure_intrin(ints, name, total, bytes_of_x, bytes_of_weights)


_MULTIPLY_PAIRS = {256: "llvm.x86.avx2.pmadd.wd", 512: "llvm.x86.avx512.pmaddw.d.512"}
"""The instruction by the bits of its vectors."""


def of(dtype: str, lanes: int) -> str:
    """Return the type of so many numbers of a type."""
    return dtype if lanes == 1 else f"{dtype}x{lanes}"
