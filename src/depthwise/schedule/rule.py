"""What a schedule rule is, and what several of them count with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from typing import Any, Protocol, TypeVar

from depthwise.machine.target import Target
from depthwise.problem.problem import Problem
from depthwise.problem.spec import ConvSpec
from depthwise.schedule.form import Form
from depthwise.schedule.plan import Plan
from depthwise.schedule.steps import Step

UNROLLED_STEPS = 256
"""Most multiply-adds of one tile that are unrolled whole; beyond it compile time explodes."""

Problem_contra = TypeVar("Problem_contra", contravariant=True)
APlan = TypeVar("APlan")


class Rule(Protocol[Problem_contra, APlan]):
    """One way of computing a kind of problem fast: decisions alone, as plain data.

    The writer of the same name in `programs.writers` makes programs of them, one for each of the
    steps that are the problem's own.
    """

    @property
    def name(self) -> str:
        """How plans call it."""

    @property
    def tiles(self) -> Mapping[str, str]:
        """The tiles of a plan that it reads, and what each means here."""

    def rejects(self, problem: Problem_contra, target: Target) -> str | None:
        """Say why the rule does not take a problem, or None where it does."""

    def default_plan(self, problem: Problem_contra, target: Target, threads: int) -> APlan:
        """Return the plan that is expected to be fastest on so many threads, without measuring."""

    def plans(self, problem: Problem_contra, target: Target) -> Any:
        """Return every legal plan of this rule for the problem: to go through, or to look in."""

    def steps(self, problem: Problem_contra, plan: APlan, target: Target) -> tuple[Step, ...]:
        """Return what a kernel runs, one step after the other."""


class ConvRule(Rule[ConvSpec, Plan], Protocol):
    """A rule for convolutions."""

    def form(self, spec: ConvSpec, plan: Plan, target: Target) -> Form:
        """Return the form of its program."""


def needs_wider_sums(problem: Problem) -> str | None:
    """Say why programs whose sums are elements cannot compute a problem, or None where they can."""
    if problem.element.accumulator == problem.element.computed.name:
        return None
    return f"sums of {problem.dtype} are kept in {problem.element.accumulator}"


def unrolls(spec: ConvSpec, tile: int, most: int = UNROLLED_STEPS) -> bool:
    """Whether all taps of a tile of so many vectors are at most so many multiply-adds."""
    return prod(spec.kernel) * tile <= most


def powers_and_halves(largest: int) -> Iterator[int]:
    """Yield 1, 2, 3, 4, 6, 8, 12, ... up to `largest`: powers of two and three times them."""
    sizes = {1} | {base << shift for base in (2, 3) for shift in range(10)}
    yield from (size for size in sorted(sizes) if size <= largest)
