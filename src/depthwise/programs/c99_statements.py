"""Statements of lowered TensorIR as C: the body of one function."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import tvm_ffi
from tvm import ir, tirx

from depthwise.errors import InternalError
from depthwise.machine.c99_helpers import C_TYPES
from depthwise.programs.build import SMALL_STACK_BYTES
from depthwise.programs.c99_expressions import Expressions, intrinsic, is_uniform
from depthwise.programs.c99_texts import Text, Used, dtype_of, lanes_of

Expr: TypeAlias = Any

_MANY = 4
"""The lanes of a vector from which on they are stored in a loop, where they are alike."""
_RESERVED = {
    "auto", "break", "case", "char", "const", "continue", "default", "do", "double", "else", "enum",
    "extern", "float", "for", "goto", "if", "inline", "int", "long", "register", "restrict",
    "return", "short", "signed", "sizeof", "static", "struct", "switch", "typedef", "union",
    "unsigned", "void", "volatile", "while", "memcpy", "memset",
}  # fmt: skip
"""Words that C has a meaning for."""


@dataclass(frozen=True)
class Callee:
    """A function that others of the same program call."""

    name: str
    types: tuple[str, ...]
    """The element types of its parameters."""
    stores: tuple[bool, ...]
    """To which of them it writes."""


class Body:
    """Prints the statements of a function.

    Args:
        func: what is printed.
        callees: what it may call, by the names by which it does.
        used: where to note helpers and headers.
        place: returns where a large buffer lies, by its type and how many bytes it has.
        taken: names that nothing in it may have.
    """

    def __init__(
        self,
        func: tirx.PrimFunc,
        callees: Mapping[str, Callee],
        used: Used,
        place: Callable[[str, int], str],
        taken: Sequence[str],
    ) -> None:
        self.lines: list[str] = []
        self.stored: set[Any] = set()
        """The arrays that it writes to."""
        self._callees, self._place = callees, place
        self._names = {*_RESERVED, *taken}
        body = tvm_ffi.structural_map(func.body, (tirx.Select, _decided))
        self._live = _live(body)
        self._arrays: dict[Any, Any] = {}
        self._expressions = Expressions(used, self._emit, self._fresh)
        self.names = [self._parameter(each) for each in func.params]
        """Of the parameters."""
        self._print(body)

    def _parameter(self, parameter: Any) -> str:
        name = self._fresh(parameter.name)
        if is_array(parameter):
            self._declare(parameter, name)
        else:
            self._expressions.values[parameter] = (Text(name),)
        return name

    def _declare(self, buffer: Any, name: str) -> None:
        self._arrays[buffer] = buffer
        self._expressions.arrays[buffer] = name

    def _fresh(self, name: str) -> str:
        """Return a name like this one that nothing else has here."""
        plain = re.sub(r"^cse_v\d*$", "t", re.sub(r"\W", "_", name)) or "buffer"
        found, number = plain, 1
        while found in self._names:
            found, number = f"{plain}_{number}", number + 1
        self._names.add(found)
        return found

    def _emit(self, line: str) -> None:
        self.lines.append(line)

    def _print(self, statement: Any) -> None:
        printer = _PRINTERS.get(type(statement))
        if printer is None:
            kind = type(statement).__name__
            raise InternalError(f"C is printed of statements that are known; got {kind}")
        printer(self, statement)

    @contextmanager
    def _inner(self) -> Iterator[list[str]]:
        """Print into lines of their own, which are a block."""
        outer, self.lines, names = self.lines, [], set(self._names)
        with self._expressions.block():
            yield self.lines
        self.lines, self._names = outer, names

    def _block(self, head: str, lines: Sequence[str]) -> None:
        self.lines += [f"{head} {{", *(f"  {line}" for line in lines), "}"]

    def _sequence(self, sequence: Any) -> None:
        for statement in sequence.seq:
            self._print(statement)

    def _bind(self, bind: Any) -> None:
        if bind.var not in self._live:
            return
        with self._expressions.statement():
            texts = self._expressions.named(bind.var.name, bind.value)
        self._expressions.values[bind.var] = texts

    def _allocate(self, allocation: Any) -> None:
        buffer = allocation.buffer
        if buffer not in self._live:
            return
        size = math.prod(int(extent) for extent in buffer.shape)
        dtype = str(buffer.dtype)
        nbytes = size * tvm_ffi.dtype(dtype).itemsize
        name, c_type = self._fresh(buffer.name), C_TYPES[dtype]
        self._declare(buffer, name)
        if nbytes <= SMALL_STACK_BYTES:
            self._emit(f"{c_type} {name}[{size}] = {{0}};")
        else:
            self._emit(f"{c_type} *restrict const {name} = {self._place(dtype, nbytes)};")

    def _view(self, declaration: Any) -> None:
        (source,) = declaration.data.args
        if declaration.buffer.dtype != source.dtype:
            raise InternalError(f"arrays keep their type; got {declaration}")
        self._arrays[declaration.buffer] = self._arrays[source]
        self._expressions.arrays[declaration.buffer] = self._expressions.arrays[source]

    def _store(self, store: Any) -> None:
        (index,) = store.indices
        self.stored.add(self._arrays[store.buffer])
        if lanes_of(store.value) >= _MANY and self._is_alike(store):
            self._store_in_loop(store)
            return
        with self._expressions.statement():
            values = self._expressions.lanes(store.value)
            if self._overlaps(store):
                values = self._expressions.all_named("lane", dtype_of(store.value), values)
            for i, value in enumerate(values):
                place = self._expressions.element(store.buffer, index, i)
                self._emit(_assignment(place, store.value, value.text))

    def _is_alike(self, store: Any) -> bool:
        alike = is_uniform(store.value) and is_uniform(store.indices[0])
        return alike and not self._overlaps(store)

    def _store_in_loop(self, store: Any) -> None:
        """Store the lanes of a vector in a loop."""
        (index,) = store.indices
        with self._inner() as lines:
            lane = self._fresh("lane")
            value = self._expressions.lane(store.value, lane)
            place = self._expressions.element(store.buffer, index, lane)
            self._emit(_assignment(place, store.value, value.text))
        self._block(f"for (int32_t {lane} = 0; {lane} < {lanes_of(index)}; ++{lane})", lines)

    def _overlaps(self, store: Any) -> bool:
        """Whether a vector that is stored may be made of what storing a part of it changes."""
        array, (index,) = self._arrays[store.buffer], store.indices
        loads: list[Any] = []
        tvm_ffi.structural_walk(store.value, (ir.TensorLoad, loads.append))
        return any(
            self._arrays[load.source].same_as(array)
            and not tvm_ffi.structural_equal(load.indices[0], index)
            for load in loads
        )

    def _loop(self, loop: Any) -> None:
        start, extent = loop.min, loop.extent
        first = self._expressions.lane(start, 0)
        if isinstance(extent, tirx.IntImm) and int(extent) == 1:
            self._expressions.values[loop.loop_var] = (first,)
            self._print(loop.body)
            return
        stop = self._expressions.lane(_stop(start, extent), 0)
        if {"[", "("} & set(stop.text):
            stop = self._expressions.declare("stop", dtype_of(extent), stop)
        with self._inner() as lines:
            name = self._fresh(loop.loop_var.name)
            self._expressions.values[loop.loop_var] = (Text(name),)
            self._print(loop.body)
        kind = C_TYPES[dtype_of(loop.loop_var)]
        head = f"for ({kind} {name} = {first.text}; {name} < {stop.within(11)}; ++{name})"
        if lines:
            if loop.kind == tirx.ForKind.UNROLLED:
                self._emit(self._expressions.used.unroll())
            self._block(head, lines)

    def _if(self, branch: Any) -> None:
        with self._expressions.statement():
            condition = self._expressions.lane(branch.condition, 0)
        with self._inner() as first:
            self._print(branch.then_case)
        second: list[str] = []
        if branch.else_case is not None:
            with self._inner() as second:
                self._print(branch.else_case)
        if not first:
            first, second = second, []
            condition = Text(f"!({condition.text})")
        if not first:
            return
        self._block(f"if ({condition.text})", first)
        if second:
            del self.lines[-1]
            self._else(second)

    def _else(self, lines: Sequence[str]) -> None:
        outermost = [line for line in lines[1:-1] if line[0] not in " }"]
        if lines[0].startswith("if (") and not outermost and lines[-1] == "}":
            self.lines += [f"}} else {lines[0]}", *lines[1:]]
        else:
            self._block("} else", lines)

    def _evaluate(self, evaluation: Any) -> None:
        call = evaluation.value
        if _is_nothing(call):
            return
        if not isinstance(call, ir.Call) or call.op.name != "tirx.call_extern":
            raise InternalError(f"C is printed of calls that are known; got {call}")
        name, *given = call.args
        callee = self._callees[str(name.value)]
        with self._expressions.statement():
            arguments = [
                self._argument(each, dtype, stored)
                for each, dtype, stored in zip(given, callee.types, callee.stores, strict=True)
            ]
            self._emit(f"{callee.name}({', '.join(arguments)});")

    def _argument(self, argument: Expr, dtype: str, stored: bool) -> str:
        if not isinstance(argument, ir.Call) or argument.op.name != "tirx.address_of":
            return self._expressions.lane(argument, 0).text
        (load,) = argument.args
        if stored:
            self.stored.add(self._arrays[load.source])
        place = self._expressions.address(load)
        if str(load.source.dtype) == dtype:
            return place
        const = "const " * (not stored)
        return f"({const}{C_TYPES[dtype]} *)({const}void *){place}"


def is_array(parameter: Any) -> bool:
    """Whether a parameter is an array, and not a number."""
    return not isinstance(parameter.ty, ir.PrimType)


def _assignment(place: str, value: Expr, text: str) -> str:
    """Return a statement that adds to a place where it can be written so."""
    begin = f"{place} + "
    adds = isinstance(value, tirx.Add) and isinstance(value.a, ir.TensorLoad)
    if adds and text.startswith(begin):
        return f"{place} += {text.removeprefix(begin)};"
    return f"{place} = {text};"


def _stop(start: Expr, extent: Expr) -> Expr:
    """Return the end of a loop."""
    if isinstance(start, tirx.IntImm) and int(start) == 0:
        return extent
    if isinstance(extent, tirx.Sub) and tvm_ffi.structural_equal(extent.b, start):
        return extent.a
    return start + extent


def _is_nothing(value: Expr) -> bool:
    """Whether evaluating it changes nothing, such as fetching ahead."""
    if isinstance(value, ir.Call) and value.op.name == "tirx.call_llvm_intrin":
        return intrinsic(value) == "llvm.prefetch"
    return isinstance(value, tirx.IntImm)


def _decided(select: Expr) -> Expr:
    """Return the side that is chosen where that is known."""
    condition = select.condition
    if isinstance(condition, tirx.Broadcast):
        condition = condition.value
    if not isinstance(condition, tirx.IntImm):
        return select
    return select.true_value if int(condition) else select.false_value


def _live(body: Any) -> set[Any]:
    """Return the variables and buffers on which anything depends."""
    needs: dict[Any, list[Any]] = {}
    live: set[Any] = set()
    skip = tvm_ffi.WalkResult.SKIP

    def definition(var: Any, value: Any) -> Any:
        found = needs.setdefault(var, [])
        tvm_ffi.structural_walk(value, (ir.Var, found.append))
        return skip

    tvm_ffi.structural_walk(
        body,
        [
            (tirx.Bind, lambda bind: definition(bind.var, bind.value)),
            (tirx.DeclBuffer, lambda view: definition(view.buffer, view.data)),
            (tirx.AllocBuffer, lambda _: skip),
            (tirx.Evaluate, lambda each: skip if _is_nothing(each.value) else None),
            (ir.Var, live.add),
        ],
        order="pre",
    )
    waiting = list(live)
    while waiting:
        new = [var for var in needs.pop(waiting.pop(), []) if var not in live]
        live.update(new)
        waiting += new
    return live


_PRINTERS: dict[type, Callable[[Body, Any], None]] = {
    tirx.SeqStmt: Body._sequence,
    tirx.Bind: Body._bind,
    tirx.AllocBuffer: Body._allocate,
    tirx.DeclBuffer: Body._view,
    tirx.BufferStore: Body._store,
    tirx.For: Body._loop,
    tirx.IfThenElse: Body._if,
    tirx.Evaluate: Body._evaluate,
    tirx.AttrStmt: lambda body, attribute: body._print(attribute.body),
}
