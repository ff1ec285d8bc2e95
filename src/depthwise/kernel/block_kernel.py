"""The kernel of a block: one machine code function for all parts, or several one after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any, TypeAlias

from depthwise.kernel.code import Code
from depthwise.kernel.kernel import ConvKernel, Kernel, Launch, threads_worth_waking
from depthwise.kernel.packing import Packer
from depthwise.machine.target import Target
from depthwise.problem.arrays import Memory
from depthwise.problem.block import BlockSpec
from depthwise.problem.values import itemsize
from depthwise.schedule.chain import Chain
from depthwise.schedule.gate import Gate
from depthwise.schedule.plan import PARTS, BlockPlan

if TYPE_CHECKING:
    from depthwise.programs.build import Program


@dataclass(frozen=True)
class ChainKernel:
    """One to three parts of a block, computed strip by strip in one machine code function."""

    chain: Chain
    code: Code
    program: Callable[[], Program]
    """Generates the program again, to look at."""

    @property
    def title(self) -> str:
        """What it computes."""
        return " + ".join(map(str, self.chain.parts))

    @property
    def output_shape(self) -> tuple[int, ...]:
        """The last part's."""
        return self.chain.parts[-1].output_shape

    @cached_property
    def _packers(self) -> list[Packer]:
        """Those of the parts whose weights are operands: a scale is not."""
        packers = list(map(Packer, self.chain.inner, self.chain.forms))
        return packers[1:] if self.chain.scaled else packers

    @cached_property
    def _most_threads(self) -> int:
        return sum(map(threads_worth_waking, self.chain.parts))

    def pack(self, operands: Sequence[Memory]) -> Sequence[Memory]:
        """Pack the weights of the parts, which come first; biases and residual are taken as is."""
        packers = self._packers
        weights = [pack(weight) for pack, weight in zip(packers, operands)]  # noqa: B905 (those first)
        return *weights, *operands[len(packers) :]

    def launches(
        self, x: Memory, packed: Sequence[Any], between: Sequence[Memory], out: Memory
    ) -> list[Launch]:
        """Return the one launch; `between` is where the sums of rows go, if they are wanted."""
        return [Launch(self.code, self._most_threads, (x, *packed, out, *between))]


@dataclass(frozen=True)
class GateKernel:
    """The gate of a squeeze-and-excite block: from sums to scales."""

    gate: Gate
    code: Code
    program: Callable[[], Program]
    """Generates the program again, to look at."""

    @property
    def title(self) -> str:
        """What it computes."""
        return f"{self.gate.reduce} + {self.gate.expand}"

    @cached_property
    def _packers(self) -> list[Packer]:
        return list(map(Packer, (self.gate.reduce, self.gate.expand), self.gate.forms))

    def pack(self, operands: Sequence[Memory]) -> Sequence[Memory]:
        """Return the operands as the code takes them."""
        reduce_weight, reduce_bias, expand_weight, expand_bias = operands
        reduce, expand = self._packers
        return reduce(reduce_weight), expand(expand_weight), reduce_bias, expand_bias

    def launch(self, sums: Memory, packed: Sequence[Any], scales: Memory) -> Launch:
        """Return what computes the images' scales."""
        return Launch(self.code, self.code.tasks, (sums, *packed, scales))


Stage: TypeAlias = "ConvKernel | ChainKernel"


@dataclass(frozen=True)
class BlockKernel(Kernel):
    """A block in one or more stages, each a kernel of some of its parts."""

    spec: BlockSpec
    plan: BlockPlan
    target: Target
    stages: tuple[Stage, ...]

    @cached_property
    def between(self) -> list[tuple[int, ...]]:
        """The shapes of what lies between the stages."""
        return [stage.output_shape for stage in self.stages[:-1]]

    @property
    def scratch_bytes(self) -> int:
        """Memory beside the arrays that each thread of a call works in, and keeps for the next.

        What lies between the stages is in this; the thread that calls keeps it.
        """
        stages = max(stage.code.scratch_bytes for stage in self.stages)
        return stages + itemsize(self.spec.dtype) * sum(map(prod, self.between))

    def pack(self, operands: Sequence[Memory]) -> Sequence[Any]:
        """Pack for each stage what is its own."""
        return [
            stage.pack([operands[index] for index in own])
            for stage, own in zip(self.stages, self._own, strict=True)
        ]

    def with_residual(self, packed: Sequence[Any], residual: Memory) -> Sequence[Any]:
        """Return what `pack` made, with another residual: the last stage's last operand."""
        last = len(self.stages) - 1
        return [*packed[:last], (*packed[last][:-1], residual), *packed[last + 1 :]]

    def launches(
        self, x: Memory, packed: Sequence[Any], between: Sequence[Memory], out: Memory
    ) -> list[Launch]:
        """Return that of each stage."""
        found = []
        for stage, weights, output in zip(self.stages, packed, [*between, out], strict=True):
            found += stage.launches(x, weights, [], output)
            x = output
        return found

    @cached_property
    def _own(self) -> list[list[int]]:
        """Which operands each stage takes: weights, biases, the residual."""
        names = [*self.spec.operands]
        last = "pointwise" if self.spec.kind == "separable" else "project"
        parts = (*PARTS[:-1], last)[-len(self.spec.parts) :]
        found = []
        for start, end in self.plan.kernels:
            wanted = [f"{part}_{name}" for name in ("weight", "bias") for part in parts[start:end]]
            if end == len(parts):
                wanted.append("residual")
            found.append([names.index(name) for name in wanted if name in names])
        return found

    def _show(self, stage: str) -> str:
        kernels = self._kernels()
        return "\n".join(f"# {kernel.title}\n{kernel.program().show(stage)}" for kernel in kernels)

    def _kernels(self) -> list[Stage | GateKernel]:
        return [*self.stages]


@dataclass(frozen=True)
class GatedKernel(BlockKernel):
    """A squeeze-and-excite block: as far as the depthwise part, the gate, the scaled projection."""

    gate: GateKernel

    @cached_property
    def between(self) -> list[tuple[int, ...]]:
        """The shapes of what lies between the stages, of the sums of rows and of the scales."""
        gate = self.gate.gate
        channels = gate.reduce.channels
        outputs = [stage.output_shape for stage in self.stages[:-1]]
        return [*outputs, (gate.images * gate.rows * channels,), (gate.images * channels,)]

    def pack(self, operands: Sequence[Memory]) -> Sequence[Any]:
        """Pack for each stage what is its own, and last what is the gate's."""
        gate = operands[self._first_of_gate :][:4]
        return [*super().pack(operands), self.gate.pack(gate)]

    @cached_property
    def _first_of_gate(self) -> int:
        return [*self.spec.operands].index("se_reduce_weight")

    def launches(
        self, x: Memory, packed: Sequence[Any], between: Sequence[Memory], out: Memory
    ) -> list[Launch]:
        """Return those of the stages, that of the gate before the last."""
        *outputs, sums, scales = between
        *before, summed, last = self.stages
        found = []
        for stage, weights, output in zip(before, packed, outputs):  # noqa: B905 (those before)
            found += stage.launches(x, weights, [], output)
            x = output
        *_, weights, last_weights, gate_weights = packed
        return [
            *found,
            *summed.launches(x, weights, [sums], outputs[-1]),
            self.gate.launch(sums, gate_weights, scales),
            *last.launches(outputs[-1], (scales, *last_weights), [], out),
        ]

    def _kernels(self) -> list[Stage | GateKernel]:
        *before, last = self.stages
        return [*before, self.gate, last]
