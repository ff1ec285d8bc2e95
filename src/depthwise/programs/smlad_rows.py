"""A row of a depthwise convolution of one channel, in Thumb: the weights stay in registers.

An input is a pair of 16-bit numbers, one below the other; a window of 3 x 3 is three columns of two
of them.  Each is loaded once, and added to the sums of all outputs that it belongs to, of which up
to three are under way.  A sum that is complete becomes a byte at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from tvm.tirx.script import builder as T  # noqa: N812

Expr: TypeAlias = Any

TAPS, STEPS = 3, 2
"""Columns of a window, and pairs of a column."""
LARGEST_OFFSET = 4095
"""Of a load and a store, and what is added in one instruction."""


@dataclass(frozen=True)
class Row:
    """What is known of a row when code is written.

    Attributes:
        outputs: how many.
        stride: columns from output to output.
        column: bytes from column to column of the inputs.
        pixel: those of the output.
        weights: bytes from a pair of weights to the next one.
        dtype: the type of the outputs.
        whole: whether the bounds are those of the type.
    """

    outputs: int
    stride: int
    column: int
    pixel: int
    weights: int
    dtype: str
    whole: bool

    def write(self, ends: Any, address: dict[str, Expr], floats: list[Expr], zero: Expr) -> None:
        """Write the call of the code.

        Args:
            ends: an array of the function, on which the code is hung.
            address: those of the weights, of both lines and of the output.
            floats: the scale, what sums begin with, its bits taken for a float, and the bounds less
                the zero point.
            zero: the zero point.
        """
        name = f"row_{'whole' if self.whole else 'cut'}"
        given = [address[each] for each in ("weights", "first", "second", "y")]
        with T.attr(ends, "pragma_import_llvm", self._function(name)):
            T.evaluate(T.call_extern("void", name, *given, *floats, zero))

    def _function(self, name: str) -> str:
        kinds = ["i32"] * 10 + ["ptr"] * 3 + ["i32", "float"]
        outputs = ",".join(["=&r"] * 14 + ["=&t"])
        tied = f"{_WEIGHTS[0][1:]},{_T[1:]},{_FIRST[1:]},{_SECOND[1:]},{_Y[1:]},{_ZERO[1:]}"
        end = (self.outputs * self.stride + TAPS - self.stride) * self.column
        text = "\\0A".join(self._lines())
        return f"""
define internal void @{name}(ptr %weights, ptr %first, ptr %second, ptr %y, float %scale,
    float %start, float %low, float %high, i32 %zero) alwaysinline nounwind {{
  %from = ptrtoint ptr %weights to i32
  %begin = ptrtoint ptr %first to i32
  %end = add i32 %begin, {end}
  %all = call {{ {", ".join(kinds)} }} asm sideeffect "{text}",
    "{outputs},{tied},t,t,t,t,~{{memory}},~{{cc}}"(i32 %from, i32 %end, ptr %first, ptr %second,
    ptr %y, i32 %zero, float %scale, float %start, float %low, float %high)
  ret void
}}
"""

    @property
    def _turn(self) -> int:
        """Outputs that are under way at a time, and the turns of the loop that are unrolled."""
        return {1: 3, 2: 2}[self.stride]

    def _lines(self) -> Iterator[str]:
        """Yield the code of a row, the outputs that are no whole turn of the loop first."""
        yield f"push {{{_T}}}"
        for number in reversed(range(STEPS * TAPS)):
            yield f"ldr {_WEIGHTS[number]}, [{_WEIGHTS[0]}, #{number * self.weights}]"
        known = TAPS - self.stride
        for column in range(known):
            yield from self._column(column, column)
        yield from self._advance(known)
        turn = self._turn
        rest = self.outputs % turn
        yield from self._outputs(0, rest)
        if self.outputs // turn:
            yield "1:"
            yield from self._outputs(rest, turn)
            yield from (f"ldr {_T}, [sp]", f"cmp {_FIRST}, {_T}", "bne 1b")
        yield "add sp, #4"

    def _outputs(self, first: int, count: int) -> Iterator[str]:
        known = TAPS - self.stride
        for number in range(count):
            for each in range(self.stride):
                column = known + (first + number) * self.stride + each
                yield from self._column(column, number * self.stride + each)
            yield from self._finish(first + number, number)
        if count:
            yield from self._advance(count * self.stride)
            yield from _add(_Y, count * self.pixel)

    def _advance(self, columns: int) -> Iterator[str]:
        for line in (_FIRST, _SECOND):
            yield from _add(line, columns * self.column)

    def _column(self, column: int, place: int) -> Iterator[str]:
        """Yield what adds a column to the sums of the outputs whose windows have it."""
        met = [
            ((column - tap) // self.stride, tap)
            for tap in range(TAPS)
            if column >= tap and (column - tap) % self.stride == 0
        ]
        for output, tap in met:
            if tap == 0:
                yield f"vmov {self._sum(output)}, {_START}"
        for step, line in enumerate((_FIRST, _SECOND)):
            yield f"ldr {_T}, [{line}, #{place * self.column}]"
            for output, tap in met:
                total, word = self._sum(output), _WEIGHTS[step * TAPS + tap]
                yield f"smlad {total}, {_T}, {word}, {total}"

    def _sum(self, output: int) -> str:
        """Return the register of the sum of an output."""
        return f"${STEPS * TAPS + output % self._turn}"

    def _finish(self, output: int, place: int) -> Iterator[str]:
        total = self._sum(output)
        yield f"vmov {_FLOAT}, {total}"
        yield f"vcvt.f32.s32 {_FLOAT}, {_FLOAT}"
        yield f"vmul.f32 {_FLOAT}, {_FLOAT}, {_SCALE}"
        if not self.whole:
            for bound, than in ((_LOW, "lt"), (_HIGH, "gt")):
                yield from (f"vcmp.f32 {_FLOAT}, {bound}", "vmrs APSR_nzcv, fpscr", f"it {than}")
                yield f"vmov{than}.f32 {_FLOAT}, {bound}"
        yield f"vcvtr.s32.f32 {_FLOAT}, {_FLOAT}"
        yield f"vmov {total}, {_FLOAT}"
        yield f"qadd {total}, {total}, {_ZERO}"
        yield f"{'s' if self.dtype == 'int8' else 'u'}sat {total}, #8, {total}"
        yield f"strb {total}, [{_Y}, #{place * self.pixel}]"


_WEIGHTS = [f"${number}" for number in range(STEPS * TAPS)]
_T, _FIRST, _SECOND, _Y, _ZERO, _FLOAT = (f"${number}" for number in range(9, 15))
_SCALE, _START, _LOW, _HIGH = (f"${number}" for number in range(21, 25))


def _add(register: str, number: int) -> Iterator[str]:
    """Yield what adds a number of bytes to an address."""
    while number:
        part = min(number, LARGEST_OFFSET)
        yield f"add {register}, {register}, #{part}"
        number -= part
