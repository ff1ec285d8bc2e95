"""Scheduled TensorIR to machine code: the only file that compiles.

A kernel is a C function of its arrays and of a run of tasks, `void kernel(X, K, ..., Y, int32_t
first, int32_t last)`: the iterations of the program's parallel loop are the tasks, of which `team`
gives each thread a run.  It needs nothing else in the process: no part of TVM, and of the C library
only mathematics and memory.
"""

from __future__ import annotations

import math
import os
import resource
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tvm
import tvm_ffi
from tvm import s_tir, tirx

from depthwise.errors import DepthwiseError, InternalError, TargetError
from depthwise.machine.emitted import placed
from depthwise.machine.target import Target
from depthwise.programs.rounding import without_library

SYMBOL = "kernel"
"""The name of the function in the machine code."""
TASKS = "depthwise.tasks"
"""The attribute of a function that takes its run of tasks itself: how many there are."""
SCRATCH_BYTES = "depthwise.scratch_bytes"
"""The attribute of a function whose last array is scratch memory: how large that is."""

_PASS_CONFIG = {
    "s_tir.LoopPartition": {
        "partition_const_loop": True,
        "no_unroll_loop_with_extent_one": True,
        "unroll_loop_with_partition_hint_no_interval": False,
    }
}
_STACK_BYTES = 256 * 1024
"""Larger buffers come from the heap: threads have stacks of megabytes, and few are guarded."""
SMALL_STACK_BYTES = 1024
"""Of code that is taken along, larger buffers lie in the memory that it is given."""
_SEVERAL_FUNCTIONS = ["-inline-threshold:int=-1000000", "-enable-tbaa:bool=false"]
"""TVM says of each parameter that it points to a type of its own, which is no longer true where
functions that hand memory to each other are inlined."""
_GETTER = "address"
_LARGEST_OBJECT_BYTES = 64 * 2**20
"""More than any object has, or its LLVM IR."""


@dataclass(frozen=True)
class Program:
    """What is generated for one problem, stage by stage."""

    definitions: Mapping[str, tirx.PrimFunc]
    """What is computed, part by part."""
    functions: Mapping[str, tirx.PrimFunc]
    """How it is computed: the functions of the machine code, the kernel under `SYMBOL`."""
    target: Target
    _made: list[Built] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def built(self) -> Built:
        """The machine code, built at first use.

        (The lock of a `cached_property` would be held in children that are forked meanwhile.)
        """
        if not self._made:
            self._made.append(build(self.functions, self.target))
        return self._made[0]

    def show(self, stage: str) -> str:
        """Return one stage as text: definition, schedule, llvm or asm."""
        if stage == "definition":
            return _scripts(self.definitions)
        if stage == "schedule":
            return _scripts({name: _opened(func) for name, func in self.functions.items()})
        return self.built.llvm if stage == "llvm" else self.built.assembly


@dataclass(frozen=True)
class Built:
    """Machine code of one program."""

    module: Any
    tasks: int
    """How many tasks a call has."""
    scratch_bytes: int
    """How much memory each thread works in, given as the last array."""

    @property
    def llvm(self) -> str:
        """The optimised LLVM IR."""
        return str(self.module.inspect_source("ll"))

    @property
    def assembly(self) -> str:
        """The machine code as text."""
        return str(self.module.inspect_source("asm"))

    @property
    def object(self) -> bytes:
        """A relocatable object, which a linker takes.

        (LLVM ends the process where it cannot write, which on a disk may happen.)
        """
        with _file_in_memory() as path:
            self.module.write_to_file(str(path), "o")
            return path.read_bytes()

    def write_llvm(self, path: Path) -> None:
        """Write LLVM IR that `address_in` loads."""
        path.write_text(f"{self.llvm}\n{_getter()}")

    def address(self) -> tuple[int, Any]:
        """Load it without a disk or a linker; see `address_in`."""
        with _file_in_memory() as path:
            self.write_llvm(path)
            return address_in(path)


def build(functions: Mapping[str, tirx.PrimFunc], target: Target) -> Built:
    """Compile functions whose arguments may lie at any address of their element's alignment.

    Args:
        functions: by the names under which they call each other; `SYMBOL` is what is called.
        target: the CPU to generate code for.
    """
    plain = {
        name: _any_alignment(without_library(func, target)).with_attr("global_symbol", name)
        for name, func in functions.items()
    }
    with tvm.transform.PassContext(config=_PASS_CONFIG):
        llvm = _llvm(target, _SEVERAL_FUNCTIONS if len(functions) > 1 else [])
        module = tirx.build(tvm.IRModule(plain), target=llvm, pipeline="depthwise")
    kernel = functions[SYMBOL]
    return Built(module, task_count(kernel), int((kernel.attrs or {}).get(SCRATCH_BYTES, 0)))


def build_to_take_along(
    functions: Mapping[str, tirx.PrimFunc], target: Target, symbol: str
) -> Built:
    """Compile functions under names of their own, which take no memory but what they are given.

    Args:
        functions: see `build`.
        target: the CPU to generate code for.
        symbol: what the function is called; the names of others begin with it.
    """
    names = {name: symbol if name == SYMBOL else f"{symbol}_{name}" for name in functions}
    plain = {
        names[name]: _renamed(_any_alignment(without_library(func, target)), names).with_attr(
            "global_symbol", names[name]
        )
        for name, func in functions.items()
    }
    llvm = _llvm(target, _SEVERAL_FUNCTIONS if len(functions) > 1 else [])
    passes = [
        tirx.transform.BindTarget(llvm.with_host(llvm)),
        *_flat_loops(wide=True),
        _buffers_into_scratch,
        tirx.transform.VerifyMemory(),
        _arrays_to_pointers,
    ]
    with tvm.transform.PassContext(config=_PASS_CONFIG):
        flat = tvm.transform.Sequential(passes)(tvm.IRModule(plain))
        module = tirx.build(flat, target=llvm, pipeline="depthwise_flat")
    tasks, size = task_count(functions[SYMBOL]), flat[symbol].attrs.get(SCRATCH_BYTES, 0)
    return Built(module, tasks, int(size))


def _renamed(func: tirx.PrimFunc, names: Mapping[str, str]) -> tirx.PrimFunc:
    """Call functions by other names."""

    def call(found: Any) -> Any:
        if found.op.name != "tirx.call_extern" or found.args[0].value not in names:
            return found
        others = found.args[1:]
        return tirx.call_extern(found.ty, names[found.args[0].value], *others)

    return tvm_ffi.structural_map(func, [(tvm.ir.Call, call)])


def address_in(path: Path) -> tuple[int, Any]:
    """Load a file of `Built.write_llvm`: the kernel's address, and what must live as long."""
    module = tvm_ffi.get_global_func("ffi.Module.load_from_file.ll")(str(path), "ll")
    return int(module[_GETTER]()), module


@contextmanager
def _file_in_memory() -> Iterator[Path]:
    """Yield an empty file that takes whatever memory has room for.

    A limit on the size of files (`ulimit -f`) holds for it too, so that is lifted meanwhile.

    Raises:
        DepthwiseError: it cannot be lifted, and is so low that LLVM might end the process.
    """
    limit, highest = resource.getrlimit(resource.RLIMIT_FSIZE)
    if resource.RLIM_INFINITY != highest < _LARGEST_OBJECT_BYTES:
        raise DepthwiseError(
            f"code is made where files may have {_LARGEST_OBJECT_BYTES} bytes (ulimit -f); "
            f"got {highest}"
        )
    descriptor = os.memfd_create("depthwise")
    resource.setrlimit(resource.RLIMIT_FSIZE, (highest, highest))
    try:
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, highest))
        os.close(descriptor)


def lowered(functions: Mapping[str, tirx.PrimFunc]) -> dict[str, tirx.PrimFunc]:
    """Return functions as loops over flat arrays, with no vectors but those they are written with.

    Each takes its run of tasks, as machine code does.
    """
    c = tvm.target.Target({"kind": "c"})
    named = {name: func.with_attr("global_symbol", name) for name, func in functions.items()}
    passes = [
        tirx.transform.BindTarget(c.with_host(c)),
        *_flat_loops(wide=False),
        tirx.transform.LowerIntrin(),
    ]
    with tvm.transform.PassContext(config=_PASS_CONFIG):
        module = tvm.transform.Sequential(passes)(tvm.IRModule(named))
    return {name: module[name] for name in functions}


def _opened(func: tirx.PrimFunc) -> tirx.PrimFunc:
    """Return the program as plain loops: blocks opened, buffers no larger than they are used."""
    module = tvm.IRModule({"main": func.with_attr("global_symbol", "main")})
    passes = [*_open_blocks(), tirx.transform.StmtSimplify()]
    return tvm.transform.Sequential(passes)(module)["main"]


def _llvm(target: Target, options: Sequence[str]) -> tvm.target.Target:
    if not target.triple:
        raise TargetError(f"{target.name} has no machine code; its code is C, which is exported")
    about = {
        "kind": "llvm",
        "mcpu": target.cpu,
        "mtriple": target.triple,
        "mattr": target.features,
        "mfloat-abi": target.float_abi,
        "vector-width": 8 * target.vector_bytes if target.device else 0,
        "cl-opt": options,
    }
    return tvm.target.Target({key: value for key, value in about.items() if value})


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


def task_count(func: tirx.PrimFunc) -> int:
    """Return how many iterations the parallel loops have, which run in step.

    (There are several where segments of channels have loop nests of their own.)
    """
    if TASKS in (func.attrs or {}):
        return int(func.attrs[TASKS])
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
        if not _is_number(old)
    ]  # fmt: skip

    def replace(var: Any) -> Any:
        return next((new for old, new in arguments if var.same_as(old)), var)

    return tvm_ffi.structural_map(func, [(tvm.ir.expr.Var, replace)])


@tirx.transform.prim_func_pass(opt_level=0)  # type: ignore[untyped-decorator]
def _compact_buffers(func: tirx.PrimFunc, _mod: Any, _ctx: Any) -> tirx.PrimFunc:
    """Make buffers as large as they are used.

    Functions that take their run of tasks are written with theirs so; there it would take most of
    the time of the build.
    """
    if TASKS in (func.attrs or {}):
        return func
    return s_tir.transform.CompactBufferAllocation()(tvm.IRModule({"main": func}))["main"]


@tirx.transform.prim_func_pass(opt_level=0)  # type: ignore[untyped-decorator]
def _narrow_indices(func: tirx.PrimFunc, _mod: Any, _ctx: Any) -> tirx.PrimFunc:
    """Compute indices in 32 bits, where a function is not written with the types that it means."""
    if TASKS in (func.attrs or {}):
        return func
    return tirx.transform.NarrowDataType(32)(tvm.IRModule({"main": func}))["main"]


@tirx.transform.prim_func_pass(opt_level=0)  # type: ignore[untyped-decorator]
def _share_subexpressions(func: tirx.PrimFunc, _mod: Any, _ctx: Any) -> tirx.PrimFunc:
    """Compute once what is used several times.

    A function stays as it is where TVM would give something its name in one loop and use it in
    another, as may happen where loops are not unrolled.
    """
    shared = tirx.transform.CommonSubexprElim()(tvm.IRModule({"main": func}))["main"]
    return shared if tirx.analysis.verify_well_formed(shared, assert_mode=False) else func


@tirx.transform.prim_func_pass(opt_level=0)  # type: ignore[untyped-decorator]
def _iterations_to_tasks(func: tirx.PrimFunc, _mod: Any, _ctx: Any) -> tirx.PrimFunc:
    """Run a part of the iterations: those of the two parameters that are put behind the others."""
    if TASKS in (func.attrs or {}):
        return func
    first, last, task = (tirx.Var(name, "int32") for name in ("first", "last", "task"))

    def one_iteration(loop: Any) -> Any:
        if loop.kind != tirx.ForKind.PARALLEL:
            return loop
        one = tirx.IntImm("int32", 1)
        return tirx.For(
            loop.loop_var, task, one, tirx.ForKind.SERIAL, loop.body, None, loop.annotations
        )

    body = tvm_ffi.structural_map(func.body, [(tirx.For, one_iteration)])
    run = tirx.For(task, first, last - first, tirx.ForKind.SERIAL, body)
    return tirx.PrimFunc([*func.params, first, last], run, func.ret_type, func.attrs)


@tirx.transform.prim_func_pass(opt_level=0)  # type: ignore[untyped-decorator]
def _arrays_to_pointers(func: tirx.PrimFunc, _mod: Any, _ctx: Any) -> tirx.PrimFunc:
    """Take each array as a pointer that aliases no other."""
    pointers = {
        array: tirx.Var(f"{array.name}_data", _pointer_to(array.dtype))
        for array in func.params
        if not _is_number(array)
    }
    views = [tirx.DeclBuffer(array, data=pointer) for array, pointer in pointers.items()]
    body = tirx.SeqStmt([*views, func.body])
    parameters = [pointers.get(parameter, parameter) for parameter in func.params]
    plain = tirx.PrimFunc(parameters, body, func.ret_type, func.attrs)
    return plain.with_attr("tirx.noalias", True)


@tirx.transform.prim_func_pass(opt_level=0)  # type: ignore[untyped-decorator]
def _buffers_into_scratch(func: tirx.PrimFunc, _mod: Any, _ctx: Any) -> tirx.PrimFunc:
    """Put buffers that are large for a small stack behind the function's scratch memory."""
    attrs = func.attrs or {}
    given = int(attrs.get(SCRATCH_BYTES, 0))
    arrays = [each for each in func.params if not _is_number(each)]
    size, added = given, []

    def place(alloc: Any) -> Any:
        nonlocal size
        buffer = alloc.buffer
        bytes_each = tvm_ffi.dtype(buffer.dtype).itemsize
        nbytes = math.prod(int(extent) for extent in buffer.shape) * bytes_each
        if nbytes <= SMALL_STACK_BYTES:
            return alloc
        start = placed(size)
        size = start + nbytes
        pointer = tirx.Var(f"{buffer.name}_scratch", _pointer_to(buffer.dtype))
        added.append((pointer, start))
        return tirx.DeclBuffer(buffer, data=pointer)

    body = tvm_ffi.structural_map(func.body, [(tirx.AllocBuffer, place)])
    if not added:
        return func
    scratch = arrays[-1] if given else tirx.decl_buffer((size,), "uint8", "scratch")
    bytes_each = tvm_ffi.dtype(scratch.dtype).itemsize
    binds = [
        tirx.Bind(
            pointer, tirx.reinterpret(pointer.ty, tirx.address_of(scratch[start // bytes_each]))
        )
        for pointer, start in added
    ]
    count = len(arrays)
    params = [*func.params[:count], *[scratch] * (not given), *func.params[count:]]
    whole = tirx.PrimFunc(params, tirx.SeqStmt([*binds, body]), func.ret_type, func.attrs)
    return whole.with_attr(SCRATCH_BYTES, size)


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


def _is_number(parameter: Any) -> bool:
    return isinstance(parameter.ty, tvm.ir.PrimType)


def _scripts(functions: Mapping[str, tirx.PrimFunc]) -> str:
    if len(functions) == 1:
        return str(next(iter(functions.values())).script())
    return "\n".join(f"# {name}\n{func.script()}" for name, func in functions.items())


def _pointer_to(dtype: Any) -> Any:
    return tvm.ir.PointerType(tvm.ir.PrimType(str(dtype)), "global")


def _open_blocks() -> Sequence[Any]:
    """Return the passes after which a program is loops alone."""
    return (
        s_tir.transform.LowerInitBlock(),
        s_tir.transform.PlanAndUpdateBufferAllocationLocation(),
        s_tir.transform.ConvertBlocksToOpaque(),
        _compact_buffers,
        s_tir.transform.LowerOpaqueBlock(),
    )


def _flat_loops(*, wide: bool) -> Sequence[Any]:
    """Return TVM's own passes as far as a CPU needs them, with ours among them.

    Args:
        wide: whether loops become vectors, or statements one after another, as they say.
    """
    unrolled = [tirx.transform.UnrollLoop()] if wide else []
    share = tirx.transform.CommonSubexprElim() if wide else _share_subexpressions
    return (
        s_tir.transform.CanonicalizeLoop(),
        *_open_blocks(),
        tirx.transform.FlattenBuffer(),
        _narrow_indices,
        s_tir.transform.LoopPartition(),
        tirx.transform.VectorizeLoop(wide),
        tirx.transform.StorageRewrite(),
        s_tir.transform.HoistIfThenElse(),
        *unrolled,
        s_tir.transform.RenormalizeSplitPattern(),
        tirx.transform.StmtSimplify(),
        tirx.transform.RemoveNoOp(),
        s_tir.transform.RewriteUnsafeSelect(),
        share,
        _iterations_to_tasks,
    )


def _pipeline() -> tuple[Any, Any, Any]:
    """Return the passes up to LLVM."""
    passes = [
        *_flat_loops(wide=True),
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
tirx.compilation_pipeline.register_tir_pipeline(
    "depthwise_flat", lambda: (tvm.transform.Sequential([]), *_pipeline()[1:])
)
