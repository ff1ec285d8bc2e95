"""Quantized depthwise convolution: taps of neighbouring rows in one instruction, by channels.

What one instruction multiplies and adds to an int32 sum is a step (see `quantized_products`): here
the taps of up to four neighbouring rows in one column, of the same channel.  For a line of tiles
the rows that it reads are woven into *lines* in scratch memory, padding included: an element of a
line is what lies one below the other in the rows of a step.  Each is used by all columns of a
window, by all rows of a tile, and, where lines of tiles overlap by whole steps, by the next line of
tiles.  A column of tiles goes through the channels before the next one, so that what it reads of
the lines stays in the first cache, and images are read and written pixel by pixel.  Channels are
cut into blocks where their weights would not stay there too, or the lines not in the second cache.

Rows and columns change places where a kernel has one row, so that sequences have steps too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import ceil, gcd, prod

from depthwise.machine.target import Dots, Target
from depthwise.problem.spec import ConvSpec
from depthwise.problem.values import itemsize
from depthwise.problem.vocabulary import Pair
from depthwise.schedule.form import TapsForm
from depthwise.schedule.plan import Plan
from depthwise.schedule.steps import one_step
from depthwise.schedule.window import Axis, axes

name = "quantized_depthwise"
tiles = {
    "tc": "neighbouring channels in a tile, whole vectors",
    "tw": "columns of the register tile",
    "th": "rows of the register tile",
}

ELEMENT_BYTES = {4: 4, 2: 4, 1: 2}
"""Of a line, by the rows of a step: bytes, or 16-bit numbers."""
_GROUPS: dict[Dots, int] = {"quads": 4, "signed quads": 4, "pairs": 2, "words": 2, "none": 1}
"""Rows of a step: those of four bytes, or of two 16-bit numbers, are multiplied and added up by one
instruction.  (Bytes in pairs could saturate, and those that cannot are few: lanes are channels.)"""


def rejects(spec: ConvSpec, target: Target) -> str | None:
    """Take quantized depthwise convolutions."""
    del target
    if not spec.is_depthwise:
        return "only depthwise convolutions keep each channel in its vector lane"
    return None


@dataclass(frozen=True)
class Weaving:
    """How the rows of a convolution are woven into lines, and what tiles read of them."""

    spec: ConvSpec
    plan: Plan
    target: Target

    @property
    def turned(self) -> bool:
        """Whether rows and columns have changed places."""
        return self.spec.kernel[0] == 1

    @cached_property
    def rows(self) -> Axis:
        """The axis whose taps are summed in steps."""
        return axes(self.spec)[self.turned]

    @cached_property
    def columns(self) -> Axis:
        """The other one."""
        return axes(self.spec)[not self.turned]

    @property
    def above(self) -> Pair:
        """Padding before the first row and behind the last."""
        return self.spec.padding[self.turned]

    @property
    def beside(self) -> Pair:
        """Padding before the first column and behind the last."""
        return self.spec.padding[not self.turned]

    @property
    def line_pixels(self) -> int:
        """Columns with their padding."""
        return self.columns.inputs + sum(self.beside)

    @property
    def group(self) -> int:
        """Rows of a step."""
        return _GROUPS[self.target.dots]

    @property
    def lanes(self) -> int:
        """Sums of a vector."""
        return self.target.lanes("int32")

    @property
    def in_rows(self) -> bool:
        """Whether each channel of a row is computed in one go, its weights in registers."""
        spec, columns = self.spec, self.columns
        shape = (self.rows.taps, columns.taps, columns.dilation, self.steps) == (3, 3, 1, 2)
        near = 2 * max(4 * self.channels, spec.pitch("y")) <= _LARGEST_OFFSET
        plain = not (spec.real or spec.table)
        return self.target.dots == "words" and shape and near and plain and columns.stride <= 2

    @property
    def height(self) -> int:
        """Rows of a tile: one where taps do not lie side by side."""
        return min(self.plan.th, self.rows.outputs) if self.rows.dilation == 1 else 1

    @property
    def width(self) -> int:
        """Columns of a tile."""
        return min(self.plan.tw, self.columns.outputs)

    @property
    def step_rows(self) -> int:
        """Rows from step to step."""
        return self.group * self.rows.dilation

    @property
    def steps(self) -> int:
        """How many cover all rows that a tile reads."""
        rows = self.rows
        return ceil(
            ((self.height - 1) * rows.stride + (rows.taps - 1) * rows.dilation + 1) / self.step_rows
        )

    @cached_property
    def taps(self) -> tuple[tuple[tuple[int, ...], ...], ...]:
        """For each step, and each row of a tile, the taps that meet the step's rows, or -1."""
        return tuple(
            tuple(self._taps(step, output) for output in range(self.height))
            for step in range(self.steps)
        )

    def _taps(self, step: int, output: int) -> tuple[int, ...]:
        rows = self.rows
        first = step * self.group - output * rows.stride
        taps = range(first, first + self.group)
        return tuple(tap if 0 <= tap < rows.taps else -1 for tap in taps)

    @cached_property
    def advance(self) -> int:
        """Rows from one line of tiles to the next."""
        return self.height * self.rows.stride

    @cached_property
    def spacing(self) -> int:
        """Rows from line to line where lines of tiles share them; 0 where they share none."""
        spacing = gcd(self.advance, self.step_rows)
        share = self.tiles > 1 and self.advance // spacing < self.steps
        return spacing if share else 0

    @property
    def new_lines(self) -> int:
        """Lines that a line of tiles reads and the one before it does not."""
        return self.advance // self.spacing if self.spacing else self.steps

    @property
    def lines_apart(self) -> int:
        """Lines from step to step."""
        return self.step_rows // self.spacing if self.spacing else 1

    @property
    def kept_lines(self) -> int:
        """Lines that are in scratch memory at a time."""
        return (self.steps - 1) * self.lines_apart + 1

    @property
    def panels(self) -> int:
        """Vectors of output channels; the last one lies partly over the one before it."""
        return ceil(self.spec.out_channels / self.lanes)

    @property
    def vectors(self) -> int:
        """Vectors of channels in a tile."""
        return min(max(1, self.plan.tc // self.lanes), self.panels)

    @cached_property
    def blocks(self) -> int:
        """Into how many blocks the panels are cut."""
        pixel = ELEMENT_BYTES[self.group] * self.lanes
        lines = self.line_pixels * self.kept_lines * pixel
        weights = len(self.taps) * len(self.taps[0]) * self.columns.taps * pixel
        room = self.target.work_bytes or self.target.private_cache_bytes // 2
        panels = min(
            room // lines,
            self.target.first_cache_bytes // 2 // weights,
        )
        panels = max(self.vectors, panels)
        return min(ceil(self.panels / panels), self.panels // self.vectors)

    def block(self, number: int) -> tuple[int, int]:
        """Return the first panel of a block, and the one to stop before."""
        return self.panels * number // self.blocks, self.panels * (number + 1) // self.blocks

    @cached_property
    def channels(self) -> int:
        """Output channels of a line, as many as the largest block has."""
        most = max(stop - start for start, stop in map(self.block, range(self.blocks)))
        return min(self.spec.out_channels, most * self.lanes)

    @property
    def line(self) -> int:
        """Elements of a line."""
        return self.line_pixels * self.channels

    @property
    def tiles(self) -> int:
        """Lines of tiles."""
        return ceil(self.rows.outputs / self.height)

    @cached_property
    def strip(self) -> int:
        """Lines of tiles that are computed for one block before the next one.

        What they read stays in the second cache meanwhile.
        """
        spec = self.spec
        image = prod(spec.input_shape) // spec.batch * itemsize(spec.dtype)
        strips = ceil(image / (self.target.private_cache_bytes // 2))
        return ceil(self.tiles / min(strips, self.tiles))

    @property
    def strips(self) -> int:
        """Into how many runs the lines of tiles are cut, the last of which may be shorter."""
        return ceil(self.tiles / self.strip)

    @property
    def tasks(self) -> int:
        """One for each line of tiles of each block, those of a strip and block side by side."""
        return self.spec.batch * self.strips * self.blocks * self.strip


_LARGEST_OFFSET = 4095
"""Of an access of memory, in bytes, on processors that multiply words."""


def default_plan(spec: ConvSpec, target: Target, threads: int) -> Plan:
    """Return the tile that takes the fewest instructions."""
    del threads
    in_rows = Plan(name, tc=1, tw=1, th=min(2 // spec.stride[0] or 1, spec.out_height))
    if Weaving(spec, in_rows, target).in_rows:
        return in_rows
    return min(plans(spec, target), key=lambda plan: _instructions(Weaving(spec, plan, target)))


def plans(spec: ConvSpec, target: Target) -> Iterator[Plan]:
    """Yield one, two or four vectors of channels, and as many pixels as registers hold."""
    lanes, turned = target.lanes("int32"), spec.kernel[0] == 1
    rows, columns = axes(spec)[turned], axes(spec)[not turned]
    panels, most = ceil(spec.out_channels / lanes), target.vector_registers // 2
    shapes = product((1, 2, 4), (1, 2, 4, 8), (1, 2, 3, 4, 6, 7, 8))
    yield from dict.fromkeys(
        Plan(name, tc=vectors * lanes, tw=tw, th=th)
        for vectors, th, tw in shapes
        if vectors * th * tw <= most
        and vectors <= panels and th <= rows.outputs and tw <= columns.outputs
    )  # fmt: skip


_OF_STEP = {4: 1, 2: 2, 1: 3}
"""Instructions that add a step to a vector of sums, by the rows of a step."""
_OF_WEAVING, _OF_FINISH, _OF_STORE, _OF_LOAD, _OF_TILE = 4, 6, 1, 0.5, 15
"""Those for a vector of a line, to finish a vector of sums, to store neighbouring ones, for a load
(which are computed beside others), and those before each tile."""


def _instructions(weaving: Weaving) -> float:
    """Return about how many instructions all channels of an image take."""
    height, width, vectors = weaving.height, weaving.width, weaving.vectors
    met = sum(any(tap >= 0 for tap in taps) for step in weaving.taps for taps in step)
    columns = weaving.columns.taps * vectors
    tile = (
        columns * met * width * _OF_STEP[weaving.group]
        + columns * weaving.steps * (height + width) * _OF_LOAD
        + height * width * (vectors * _OF_FINISH + _OF_STORE)
        + _OF_TILE
    )
    panels = ceil(weaving.panels / vectors)
    tiles = ceil(weaving.columns.outputs / width)
    woven = weaving.new_lines * weaving.line_pixels * weaving.panels
    return weaving.tiles * (panels * tiles * tile + woven * _OF_WEAVING)


def form(spec: ConvSpec, plan: Plan, target: Target) -> TapsForm:
    """Take the weights in steps."""
    weaving = Weaving(spec, plan, target)
    dtype = "int8" if weaving.group == 4 else "int16"
    return TapsForm(weaving.lanes, weaving.turned, weaving.taps, dtype)


steps = one_step(form)
