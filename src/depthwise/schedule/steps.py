"""A kernel as a list of steps: plain data, from which it is run, laid out in memory and shown."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from depthwise.machine.target import Target
from depthwise.problem.costs import cost
from depthwise.problem.problem import Problem
from depthwise.problem.spec import ConvSpec
from depthwise.problem.values import nbytes
from depthwise.schedule.form import Form
from depthwise.schedule.plan import AnyPlan, Plan

INPUT, OUTPUT = "input", "output"
"""What steps call the first array of a call, and its result."""


@dataclass(frozen=True)
class Packing:
    """How the weight of a convolution is laid out before a step takes it."""

    conv: ConvSpec
    form: Form


@dataclass(frozen=True)
class Buffer:
    """An array that a step writes and later steps of the same kernel read."""

    shape: tuple[int, ...]
    dtype: str
    """The name of its element type; sums keep the type that they are computed in."""

    @property
    def nbytes(self) -> int:
        """Its bytes."""
        return nbytes(self.shape, self.dtype)

    @classmethod
    def of_sums(cls, shape: tuple[int, ...], problem: Problem) -> Buffer:
        """Return one of numbers that no call sees, in the type that a problem is computed in."""
        return cls(shape, problem.element.computed.name)


@dataclass(frozen=True)
class Step:
    """One launch of machine code."""

    title: str
    """What it computes of a problem, as a heading; empty where that is all of it."""
    problem: Problem
    """The problem whose machine code it runs: the kernel's own, or, for a part that is computed by
    itself, the part, so that the code is that of the convolution."""
    plan: AnyPlan
    """How that problem is computed."""
    arguments: tuple[str, ...]
    """What the code takes, in order: INPUT, operands of the kernel's problem, buffers, constants,
    OUTPUT."""
    most_threads: int
    """On how many threads it is worth running."""
    number: int = 0
    """Which of that problem's programs it is."""
    packings: Mapping[str, Packing] = field(default_factory=dict)
    """Of those arguments that are weights: how they are laid out."""
    buffers: Mapping[str, Buffer] = field(default_factory=dict)
    """The buffers that it writes and later steps read, by name."""
    constants: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Of those arguments that are neither a call's nor buffers: their elements, 64-bit integers."""
    tasks: int | None = None
    """How many tasks it is where the code does not tell."""


def worth_waking(problem: Problem) -> int:
    """Return how many threads a problem keeps busy for longer than waking one takes.

    (That is about a microsecond, in which a core moves or computes some 100 thousand of anything.)
    """
    costs = cost(problem)
    return 1 + int(costs.flops + costs.bytes) // 200_000


def one_step(
    form: Callable[[ConvSpec, Plan, Target], Form],
) -> Callable[[ConvSpec, Plan, Target], tuple[Step, ...]]:
    """Return a rule's `steps`: one, which takes the arrays of a convolution as calls give them."""

    def steps(spec: ConvSpec, plan: Plan, target: Target) -> tuple[Step, ...]:
        packing = Packing(spec, form(spec, plan, target))
        return (alone(spec, plan, {"weight": packing}),)

    return steps


def alone(problem: Problem, plan: Plan, packings: Mapping[str, Packing]) -> Step:
    """Return the step that computes a whole problem from the arrays of a call in their order."""
    arguments = INPUT, *problem.operands, OUTPUT
    return Step("", problem, plan, arguments, worth_waking(problem), packings=packings)
