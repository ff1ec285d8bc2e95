"""Programs whose arrays hold numbers of 16 bits: widened where they are read, rounded where stored.

Writers write programs as if all arrays were of the type that is computed in.  What is done here to
the finished functions gives the arrays of the problem the type that lies in memory.  Scratch memory
and sums between steps keep the type that is computed in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import tvm
import tvm_ffi
from tvm import tirx

from depthwise.errors import InternalError
from depthwise.machine.target import Target
from depthwise.problem.dtypes import element
from depthwise.problem.problem import Problem
from depthwise.programs.build import SYMBOL, Program
from depthwise.programs.conversions import Conversion, conversion
from depthwise.schedule.steps import INPUT, OUTPUT, Step

Expr: TypeAlias = Any
Kinds: TypeAlias = Sequence[Conversion | None]
"""For each parameter of a function how its numbers lie in memory, None where as they are computed.
"""


def stored(
    programs: Sequence[Program], problem: Problem, steps: Sequence[Step], target: Target
) -> tuple[Program, ...]:
    """Return the programs of a problem for arrays of its own types.

    Args:
        programs: as they were written, by the numbers of the steps.
        problem: what they compute.
        steps: those of its kernel.
        target: the CPU.
    """
    between = {name: buffer.dtype for step in steps for name, buffer in step.buffers.items()}
    called = {INPUT: "x", OUTPUT: "y"}
    found = list(programs)
    for step in steps:
        if step.problem != problem:
            continue
        dtypes = [
            between.get(name) or problem.dtype_of(called.get(name, name)) for name in step.arguments
        ]
        kinds = [
            None if name in step.constants else conversion(element(dtype), target)
            for name, dtype in zip(step.arguments, dtypes, strict=True)
        ]
        program = programs[step.number]
        functions = _functions(program.functions, kinds)
        found[step.number] = replace(program, functions=functions, target=_whole_vectors(target))
    return tuple(found)


def _whole_vectors(target: Target) -> Target:
    """Let LLVM convert whole vectors.

    For some CPUs with AVX-512 it prefers halves, and splits what leads to a conversion.
    """
    if target.isa != "avx512":
        return target
    return replace(target, features=(*target.features, "-prefer-256-bit"))


def _functions(functions: Mapping[str, tirx.PrimFunc], kinds: Kinds) -> dict[str, tirx.PrimFunc]:
    """Return functions that call each other for such arrays, given to the kernel."""
    found, known, waiting = dict(functions), {SYMBOL: kinds}, [SYMBOL]
    while waiting:
        name = waiting.pop()
        rewriting = _Rewriting(functions[name], known[name])
        found[name] = rewriting.function()
        for callee, given in rewriting.calls:
            if callee not in known:
                known[callee] = given
                waiting.append(callee)
            elif [*known[callee]] != [*given]:
                raise InternalError(f"{callee} is given arrays of one type in all of its calls")
    return found


@dataclass(frozen=True)
class _Array:
    """A parameter as it was, and as it becomes."""

    before: Any
    after: Any
    how: Conversion


class _Rewriting:
    """A function that gets other arrays.

    Attributes:
        calls: the functions that it calls, each with the kinds of what it gives them.
    """

    def __init__(self, func: tirx.PrimFunc, kinds: Kinds) -> None:
        self.calls: list[tuple[str, Kinds]] = []
        self._func = func
        self._widened: dict[int, tuple[Expr, Expr]] = {}
        self._arrays = [
            _Array(old, tirx.decl_buffer(old.shape, how.storage, old.name), how)
            for old, how in zip(func.params, kinds, strict=False)  # numbers, scratch memory follow
            if how is not None
        ]

    def function(self) -> tirx.PrimFunc:
        """Return it."""
        rewrites = [
            (tvm.ir.expr.TensorLoad, self._load),
            (tirx.BufferStore, self._store),
            (tvm.ir.expr.TensorRegion, self._region),
            (tvm.ir.Call, self._call),
        ]
        body = tvm_ffi.structural_map(self._func.body, rewrites)
        params = [found.after if (found := self._of(each)) else each for each in self._func.params]
        return tirx.PrimFunc(params, body, self._func.ret_type, self._func.attrs)

    def _of(self, array: Any) -> _Array | None:
        return next((each for each in self._arrays if array.same_as(each.before)), None)

    def _as_stored(self, array: Any) -> _Array | None:
        return next((each for each in self._arrays if array.same_as(each.after)), None)

    def _load(self, load: Any) -> Any:
        found = self._of(load.source)
        if found is None:
            return load
        plain = tirx.BufferLoad(found.after, load.indices)
        wide = found.how.widen(plain)
        self._widened[wide.__chandle__()] = wide, plain
        return wide

    def _store(self, store: Any) -> Any:
        found = self._of(store.buffer)
        if found is None:
            return store
        plain = self._loaded(store.value)
        value = found.how.narrow(store.value) if plain is None else plain
        return tirx.BufferStore(found.after, value, store.indices)

    def _region(self, region: Any) -> Any:
        found = self._of(region.source)
        return region if found is None else tirx.BufferRegion(found.after, region.region)

    def _call(self, call: Any) -> Any:
        """Give addresses of what lies in memory, and note the functions that are called."""
        if call.op.name == "tirx.address_of":
            plain = self._loaded(call.args[0])
            return call if plain is None else tirx.address_of(plain)
        if call.op.name == "tirx.call_extern":
            name, *given = call.args
            self.calls.append((str(name.value), [self._kind(each) for each in given]))
        return call

    def _kind(self, argument: Any) -> Conversion | None:
        if not isinstance(argument, tvm.ir.Call) or argument.op.name != "tirx.address_of":
            return None
        found = self._as_stored(argument.args[0].source)
        return None if found is None else found.how

    def _loaded(self, value: Any) -> Any | None:
        """Return what was read where a value is that and nothing else, widened; else None."""
        _, load = self._widened.get(value.__chandle__(), (None, None))
        return load
