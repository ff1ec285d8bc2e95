"""The plans of a block: too many to try them all, so a search changes one thing at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

from depthwise import schedule
from depthwise.compiler import planned_threads
from depthwise.machine.target import Target
from depthwise.problem.block import BlockSpec
from depthwise.schedule import fusion
from depthwise.schedule.estimate import Estimate
from depthwise.schedule.plan import BlockPlan, Plan
from depthwise.tuning.conv_space import doublings


class BlockSpace:
    """The legal plans of a block.

    They are every way of fusing that it allows, in strips of every height that the heuristic knows,
    with every plan of each part.
    """

    size = None

    def __init__(self, spec: BlockSpec, target: Target) -> None:
        self._spec, self._target = spec, target
        self._threads = planned_threads(spec, target)

    @cached_property
    def default(self) -> BlockPlan:
        """The heuristic's."""
        plan: Any = schedule.default_plan(self._spec, self._target, self._threads)
        return plan  # type: ignore[no-any-return]

    def __contains__(self, plan: object) -> bool:
        return isinstance(plan, BlockPlan) and schedule.is_legal(plan, self._spec, self._target)

    def strips(self) -> list[BlockPlan]:
        """Return every way of fusing with every height of strips, each part in its usual tiles."""
        return [plan for fused in self._ways for plan in self._usual(fused).values()]

    def walk(self, times: Mapping[BlockPlan, float]) -> Iterator[BlockPlan]:
        """Yield the default, then what differs from the best so far in one respect.

        These are the rows of a strip, what is fused, and the plan of each part (the depthwise one
        first, for the heuristic knows the tiles of products better), in their turn and then again,
        until none has anything better.
        """
        if self.default not in times:
            yield self.default
        parts = self._spec.parts
        order = sorted(range(len(parts)), key=lambda index: parts[index].kind == "pointwise")
        respects: list[Callable[[BlockPlan], Iterable[BlockPlan]]] = [
            self._of_other_rows,
            self._of_other_groups,
            *(partial(self._of_another_part, index) for index in order),
        ]
        before = None
        while before != _best(times):
            before = _best(times)
            for others in respects:
                yield from (plan for plan in others(_best(times)) if plan not in times)

    def _of_other_rows(self, plan: BlockPlan) -> Iterator[BlockPlan]:
        """Yield strips of other heights, the nearest first."""
        heights = self._usual(plan.fused)
        for rows in sorted(heights, key=lambda height: abs(math.log2(height / plan.rows))):
            yield self._with(plan, plan.fused, rows)

    def _of_other_groups(self, plan: BlockPlan) -> Iterator[BlockPlan]:
        """Yield other ways of fusing, in strips of the same height or else of the heuristic's."""
        has_strips = len(self._usual(plan.fused)) > 1
        for way in fusion.ways(self._spec, self._target, self._threads).values():
            if isinstance(way, Estimate):
                fused, rows = way.plan.fused, way.plan.rows
                same = has_strips and plan.rows in self._usual(fused)
                yield self._with(plan, fused, plan.rows if same else rows)

    def _of_another_part(self, index: int, plan: BlockPlan) -> Iterator[BlockPlan]:
        """Yield other plans of one part, those of the nearest tiles first."""
        before, own, behind = plan.parts[:index], plan.parts[index], plan.parts[index + 1 :]
        for part in sorted(self._plans(index, plan), key=lambda part: doublings(part, own)):
            yield replace(plan, parts=(*before, part, *behind))

    @property
    def _ways(self) -> list[tuple[int, ...]]:
        """The ways of fusing that the block allows."""
        takes = (way for way in fusion.WAYS if not way.rejects(self._spec, self._target))
        return [way.fused for way in takes]

    def _usual(self, fused: tuple[int, ...]) -> dict[int, BlockPlan]:
        """Return the plan for each height of strips that the heuristic would take."""
        return fusion.usual(self._spec, fused, self._target)

    def _with(self, plan: BlockPlan, fused: tuple[int, ...], rows: int) -> BlockPlan:
        """Return a plan with other groups or strips; parts that were as usual are so again."""
        before, usual = self._usual(plan.fused)[plan.rows], self._usual(fused)[rows]
        parts = tuple(
            old if old != was and old.schedule == new.schedule else new
            for old, was, new in zip(plan.parts, before.parts, usual.parts, strict=True)
        )
        return replace(usual, parts=parts)

    def _plans(self, index: int, plan: BlockPlan) -> dict[Plan, None]:
        """Return the plans of a part in such groups and strips, the usual one first."""
        return fusion.Plans(self._spec, plan.fused, self._target).of_part(index, plan.rows)


def _best(times: Mapping[BlockPlan, float]) -> BlockPlan:
    return min(times, key=times.__getitem__)
