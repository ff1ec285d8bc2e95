"""The innermost loop of products of 16-bit numbers in pairs, in Thumb: LLVM spills in it.

All registers that there are hold six sums, four inputs or so of a row, the weights of two columns,
and two addresses; the end of the loop waits on the stack.
"""

from __future__ import annotations

from math import gcd
from typing import Any, TypeAlias

from tvm.tirx.script import builder as T  # noqa: N812

Expr: TypeAlias = Any

ROWS, COLUMNS = 3, 2
"""Of the tile."""
_MOST_UNROLLED = 4
_SUMS = ROWS * COLUMNS
_X, _WEIGHTS, _FIRST, _SECOND = (f"${_SUMS + number}" for number in range(4))
_EVEN, _ODD = (
    [f"${_SUMS + 4 + 2 * half + column}" for column in range(COLUMNS)] for half in (0, 1)
)
_NAME = "add_tile"


def add_tile(sums: Any, x: Expr, weights: Expr, steps: int, body: Any) -> None:
    """Add steps of four products to all sums of a tile.

    Args:
        sums: a local buffer, row by row.
        x: the address of the inputs, (steps, rows, 4) of 16 bits, in the order of the weights.
        weights: the address of the weights, (steps, columns, 4) bytes of which the middle ones have
            changed places.
        steps: how many.
        body: an array of the function, on which the code is hung.
    """
    with T.attr(body, "pragma_import_llvm", _function(steps)):
        T.evaluate(T.call_extern("void", _NAME, T.address_of(sums[0]), x, weights))


def _function(steps: int) -> str:
    """Return LLVM IR of a function of the addresses of sums, inputs and weights."""
    kinds = ["i32"] * _SUMS + ["ptr", "ptr"] + ["i32"] * 6
    results = ", ".join(kinds)
    loads = "\n".join(
        f"  %p{n} = getelementptr i32, ptr %sums, i32 {n}\n  %s{n} = load i32, ptr %p{n}"
        for n in range(_SUMS)
    )
    stores = "\n".join(
        f"  %r{n} = extractvalue {{ {results} }} %all, {n}\n  store i32 %r{n}, ptr %p{n}"
        for n in range(_SUMS)
    )
    given = ", ".join([*(f"i32 %s{n}" for n in range(_SUMS)), "ptr %x", "ptr %weights", "i32 %end"])
    tied = ",".join(str(n) for n in range(_SUMS + 3))
    outputs = ",".join(["=&r"] * len(kinds))
    return f"""
define internal void @{_NAME}(ptr %sums, ptr %x, ptr %weights) alwaysinline nounwind {{
{loads}
  %begin = ptrtoint ptr %x to i32
  %end = add i32 %begin, {steps * ROWS * 8}
  %all = call {{ {results} }} asm sideeffect "{_assembly(steps)}",
    "{outputs},{tied},~{{memory}},~{{cc}}"({given})
{stores}
  ret void
}}
"""


def _assembly(steps: int) -> str:
    lines = [f"push {{{_FIRST}}}", "1:"]
    lines += _step() * gcd(steps, _MOST_UNROLLED)
    lines += [f"ldr {_FIRST}, [sp]", f"cmp {_X}, {_FIRST}", "bne 1b", "add sp, #4"]
    return "\\0A".join(lines)


def _step() -> list[str]:
    lines = [f"ldrd {_EVEN[0]}, {_EVEN[1]}, [{_WEIGHTS}], #8"]
    for even, odd in zip(_EVEN, _ODD, strict=True):
        lines += [f"sxtb16 {odd}, {even}, ror #8", f"sxtb16 {even}, {even}"]
    for row in range(ROWS):
        lines.append(f"ldrd {_FIRST}, {_SECOND}, [{_X}], #8")
        for x, words in ((_FIRST, _EVEN), (_SECOND, _ODD)):
            for column, word in enumerate(words):
                total = f"${row * COLUMNS + column}"
                lines.append(f"smlad {total}, {x}, {word}, {total}")
    return lines
