"""The kernel of a gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from depthwise.kernel.code import Code
from depthwise.kernel.kernel import Kernel, Launch, threads_worth_waking
from depthwise.kernel.packing import Packer, reversed_taps
from depthwise.machine.target import Target
from depthwise.problem.arrays import Memory
from depthwise.problem.training import PassSpec
from depthwise.problem.values import nbytes
from depthwise.problem.vocabulary import Layout
from depthwise.schedule import adjoint, weight_gradient
from depthwise.schedule.plan import Plan
from depthwise.schedule.rule import Form

if TYPE_CHECKING:
    from depthwise.programs.build import Program


@dataclass(frozen=True)
class GradientStage:
    """One function of a gradient's machine code."""

    code: Code
    program: Callable[[], Program]
    """Generates the program again, to look at."""


@dataclass(frozen=True)
class GradientKernel(Kernel):
    """A gradient of a depthwise convolution.

    That with respect to the weight has two stages: the sums of parts of all rows, and their sum.
    """

    spec: PassSpec
    plan: Plan
    target: Target
    stages: tuple[GradientStage, ...]

    @cached_property
    def between(self) -> list[tuple[int, ...]]:
        """The shapes of what lies between the stages."""
        if self.spec.kind == "input_gradient":
            return []
        return [(weight_gradient.sums(self.spec, self.plan, self.target).size,)]

    @property
    def scratch_bytes(self) -> int:
        """Memory beside the arrays that each thread of a call works in, and keeps for the next.

        What lies between the stages is in this; the thread that calls keeps it.
        """
        stages = max(stage.code.scratch_bytes for stage in self.stages)
        return stages + sum(nbytes(shape, self.spec.dtype) for shape in self.between)

    @cached_property
    def _most_threads(self) -> int:
        return threads_worth_waking(self.spec)

    @cached_property
    def _packer(self) -> Callable[[Memory], Memory]:
        """What packs the weight: as for channels-last data, or reversed for the adjoint."""
        conv = self.spec.conv
        if self.plan.schedule == adjoint.name:
            return partial(reversed_taps, conv)
        layout: Layout = "NLC" if conv.kind == "depthwise1d" else "NHWC"
        return Packer(replace(conv, layout=layout), Form(multiples=conv.multiplier > 1))

    def pack(self, operands: Sequence[Memory]) -> Sequence[Any]:
        """Pack for each stage what is its own: the weight, or the input as it is."""
        if self.spec.kind == "weight_gradient":
            return [operands, ()]
        (weight,) = operands
        return [(self._packer(weight),)]

    def launches(
        self, x: Memory, packed: Sequence[Any], between: Sequence[Memory], out: Memory
    ) -> list[Launch]:
        """Return that of each stage."""
        found = []
        for stage, own, output in zip(self.stages, packed, [*between, out], strict=True):
            found.append(Launch(stage.code, self._most_threads, (x, *own, output)))
            x = output
        return found

    def _show(self, stage: str) -> str:
        if stage == "definition":
            return self.stages[0].program().show(stage)
        return "\n".join(each.program().show(stage) for each in self.stages)
