"""The forms of a program: how it takes a convolution's weights, and what else it starts from.

Each form is one class, which knows the shape of the weights in it and lays them out; the definition
that it starts from is the one that `programs.define` has for it.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, TypeAlias

import numpy as np

from depthwise.machine import team
from depthwise.problem.arrays import CACHE_LINE, Array, Memory, aligned
from depthwise.problem.spec import ConvSpec
from depthwise.problem.values import nbytes
from depthwise.problem.vocabulary import Pair
from depthwise.schedule.tiling import Panels, packed_columns

Pack: TypeAlias = "Callable[[Memory], Memory]"
"""Takes a C-contiguous weight of `spec.weight_shape`, or its address; returns it laid out."""


class Form:
    """What every form has.

    Unless a form says otherwise, the weights are in the layout of the data: (KH, KW, C / groups, O)
    channels-last, (O, C / groups, KH, KW) channels-first, with KH of 1 in 1-D.
    """

    slow_to_pack: ClassVar[bool] = False
    """Whether it takes longer to lay out any weights than to compare them."""

    @property
    def layout(self) -> Hashable:
        """What is equal for forms that lay out a convolution's weights alike."""
        return self

    def weight_shape(self, spec: ConvSpec) -> tuple[int, ...]:
        """Return the shape of the weights that a program in this form takes."""
        inner = spec.channels // spec.groups
        if spec.channels_last:
            return (*spec.kernel, inner, spec.out_channels)
        return (spec.out_channels, inner, *spec.kernel)

    def pack(self, spec: ConvSpec) -> Pack | None:
        """Return what lays out weights so, None where they are taken as they are."""
        if not spec.channels_last:
            return None
        inner, taps = spec.channels // spec.groups, math.prod(spec.kernel)
        if 1 not in (inner, taps):
            return partial(_reordered, spec)
        return partial(_transposed, spec, self.weight_shape(spec))


@dataclass(frozen=True)
class PlainForm(Form):
    """Sums in the layout of the data."""

    segments: tuple[Pair, ...] = ()
    """(first channel, number of channels) of the runs with loop nests of their own; () is one."""


@dataclass(frozen=True)
class PlanesForm(Form):
    """Channels-first sums over whole tiles of a padded plane."""

    tile: Pair
    """Rows and columns that the outputs of a plane are rounded up to multiples of."""


@dataclass(frozen=True)
class PackedForm(Form):
    """NCHW[x]c: the weights are (blocks, KH, KW, x), zero beyond the last channel."""

    block: int
    """The channels of a block, x."""

    def weight_shape(self, spec: ConvSpec) -> tuple[int, ...]:
        """Return (blocks, KH, KW, x)."""
        return (math.ceil(spec.channels / self.block), *spec.kernel, self.block)

    def pack(self, spec: ConvSpec) -> Pack:
        """Return what lays out weights in blocks."""
        return partial(_blocks, spec, self.weight_shape(spec))


@dataclass(frozen=True)
class MultiplesForm(Form):
    """Channels-last sums of the outputs of a channel apart: (KH, KW, multiplier, C)."""

    def weight_shape(self, spec: ConvSpec) -> tuple[int, ...]:
        """Return (KH, KW, multiplier, C)."""
        return (*spec.kernel, spec.multiplier, spec.channels)

    def pack(self, spec: ConvSpec) -> Pack:
        """Return what lays out the weights of each multiple side by side."""
        return partial(_multiples, spec)


@dataclass(frozen=True)
class PanelsForm(Form):
    """A matrix product: a (KH * KW * C, width) matrix for each panel of columns, one by one."""

    panels: tuple[Panels, ...]
    """The columns of the product."""

    slow_to_pack: ClassVar[bool] = True

    @property
    def layout(self) -> Hashable:
        """The widths of the panels; how many rows are computed at once is not in the weights."""
        return tuple((each.width, each.count, each.used) for each in self.panels)

    def weight_shape(self, spec: ConvSpec) -> tuple[int, ...]:
        """Return the elements of all panels, on one axis."""
        return (spec.depth * packed_columns(self.panels),)

    def pack(self, spec: ConvSpec) -> Pack:
        """Return what lays out weights in panels, zero in columns that do not exist."""
        return partial(_panels, spec, self.panels, self.weight_shape(spec))


@dataclass(frozen=True)
class DotsForm(Form):
    """A product of whole numbers, panel by panel.

    A panel is the int32 sums of its columns, then, where steps are in order, that order, and a
    matrix (turns * steps, width, group): what is multiplied and added to a sum by one or two
    instructions lies side by side.  The steps of a turn are filled up with zeros.

    In order means that those come first whose pairs of products fit into 16 bits, whatever the
    bytes that they are multiplied with.  There is their number, and the number of each step.  The
    others are (2, width, group / 2): they are multiplied in two halves.  Before all panels is
    how many these are.
    """

    panels: tuple[Panels, ...]
    """The columns of the product."""
    turns: int
    """The runs of a window: neighbours in memory."""
    run: int
    """Elements of a run."""
    group: int
    """Elements of a step."""
    dtype: str
    """The type of the elements."""
    ordered: bool
    """Whether steps are in order."""
    crossed: bool = False
    """Whether the middle ones of four elements have changed places, and all are taken as int32."""

    slow_to_pack: ClassVar[bool] = True

    @property
    def layout(self) -> Hashable:
        """All but how many rows are computed at once."""
        panels = tuple((each.width, each.count, each.used) for each in self.panels)
        kind = self.group, self.dtype, self.ordered, self.crossed
        return panels, self.turns, self.run, kind

    @property
    def steps(self) -> int:
        """Steps of a run."""
        return math.ceil(self.run / self.group)

    @property
    def step_bytes(self) -> int:
        """Bytes of a step of one column."""
        return self.group * np.dtype(self.dtype).itemsize

    def matrix(self, panel: Panels) -> int:
        """Return where in a panel its matrix begins, in bytes."""
        order = (1 + self.turns * self.steps) * INT_BYTES if self.ordered else 0
        return panel.width * INT_BYTES + -(-order // CACHE_LINE) * CACHE_LINE

    def bytes_of(self, panel: Panels) -> int:
        """Return the bytes of each of some panels."""
        return self.matrix(panel) + self.turns * self.steps * panel.width * self.step_bytes

    def start(self, panel: Panels) -> int:
        """Return where the first of some panels begins."""
        return self._end(self.panels[: self.panels.index(panel)])

    def _end(self, panels: tuple[Panels, ...]) -> int:
        size = sum(each.count * self.bytes_of(each) for each in panels)
        return size + (CACHE_LINE if self.ordered else 0)

    def weight_shape(self, spec: ConvSpec) -> tuple[int, ...]:
        """Return the bytes of all panels, or the int32, on one axis."""
        del spec
        return (self._end(self.panels) // (INT_BYTES if self.crossed else 1),)

    def pack(self, spec: ConvSpec) -> Pack:
        """Return what lays out weights so, zero in columns that do not exist."""
        return partial(_dots, spec, self)


@dataclass(frozen=True)
class TapsForm(Form):
    """Depthwise sums of whole numbers in steps of several rows.

    For each vector of channels the sums of their weights, in int32, and then the weights as (steps,
    columns of taps, rows of a tile, lanes, rows of a step), zero where a row of a step meets no
    tap.  The last vector lies partly over the one before it, or has channels that do not exist.
    """

    lanes: int
    """Channels of a vector."""
    turned: bool
    """Whether rows and columns of taps have changed places."""
    taps: tuple[tuple[tuple[int, ...], ...], ...]
    """For each step, and each row of a tile, the rows of taps that meet the step's rows, or -1."""
    dtype: str
    """The type of the weights."""

    slow_to_pack: ClassVar[bool] = True

    def shape(self, spec: ConvSpec) -> tuple[int, ...]:
        """Return that of the weights behind the sums of a vector."""
        columns = spec.kernel[not self.turned]
        return (len(self.taps), columns, len(self.taps[0]), self.lanes, len(self.taps[0][0]))

    def vector_bytes(self, spec: ConvSpec) -> int:
        """Return the bytes of a vector of channels."""
        return self.lanes * INT_BYTES + math.prod(self.shape(spec)) * np.dtype(self.dtype).itemsize

    def weight_shape(self, spec: ConvSpec) -> tuple[int, ...]:
        """Return the bytes of all vectors, on one axis."""
        return (math.ceil(spec.out_channels / self.lanes) * self.vector_bytes(spec),)

    def pack(self, spec: ConvSpec) -> Pack:
        """Return what lays out weights so."""
        return partial(_steps, spec, self)


INT_BYTES = 4
"""Of a sum, and of a number of steps."""


@dataclass(frozen=True)
class PartsForm(Form):
    """A matrix product for each run of output channels: the panels of all, one by one."""

    part: ConvSpec
    """The convolution whose outputs such a run is."""
    panels: tuple[Panels, ...]
    """The columns of its product."""

    slow_to_pack: ClassVar[bool] = True

    @property
    def layout(self) -> Hashable:
        """The part's, for each part."""
        return self.part.weight_shape, PanelsForm(self.panels).layout

    def weight_shape(self, spec: ConvSpec) -> tuple[int, ...]:
        """Return (parts, elements of the panels of a part)."""
        inner = PanelsForm(self.panels).weight_shape(self.part)
        return (spec.out_channels // self.part.out_channels, *inner)

    def pack(self, spec: ConvSpec) -> Pack:
        """Return what lays out the weights of each part in panels."""
        return partial(_parts, spec, self)


@dataclass(frozen=True)
class ReversedForm(Form):
    """Channels-first weights with their taps in reverse order, as an adjoint takes them."""

    def pack(self, spec: ConvSpec) -> Pack:
        """Return what reverses the taps."""
        return partial(_reversed, spec)


def as_array(weight: Memory, spec: ConvSpec) -> Array:
    """Return weights, or those at an address, as (O, C / groups, KH, KW)."""
    shape = (spec.out_channels, spec.channels // spec.groups, *spec.kernel)
    if isinstance(weight, np.ndarray):
        return weight.reshape(shape)
    dtype = spec.dtype_of("weight")
    memory: Any = (ctypes.c_byte * nbytes(shape, dtype)).from_address(weight)
    return np.frombuffer(memory, dtype).reshape(shape)


def _transposed(spec: ConvSpec, shape: tuple[int, ...], weight: Memory) -> Array:
    packed = np.empty(shape, spec.element.numpy)
    team.native().transpose(weight, packed, spec.out_channels, packed.size // spec.out_channels)
    return packed


def _reordered(spec: ConvSpec, weight: Memory) -> Array:
    return np.ascontiguousarray(as_array(weight, spec).transpose(2, 3, 1, 0))


def _reversed(spec: ConvSpec, weight: Memory) -> Array:
    return np.ascontiguousarray(as_array(weight, spec)[..., ::-1, ::-1])


def _blocks(spec: ConvSpec, shape: tuple[int, ...], weight: Memory) -> Array:
    blocks, *taps, block = shape
    packed = np.zeros((blocks * block, *taps), spec.element.numpy)
    packed[: spec.channels] = as_array(weight, spec)[:, 0]
    return np.ascontiguousarray(packed.reshape(blocks, block, *taps).transpose(0, 2, 3, 1))


def _multiples(spec: ConvSpec, weight: Memory) -> Array:
    taps = as_array(weight, spec).reshape(spec.channels, spec.multiplier, *spec.kernel)
    return np.ascontiguousarray(taps.transpose(2, 3, 1, 0))


def _parts(spec: ConvSpec, form: PartsForm, weight: Memory) -> Array:
    packed = aligned(form.weight_shape(spec), spec.element.numpy)
    weights = as_array(weight, spec).reshape(len(packed), *form.part.weight_shape)
    for own, target in zip(weights, packed, strict=True):
        target[:] = _panels(form.part, form.panels, target.shape, own)
    return packed


def _dots(spec: ConvSpec, form: DotsForm, weight: Memory) -> Array:
    whole = aligned(form.weight_shape(spec), "int32" if form.crossed else "int8")
    whole.fill(0)  # what lies between the parts, too
    packed = whole.view(np.int8)
    windows = as_array(weight, spec).transpose(0, 2, 3, 1)
    columns = packed_columns(form.panels)
    matrix = np.zeros((columns, form.turns, form.steps * form.group), form.dtype)
    matrix[: spec.out_channels, :, : form.run] = windows.reshape(-1, form.turns, form.run)
    steps = matrix.reshape(columns, form.turns * form.steps, form.group)
    if form.crossed:
        steps = steps[..., [0, 2, 1, 3]]
    halves = 0
    for panel in form.panels:
        for number in range(panel.count):
            first = panel.start + number * panel.width
            place = packed[form.start(panel) + number * form.bytes_of(panel) :]
            halves += _panel_of_dots(form, steps[first : first + panel.width], place)
    if form.ordered:
        _write(packed, 0, np.array([halves], np.int32))
    return whole


def _panel_of_dots(form: DotsForm, steps: Array, place: Array) -> int:
    """Lay out the steps of a panel, (width, steps, group); return how many have halves."""
    width, count, group = steps.shape
    matrix = steps.transpose(1, 0, 2)
    _write(place, 0, steps.sum(axis=(1, 2), dtype=np.int32))
    fitting = count
    if form.ordered:
        pairs = steps.reshape(width, count, group // 2, 2).astype(np.int32)
        most = np.maximum(pairs.clip(0).sum(-1), -pairs.clip(None, 0).sum(-1)).max(axis=(0, 2))
        fits = most <= _MOST_OF_A_PAIR
        order, fitting = np.argsort(~fits, stable=True), int(np.count_nonzero(fits))
        _write(place, width * INT_BYTES, np.array([fitting, *order], np.int32))
        matrix = matrix[order]
        halves = matrix[fitting:].reshape(-1, width, 2, group // 2).swapaxes(1, 2)
        matrix[fitting:] = halves.reshape(-1, width, group)
    _write(place, form.matrix(Panels(0, 1, width, width, 1)), matrix)
    return int(count - fitting)


def _write(place: Array, at: int, array: Array) -> None:
    raw = np.ascontiguousarray(array).reshape(-1).view(np.int8)
    place[at : at + raw.size] = raw


_MOST_OF_A_PAIR = 128
"""What two weights of one sign may add up to: 255 times that fits into 16 bits, and no more does.
"""


def _steps(spec: ConvSpec, form: TapsForm, weight: Memory) -> Array:
    packed = aligned(form.weight_shape(spec), "int8")
    taps = as_array(weight, spec)[:, 0]
    taps = taps.swapaxes(1, 2) if form.turned else taps
    vectors = packed.reshape(-1, form.vector_bytes(spec))
    for number, vector in enumerate(vectors):
        first = max(0, min(number * form.lanes, spec.out_channels - form.lanes))
        own = np.zeros((form.lanes, *taps.shape[1:]), "int8")
        own[: spec.out_channels] = taps[first : first + form.lanes]
        steps = np.zeros(form.shape(spec), form.dtype)
        for step, rows in enumerate(form.taps):
            for row, met in enumerate(rows):
                for place, tap in enumerate(met):
                    if tap >= 0:
                        steps[step, :, row, :, place] = own[:, tap].T
        sums = own.sum(axis=(1, 2), dtype=np.int32).view(np.int8)
        vector[: sums.size], vector[sums.size :] = sums, steps.reshape(-1).view(np.int8)
    return packed


def _panels(
    spec: ConvSpec, panels: tuple[Panels, ...], shape: tuple[int, ...], weight: Memory
) -> Array:
    """Lay out the columns of a product in panels.

    No vector lies across two cache lines, which costs up to a tenth of a kernel's speed.
    """
    packed, depth = aligned(shape, spec.element.numpy), spec.depth
    windows = np.ascontiguousarray(as_array(weight, spec).transpose(0, 2, 3, 1))
    matrix = windows.reshape(spec.out_channels, depth)
    transpose = team.native().transpose
    for panel in panels:
        for column in range(panel.start, panel.start + panel.count * panel.width, panel.width):
            first = column * depth
            target = packed[first : first + depth * panel.width]
            rows = matrix[column : column + panel.used]
            if panel.used == panel.width:
                transpose(rows, target, panel.width, depth)
            else:
                columns = target.reshape(depth, panel.width)
                columns[:, : panel.used], columns[:, panel.used :] = rows.T, 0
    return packed
