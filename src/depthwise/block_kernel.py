"""The kernel of a block: one machine code function for all parts, or several one after another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from depthwise import team
from depthwise.arrays import Array, Memory
from depthwise.block import BlockSpec
from depthwise.code import Code
from depthwise.kernel import ConvKernel, Kernel, threads_worth_waking
from depthwise.packing import packer
from depthwise.plan import BlockPlan
from depthwise.schedule.chain import Chain
from depthwise.target import Target

if TYPE_CHECKING:
    from depthwise.build import Program


@dataclass(frozen=True)
class ChainKernel:
    """Two or three parts of a block, computed strip by strip in one machine code function."""

    chain: Chain
    code: Code
    program: Callable[[], Program]
    """Generates the program again, to look at."""

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The last part's."""
        return self.chain.parts[-1].output_shape

    @cached_property
    def _packers(self) -> list[Callable[[Memory], Memory]]:
        return list(map(packer, self.chain.inner, self.chain.forms))

    @cached_property
    def _most_threads(self) -> int:
        return sum(map(threads_worth_waking, self.chain.parts))

    def pack(self, operands: Sequence[Sequence[Memory]]) -> Sequence[Memory]:
        """Return the operands of the parts as the code takes them: weights, biases, residual."""
        weights = [
            pack(weight) for pack, (weight, *_) in zip(self._packers, operands, strict=True)
        ]
        biases = [
            others[0]
            for part, (_, *others) in zip(self.chain.parts, operands, strict=True)
            if part.bias
        ]
        return *weights, *biases, *(operands[-1][-1:] if self.chain.parts[-1].residual else ())

    def run(self, x: Memory, packed: Sequence[Any], out: Memory, threads: int) -> None:
        """Run the strips on the team."""
        count = min(threads or team.size(), self._most_threads)
        self.code.run(count, x, *packed, out)


Stage: TypeAlias = "ConvKernel | ChainKernel"


@dataclass(frozen=True)
class BlockKernel(Kernel):
    """A block in one or more stages, each a kernel of some of its parts."""

    spec: BlockSpec
    plan: BlockPlan
    target: Target
    stages: tuple[Stage, ...]

    @cached_property
    def _between(self) -> list[tuple[int, ...]]:
        """The shapes of what lies between the stages."""
        return [
            stage.spec.output_shape if isinstance(stage, ConvKernel) else stage.output_shape
            for stage in self.stages[:-1]
        ]

    @property
    def scratch_bytes(self) -> int:
        """Memory beside the arrays that each thread of a call works in, and keeps for the next.

        The thread that calls also keeps what lies between the stages, which is in this.
        """
        stages = max(stage.code.scratch_bytes for stage in self.stages)
        itemsize = np.dtype(self.spec.dtype).itemsize
        return stages + itemsize * sum(map(prod, self._between))

    def pack(self, operands: Sequence[Memory]) -> Sequence[Any]:
        """Pack for each stage what is its own."""
        of_parts = self._operands_of_parts(operands)
        return [
            stage.pack(of_parts[start]) if isinstance(stage, ConvKernel)
            else stage.pack(of_parts[start:end])
            for stage, (start, end) in zip(self.stages, self.plan.kernels, strict=True)
        ]  # fmt: skip

    def run(self, x: Memory, packed: Sequence[Any], out: Memory, threads: int) -> None:
        """Compute stage by stage."""
        if self._between:
            betweens = _kept_arrays(self._between, self.spec.dtype)
            for stage, weights, between in zip(self.stages, packed, betweens):  # noqa: B905 (one less)
                stage.run(x, weights, between, threads)
                x = between
        self.stages[-1].run(x, packed[-1], out, threads)

    def _operands_of_parts(self, operands: Sequence[Memory]) -> list[list[Memory]]:
        arrays = dict(zip(self.spec.operands, operands, strict=True))
        names = ["expand", "depthwise", "pointwise" if self.spec.kind == "separable" else "project"]
        return [
            [
                arrays["residual" if operand == "residual" else f"{name}_{operand}"]
                for operand in part.operands
            ]
            for part, name in zip(self.spec.parts, names[-len(self.spec.parts) :], strict=True)
        ]

    def _show(self, stage: str) -> str:
        return "\n".join(
            f"# {' + '.join(map(str, self.spec.parts[start:end]))}\n{kernel.program().show(stage)}"
            for kernel, (start, end) in zip(self.stages, self.plan.kernels, strict=True)
        )


_kept = threading.local()


def _kept_arrays(shapes: Sequence[tuple[int, ...]], dtype: str) -> list[Array]:
    """Return arrays of these shapes in memory that the calling thread keeps, one behind another."""
    sizes = [prod(shape) * np.dtype(dtype).itemsize for shape in shapes]
    memory = getattr(_kept, "memory", None)
    if memory is None or memory.nbytes < sum(sizes):
        memory = _kept.memory = np.empty(sum(sizes), np.uint8)
    arrays, start = [], 0
    for shape, size in zip(shapes, sizes, strict=True):
        arrays.append(memory[start : start + size].view(dtype).reshape(shape))
        start += size
    return arrays
