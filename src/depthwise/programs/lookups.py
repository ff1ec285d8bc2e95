"""A table of 256 bytes, looked up for vectors of bytes.

What one instruction looks up in is a part of the table, of 128 entries (`vpermi2b`) or 16
(`vpshufb`); the parts stay in registers, or near them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from typing import Any, TypeAlias

from tvm import tirx
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.machine.target import Target
from depthwise.problem.dtypes import element
from depthwise.programs.direct import spread, vector
from depthwise.programs.quantized_numbers import of

Expr: TypeAlias = Any

_PERMUTE = "llvm.x86.avx512.vpermi2var.qi.512"
_SHUFFLE = {32: "llvm.x86.avx2.pshuf.b", 64: "llvm.x86.avx512.pshuf.b.512"}
"""By the bytes of a vector."""
_FEWEST = {16: 12, 128: 2}
"""The numbers that are looked up faster in vectors, however few of their lanes they fill."""


class Table:
    """The entries of a table, in the order of the numbers of a type of bytes."""

    def __init__(self, entries: Any, dtype: str, target: Target) -> None:
        self._entries, self._dtype = entries, dtype
        self._least = element(dtype).range[0]
        self._width, self._part = target.vector_bytes, target.table_bytes
        read: dict[int, Callable[[], list[Expr]]] = {
            0: list, 16: self._differences, 128: self._quarters
        }  # fmt: skip
        self._parts = read[self._part]()

    def of(self, numbers: Expr, lanes: int) -> Expr:
        """Return the entries of so many numbers, at most a vector."""
        if not self._part or lanes < _FEWEST[self._part]:
            code = tirx.Cast(of("int32", lanes), numbers)
            return self._entries[code - spread(tirx.const(self._least, "int32"), lanes)]
        if lanes < self._width:
            numbers = self._repeated(numbers, lanes)
        bits = T.Bind(T.reinterpret(of("int8", self._width), numbers))
        found = self._permuted(bits) if self._part == 128 else self._shuffled(bits)
        if lanes < self._width:
            found = tirx.Shuffle([found], list(range(lanes)))
        return T.reinterpret(of(self._dtype, lanes), found)

    def _repeated(self, some: Expr, lanes: int) -> Expr:
        """Return a whole vector of so many lanes, again and again."""
        copies = -(-self._width // lanes)
        return T.Bind(tirx.Shuffle([some] * copies, list(range(self._width))))

    def _read(self, bits: int, lanes: int) -> Expr:
        """Return neighbouring entries, those of bytes from this one on, whatever their sign."""
        run = self._entries[vector((bits - self._least) % 256, lanes)]
        return T.Bind(T.reinterpret(of("int8", lanes), run))

    def _quarters(self) -> list[Expr]:
        return [self._read(bits, 64) for bits in range(0, 256, 64)]

    def _permuted(self, bits: Expr) -> Expr:
        """Return entries from the halves of the table, of which the sign of a byte chooses one."""
        kind, quarters = of("int8", self._width), self._parts
        halves = [
            T.Bind(T.call_llvm_pure_intrin(kind, _PERMUTE, quarters[at], bits, quarters[at + 1]))
            for at in (0, 2)
        ]
        return tirx.Select(bits < self._number(0), halves[1], halves[0])

    def _differences(self) -> list[Expr]:
        """Return the first and the ninth 16 entries, and of others how they differ from before."""
        parts = [self._repeated(self._read(bits, 16), 16) for bits in range(0, 256, 16)]
        return [
            T.Bind(part if at % 8 == 0 else part ^ parts[at - 1]) for at, part in enumerate(parts)
        ]

    def _shuffled(self, bits: Expr) -> Expr:
        """Return entries that differences lead to: as many as a byte has sixteens.

        The instruction takes the last four bits of a byte, and gives 0 for one below 0: so are all
        that are less than what is subtracted, and in either half of the table those of the other.
        """
        kind, found = of("int8", self._width), list[Expr]()
        for half in (bits, T.Bind(bits ^ self._number(-128))):
            for step in range(8):
                sixteens = self._number(16 * step)
                less = T.call_llvm_pure_intrin(kind, "llvm.ssub.sat", half, sixteens)
                part = self._parts[len(found)]
                found.append(
                    T.Bind(T.call_llvm_pure_intrin(kind, _SHUFFLE[self._width], part, less))
                )
        return reduce(lambda one, other: one ^ other, found)

    def _number(self, value: int) -> Expr:
        return spread(tirx.const(value, "int8"), self._width)
