"""Which parts of a block are computed in one launch, and in strips of how many rows.

Each way of fusing is a rule.  The choice between them is made by counting (`estimate`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, product
from math import ceil
from typing import ClassVar

from depthwise.machine.target import Target
from depthwise.problem.block import BlockSpec
from depthwise.problem.spec import ConvSpec
from depthwise.schedule import convolutions, pointwise
from depthwise.schedule.block_steps import block_steps
from depthwise.schedule.chain import Chain, inner
from depthwise.schedule.estimate import Estimate, estimate
from depthwise.schedule.groups import groups, is_in_chain, scratch_bytes
from depthwise.schedule.plan import PARTS, BlockPlan, Plan, title_of
from depthwise.schedule.rule import needs_wider_sums
from depthwise.schedule.steps import Step


@dataclass(frozen=True)
class Way:
    """The rule that computes so many neighbouring parts in each launch: (1, 2) the last two."""

    fused: tuple[int, ...]

    tiles: ClassVar[Mapping[str, str]] = {}
    """None: each part has a plan with tiles of its own."""

    @property
    def name(self) -> str:
        """The groups as plans have them: "expand depthwise+project"."""
        return title_of(self.fused)

    def rejects(self, spec: BlockSpec, target: Target) -> str | None:
        """Take blocks of as many parts, unless a gate stands between parts of one group."""
        names = PARTS[-len(spec.parts) :]
        if sum(self.fused) != len(names):
            return f"the block has the parts {', '.join(names)}"
        ends = zip(self.fused, accumulate(self.fused), strict=True)
        together = [names[end - count : end] for count, end in ends]
        group = next(group for group in together if "depthwise" in group)
        if spec.squeeze_excite and "project" in group:
            return "the gate between depthwise and project needs the mean of all pixels"
        return needs_wider_sums(spec)

    def default_plan(self, spec: BlockSpec, target: Target, threads: int) -> BlockPlan:
        """Return the plan with the height of strips that is expected to be fastest."""
        return best(spec, self.fused, target, threads).plan

    def plans(self, spec: BlockSpec, target: Target) -> Plans:
        """Return every plan: strips of each usual height, with every plan of each part."""
        return Plans(spec, self.fused, target)

    def steps(self, spec: BlockSpec, plan: BlockPlan, target: Target) -> tuple[Step, ...]:
        """Return a launch for each group, and one for the gate if there is one."""
        return block_steps(spec, plan, target)


WAYS = tuple(map(Way, ((2,), (1, 1), (3,), (1, 2), (2, 1), (1, 1, 1))))
_BY_NAME = {way.name: way for way in WAYS}


def parts_of(plan: BlockPlan, spec: BlockSpec) -> Iterator[tuple[ConvSpec, Plan, bool]]:
    """Yield each part as it is computed, its plan, and whether that is strip by strip."""
    for index, (part, own) in enumerate(zip(spec.parts, plan.parts, strict=True)):
        in_chain = is_in_chain(spec, plan.fused, index)
        yield inner(part) if in_chain else part, own, in_chain


def ways_of(spec: BlockSpec) -> list[Way]:
    """Return the ways of fusing as many parts as a block has, whether it takes them or not."""
    return [way for way in WAYS if sum(way.fused) == len(spec.parts)]


@dataclass(frozen=True)
class Plans:
    """The plans of one way of fusing: to go through, or to look in, which is quick."""

    spec: BlockSpec
    fused: tuple[int, ...]
    target: Target

    def __iter__(self) -> Iterator[BlockPlan]:
        for plan in usual(self.spec, self.fused, self.target).values():
            choices = (self.of_part(index, plan.rows) for index in range(len(plan.parts)))
            for parts in product(*choices):
                yield BlockPlan(self.fused, plan.rows, parts)

    def __contains__(self, plan: BlockPlan) -> bool:
        heights = usual(self.spec, self.fused, self.target)
        return (
            plan.fused == self.fused
            and plan.rows in heights
            and all(part in self.of_part(n, plan.rows) for n, part in enumerate(plan.parts))
        )

    def of_part(self, index: int, rows: int) -> dict[Plan, None]:
        """Return the plans of a part in strips of so many rows, the usual one first."""
        part = self.spec.parts[index]
        conv = inner(part) if is_in_chain(self.spec, self.fused, index) else part
        taken = usual(self.spec, self.fused, self.target)[rows].parts[index]
        rule = convolutions.rule_named(taken.schedule)
        return dict.fromkeys([taken, *rule.plans(conv, self.target)])


def ranking(spec: BlockSpec, target: Target, threads: int) -> dict[Way, str | None]:
    """Return each way of fusing with the reason against it, the cheapest one first."""
    found = ways(spec, target, threads)
    return {_BY_NAME[name]: way if isinstance(way, str) else None for name, way in found.items()}


@cache
def ways(spec: BlockSpec, target: Target, threads: int) -> dict[str, Estimate | str]:
    """Return each way of fusing with its best plan, or the reason against it, cheapest first."""
    found: dict[str, Estimate | str] = {}
    for way in ways_of(spec):
        reason = way.rejects(spec, target) or _too_large(spec, way.fused, target)
        found[way.name] = reason or best(spec, way.fused, target, threads)
    return dict(sorted(found.items(), key=lambda item: _cycles(item[1])))


@cache
def best(spec: BlockSpec, fused: tuple[int, ...], target: Target, threads: int) -> Estimate:
    """Return the height of strips that is expected to be fastest."""
    strips = usual(spec, fused, target).values()
    return min((estimate(spec, plan, target, threads) for plan in strips), key=_cycles)


def why(ways: dict[str, Estimate | str]) -> str:
    """Say in numbers why the first way is taken and not the next."""
    possible = [(name, way) for name, way in ways.items() if isinstance(way, Estimate)]
    (name, taken), *others = possible
    if not others:
        return f"{name}, the only way"
    next_name, other = others[0]
    return (
        f"{name}, {taken.cycles:,.0f} cycles against {other.cycles:,.0f} of {next_name}: "
        f"{taken.far_bytes:,} against {other.far_bytes:,} bytes from beyond a core's caches, "
        f"{taken.flops:,} against {other.flops:,} FLOPs"
    )


def _cycles(way: Estimate | str) -> float:
    return way.cycles if isinstance(way, Estimate) else math.inf


def _too_large(spec: BlockSpec, fused: tuple[int, ...], target: Target) -> str | None:
    """Say why parts had better not be fused: the memory of the lowest strips leaves the caches."""
    lowest = scratch_bytes(spec, plan_of_rows(spec, fused, 1, target), target)
    if max(fused) == 1 or lowest <= target.private_cache_bytes:
        return None
    return (
        f"strips of one row take {lowest:,} bytes, more than a core's own cache has: "
        f"{target.private_cache_bytes:,}"
    )


@cache
def usual(spec: BlockSpec, fused: tuple[int, ...], target: Target) -> dict[int, BlockPlan]:
    """Return the plan for each height of strips, one row and those that stay in private caches."""
    height = spec.depthwise.out_height
    if max(fused) == 1 and not spec.squeeze_excite:
        height = 1
    halves = {ceil(height / parts) for parts in (1, 2, 4)}
    heights = {rows for rows in (1, 2, 3, 4, 6, 8, 12, 16) if rows < height} | halves
    found = {rows: plan_of_rows(spec, fused, rows, target) for rows in sorted(heights)}
    return {
        rows: plan
        for rows, plan in found.items()
        if rows == 1 or scratch_bytes(spec, plan, target) <= target.private_cache_bytes
    }


def plan_of_rows(spec: BlockSpec, fused: tuple[int, ...], rows: int, target: Target) -> BlockPlan:
    """Return the plan with strips of so many rows and the fastest tiles for them."""
    parts = [
        convolutions.default_plan(inner(part) if is_in_chain(spec, fused, index) else part, target)
        for index, part in enumerate(spec.parts)
    ]
    for group in groups(spec, BlockPlan(fused, rows, tuple(parts)), target):
        if isinstance(group, Chain):
            for index, part in group.products():
                runs = group.runs(index - group.first)
                parts[index] = pointwise.plan_for(part.dtype, part.out_channels, runs, target)
    return BlockPlan(fused, rows, tuple(parts))
