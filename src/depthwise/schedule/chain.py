"""A chain of convolutions that one launch computes strip by strip: its plans, forms and memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from functools import cache, cached_property
from math import ceil

from depthwise.machine.target import Target
from depthwise.problem.spec import ConvSpec
from depthwise.problem.values import itemsize, nbytes
from depthwise.problem.vocabulary import Pair
from depthwise.schedule import channels_last, multiples, pointwise
from depthwise.schedule.form import Form, PanelsForm
from depthwise.schedule.plan import PARTS, Plan
from depthwise.schedule.rule import ConvRule
from depthwise.schedule.tiling import Ahead, Panels, Runs


@cache
def inner(part: ConvSpec) -> ConvSpec:
    """Return a part as a chain computes it: one image, channels-last."""
    return replace(part, batch=1, layout="NHWC")


@dataclass(frozen=True)
class Chain:
    """One to three parts of a block in one launch.

    The parts are a pointwise convolution or none, a depthwise one, a pointwise one or none.
    Inside, everything is one image and channels-last.
    """

    parts: tuple[ConvSpec, ...]
    """As the block has them."""
    plans: tuple[Plan, ...]
    """One for each part."""
    rows: int
    """Output rows of a strip."""
    target: Target
    first: int
    """Which part of the block is the first."""
    planes: tuple[bool, bool]
    """Whether the input, and the output, are channels-first."""
    sums: bool = False
    """Whether the sum of each row is given too, for the mean of squeeze-and-excite."""
    scaled: bool = False
    """Whether the depthwise weights are other ones for each image: the scale that comes of it."""

    @cached_property
    def inner(self) -> tuple[ConvSpec, ...]:
        """The parts as they are computed.

        The residual of channels-first data is added when the result is laid out.
        """
        if self.planes[1]:
            return tuple(inner(replace(part, residual=False)) for part in self.parts)
        return tuple(map(inner, self.parts))

    @cached_property
    def _middle(self) -> int:
        return next(i for i, part in enumerate(self.parts) if part.kind == "depthwise")

    def in_whole_tiles(self) -> Chain:
        """Return the chain whose strips end where tiles of the depthwise convolution do."""
        tile = self.depthwise_plan.th
        return replace(self, rows=ceil(self.rows / tile) * tile)

    @property
    def names(self) -> tuple[str, ...]:
        """What the parts are called."""
        first = 1 - self._middle
        return PARTS[first : first + len(self.parts)]

    def products(self) -> list[tuple[int, ConvSpec]]:
        """Return the pointwise parts, each with its place in the block."""
        parts = enumerate(self.inner, self.first)
        return [(index, part) for index, part in parts if part.kind == "pointwise"]

    @cached_property
    def depthwise_plan(self) -> Plan:
        """The plan of the part in the middle."""
        return self.plans[self._middle]

    @cached_property
    def expand(self) -> ConvSpec | None:
        """The part before the depthwise convolution."""
        return self.inner[0] if self._middle else None

    @cached_property
    def depthwise(self) -> ConvSpec:
        """The part in the middle."""
        return self.inner[self._middle]

    @cached_property
    def project(self) -> ConvSpec | None:
        """The part behind the depthwise convolution."""
        return self.inner[-1] if self._middle < len(self.inner) - 1 else None

    @cached_property
    def rule(self) -> ConvRule:
        """The rule of the depthwise convolution."""
        return channels_last if self.depthwise.multiplier == 1 else multiples

    @cached_property
    def forms(self) -> tuple[Form, ...]:
        """The forms in which the parts take their weights."""
        return tuple(
            self.rule.form(part, plan, self.target)
            if part.kind == "depthwise"
            else self._panels(place, part, plan)
            for place, (part, plan) in enumerate(zip(self.inner, self.plans, strict=True))
        )

    def _panels(self, place: int, part: ConvSpec, plan: Plan) -> PanelsForm:
        runs = self.runs(place)
        return PanelsForm(pointwise.panels(part.out_channels, runs, plan, part.dtype, self.target))

    def panels(self, part: int) -> tuple[Panels, ...]:
        """Return the columns of a product, given its place among the parts of the chain."""
        form = self.forms[part]
        assert isinstance(form, PanelsForm)
        return form.panels

    def runs(self, place: int, tasks: range | None = None) -> Runs:
        """Return how many pixels a product computes in one go, and how often.

        Args:
            place: that of the product among the parts of the chain.  (The product itself does not
                tell: an expansion and a projection may be equal.)
            tasks: the strips of a thread, all of an image where none are given.
        """
        tasks = tasks or range(self.strips)
        rows = self._new_rows(tasks) if place < self._middle else self._finished_rows(tasks)
        return tuple((count * self.inner[place].width, times) for count, times in rows.items())

    def fewest(self, place: int) -> int:
        """Return the fewest pixels that a product computes in most of its turns."""
        return max(self.runs(place), key=lambda run: run[1])[0]

    @cached_property
    def strips(self) -> int:
        """Strips of an image."""
        return ceil(self.depthwise.out_height / self.rows)

    @property
    def tasks(self) -> int:
        """Strips of all images."""
        return self.parts[0].batch * self.strips

    @property
    def has_ring(self) -> bool:
        """Whether the depthwise convolution reads a ring of rows, and not the input itself."""
        return self.expand is not None or self.planes[0]

    @property
    def has_strip(self) -> bool:
        """Whether it writes to a strip, and not to the output itself."""
        return self.project is not None or self.planes[1]

    @cached_property
    def ring_rows(self) -> int:
        """Rows of the ring: the input rows that a strip of outputs reads."""
        return min(
            self.inputs(0, self.rows)[1] + self.depthwise.padding[0][0], self.depthwise.height
        )

    @cached_property
    def strip_rows(self) -> int:
        """Rows of the strip: more than those of the outputs where tiles reach beyond these."""
        return max(self._rows_in_tiles(strip) for strip in range(self.strips))

    def computed_rows(self, tasks: range) -> int:
        """Return the rows of these strips, those that the tiles of two compute counted twice."""
        return sum(map(self._rows_in_tiles, tasks))

    def _rows_in_tiles(self, task: int) -> int:
        tile = self.depthwise_plan.th
        begin, end = self._ends[task % self.strips]
        return ceil(end / tile) * tile - begin // tile * tile

    def inputs(self, begin: int, end: int) -> tuple[int, int]:
        """Return the input rows that output rows read, those beyond the image left out.

        Padding that is not zero may be any row of the image.
        """
        conv = self.depthwise
        if conv.padding_mode != "zeros":
            return 0, conv.height
        (stride, _), ((above, _), _) = conv.stride, conv.padding
        last = (end - 1) * stride + self.reach - above
        return max(begin * stride - above, 0), min(last, conv.height)

    @property
    def reach(self) -> int:
        """Input rows from the first that an output row reads to the last."""
        return (self.depthwise.kernel[0] - 1) * self.depthwise.dilation[0] + 1

    @cached_property
    def _ends(self) -> list[Pair]:
        """The output rows at which each strip of an image begins and ends."""
        height = self.depthwise.out_height
        return [(row, min(row + self.rows, height)) for row in range(0, height, self.rows)]

    def _new_rows(self, tasks: range) -> Counter[int]:
        """Return how many rows are added to the ring in one go, and how often."""
        found: Counter[int] = Counter()
        have = 0
        for task in tasks:
            strip = task % self.strips
            low, high = self.inputs(*self._ends[strip])
            start = low if task == tasks[0] or strip == 0 else max(low, have)
            have = high
            found.update(_around(start, high - start, self.ring_rows))
        if self.strips > 1 or not found:
            found[1] += 0  # a thread may begin with any strip; padding alone needs no row
        return found

    def _finished_rows(self, tasks: range) -> Counter[int]:
        """Return how many rows of the strip are projected in one go, and how often."""
        found: Counter[int] = Counter()
        for begin, end in (self._ends[task % self.strips] for task in tasks):
            found.update(_around(begin, end - begin, self.strip_rows))
        return found

    @property
    def rows_ahead(self) -> int:
        """Input rows that a strip reads beyond those of the one before."""
        return min(self.rows * self.depthwise.stride[0], self.depthwise.height)

    @cached_property
    def ahead(self) -> Ahead | None:
        """What a tile of the projection fetches of the next strip's input.

        Nothing where the input stays in a core's own caches, or goes into an expansion, which reads
        it in order and slowly.
        """
        source, project = self.inner[0], self.project
        image = nbytes(source.input_shape, source.dtype)
        far = self.parts[0].batch * image > self.target.private_cache_bytes
        if project is None or self.expand is not None or not far or source.pitches:
            return None
        rows = self.rows_ahead
        runs, lines, stride = rows * image // source.height // self.target.line_bytes, 1, self._line
        if self.planes[0]:
            row = nbytes((source.width,), source.dtype)
            runs, lines = source.channels, ceil(rows * row / self.target.line_bytes) + 1
            stride = source.height * source.width
        pixels = self.rows * self.depthwise.out_width
        tiles = sum(panel.count * ceil(pixels / panel.rows) for panel in self.panels(-1))
        most = min(ceil(runs / tiles), project.channels // lines)
        return Ahead(runs, lines, self._line, stride, tiles, most) if most else None

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Elements of the buffers in scratch memory, each a number of whole cache lines."""
        conv, project = self.depthwise, self.project
        sizes = {}
        if self.has_ring:
            sizes["ring"] = self.ring_rows * conv.width * conv.channels
        if self.has_strip:
            sizes["strip"] = self.strip_rows * conv.out_width * conv.out_channels
        if project and self.planes[1]:
            sizes["result"] = self.rows * conv.out_width * project.out_channels
        line = self._line
        return {name: ceil(size / line) * line for name, size in sizes.items()}

    @property
    def _line(self) -> int:
        """Elements of a cache line."""
        return self.target.line_bytes // itemsize(self.depthwise.dtype)

    @property
    def scratch_bytes(self) -> int:
        """Bytes of scratch memory of each thread."""
        return sum(self.sizes.values()) * self.depthwise.element.computed.bytes


def _around(start: int, count: int, rows: int) -> list[int]:
    """Return the lengths of the runs into which a run is cut where a ring of rows ends."""
    before = min(count, rows - start % rows)
    return [length for length in (before, count - before) if length > 0]
