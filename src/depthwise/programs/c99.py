"""Machine functions as portable C99: one program's functions as `static` functions of C.

The text needs no heap, no state and no library but `memcpy`, `memset` and, for real numbers, the
functions of `math.h`.  Vectors that a program is written with become lanes one after another;
loops stay loops, which compilers of C make vectors of.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tvm_ffi
from tvm import ir, tirx

from depthwise.errors import InternalError, TargetError
from depthwise.machine.c99_helpers import C_TYPES, HELPERS
from depthwise.machine.emitted import placed
from depthwise.programs.build import (
    SCRATCH_BYTES,
    SYMBOL,
    Program,
    lowered,
    task_count,
)
from depthwise.programs.c99_statements import Body, Callee, is_array
from depthwise.programs.c99_texts import Used

__all__ = ["HELPERS", "Source", "c_source"]

_LINE = 100


@dataclass(frozen=True)
class Source:
    """C text of one program."""

    text: str
    """Definitions of `static` functions, of which the last is the program."""
    tasks: int
    """How many tasks a call has."""
    scratch_bytes: int
    """How much memory a call works in, given as the last array, where `PLACE_BYTES` divides its
    address; there is none where it is 0."""
    arguments: tuple[str, ...]
    """The C types of the arrays in order, such as "const float *"."""
    helpers: frozenset[str]
    """Of `HELPERS`, those that it calls."""
    headers: frozenset[str]
    """The headers that it needs besides `stdint.h` and `string.h`."""


def c_source(program: Program, name: str) -> Source:
    """Print the functions of a program.

    Args:
        program: what is printed.  Vectors of its target become lanes, so that targets without are
            best (`Target.isa` is "scalar").
        name: what its function is called; other functions of the program begin with it.

    Raises:
        TargetError: the program may have instructions that only some processors have.
    """
    target = program.target
    if target.dots != "none" or target.table_bytes:
        raise TargetError(f"C is printed of programs without instructions of a CPU; got {target}")
    functions = lowered(program.functions)
    used, texts, callees = Used(), [], dict[str, Callee]()
    for inner in _callees_first(functions):
        if inner == SYMBOL:
            continue
        printed = _Printed(functions[inner], f"{name}_{inner}", callees, used)
        if printed.scratch.added:
            raise InternalError(f"functions of blocks work in memory that they are given; {inner}")
        callees[inner] = printed.callee
        texts.append(printed.text)
    entry = _Printed(functions[SYMBOL], name, callees, used)
    return Source(
        "\n".join([*texts, entry.text]), task_count(program.functions[SYMBOL]),
        entry.scratch.size, entry.arguments, frozenset(used.helpers), frozenset(used.headers),
    )  # fmt: skip


class _Scratch:
    """The scratch memory of a function: what it is given, and behind it its large buffers."""

    def __init__(self, given: int, name: str) -> None:
        self.size, self.added, self._name = given, False, name

    def place(self, dtype: str, nbytes: int) -> str:
        """Return the address of so many bytes more."""
        start = placed(self.size)
        self.size, self.added = start + nbytes, True
        memory = f"(uint8_t *)(void *){self._name}"
        where = f"({memory} + {start})" if start else self._name
        return f"({C_TYPES[dtype]} *)(void *){where}"


class _Printed:
    """One function as C."""

    def __init__(
        self, func: tirx.PrimFunc, name: str, callees: Mapping[str, Callee], used: Used
    ) -> None:
        attrs = func.attrs or {}
        given = int(attrs.get(SCRATCH_BYTES, 0))
        arrays = [each for each in func.params if is_array(each)]
        own = arrays[-1].name if given else "scratch"
        self.scratch = _Scratch(given, own)
        taken = [name, *HELPERS, *(each.name for each in callees.values()), "scratch" * (not given)]
        self._body = Body(func, callees, used, self.scratch.place, taken)
        stored = self._body.stored
        self.callee = Callee(
            name,
            tuple(_dtype(each) for each in func.params),
            tuple(each in stored for each in func.params),
        )
        declared = [
            (_type(each, written=each in stored), parameter)
            for each, parameter in zip(func.params, self._body.names, strict=True)
        ]
        if self.scratch.added and not given:
            declared.insert(len(arrays), ("uint8_t *", "scratch"))
        self.arguments = tuple(kind for kind, _ in declared if kind[-1] == "*")
        self.text = "\n".join([*_head(name, declared), *self._lines(declared), "}", ""])

    def _lines(self, declared: Sequence[tuple[str, str]]) -> list[str]:
        text = "\n".join(self._body.lines)
        words = set(re.findall(r"\w+", text))
        unused = [f"(void){name};" for _, name in declared if name not in words]
        return [f"  {line}" for line in (*unused, *self._body.lines)]


def _head(name: str, declared: Sequence[tuple[str, str]]) -> list[str]:
    """Return the lines of a function's head."""
    parameters = [
        f"{kind}restrict {parameter}" if kind[-1] == "*" else f"{kind} {parameter}"
        for kind, parameter in declared
    ]
    line = f"static void {name}({', '.join(parameters)}) {{"
    if len(line) <= _LINE:
        return [line]
    return [f"static void {name}(", *(f"    {each}," for each in parameters[:-1]),
            f"    {parameters[-1]}) {{"]  # fmt: skip


def _dtype(parameter: Any) -> str:
    return str(parameter.dtype if is_array(parameter) else parameter.ty.dtype)


def _type(parameter: Any, *, written: bool) -> str:
    kind = C_TYPES[_dtype(parameter)]
    if not is_array(parameter):
        return kind
    return f"{kind} *" if written else f"const {kind} *"


def _callees_first(functions: Mapping[str, tirx.PrimFunc]) -> list[str]:
    """Return the names of functions, each behind those that it calls."""
    order: list[str] = []

    def visit(name: str) -> None:
        if name in order:
            return
        called: list[str] = []

        def look(call: Any) -> None:
            if call.op.name == "tirx.call_extern":
                called.append(str(call.args[0].value))

        tvm_ffi.structural_walk(functions[name].body, (ir.Call, look))
        for each in called:
            visit(each)
        order.append(name)

    visit(SYMBOL)
    return order
