"""The kernel of what is computed of pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from depthwise.arrays import Memory
from depthwise.code import Code
from depthwise.kernel import Kernel, Launch, threads_worth_waking
from depthwise.pixels import PixelSpec
from depthwise.plan import Plan
from depthwise.target import Target

if TYPE_CHECKING:
    from depthwise.build import Program


@dataclass(frozen=True)
class PixelKernel(Kernel):
    """The mean of pixels, or their normalisation."""

    spec: PixelSpec
    plan: Plan
    target: Target
    code: Code
    program: Callable[[], Program]
    """Generates the program again, to look at."""

    @cached_property
    def _most_threads(self) -> int:
        return threads_worth_waking(self.spec)

    @property
    def scratch_bytes(self) -> int:
        """Memory beside the arrays that each thread works in."""
        return self.code.scratch_bytes

    def pack(self, operands: Sequence[Memory]) -> Sequence[Any]:
        """Take them as they are."""
        return operands

    def launches(
        self, x: Memory, packed: Sequence[Any], between: Sequence[Memory], out: Memory
    ) -> list[Launch]:
        """Return the one launch."""
        del between
        return [Launch(self.code, self._most_threads, (x, *packed, out))]

    def run(self, x: Memory, packed: Sequence[Any], out: Memory, threads: int) -> None:
        """Run the tasks on the team."""
        for launch in self.launches(x, packed, [], out):
            launch.run(threads)

    def _show(self, stage: str) -> str:
        return self.program().show(stage)
