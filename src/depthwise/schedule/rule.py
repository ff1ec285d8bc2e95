"""What a schedule rule is, and the steps that several of them share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.problem.training import PassSpec
from depthwise.problem.vocabulary import Pair
from depthwise.schedule.plan import Plan
from depthwise.schedule.tiling import Panels

UNROLLED_STEPS = 256
"""Most multiply-adds of one tile that are unrolled whole; beyond it compile time explodes."""


@dataclass(frozen=True)
class Form:
    """The form of the program that a rule starts from."""

    block: int | None = None
    """The x of the layout NCHW[x]c; None computes in the layout of the data."""
    tile: Pair | None = None
    """Rows and columns that the outputs of a plane are rounded up to multiples of."""
    multiples: bool = False
    """Whether the outputs of a channel are summed apart and interleaved when they are stored."""
    segments: tuple[Pair, ...] = ()
    """(first channel, number of channels) of the runs with loop nests of their own; () is one."""
    panels: tuple[Panels, ...] = ()
    """The columns of a product, in which the weights are packed; () leaves them as they are."""


class Rule(Protocol):
    """One way of computing convolutions fast."""

    name: str
    """How plans call it."""

    def rejects(self, spec: ConvSpec, target: Target) -> str | None:
        """Say why the rule does not take a problem, or None where it does."""

    def default_plan(self, spec: ConvSpec, target: Target) -> Plan:
        """Return the plan that is expected to be fastest, without measuring."""

    def plans(self, spec: ConvSpec, target: Target) -> Iterator[Plan]:
        """Yield every legal plan of this rule for the problem."""

    def form(self, spec: ConvSpec, plan: Plan, target: Target) -> Form:
        """Return the form of the program that `scheduled` starts from."""

    def scheduled(self, definition: Any, spec: ConvSpec, plan: Plan, target: Target) -> Any:
        """Return the program that computes what the definition does, fast."""


class GradientRule(Protocol):
    """One way of computing gradients fast; see `Rule`."""

    name: str
    stages: int
    """How many kernels it takes, one after the other."""

    def rejects(self, spec: PassSpec, target: Target) -> str | None:
        """Say why the rule does not take a gradient, or None where it does."""

    def default_plan(self, spec: PassSpec, target: Target) -> Plan:
        """Return the plan that is expected to be fastest, without measuring."""

    def plans(self, spec: PassSpec, target: Target) -> Iterator[Plan]:
        """Yield every legal plan of this rule for the gradient."""

    def functions(self, spec: PassSpec, plan: Plan, target: Target) -> Sequence[dict[str, Any]]:
        """Return the functions of each kernel, as `build` takes them."""


def by_transforming(
    apply: Callable[[Any, ConvSpec, Plan], None],
) -> Callable[[Any, ConvSpec, Plan, Target], Any]:
    """Return a rule's `scheduled` that transforms the definition in a `tvm.s_tir.Schedule`."""

    def scheduled(definition: Any, spec: ConvSpec, plan: Plan, target: Target) -> Any:
        from depthwise.programs.build import new_schedule

        del target
        sch = new_schedule(definition)
        apply(sch, spec, plan)
        return sch.mod["main"]

    return scheduled


def register_tile(sch: Any, name: str = "") -> tuple[Any, Any]:
    """Split the output stage into the sum, kept in registers, and the store.

    Before: `Y[..] += x * k` in memory, or `Acc` in memory and `Y` from it.
    After: the sum goes to a local buffer that a second block writes to `Y`.

    Returns:
        The block of the sum and the block of the store.
    """
    if (acc := stage(sch, "Acc" + name)) is not None:
        sch.set_scope(acc, 0, "local")
        return acc, sch.get_sblock("Y" + name)
    total = sch.get_sblock("Y" + name)
    return total, sch.cache_write(total, 0, "local")


def stage(sch: Any, name: str) -> Any | None:
    """Return the block of that name, or None where the program has no such stage."""
    for block in sch.get_child_blocks(sch.get_sblock("root")):
        if sch.get(block).name_hint == name:
            return block
    return None


def unrolls(spec: ConvSpec, tile: int, most: int = UNROLLED_STEPS) -> bool:
    """Whether all taps of a tile of so many vectors are at most so many multiply-adds."""
    return prod(spec.kernel) * tile <= most


def tiles(largest: int) -> Iterator[int]:
    """Yield 1, 2, 3, 4, 6, 8, 12, ... up to `largest`: powers of two and three times them."""
    sizes = {1} | {base << shift for base in (2, 3) for shift in range(10)}
    yield from (size for size in sorted(sizes) if size <= largest)
