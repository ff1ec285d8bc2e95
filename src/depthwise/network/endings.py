"""What lies between whole numbers and whole numbers in a graph: a computation of real numbers.

Its inputs are made real (Dequantize), and its result is rounded to whole numbers (Quantize).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from depthwise.errors import SpecError
from depthwise.network.absorb import release
from depthwise.network.graph import Graph, Node, Value
from depthwise.network.operators import Activate, Clip, Dequantize, Foreign, Operator, Quantize
from depthwise.problem.arrays import Array
from depthwise.problem.dtypes import element


def meant(node: Node) -> Operator:
    """Return what a node computes, whoever does."""
    operator = node.operator
    return operator.meaning or operator if isinstance(operator, Foreign) else operator


def is_image(value: Value) -> bool:
    """Whether a value is (N, C, H, W) or (N, C), not empty, of so many channels in every call."""
    shape, sizes = value.shape, value.sizes
    if shape is None or sizes is None or len(shape) not in (2, 4):
        return False
    return 0 not in shape and isinstance(sizes[1], int)


@dataclass(frozen=True)
class Taken:
    """Whole numbers that a value is made of: which, how, and by which node."""

    source: Value
    how: Dequantize
    node: Node

    @property
    def scale(self) -> np.float32:
        """The scale, as kernels have it."""
        scale: np.float32 = np.float32(self.how.scale)
        return scale

    @property
    def is_image(self) -> bool:
        """Whether it is an image; see `is_image`."""
        return is_image(self.source)


def taken(value: Value | None) -> Taken | None:
    """Return the whole numbers that a value is made of; None where it is otherwise."""
    maker = None if value is None else value.maker
    how = None if maker is None else meant(maker)
    if maker is None or not isinstance(how, Dequantize):
        return None
    source = maker.inputs[0]
    return None if source is None else Taken(source, how, maker)


@dataclass(eq=False)
class Ending:
    """What rounds a result.

    Attributes:
        graph: where.
        node: the node.
        how: what it does.
        bounds: the least and the most of its numbers, where what it rounds is clipped before.
        clips: what clips it before, the last first.
        passed: other nodes that its kernel computes as well, the last first.
    """

    graph: Graph
    node: Node
    how: Quantize
    bounds: tuple[int, int] = (0, 0)
    clips: list[Node] = field(default_factory=list)
    passed: list[Node] = field(default_factory=list)

    def stage(self, rules: Mapping[type[Operator], Rule]) -> None:
        """Put a kernel in its place, where a rule has one for what makes the result."""
        self.bounds = element(self.how.dtype).range
        core = self._core()
        rule = None if core is None else rules.get(type(meant(core)))
        if core is None or rule is None:
            return
        sources = [each for each in map(taken, core.inputs) if each is not None]
        try:
            made = rule(self, core)
        except SpecError as error:
            core.reason = str(error)
            return
        if made is not None:
            before = [*self.passed, *(each.node for each in sources)]
            for node in dict.fromkeys((*self.clips, core, *before)):
                if node in self.graph.nodes:
                    release(self.graph, node, made)

    def same(self, given: Taken) -> bool:
        """Whether numbers stand for the same before and after."""
        own = self.how.dtype, self.how.scale, self.how.zero
        return own == (given.source.dtype, given.how.scale, given.how.zero)

    def rounded(self, numbers: Array | float) -> Array:
        """Return the whole numbers of real ones."""
        near = np.rint(np.float32(numbers) / np.float32(self.how.scale)).astype(np.float64)
        near = np.where(np.isnan(near), -np.inf, near)
        found: Array = np.clip(near + self.how.zero, *self.bounds).astype(np.int32)
        return found

    def _core(self) -> Node | None:
        """Return what makes the result, behind what only clips it."""
        value = self.node.inputs[0]
        while value is not None and value.maker is not None:
            clips = _clips(meant(value.maker))
            if clips is None:
                return value.maker
            low, high = (int(self.rounded(end)) for end in clips)
            self.bounds = max(self.bounds[0], low), min(self.bounds[1], high)
            self.clips.append(value.maker)
            value = value.maker.inputs[0]
        return None


Rule: TypeAlias = Callable[[Ending, Node], "Node | None"]
"""Puts a kernel in the place of an ending whose result a node makes; None where there is none."""


def _clips(operator: Operator) -> tuple[float, float] | None:
    """Return the least and the most of what only clips its input; None for all else."""
    if isinstance(operator, Activate):
        return {"relu": (0.0, np.inf), "relu6": (0.0, 6.0)}.get(operator.activation)
    return (operator.low, operator.high) if isinstance(operator, Clip) else None
