"""Scheduled TensorIR to machine code: the only file that compiles."""

from __future__ import annotations

import math
import os
import platform
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from depthwise.target import Target, cores

# TVM sizes its pool when the first thread of it starts, so the upper bound comes before the import.
os.environ.setdefault("TVM_NUM_THREADS", str(max(cores(), os.cpu_count() or 1)))
os.environ.setdefault("TVM_BIND_THREADS", "0")

import tvm
import tvm_ffi
from tvm import s_tir, tirx

_PASS_CONFIG = {
    "s_tir.LoopPartition": {
        "partition_const_loop": True,
        "no_unroll_loop_with_extent_one": True,
        "unroll_loop_with_partition_hint_no_interval": False,
    }
}
_STACK_BYTES = 16 * 1024
_pool = threading.local()


@dataclass(frozen=True)
class Binary:
    """Machine code of one program."""

    module: Any

    @cached_property
    def function(self) -> Callable[..., None]:
        """The entry: takes the arrays of the program in order."""
        return self.module["main"]  # type: ignore[no-any-return]

    @property
    def llvm(self) -> str:
        """The optimised LLVM IR."""
        return str(self.module.inspect_source("ll"))

    @property
    def assembly(self) -> str:
        """The machine code as text."""
        return str(self.module.inspect_source("asm"))


def build(func: tirx.PrimFunc, target: Target) -> Binary:
    """Compile a program whose arguments may lie at any address of their element's alignment."""
    with tvm.transform.PassContext(config=_PASS_CONFIG):
        module = tirx.build(_any_alignment(func), target=_llvm(target), pipeline="depthwise")
    return Binary(module)


def new_schedule(func: tirx.PrimFunc) -> s_tir.Schedule:
    """Return a schedule that transforms a copy of the program."""
    return s_tir.Schedule(func)


def lowered(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """Return the program as plain loops: blocks opened, buffers no larger than they are used."""
    passes = [
        s_tir.transform.LowerInitBlock(),
        s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
        s_tir.transform.ConvertBlocksToOpaque(),
        s_tir.transform.CompactBufferAllocation(),
        s_tir.transform.LowerOpaqueBlock(),
        tirx.transform.StmtSimplify(),
    ]
    module = tvm.IRModule({"main": func.with_attr("global_symbol", "main")})
    return tvm.transform.Sequential(passes)(module)["main"]


def set_threads(count: int) -> None:
    """Let the kernels that this Python thread calls run on so many threads of TVM's pool."""
    if getattr(_pool, "threads", None) != count:
        tvm.get_global_func("runtime.config_threadpool")(1, count)
        _pool.threads = count


def _llvm(target: Target) -> tvm.target.Target:
    return tvm.target.Target(
        {"kind": "llvm", "mcpu": target.cpu, "mtriple": f"{platform.machine()}-linux-gnu"}
    )


def _any_alignment(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """Declare each argument with its element's own alignment.

    TVM's default is 64 bytes, unchecked: an array elsewhere would crash the process.
    """
    arguments = [
        (old, tirx.decl_buffer(
            old.shape, old.dtype, old.name, offset_factor=1,
            data_alignment=tvm_ffi.dtype(old.dtype).itemsize,
        ))
        for old in func.params
    ]  # fmt: skip

    def replace(var: Any) -> Any:
        return next((new for old, new in arguments if var.same_as(old)), var)

    return tvm_ffi.structural_map(func, [(tvm.ir.expr.Var, replace)])


@tirx.transform.prim_func_pass(opt_level=0)  # type: ignore[untyped-decorator]
def _small_buffers_on_stack(func: tirx.PrimFunc, _mod: Any, _ctx: Any) -> tirx.PrimFunc:
    """Keep register tiles out of the heap, where TVM would allocate each at every use."""
    on_stack = {"disable_lower_builtin": tirx.IntImm("bool", 1)}

    def keep(alloc: Any) -> Any:
        size = math.prod(int(extent) for extent in alloc.buffer.shape)
        if size * tvm_ffi.dtype(alloc.buffer.dtype).itemsize > _STACK_BYTES:
            return alloc
        return tirx.AllocBuffer(alloc.buffer, on_stack)

    return func.with_body(tvm_ffi.structural_map(func.body, [(tirx.AllocBuffer, keep)]))


def _pipeline() -> tuple[Any, Any, Any]:
    passes, finish_host, finish_device = s_tir.pipeline.default_s_tir_pipeline()
    return (
        passes,
        lambda: tvm.transform.Sequential([_small_buffers_on_stack, finish_host()]),
        finish_device,
    )


tirx.compilation_pipeline.register_tir_pipeline("depthwise", _pipeline)
