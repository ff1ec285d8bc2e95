"""The plans among which a search chooses, and the order in which it tries them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from depthwise.machine.target import Target
from depthwise.problem.block import BlockSpec, forward_only
from depthwise.problem.problem import Problem
from depthwise.schedule.plan import AnyPlan
from depthwise.tuning.block_space import BlockSpace
from depthwise.tuning.conv_space import ConvSpace


class Space(Protocol):
    """The legal plans of one problem."""

    @property
    def default(self) -> AnyPlan:
        """The heuristic's."""

    @property
    def size(self) -> int | None:
        """How many there are to try; None where what comes of one says which are next."""

    def __contains__(self, plan: object) -> bool:
        """Whether a plan is one of them."""

    def walk(self, times: Mapping[Any, float]) -> Iterator[AnyPlan]:
        """Yield the plans to try, the default first, then by what came of those before.

        Args:
            times: of each plan that was tried, infinite where it failed.  Those are not yielded;
                what is yielded is among them when the next one is asked for.
        """


def space(spec: Problem, target: Target) -> Space:
    """Return the legal plans of a problem.

    Raises:
        SpecError: it is a pass of training.
    """
    problem = forward_only(spec, "a search")
    return _SPACES.get(type(problem), ConvSpace)(problem, target)


_SPACES: dict[type[Any], Callable[..., Space]] = {BlockSpec: BlockSpace}
"""Of the problems that have too many plans to try them all."""
