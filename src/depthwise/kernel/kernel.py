"""A compiled problem: call it, bind its weights, or look at what was generated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from depthwise.errors import ArrayError, SpecError, TargetError
from depthwise.kernel import outputs
from depthwise.kernel.addresses import addresses_of, signature
from depthwise.kernel.buffers import give_back, take
from depthwise.kernel.code import Code
from depthwise.kernel.packing import Packer
from depthwise.machine import team
from depthwise.machine.target import Target
from depthwise.problem.arrays import (
    Array,
    Given,
    Memory,
    as_numpy,
    fit,
    is_tensor,
    like,
    new_arrays,
    write,
)
from depthwise.problem.dtypes import DTYPES, element
from depthwise.problem.html import as_html
from depthwise.problem.problem import Problem
from depthwise.problem.values import meant
from depthwise.schedule.plan import AnyPlan
from depthwise.schedule.steps import INPUT, OUTPUT, Buffer, Packing, Step

if TYPE_CHECKING:
    from depthwise.programs.build import Program

Stage = Literal["definition", "schedule", "llvm", "asm"]
STAGES: tuple[Stage, ...] = get_args(Stage)


class Launch(NamedTuple):
    """Machine code with its arrays, on as many threads as are worth waking."""

    code: Code
    most_threads: int
    arrays: tuple[Memory, ...]

    def run(self, threads: int) -> None:
        """Run every task, on no more than so many threads; 0 is `team.size()`."""
        self.code.run(min(threads or team.size(), self.most_threads), *self.arrays)


@dataclass(frozen=True, eq=False)
class Kernel:
    """A compiled problem.  Shapes, layout and types are those of `spec`.

    Attributes:
        spec: the problem.
        plan: how it is computed.
        target: the CPU that the code is for.
        steps: what a call runs, one after the other.
        codes: the machine code of each step.
        programs: generates the program of each step again, to look at; the machine code may come
            from the disk.
    """

    spec: Problem
    plan: AnyPlan
    target: Target
    steps: tuple[Step, ...]
    codes: tuple[Code, ...]
    programs: Callable[[], tuple[Program, ...]]

    def __call__(
        self, x: Given, *operands: Any, out: Any = None, threads: int | None = None
    ) -> Given:
        """Compute the problem.

        Args:
            x: the input, of `spec.input_shape`; NumPy or a DLPack tensor on the CPU.
            operands: the arrays of `spec.operands`, in that order.
            out: where to write the result; None makes a new array of the kind of `x`.
            threads: how many threads to use; None is `team.size()`.

        Raises:
            ArrayError: an array's shape does not fit, or `out` cannot be written to.
            DTypeError: an array's element type is not the problem's.
            TargetError: the code is for another CPU.
        """
        return self.bind(*operands)(x, out=out, threads=threads)

    def bind(self, *operands: Any) -> BoundKernel:
        """Check and pack the weights once, for many calls with new inputs.

        The arrays are copied; later changes to those given do not show.
        """
        if self.spec.pitches:
            raise ArrayError(f"only networks give kernels runs of channels: {self.spec}")
        shapes = self.spec.operands
        if len(operands) != len(shapes):
            wanted = ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "none"
            raise ArrayError(f"operands are {wanted}; got {len(operands)}: {self.spec}")
        arrays = [
            fit(array, name, shapes[name], self.spec).copy()
            for name, array in zip(shapes, operands, strict=True)
        ]
        return BoundKernel(self, arrays)

    def show(self, stage: str) -> str:
        """Return one stage of the generated program as text: definition, schedule, llvm or asm."""
        if stage not in STAGES:
            got = f"{stage!r}{meant(stage, STAGES)}"
            raise SpecError(f"stage is one of {', '.join(STAGES)}; got {got}: {self.spec}")
        texts = [program.show(stage) for program in self.programs()]
        shown = zip(self.steps, texts, strict=True)
        titled = (f"# {step.title}\n{text}" if step.title else text for step, text in shown if text)
        return "\n".join(titled)

    def _repr_html_(self) -> str:
        headers = "step", "plan", "tasks", "threads at most", "scratch bytes"
        rows = [
            [
                step.title or step.problem, step.plan,
                *(f"{n:,}" for n in (code.tasks, step.most_threads, code.scratch_bytes)),
            ]
            for step, code in zip(self.steps, self.codes, strict=True)
        ]  # fmt: skip
        return as_html(f"{self.spec}, for {self.target.name}", headers, rows, words=2)

    @cached_property
    def buffers(self) -> dict[str, Buffer]:
        """What lies between the steps of a call, by name."""
        return {name: buffer for step in self.steps for name, buffer in step.buffers.items()}

    @property
    def scratch_bytes(self) -> int:
        """Memory beside the arrays that each thread of a call works in, and keeps for the next.

        The buffers are in this; the thread that calls keeps them.
        """
        return max(code.scratch_bytes for code in self.codes) + self._starts[-1]

    def pack(
        self, operands: Sequence[Memory], given: Sequence[Any] | None = None
    ) -> Sequence[Memory]:
        """Return the arrays of `spec.operands` as `run` takes them; unchecked.

        Args:
            operands: the arrays, or their addresses.
            given: the arrays or tensors that these were made of, or None where they are those.
                What is remembered of a weight goes when they do.
        """
        if not self._packers:
            return operands
        packed = list(operands)
        for index, packer in self._packers:
            packed[index] = packer(packed[index], given and given[index])
        return packed

    @cached_property
    def packings(self) -> list[tuple[int, Packing]]:
        """How each weight is laid out, with its place among the operands."""
        names = [*self.spec.operands]
        return [
            (names.index(name), packing)
            for step in self.steps
            for name, packing in step.packings.items()
        ]

    @cached_property
    def _packers(self) -> list[tuple[int, Packer]]:
        return [(place, Packer(packing.conv, packing.form)) for place, packing in self.packings]

    def with_computed(
        self, packed: Sequence[Memory], computed: Sequence[Memory]
    ) -> Sequence[Memory]:
        """Return what `pack` made, with others of the operands `spec.computed`, in their order."""
        if not computed:
            return packed
        others = dict(zip(self.spec.computed, computed, strict=True))
        return [
            others.get(name, each) for name, each in zip(self.spec.operands, packed, strict=True)
        ]

    def launches(
        self, x: Memory, packed: Sequence[Memory], buffers: Sequence[Memory], out: Memory
    ) -> list[Launch]:
        """Return what a call runs, one after the other; unchecked.

        Args:
            x: the input.
            packed: what `pack` made of the operands, which must still exist.
            buffers: an array for each of `self.buffers`.
            out: where to write the result.
        """
        arrays = (x, *packed, *buffers, *self._constants.values(), out)
        return [
            Launch(code, step.most_threads, taken(arrays))
            for code, step, taken in zip(self.codes, self.steps, self._taken, strict=True)
        ]

    def run(self, x: Memory, packed: Sequence[Memory], out: Memory, threads: int) -> None:
        """Run the steps on the team; see `launches`.

        Args:
            x: the input.
            packed: what `pack` made of the operands, which must still exist.
            out: where to write the result.
            threads: how many threads to use at most; 0 is `team.size()`.
        """
        if (only := self._only) is not None:
            launch, most, address, tasks, scratch_bytes, constants = only
            count = 1 if most == 1 else min(threads or team.size(), most)
            launch(address, tasks, count, scratch_bytes, x, *packed, *constants, out)
            return
        *starts, size = self._starts
        start, _ = taken = take(size)
        between = [start + offset for offset in starts]
        for each in self.launches(x, packed, between, out):
            each.run(threads)
        give_back(taken)

    @cached_property
    def _starts(self) -> list[int]:
        """Where each buffer begins in memory, the one behind the other, and where the last ends."""
        sizes = (buffer.nbytes for buffer in self.buffers.values())
        return [*accumulate(sizes, initial=0)]

    @cached_property
    def _taken(self) -> list[Callable[..., tuple[Memory, ...]]]:
        """For each step, what takes its arguments from the input, operands, buffers and output."""
        names = (INPUT, *self.spec.operands, *self.buffers, *self._constants, OUTPUT)
        places = {name: place for place, name in enumerate(names)}
        return [itemgetter(*(places[name] for name in step.arguments)) for step in self.steps]

    @cached_property
    def _constants(self) -> dict[str, Array]:
        """What steps take that is the same in each call."""
        return {
            name: np.array(numbers, np.int64)
            for step in self.steps
            for name, numbers in step.constants.items()
        }

    @cached_property
    def _only(self) -> tuple[Callable[..., None], int, int, int, int, tuple[Array, ...]] | None:
        """The launch of a kernel whose only step takes the arrays of a call in their order."""
        step, code = self.steps[0], self.codes[0]
        in_order = (INPUT, *self.spec.operands, *step.constants, OUTPUT)
        if len(self.steps) > 1 or step.arguments != in_order:
            return None
        run, constants = team.native().run, tuple(self._constants.values())
        return run, step.most_threads, code.address, code.tasks, code.scratch_bytes, constants


class _OfTensors:
    """How a bound kernel is called with tensors that lie as those of an earlier call.

    Attributes:
        key: their signatures.
    """

    def __init__(
        self, key: object, x: Any, target: outputs.Target | None, new: Callable[[], Array]
    ) -> None:
        self.key, self._target, self._new = key, target, new
        self._addresses, self._wrap = addresses_of((x,), ("x",)), like(x)

    def __call__(self, run: Callable[..., None], x: Any, out: Any, threads: int) -> Any:
        (source,) = sources = self._addresses((x,))
        if self._target is not None:
            run(source, self._target(out, sources), threads)
            return out
        result = self._new()
        run(source, result, threads)
        return self._wrap(result)


class BoundKernel:
    """A kernel whose weights are packed: `bound(x)` computes."""

    def __init__(self, kernel: Kernel, operands: list[Array]) -> None:
        self._spec, self._target = kernel.spec, kernel.target
        self._shape, self._out_shape = kernel.spec.input_shape, kernel.spec.output_shape
        self._dtype, self._out_dtype = (
            np.dtype(element(kernel.spec.dtype_of(name)).numpy) for name in "xy"
        )
        self._new = new_arrays(self._out_shape, self._out_dtype)
        self._run, self._operands, self._packed = kernel.run, operands, kernel.pack(operands)
        self._of_tensors: _OfTensors | None = None

    def run(self, x: Memory, out: Memory, threads: int = 0) -> None:
        """Compute, unchecked; see `Kernel.run`."""
        self._run(x, self._packed, out, threads)

    def __call__(self, x: Given, *, out: Any = None, threads: int | None = None) -> Given:
        """Compute the problem for one input; see `Kernel.__call__`."""
        if not (
            type(x) is np.ndarray
            and x.shape == self._shape
            and x.dtype is self._dtype
            and x.flags.c_contiguous
            and threads is None
            and not self._target.missing
        ):
            return self._checked(x, out, threads)
        if out is None:
            result = self._new()
        elif (
            type(out) is np.ndarray
            and out.shape == self._out_shape
            and out.dtype is self._out_dtype
            and out.flags.carray
            and not np.may_share_memory(x, out)
        ):
            result = out
        else:
            return self._checked(x, out, threads)
        self._run(x, self._packed, result, 0)
        return result

    def _checked(self, x: Given, out: Any, threads: int | None) -> Given:
        spec = self._spec
        if self._target.missing:
            raise TargetError(
                f"code runs on a CPU with its features; {self._target.name} needs "
                f"{', '.join(self._target.missing)}, which this machine lacks: {spec}"
            )
        count = team.thread_count(threads, spec)
        key = _signatures(x, out)
        if (known := self._of_tensors) is not None and known.key == key:
            result: Given = known(self.run, x, out, count)
            return result
        source = fit(x, "x", self._shape, spec)
        view = None if out is None else as_numpy(out, "out", (*DTYPES, self._out_dtype.name))
        if key is not None:
            self._remember(key, x, source, out, view)
        if view is None:
            array = self._new()
            self.run(source, array, count)
            made: Given = like(x)(array)
            return made
        given: Given = write(
            out, view, spec, [source], lambda result: self.run(source, result, count)
        )
        return given

    def _remember(self, key: object, x: Any, source: Array, out: Any, view: Array | None) -> None:
        """Call with tensors of the same signatures at once from now on, if nothing is copied."""
        if source.ctypes.data != x.data_ptr():
            return
        target = None
        if view is not None:
            target = outputs.target_for(out, view, [x], [source], self._spec)
        if (view is None) == (target is None):
            self._of_tensors = _OfTensors(key, x, target, self._new)


def _signatures(x: Any, out: Any) -> object:
    """Return what tells whether tensors lie as others did; None where these are no tensors."""
    try:
        return (signature(x), out if out is None else signature(out)) if is_tensor(x) else None
    except TypeError:
        return None
