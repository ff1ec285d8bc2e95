"""A compiled problem: call it, bind its weights, or look at what was generated."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from depthwise.errors import ArrayError, SpecError, TargetError
from depthwise.kernel.code import Code
from depthwise.kernel.packing import Packer
from depthwise.machine import team
from depthwise.machine.target import Target
from depthwise.problem.arrays import (
    Array,
    Memory,
    as_numpy,
    empty,
    fit,
    kept_arrays,
    like,
    output,
)
from depthwise.problem.block import Spec
from depthwise.problem.costs import cost
from depthwise.problem.pixels import PixelSpec
from depthwise.problem.spec import ConvSpec
from depthwise.problem.values import whole
from depthwise.schedule.plan import AnyPlan, Plan
from depthwise.schedule.rule import Form

if TYPE_CHECKING:
    from depthwise.programs.build import Program

Stage = Literal["definition", "schedule", "llvm", "asm"]
STAGES: tuple[Stage, ...] = get_args(Stage)


class Kernel(ABC):
    """A compiled problem.  Shapes, layout and types are those of `spec`.

    Attributes:
        spec: the problem.
        plan: how it is computed.
        target: the CPU that the code is for.
    """

    spec: Spec
    plan: AnyPlan
    target: Target

    def __call__(self, x: Any, *operands: Any, out: Any = None, threads: int | None = None) -> Any:
        """Compute the problem.

        Args:
            x: the input, of `spec.input_shape`; NumPy or a DLPack tensor on the CPU.
            operands: the arrays of `spec.operands`, in that order.
            out: where to write the result; None makes a new array of the kind of `x`.
            threads: how many threads to use; None is `team.size()`.

        Raises:
            ArrayError: an array's shape does not fit, or `out` cannot be written to.
            DTypeError: an array's element type is not `spec.dtype`.
            TargetError: the code is for another CPU.
        """
        return self.bind(*operands)(x, out=out, threads=threads)

    def bind(self, *operands: Any) -> BoundKernel:
        """Check and pack the weights once, for many calls with new inputs.

        The arrays are copied; later changes to those given do not show.
        """
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
            raise SpecError(f"stage is one of {', '.join(STAGES)}; got {stage!r}: {self.spec}")
        return self._show(stage)

    @abstractmethod
    def pack(self, operands: Sequence[Memory]) -> Sequence[Any]:
        """Return the arrays of `spec.operands` as `run` takes them; unchecked."""

    def with_residual(self, packed: Sequence[Any], residual: Memory) -> Sequence[Any]:
        """Return what `pack` made, with another residual, which is the last operand."""
        return *packed[:-1], residual

    @property
    def between(self) -> list[tuple[int, ...]]:
        """The shapes of the arrays that lie between the launches of a call."""
        return []

    @abstractmethod
    def launches(
        self, x: Memory, packed: Sequence[Any], between: Sequence[Memory], out: Memory
    ) -> list[Launch]:
        """Return what a call runs, one after the other; `between` are arrays of those shapes."""

    def run(self, x: Memory, packed: Sequence[Any], out: Memory, threads: int) -> None:
        """Compute, unchecked.

        Args:
            x: the input.
            packed: what `pack` made of the operands, which must still exist.
            out: where to write the result.
            threads: how many threads to use at most; 0 is `team.size()`.
        """
        between = kept_arrays(self.between, self.spec.dtype) if self.between else []
        for launch in self.launches(x, packed, between, out):
            launch.run(threads)

    @property
    @abstractmethod
    def scratch_bytes(self) -> int:
        """Memory beside the arrays that each thread of a call works in, and keeps for the next."""

    @abstractmethod
    def _show(self, stage: str) -> str: ...


class BoundKernel:
    """A kernel whose weights are packed: `bound(x)` computes."""

    def __init__(self, kernel: Kernel, operands: list[Array]) -> None:
        self._spec, self._target = kernel.spec, kernel.target
        self._shape, self._out_shape = kernel.spec.input_shape, kernel.spec.output_shape
        self._dtype = np.dtype(kernel.spec.dtype)
        self._run, self._operands, self._packed = kernel.run, operands, kernel.pack(operands)

    def run(self, x: Memory, out: Memory, threads: int = 0) -> None:
        """Compute, unchecked; see `Kernel.run`."""
        self._run(x, self._packed, out, threads)

    def __call__(self, x: Any, *, out: Any = None, threads: int | None = None) -> Any:
        """Compute the problem for one input; see `Kernel.__call__`."""
        if not (
            type(x) is np.ndarray
            and x.shape == self._shape
            and x.dtype is self._dtype
            and x.flags.c_contiguous
            and out is threads is None
            and not self._target.missing
        ):
            return self._checked(x, out, threads)
        result = empty(self._out_shape, self._dtype)
        self._run(x, self._packed, result, 0)
        return result

    def _checked(self, x: Any, out: Any, threads: int | None) -> Any:
        spec = self._spec
        if self._target.missing:
            raise TargetError(
                f"code runs on a CPU with its features; {self._target.cpu} needs "
                f"{', '.join(self._target.missing)}, which this machine lacks: {spec}"
            )
        count = thread_count(threads, spec)
        source = fit(x, "x", self._shape, spec)
        if out is None:
            result = empty(self._out_shape, self._dtype)
            self.run(source, result, count)
            return like(x)(result)
        with output(out, as_numpy(out, "out"), spec, [source]) as result:
            self.run(source, result, count)
        return out


def thread_count(threads: int | None, spec: Spec) -> int:
    """Return how many threads a call was told to use, 0 where it was not.

    Raises:
        SpecError: it is no whole number or below one.
    """
    if threads is None:
        return 0
    count = whole("threads", threads)
    if count < 1:
        raise SpecError(f"threads are at least 1; got {count}: {spec}")
    return count


class Launch(NamedTuple):
    """Machine code with its arrays, on as many threads as are worth waking."""

    code: Code
    most_threads: int
    arrays: tuple[Memory, ...]

    def run(self, threads: int) -> None:
        """Run every task, on no more than so many threads; 0 is `team.size()`."""
        self.code.run(min(threads or team.size(), self.most_threads), *self.arrays)


@dataclass(frozen=True)
class SingleKernel(Kernel):
    """A problem that one launch computes."""

    spec: ConvSpec | PixelSpec
    plan: Plan
    target: Target
    code: Code
    program: Callable[[], Program]
    """Generates the program again, to look at; the machine code may come from the disk."""

    @cached_property
    def _most_threads(self) -> int:
        return threads_worth_waking(self.spec)

    @cached_property
    def _launch(self) -> Callable[..., None]:
        return team.native().run  # type: ignore[no-any-return]

    def launches(
        self, x: Memory, packed: Sequence[Any], between: Sequence[Memory], out: Memory
    ) -> list[Launch]:
        """Return the one launch."""
        del between
        return [Launch(self.code, self._most_threads, (x, *packed, out))]

    def run(self, x: Memory, packed: Sequence[Any], out: Memory, threads: int) -> None:
        """Run the tasks of the kernel on the team."""
        most = self._most_threads
        count = 1 if most == 1 else min(threads or team.size(), most)
        code = self.code
        self._launch(code.address, code.tasks, count, code.scratch_bytes, x, *packed, out)

    @property
    def scratch_bytes(self) -> int:
        """Memory beside the arrays that each thread works in."""
        return self.code.scratch_bytes

    def _show(self, stage: str) -> str:
        return self.program().show(stage)


@dataclass(frozen=True)
class ConvKernel(SingleKernel):
    """One convolution with its epilogue."""

    spec: ConvSpec
    form: Form

    @property
    def title(self) -> str:
        """What it computes."""
        return str(self.spec)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The problem's."""
        return self.spec.output_shape

    @cached_property
    def _pack(self) -> Packer:
        return Packer(self.spec, self.form)

    def pack(self, operands: Sequence[Memory]) -> Sequence[Any]:
        """Pack the weight, which comes first; the others are taken as they are."""
        weight, *others = operands
        return self._pack(weight), *others


def threads_worth_waking(spec: Spec) -> int:
    """Return how many threads a problem keeps busy for longer than waking one takes.

    (That is about a microsecond, in which a core moves or computes some 100 thousand of anything.)
    """
    costs = cost(spec)
    return 1 + int(costs.flops + costs.bytes) // 200_000
