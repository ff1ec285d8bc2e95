"""Expressions of lowered TensorIR as C, one lane of a vector after the other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeAlias

import tvm_ffi
from tvm import ir, tirx

from depthwise.errors import InternalError
from depthwise.machine.c99_helpers import C_TYPES
from depthwise.programs.c99_texts import (
    PRIMARY,
    UNARY,
    Text,
    Used,
    bits_of,
    cast,
    dtype_of,
    integer,
    is_short,
    lanes_of,
    narrowed,
    real,
)

Expr: TypeAlias = Any
Lane: TypeAlias = int | str
"""Which lane of a vector: its number, or the variable of a loop over all of them."""

_COMPARED, _TERNARY = 9, 3
_SIGNS = {
    tirx.Mul: ("*", 13), tirx.Div: ("/", 13), tirx.Mod: ("%", 13),
    tirx.Add: ("+", 12), tirx.Sub: ("-", 12),
    tirx.LT: ("<", 10), tirx.LE: ("<=", 10), tirx.GT: (">", 10), tirx.GE: (">=", 10),
    tirx.EQ: ("==", _COMPARED), tirx.NE: ("!=", _COMPARED),
}  # fmt: skip
"""The operators of C by what TensorIR has, and how closely they bind."""
_BITWISE = {
    tirx.RShift: ">>", tirx.BitwiseAnd: "&", tirx.BitwiseOr: "|", tirx.BitwiseXor: "^",
}  # fmt: skip
_MATHEMATICS = {
    "exp", "exp2", "exp10", "log", "log2", "log10", "log1p", "sqrt", "tanh", "erf", "fabs", "floor",
    "ceil", "trunc", "nearbyint", "round", "pow", "sin", "cos", "tan", "sinh", "cosh", "atan",
    "atan2", "asin", "acos", "fmod", "hypot", "copysign",
}  # fmt: skip
_INSTRUCTIONS = {"llvm.lrint": "dw_round", "llvm.fma": "dw_fma"}
"""Helpers by the name that LLVM has for what they do, for float32."""


class Expressions:
    """Prints expressions, and before them the statements that they need.

    Args:
        used: where to note helpers and headers.
        emit: takes a line of C that goes before the statement that is printed now.
        fresh: returns a name like this one that nothing else has.
    """

    def __init__(
        self, used: Used, emit: Callable[[str], None], fresh: Callable[[str], str]
    ) -> None:
        self.used = used
        self.values: dict[Any, tuple[Text, ...]] = {}
        """What stands for a variable, lane by lane."""
        self.arrays: dict[Any, str] = {}
        """The name of a buffer."""
        self._emit, self._fresh = emit, fresh
        self._places: dict[str, str] = {}

    @contextmanager
    def block(self) -> Iterator[None]:
        """Forget afterwards what has a name in a block alone."""
        values, places = dict(self.values), dict(self._places)
        yield
        self.values, self._places = values, places

    @contextmanager
    def statement(self) -> Iterator[None]:
        """Forget afterwards what was computed for one statement alone."""
        values = dict(self.values)
        yield
        self.values = values
        self._places = {text: name for text, name in self._places.items() if "[" not in text}

    def lanes(self, expr: Expr) -> tuple[Text, ...]:
        """Print all lanes."""
        return tuple(self.lane(expr, i) for i in range(lanes_of(expr)))

    def text(self, expr: Expr, level: int = 0) -> str:
        """Print a number as an operand of an operator that binds so closely."""
        return self.lane(expr, 0).within(level)

    def lane(self, expr: Expr, i: Lane) -> Text:
        """Print one lane."""
        printer = _PRINTERS.get(type(expr))
        if printer is None:
            raise InternalError(f"C is printed of what is known; got {type(expr).__name__}: {expr}")
        return printer(self, expr, i)

    def element(self, buffer: Any, index: Expr, i: Lane) -> str:
        """Return the element of an array at lane i of an index."""
        return f"{self._array(buffer)}[{self._index(index, i)}]"

    def address(self, load: Expr) -> str:
        """Return where an element lies."""
        (index,) = load.indices
        place = self._index(index, 0)
        name = self._array(load.source)
        return name if place == "0" else f"&{name}[{place}]"

    def declare(self, name: str, dtype: str, value: Text) -> Text:
        """Give a value a name."""
        name = self._fresh(name)
        self._emit(f"const {C_TYPES[dtype]} {name} = {value.text};")
        return Text(name)

    def _array(self, buffer: Any) -> str:
        return self.arrays[buffer]

    def _index(self, index: Expr, i: Lane) -> str:
        if not isinstance(index, tirx.Ramp):
            return self.lane(index, i).text
        base, distance = self.lane(index.base, 0), _distance(index, i)
        if isinstance(distance, str):
            return f"{base.within(12)} + {distance}"
        if base.text.isdigit():
            return str(int(base.text) + distance)
        start = self._place(base, dtype_of(index))
        return start if distance == 0 else f"{start} + {distance}"

    def _place(self, base: Text, dtype: str) -> str:
        """Return the name of the first of several indices."""
        if base.level == PRIMARY and base.text.isidentifier():
            return base.text
        if base.text not in self._places:
            self._places[base.text] = self.declare("at", dtype, base).text
        return self._places[base.text]

    def _simple(self, value: Text, dtype: str) -> Text:
        """Return a value that may be printed several times."""
        if value.level == PRIMARY and "(" not in value.text:
            return value
        return self.declare("value", dtype, value)

    def _var(self, var: Expr, i: Lane) -> Text:
        values = self.values[var]
        return values[int(i)] if len(values) > 1 else values[0]

    def _integer(self, expr: Expr, _i: Lane) -> Text:
        return integer(int(expr.value), dtype_of(expr))

    def _float(self, expr: Expr, _i: Lane) -> Text:
        value, dtype = float(expr.value), dtype_of(expr)
        if math.isfinite(value):
            return real(value, dtype)
        bits = 8 * tvm_ffi.dtype(dtype).itemsize
        patterns = {32: (0x7F800000, 0x7FC00000), 64: (0x7FF << 52, 0xFFF << 51)}[bits]
        pattern = integer(patterns[math.isnan(value)], f"int{bits}").text
        found = self.used.helper(f"dw_{dtype}_of_int{bits}", pattern)
        return Text(f"-{found.text}", UNARY) if value < 0 else found

    def _binary(self, expr: Expr, i: Lane) -> Text:
        sign, level = _SIGNS[type(expr)]
        first, second = self.lane(expr.a, i), self.lane(expr.b, i)
        if isinstance(expr, tirx.Add) and "0" in (first.text, second.text):
            return second if first.text == "0" else first
        text = f"{first.within(level)} {sign} {second.within(level + 1)}"
        return narrowed(Text(text, level), dtype_of(expr))

    def _choice(self, expr: Expr, i: Lane) -> Text:
        name = "min" if isinstance(expr, tirx.Min) else "max"
        values = self.lane(expr.a, i).text, self.lane(expr.b, i).text
        return self.used.helper(f"dw_{name}_{dtype_of(expr)}", *values)

    def _logical(self, expr: Expr, i: Lane) -> Text:
        sign, level = ("&&", 5) if isinstance(expr, tirx.And) else ("||", 4)
        first = self.lane(expr.a, i)
        with self._apart() as lines:
            second = self.lane(expr.b, i)
        if lines:
            whole = self._fresh("both")
            self._emit(f"int {whole} = {first.text};")
            test = whole if sign == "&&" else f"!{whole}"
            self._branch(f"if ({test})", lines, f"{whole} = {second.text};")
            return Text(whole)
        kept = {level, *range(8, PRIMARY + 1)}
        parts = [each.text if each.level in kept else f"({each.text})" for each in (first, second)]
        return Text(f" {sign} ".join(parts), level)

    def _not(self, expr: Expr, i: Lane) -> Text:
        return Text(f"!{self.lane(expr.a, i).within(UNARY)}", UNARY)

    def _cast(self, expr: Expr, i: Lane) -> Text:
        value, dtype = self.lane(expr.value, i), dtype_of(expr)
        if dtype == dtype_of(expr.value):
            return value
        if dtype == "bool":
            return Text(f"{value.within(_COMPARED + 1)} != 0", _COMPARED)
        return cast(value, dtype)

    def _select(self, expr: Expr, i: Lane) -> Text:
        return self._either(expr.condition, expr.true_value, expr.false_value, i)

    def _either(self, condition: Expr, first: Expr, second: Expr, i: Lane) -> Text:
        """Print a choice of which only one side is computed."""
        test = self.lane(condition, i if lanes_of(condition) > 1 else 0)
        with self._apart() as first_lines:
            one = self.lane(first, i)
        with self._apart() as second_lines:
            other = self.lane(second, i)
        if not (first_lines or second_lines):
            parts = test.within(4), one.within(4), other.within(_TERNARY)
            return Text("{} ? {} : {}".format(*parts), _TERNARY)
        name = self._fresh("chosen")
        self._emit(f"{C_TYPES[dtype_of(first)]} {name};")
        self._branch(f"if ({test.text})", first_lines, f"{name} = {one.text};")
        self._branch("else", second_lines, f"{name} = {other.text};")
        return Text(name)

    def _branch(self, head: str, lines: Sequence[str], last: str) -> None:
        self._emit(f"{head} {{")
        for line in (*lines, last):
            self._emit(f"  {line}")
        self._emit("}")

    @contextmanager
    def _apart(self) -> Iterator[list[str]]:
        """Keep the lines that are emitted meanwhile, which are for a branch alone."""
        lines: list[str] = []
        emit, self._emit = self._emit, lines.append
        with self.block():
            yield lines
        self._emit = emit

    def _let(self, expr: Expr, i: Lane) -> Text:
        if expr.var not in self.values:
            self.values[expr.var] = self.named(expr.var.name, expr.value)
        return self.lane(expr.body, i)

    def named(self, name: str, value: Expr) -> tuple[Text, ...]:
        """Give each lane of a value a name, where it is more than a name or a number."""
        return self.all_named(name, dtype_of(value), self.lanes(value))

    def all_named(self, name: str, dtype: str, values: Sequence[Text]) -> tuple[Text, ...]:
        """Give values names, which are lanes of one vector."""
        names = [f"{name}_lane{i}" for i in range(len(values))] if len(values) > 1 else [name]
        return tuple(
            value if is_short(value) else self.declare(each, dtype, value)
            for each, value in zip(names, values, strict=True)
        )

    def _load(self, expr: Expr, i: Lane) -> Text:
        (index,) = expr.indices
        return Text(self.element(expr.source, index, i))

    def _broadcast(self, expr: Expr, _i: Lane) -> Text:
        return self.lane(expr.value, 0)

    def _ramp(self, expr: Expr, i: Lane) -> Text:
        base, distance = self.lane(expr.base, 0), _distance(expr, i)
        if distance == 0:
            return base
        dtype = dtype_of(expr)
        return narrowed(Text(f"{base.within(12)} + {distance}", 12), dtype)

    def _shuffle(self, expr: Expr, i: Lane) -> Text:
        at = int(expr.indices[int(i)])
        for vector in expr.vectors:
            if at < lanes_of(vector):
                return self.lane(vector, at)
            at -= lanes_of(vector)
        raise InternalError(f"lanes are taken of vectors that have them; got {expr}")

    def _call(self, expr: Expr, i: Lane) -> Text:
        name = expr.op.name
        if printer := _CALLS.get(name):
            return printer(self, expr, i)
        short = name.removeprefix("tirx.")
        if short in _MATHEMATICS:
            return self._function(short, expr.args, i, dtype_of(expr))
        raise InternalError(f"C is printed of calls that are known; got {name}: {expr}")

    def _bits(self, expr: Expr, i: Lane) -> Text:
        if _is_sign(expr):
            return Text(f"-({self.lane(expr.a, i).within(_COMPARED)} < 0)", UNARY)
        first, second = (self.lane(each, i).within(UNARY) for each in (expr.a, expr.b))
        text = f"{first} {_BITWISE[type(expr)]} {second}"
        return narrowed(Text(text, 6), dtype_of(expr))

    def _shift_left(self, expr: Expr, i: Lane) -> Text:
        first, second, dtype = self.lane(expr.a, i), self.lane(expr.b, i), dtype_of(expr)
        bits = cast(first, f"uint{max(bits_of(dtype), 32)}").within(UNARY)
        return cast(Text(f"{bits} << {second.within(UNARY)}", 11), dtype)

    def _bitwise_not(self, expr: Expr, i: Lane) -> Text:
        text = Text(f"~{self.lane(expr.a, i).within(UNARY)}", UNARY)
        return narrowed(text, dtype_of(expr))

    def _chosen(self, expr: Expr, i: Lane) -> Text:
        condition, first, second = expr.args
        return self._either(condition, first, second, i)

    def _is_nan(self, expr: Expr, i: Lane) -> Text:
        value = self._simple(self.lane(expr.args[0], i), dtype_of(expr.args[0]))
        return Text(f"{value.text} != {value.text}", _COMPARED)

    def _intrinsic(self, expr: Expr, i: Lane) -> Text:
        name = intrinsic(expr)
        values = [self.lane(each, i).text for each in expr.args[1:]]
        helper = _INSTRUCTIONS.get(name)
        if helper is None or dtype_of(expr.args[1]) != "float32":
            raise InternalError(f"C is printed of instructions that are known; got {name}: {expr}")
        return self.used.helper(helper, *values)

    def _extern(self, expr: Expr, i: Lane) -> Text:
        called, *values = expr.args
        name = str(called.value)
        short = name if name in _MATHEMATICS else name.removesuffix("f")
        return self._function(short, values, i, dtype_of(expr))

    def _function(self, name: str, values: Sequence[Expr], i: Lane, dtype: str) -> Text:
        if name not in _MATHEMATICS:
            raise InternalError(f"C calls functions of mathematics; got {name}")
        self.used.headers.add("math.h")
        arguments = ", ".join(self.lane(each, i).text for each in values)
        return Text(f"{name}{'f' * (dtype == 'float32')}({arguments})")

    def _reinterpret(self, expr: Expr, i: Lane) -> Text:
        value = expr
        while isinstance(value, ir.Call) and value.op.name == "tirx.reinterpret":
            (value,) = value.args
        given, wanted = dtype_of(value), dtype_of(expr)
        ratio = bits_of(wanted) / bits_of(given)
        if given == wanted:
            return self.lane(value, i)
        if ratio == 1 and given[0] != "f" and wanted[0] != "f":
            return cast(self.lane(value, i), wanted)
        if ratio == 1:
            return self.used.helper(f"dw_{wanted}_of_{given}", self.lane(value, i).text)
        if ratio > 1:
            return self._wider(value, int(i), int(ratio), given, wanted)
        parts = round(1 / ratio)
        whole = self._simple(self.lane(value, int(i) // parts), given)
        bits = cast(whole, f"uint{max(bits_of(given), 32)}").text
        shift = bits_of(wanted) * (int(i) % parts)
        part = Text(f"({bits} >> {shift})") if shift else Text(bits, UNARY)
        return cast(cast(part, f"uint{bits_of(wanted)}"), wanted)

    def _wider(self, value: Expr, i: int, parts: int, given: str, wanted: str) -> Text:
        """Print an element that several smaller ones are together, the lowest first."""
        if isinstance(value, ir.TensorLoad):
            (index,) = value.indices
            if isinstance(index, tirx.Ramp) and int(index.stride) == 1:
                self.used.helpers.add("dw_little_endian")
                first = index.base if i == 0 else index
                place = self.element(value.source, first, i * parts)
                return self.used.helper(f"dw_load_{wanted}", f"&{place}")
        whole, size = f"uint{bits_of(wanted)}", bits_of(given)
        bits = [
            cast(cast(self.lane(value, i * parts + part), f"uint{size}"), whole).text
            for part in range(parts)
        ]
        terms = [f"({each} << {size * part})" if part else each for part, each in enumerate(bits)]
        return cast(Text(" | ".join(terms), 6), wanted)


def intrinsic(call: Expr) -> str:
    """Return the name of the instruction of LLVM that is called."""
    return _intrinsic_name(int(call.args[0]))


def is_uniform(expr: Expr) -> bool:
    """Whether all lanes are computed alike, each of the same lane of other vectors."""
    others: list[Any] = []

    def look(part: Expr) -> None:
        number = isinstance(part.ty, ir.PrimType)
        if number and lanes_of(part) > 1 and not _is_elementwise(part):
            others.append(part)

    kinds = (tirx.Ramp, tirx.Shuffle, tirx.Let, ir.Var, ir.Call)
    tvm_ffi.structural_walk(expr, (kinds, look))
    return not others


def _is_elementwise(part: Expr) -> bool:
    """Whether a lane of a vector is made of the same lane of others, or of the number of the lane.

    (A variable has a name for each lane.)
    """
    if isinstance(part, tirx.Ramp):
        return int(part.stride) == 1
    return isinstance(part, ir.Call) and part.op.name != "tirx.reinterpret"


def _distance(ramp: Expr, i: Lane) -> Lane:
    """Return how far a lane of a run is from the first."""
    if isinstance(i, str):
        return i
    return int(ramp.stride) * i


def _is_sign(expr: Expr) -> bool:
    """Whether all bits that are left are the sign's, which not every C says."""
    dtype = dtype_of(expr)
    if not isinstance(expr, tirx.RShift) or dtype[0] == "u":
        return False
    return isinstance(expr.b, tirx.IntImm) and int(expr.b) == bits_of(dtype) - 1


@cache
def _intrinsic_name(number: int) -> str:
    return str(tvm_ffi.get_global_func("target.llvm_get_intrinsic_name")(number))


_PRINTERS: dict[type, Callable[[Expressions, Expr, Lane], Text]] = {
    ir.Var: Expressions._var,
    tirx.IntImm: Expressions._integer,
    tirx.FloatImm: Expressions._float,
    **dict.fromkeys(_SIGNS, Expressions._binary),
    **dict.fromkeys(_BITWISE, Expressions._bits),
    tirx.LShift: Expressions._shift_left,
    tirx.BitwiseNot: Expressions._bitwise_not,
    **dict.fromkeys((tirx.Min, tirx.Max), Expressions._choice),
    **dict.fromkeys((tirx.And, tirx.Or), Expressions._logical),
    tirx.Not: Expressions._not,
    tirx.Cast: Expressions._cast,
    tirx.Select: Expressions._select,
    tirx.Let: Expressions._let,
    ir.TensorLoad: Expressions._load,
    tirx.Broadcast: Expressions._broadcast,
    tirx.Ramp: Expressions._ramp,
    tirx.Shuffle: Expressions._shuffle,
    ir.Call: Expressions._call,
}
_CALLS: dict[str, Callable[[Expressions, Expr, Lane], Text]] = {
    "prim.if_then_else": Expressions._chosen,
    "tirx.isnan": Expressions._is_nan,
    "tirx.call_llvm_pure_intrin": Expressions._intrinsic,
    "tirx.call_pure_extern": Expressions._extern,
    "tirx.reinterpret": Expressions._reinterpret,
}
