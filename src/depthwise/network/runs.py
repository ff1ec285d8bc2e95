"""Images that lie in others: what is concatenated is made in its place, what is cut out used there.

A kernel writes its result among the channels of the image that it becomes part of, and reads a run
of channels where it lies; nothing is copied then.  That is so where all that takes such an image is
a kernel that can, and none of it is returned.

What is a single row, (1, C), has no pixels that lie apart: its parts are whole arrays, of any
shape.  So nothing is copied of pixels that are concatenated or cut where there is one image.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import accumulate
from math import prod

from depthwise.network.operators import Tail
from depthwise.network.steps import Program, Shape, Stage, Step, View, channels_last, keep_order
from depthwise.problem.arrays import Array
from depthwise.problem.gathers import GatherSpec, Run
from depthwise.problem.problem import Layer


@dataclass(frozen=True, eq=False)
class Work:
    """What a kernel computes of the arrays of a network as they lie.

    Attributes:
        stage: the problem with its weights.
        problem: for images of a size, with the pitches of those that lie in others.
        inputs: the numbers of the values that it takes.
        makes: that of the value that it makes.
        first: the first channel of this that it writes.
    """

    stage: Stage
    problem: Layer
    inputs: tuple[int, ...]
    makes: int
    first: int = 0


@dataclass(frozen=True, eq=False)
class Runs:
    """Which images of a program lie in others.

    Attributes:
        lies: the number of each such value with that of the value whose memory is its own, and the
            first of the channels there.
        channels: of each value that others lie in pixel by pixel.
        left: for each value that was to be gathered, and of which some or all lies in its place,
            what is still to be copied: the runs, and where in the value they begin.
        cuts: of each value that is cut out of a single row, which is seen where it lies: the first
            of its channels, and that behind the last.
    """

    lies: Mapping[int, tuple[int, int]]
    channels: Mapping[int, int]
    left: Mapping[int, tuple[list[Run], int]]
    cuts: Mapping[int, slice]

    @classmethod
    def of(cls, program: Program, shapes: Mapping[int, Shape]) -> Runs:
        """Return those of a program whose values have shapes, as far as they are known."""
        found = _Finding(program, shapes)
        lies = {number: found.root(number) for number in found.parents}
        return cls(lies, found.channels, found.left, found.cuts)

    def works(self, step: Step, shapes: Mapping[int, Shape]) -> Iterator[Work]:
        """Yield what the kernel of a step computes; nothing where no kernel is needed.

        Args:
            step: any of the program.
            shapes: of its inputs; where they are not known, they are those of the example.
        """
        if not isinstance(step.work, Stage):
            return
        stage, made = step.work, step.outputs[0]
        inputs, first = step.inputs, 0
        if made in self.cuts:
            return
        if made in self.left:
            runs, first = self.left[made]
            if not runs:
                return
            stage, inputs = _partly(stage.spec, runs, step)
        shape = shapes.get(inputs[0])
        problem = stage.spec if shape is None else stage.problem(shape)
        arrays = [*zip(("x", *problem.computed), inputs, strict=True), ("y", made)]
        pitches = {
            name: self.channels[self.lies[number][0]]
            for name, number in arrays
            if number in self.lies and self.lies[number][0] in self.channels
        }
        if made in self.left and made in self.channels:
            pitches.setdefault("y", self.channels[made])
        yield Work(stage, problem.pitched(pitches), inputs, made, first)


def _partly(spec: Layer, runs: list[Run], step: Step) -> tuple[Stage, tuple[int, ...]]:
    """Return what gathers some runs alone, and the numbers of the images that it takes."""
    assert isinstance(spec, GatherSpec)
    images = list(dict.fromkeys(run.image for run in runs))
    picks = tuple((replace(run, image=images.index(run.image)),) for run in runs)
    channels = tuple(spec.images[image] for image in images)
    partly = replace(spec, images=channels, picks=picks)
    return Stage(partly, {}), tuple(step.inputs[image] for image in images)


def lying(image: Array, first: int, shape: Shape) -> Array:
    """Return the image of a shape that lies in another one from a channel on.

    In a single row (1, C) it is whole, channels-last.
    """
    if is_row(image.shape):
        return channels_last(image[0, first : first + prod(shape)], shape)
    return image[:, first : first + shape[1]]


def is_row(shape: Shape) -> bool:
    """Whether what has a shape is a single row of channels."""
    return len(shape) == len((0, 1)) and shape[0] == 1


class _Finding:
    """Finds the values that may lie in others, in the order in which these are made.

    Attributes:
        parents: of each, the value that it is a run of, and the first of its channels there.
        channels: see `Runs`.
        left: see `Runs`.
        cuts: see `Runs`.
    """

    def __init__(self, program: Program, shapes: Mapping[int, Shape]) -> None:
        self._shapes = shapes
        self._views = {
            step.outputs[0]: (step.inputs[0], step.work)
            for step in program.steps
            if isinstance(step.work, View) and not isinstance(step.work.operator, Tail)
        }
        self._stages = {
            step.outputs[0]: step.work for step in program.steps if isinstance(step.work, Stage)
        }
        self._returned = set(program.results)
        self._inputs = range(len(program.inputs))
        self._fits: dict[int, bool] = defaultdict(lambda: True)
        """Whether all that take a value may take a run of channels."""
        for step in program.steps:
            names = _names(step)
            for number, fits in zip(step.inputs, names, strict=True):
                self._fits[number] &= fits
        self.parents: dict[int, tuple[int, int]] = {}
        self.channels: dict[int, int] = {}
        self.left: dict[int, tuple[list[Run], int]] = {}
        self.cuts: dict[int, slice] = {}
        for step in program.steps:
            if isinstance(step.work, Stage) and isinstance(step.work.spec, GatherSpec):
                self._gather(step, step.work.spec)

    def root(self, number: int) -> tuple[int, int]:
        """Return the value whose memory is its own that one lies in, and where there."""
        first = 0
        while number in self.parents:
            number, start = self.parents[number]
            first += start
        return number, first

    def _gather(self, step: Step, spec: GatherSpec) -> None:
        made = step.outputs[0]
        runs = [pick[0] for pick in spec.picks]
        if any(len(pick) > 1 for pick in spec.picks):
            return
        one_row = self._is_row(made)
        if one_row and len(runs) == 1:
            self.cuts[made] = slice(runs[0].start, runs[0].stop)
            return
        if len(runs) == 1:
            source = step.inputs[0]
            ours = source in self._stages or source in self._inputs
            in_row = source in self.parents and self._is_row(self.parents[source][0])
            if ours and not in_row and self._may_be_run(made):
                self.parents[made] = source, runs[0].start
                self.channels[source] = spec.images[0]
                self.left[made] = [], 0
            return
        begins = list(accumulate((run.count for run in runs), initial=0))
        origins = [self._origin(step.inputs[run.image], one_row) for run in runs]
        placed = [
            number
            for number, run in enumerate(runs)
            if _is_whole(step, spec, run) and self._may_be_made_there(origins[number], one_row)
        ]
        others = [number for number in range(len(runs)) if number not in placed]
        together = not others or others[-1] - others[0] == len(others) - 1
        if not placed or not together:
            return
        if not one_row:
            self.channels[made] = spec.output_shape[-1]
        for number in placed:
            self.parents[origins[number]] = made, begins[number]
        self.left[made] = [runs[number] for number in others], begins[others[0]] if others else 0

    def _may_be_run(self, number: int) -> bool:
        return number not in self._returned and self._fits[number] and number not in self.parents

    def _may_be_made_there(self, number: int, one_row: bool) -> bool:
        """Whether a kernel makes a value that can write it to a place in another one."""
        stage = self._stages.get(number)
        if stage is None or number in self.cuts:
            return False
        if one_row:
            return number not in self.parents and number not in self.channels
        return "y" in stage.spec.may_be_runs and self._may_be_run(number)

    def _is_row(self, number: int) -> bool:
        return is_row(self._shapes.get(number, ()))

    def _origin(self, number: int, one_row: bool) -> int:
        """Return the value of a kernel that another is in another shape, or that one itself."""
        views: list[View] = []
        origin = number
        while one_row and origin in self._views:
            origin, view = self._views[origin]
            views.insert(0, view)
        shape = self._shapes.get(origin)
        return origin if shape is not None and keep_order(views, shape) else number


def _is_whole(step: Step, spec: GatherSpec, run: Run) -> bool:
    """Whether a run is all of an image that is gathered once."""
    once = sum(one.image == run.image for pick in spec.picks for one in pick) == 1
    once = once and step.inputs.count(step.inputs[run.image]) == 1
    return once and run.count == spec.images[run.image]


def _names(step: Step) -> list[bool]:
    """Return for each input of a step whether it may be a run of channels."""
    if not isinstance(step.work, Stage):
        return [False] * len(step.inputs)
    spec = step.work.spec
    return [name in spec.may_be_runs for name in ("x", *spec.computed)]
