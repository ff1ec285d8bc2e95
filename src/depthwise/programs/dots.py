"""Products of whole numbers lane by lane, as TensorIR: steps of four bytes, two words, or one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from tvm import tirx
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.machine.target import Target
from depthwise.programs.direct import spread, vector
from depthwise.programs.quantized_numbers import of

Expr: TypeAlias = Any

WORD_BYTES = 2


@dataclass(frozen=True)
class Dots:
    """How inputs are taken, and multiplied with weights."""

    target: Target
    group: int
    """Elements of a step, whose products one or two instructions add to a sum: four bytes, two
    16-bit numbers, or one."""
    dtype: str
    """The type of inputs as they are given."""

    @property
    def lanes(self) -> int:
        """Sums of a vector."""
        return self.target.lanes("int32")

    @property
    def of_bytes(self) -> bool:
        """Whether bytes are multiplied, and not 16-bit numbers."""
        return self.group == 4

    @property
    def input_type(self) -> str:
        """The type of inputs as they are taken."""
        if not self.of_bytes:
            return "int16"
        return "int8" if self.target.dots == "signed quads" else "uint8"

    @property
    def bytes(self) -> int:
        """The bytes of an input as it is taken, and of a weight."""
        return 1 if self.of_bytes else WORD_BYTES

    def taken(self, value: Expr, lanes: int) -> Expr:
        """Return inputs as they are taken: bytes of the other sign are moved by 128."""
        if not self.of_bytes:
            return tirx.Cast(of("int16", lanes), value)
        if self.dtype == self.input_type:
            return value
        bits = T.reinterpret(of(self.input_type, lanes), value)
        return bits ^ T.reinterpret(of(self.input_type, lanes), spread(_TOP_BIT, lanes))

    def zero(self, zero: Expr) -> Expr:
        """Return what inputs as they are taken have for their zero point."""
        if not self.of_bytes or self.dtype == self.input_type:
            return zero
        return zero + 128 if self.dtype == "int8" else zero - 128

    def input(self, array: Any, at: Expr) -> Expr:
        """Return one step for all lanes."""
        if self.group == 1:
            return spread(tirx.Cast("int32", array[at]), self.lanes)
        return spread(T.reinterpret("int32", array[vector(at, self.group)]), self.lanes)

    def inputs(self, array: Any, at: Expr) -> Expr:
        """Return a step for each lane, which lie side by side."""
        ints, elements = of("int32", self.lanes), array[vector(at, self.lanes * self.group)]
        return tirx.Cast(ints, elements) if self.group == 1 else T.reinterpret(ints, elements)

    def weights(self, packed: Any, at: Expr) -> Expr:
        """Return a step of the weights of all lanes, from a place in bytes on."""
        lanes = self.lanes
        if self.group == 1:
            words = T.reinterpret(of("int16", lanes), packed[vector(at, WORD_BYTES * lanes)])
            return tirx.Cast(of("int32", lanes), words)
        return T.reinterpret(of("int32", lanes), packed[vector(at, 4 * lanes)])

    def sums(self, packed: Any, at: Expr) -> Expr:
        """Return int32 that lie among packed weights, from a place in bytes on."""
        return T.reinterpret(of("int32", self.lanes), packed[vector(at, 4 * self.lanes)])

    def add(self, total: Expr, x: Expr, weights: Expr) -> Expr:
        """Return sums with a step more; where bytes are added in pairs, none may saturate."""
        if self.group == 1:
            return total + x * weights
        if self.group == 2:
            kind = of("int16", 2 * self.lanes)
            return add_words(
                total, T.reinterpret(kind, x), T.reinterpret(kind, weights), self.lanes
            )
        return add_bytes(total, x, weights, self.target)


_TOP_BIT = tirx.const(-128, "int8")


def add_bytes(total: Expr, x: Expr, weights: Expr, target: Target) -> Expr:
    """Return sums with the products of four bytes more.

    In pairs, whose sums of 16 bits saturate, where four are not multiplied in one instruction.
    """
    lanes = target.lanes("int32")
    ints, bits = of("int32", lanes), 32 * lanes
    if target.dots == "pairs":
        signs = ("uint8", x), ("int8", weights)
        own, others = (T.reinterpret(of(kind, 4 * lanes), each) for kind, each in signs)
        words = of("int16", 2 * lanes)
        pairs = T.call_llvm_pure_intrin(words, _MULTIPLY_BYTES[bits], own, others)
        return add_words(total, pairs, spread(tirx.const(1, "int16"), 2 * lanes), lanes)
    sign = "int8" if target.dots == "signed quads" else "uint8"
    own = T.reinterpret(of(sign, 4 * lanes), x)
    others = T.reinterpret(of("int8", 4 * lanes), weights)
    if sign == "int8":  # the instruction that takes one step of a vector has that as the second
        own, others = others, own
    return T.call_llvm_pure_intrin(ints, _MULTIPLY_QUADS[bits, sign], total, own, others)


def add_words(total: Expr, x: Expr, weights: Expr, lanes: int) -> Expr:
    """Return sums with the products of two int16 each more."""
    if lanes == 1:
        ints = [T.reinterpret("int32", each) for each in (x, weights)]
        return T.call_llvm_pure_intrin("int32", "llvm.arm.smlad", *ints, total)
    name = _MULTIPLY_PAIRS[32 * lanes]
    return total + T.call_llvm_pure_intrin(of("int32", lanes), name, x, weights)


_MULTIPLY_BYTES = {256: "llvm.x86.avx2.pmadd.ub.sw", 512: "llvm.x86.avx512.pmaddubs.w.512"}
_MULTIPLY_PAIRS = {256: "llvm.x86.avx2.pmadd.wd", 512: "llvm.x86.avx512.pmaddw.d.512"}
"""What multiplies, and adds pairs, by the bits of its vectors."""
_MULTIPLY_QUADS = {
    (128, "int8"): "llvm.aarch64.neon.sdot.v4i32.v16i8",
    (128, "uint8"): "llvm.aarch64.neon.usdot.v4i32.v16i8",
    (256, "uint8"): "llvm.x86.avx512.vpdpbusd.256",
    (512, "uint8"): "llvm.x86.avx512.vpdpbusd.512",
}
"""What multiplies, and adds four to a sum: by those bits, and the type of the first bytes."""
