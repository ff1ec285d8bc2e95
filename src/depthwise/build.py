"""Scheduled TensorIR to machine code: the only file that compiles.

A kernel is a C function of its arrays and a task number, `void kernel(X, K, ..., Y, int32_t task)`:
the program's parallel loop is not in it, its iterations are the tasks, which `team` runs.  It
needs nothing else in the process: no part of TVM, and of the C library only mathematics and memory.
"""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, tirx

from depthwise.errors import InternalError
from depthwise.target import Target

SYMBOL = "kernel"
"""The name of the function in the machine code."""

_PASS_CONFIG = {
    "s_tir.LoopPartition": {
        "partition_const_loop": True,
        "no_unroll_loop_with_extent_one": True,
        "unroll_loop_with_partition_hint_no_interval": False,
    }
}
_STACK_BYTES = 256 * 1024
"""Larger buffers come from the heap: threads have stacks of megabytes, and few are guarded."""
_GETTER = "address"


@dataclass(frozen=True)
class Program:
    """What is generated for one problem, stage by stage."""

    definition: tirx.PrimFunc
    schedule: tirx.PrimFunc
    target: Target

    @cached_property
    def built(self) -> Built:
        """The machine code."""
        return build(self.schedule, self.target)

    def show(self, stage: str) -> str:
        """Return one stage as text: definition, schedule, llvm or asm."""
        if stage == "definition":
            return str(self.definition.script())
        if stage == "schedule":
            return str(_lowered(self.schedule).script())
        return self.built.llvm if stage == "llvm" else self.built.assembly


@dataclass(frozen=True)
class Built:
    """Machine code of one program."""

    module: Any
    tasks: int
    """How many tasks a call has."""

    @property
    def llvm(self) -> str:
        """The optimised LLVM IR."""
        return str(self.module.inspect_source("ll"))

    @property
    def assembly(self) -> str:
        """The machine code as text."""
        return str(self.module.inspect_source("asm"))

    def write_object(self, path: Path) -> None:
        """Write a relocatable object file, which a linker takes."""
        self.module.write_to_file(str(path))

    def write_llvm(self, path: Path) -> None:
        """Write LLVM IR that `address_in` loads."""
        path.write_text(f"{self.llvm}\n{_getter()}")


def build(func: tirx.PrimFunc, target: Target) -> Built:
    """Compile a program whose arguments may lie at any address of their element's alignment."""
    tasks = _task_count(func)
    plain = _any_alignment(func).with_attr("global_symbol", SYMBOL)
    with tvm.transform.PassContext(config=_PASS_CONFIG):
        module = tirx.build(
            tvm.IRModule({SYMBOL: plain}), target=_llvm(target), pipeline="depthwise"
        )
    return Built(module, tasks)


def address_in(path: Path) -> tuple[int, Any]:
    """Load a file of `Built.write_llvm`: the kernel's address, and what must live as long."""
    module = tvm.runtime.load_module(str(path))
    return int(module[_GETTER]()), module


def new_schedule(func: tirx.PrimFunc) -> s_tir.Schedule:
    """Return a schedule that transforms a copy of the program."""
    return s_tir.Schedule(func)


def _lowered(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """Return the program as plain loops: blocks opened, buffers no larger than they are used."""
    module = tvm.IRModule({"main": func.with_attr("global_symbol", "main")})
    passes = [*_open_blocks(), tirx.transform.StmtSimplify()]
    return tvm.transform.Sequential(passes)(module)["main"]


def _llvm(target: Target) -> tvm.target.Target:
    return tvm.target.Target(
        {"kind": "llvm", "mcpu": target.cpu, "mtriple": f"{platform.machine()}-linux-gnu"}
    )


def _getter() -> str:
    """Return LLVM IR of a function by TVM's calling convention that returns the kernel's address.

    Its result is a tagged 16-byte value: the tag of integers, then the integer.
    """
    return f"""
define i32 @__tvm_ffi_{_GETTER}(ptr %self, ptr %arguments, i32 %count, ptr %result) {{
  store i32 1, ptr %result
  %value = getelementptr i8, ptr %result, i64 8
  store i64 ptrtoint (ptr @{SYMBOL} to i64), ptr %value
  ret i32 0
}}
"""


def _task_count(func: tirx.PrimFunc) -> int:
    """Return how many iterations the parallel loops have, which run in step.

    (There are several where segments of channels have loop nests of their own.)
    """
    extents = set()

    def look(loop: Any) -> Any:
        if loop.kind == tirx.ForKind.PARALLEL:
            extents.add(int(loop.extent))
        return loop

    tvm_ffi.structural_map(func.body, [(tirx.For, look)])
    if len(extents) > 1:
        raise InternalError(f"parallel loops have the same extent; got {sorted(extents)}")
    return extents.pop() if extents else 1


def _any_alignment(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """Declare each argument with its element's own alignment.

    TVM's default is 64 bytes, unchecked: an array elsewhere would crash the process.
    """
    arguments = [
        (old, tirx.decl_buffer(
            old.shape, old.dtype, old.name, data_alignment=tvm_ffi.dtype(old.dtype).itemsize
        ))
        for old in func.params
    ]  # fmt: skip

    def replace(var: Any) -> Any:
        return next((new for old, new in arguments if var.same_as(old)), var)

    return tvm_ffi.structural_map(func, [(tvm.ir.expr.Var, replace)])


@tirx.transform.prim_func_pass(opt_level=0)  # type: ignore[untyped-decorator]
def _iterations_to_tasks(func: tirx.PrimFunc, _mod: Any, _ctx: Any) -> tirx.PrimFunc:
    """Make the number of the iteration a parameter, behind the others."""
    task = tirx.Var("task", "int32")

    def one_iteration(loop: Any) -> Any:
        if loop.kind != tirx.ForKind.PARALLEL:
            return loop
        one = tirx.IntImm("int32", 1)
        return tirx.For(
            loop.loop_var, task, one, tirx.ForKind.SERIAL, loop.body, None, loop.annotations
        )

    body = tvm_ffi.structural_map(func.body, [(tirx.For, one_iteration)])
    return tirx.PrimFunc([*func.params, task], body, func.ret_type, func.attrs)


@tirx.transform.prim_func_pass(opt_level=0)  # type: ignore[untyped-decorator]
def _arrays_to_pointers(func: tirx.PrimFunc, _mod: Any, _ctx: Any) -> tirx.PrimFunc:
    """Take each array as a pointer that aliases no other."""
    *arrays, task = func.params
    pointers = [tirx.Var(f"{a.name}_data", _pointer_to(a.dtype)) for a in arrays]
    views = [
        tirx.DeclBuffer(array, data=pointer)
        for array, pointer in zip(arrays, pointers, strict=True)
    ]
    body = tirx.SeqStmt([*views, func.body])
    plain = tirx.PrimFunc([*pointers, task], body, func.ret_type, func.attrs)
    return plain.with_attr("tirx.noalias", True)


@tirx.transform.prim_func_pass(opt_level=0)  # type: ignore[untyped-decorator]
def _buffers_without_runtime(func: tirx.PrimFunc, _mod: Any, _ctx: Any) -> tirx.PrimFunc:
    """Put buffers on the stack, large ones on the C heap: TVM's own workspace is not there."""
    on_stack = {"disable_lower_builtin": tirx.IntImm("bool", 1)}
    on_heap: list[Any] = []

    def place(alloc: Any) -> Any:
        size = math.prod(int(extent) for extent in alloc.buffer.shape)
        nbytes = size * tvm_ffi.dtype(alloc.buffer.dtype).itemsize
        if nbytes <= _STACK_BYTES:
            return tirx.AllocBuffer(alloc.buffer, on_stack)
        pointer = tirx.Var(f"{alloc.buffer.name}_heap", _pointer_to(alloc.buffer.dtype))
        on_heap.append((pointer, tirx.IntImm("int64", nbytes)))
        return tirx.DeclBuffer(alloc.buffer, data=pointer)

    body = tvm_ffi.structural_map(func.body, [(tirx.AllocBuffer, place)])
    take = [tirx.Bind(p, tirx.call_extern(p.ty, "malloc", nbytes)) for p, nbytes in on_heap]
    give = [tirx.Evaluate(tirx.call_extern("void", "free", p)) for p, _ in on_heap]
    return func.with_body(tirx.SeqStmt([*take, body, *give]) if on_heap else body)


def _pointer_to(dtype: Any) -> Any:
    return tvm.ir.PointerType(tvm.ir.PrimType(str(dtype)), "global")


def _open_blocks() -> Sequence[Any]:
    """Return the passes after which a program is loops alone."""
    return (
        s_tir.transform.LowerInitBlock(),
        s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
        s_tir.transform.ConvertBlocksToOpaque(),
        s_tir.transform.CompactBufferAllocation(),
        s_tir.transform.LowerOpaqueBlock(),
    )


def _pipeline() -> tuple[Any, Any, Any]:
    """Return TVM's own passes as far as a CPU needs them, with ours among them."""
    passes = [
        s_tir.transform.CanonicalizeLoop(),
        *_open_blocks(),
        tirx.transform.FlattenBuffer(),
        tirx.transform.NarrowDataType(32),
        s_tir.transform.LoopPartition(),
        tirx.transform.VectorizeLoop(True),
        tirx.transform.StorageRewrite(),
        s_tir.transform.HoistIfThenElse(),
        tirx.transform.UnrollLoop(),
        s_tir.transform.RenormalizeSplitPattern(),
        tirx.transform.StmtSimplify(),
        tirx.transform.RemoveNoOp(),
        s_tir.transform.RewriteUnsafeSelect(),
        tirx.transform.CommonSubexprElim(),
        _iterations_to_tasks,
        tirx.transform.VerifyMemory(),
        tirx.transform.AnnotateEntryFunc(),
        _arrays_to_pointers,
    ]
    finish = [
        _buffers_without_runtime,
        tirx.transform.LowerTVMBuiltin(),
        tirx.transform.LowerIntrin(),
    ]
    return (
        tvm.transform.Sequential(passes),
        lambda: tvm.transform.Sequential(finish),
        s_tir.pipeline.finalize_device_passes,
    )


tirx.compilation_pipeline.register_tir_pipeline("depthwise", _pipeline)
