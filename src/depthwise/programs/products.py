"""Matrix products in register tiles, written with their schedule: what pointwise convolutions are.

Rows that are left when the last whole tile is done belong to a tile that overlaps the one before:
it computes some rows twice, and there is one code for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any, TypeAlias

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.problem.links import image_operands, operand_kinds, operand_shapes
from depthwise.problem.spec import ConvSpec
from depthwise.programs import widened
from depthwise.programs.activations import activate
from depthwise.programs.build import TASKS
from depthwise.programs.fetching import LINE_BYTES, fetch
from depthwise.programs.links import chained
from depthwise.schedule import tiling
from depthwise.schedule.tiling import Ahead, NextPanel, Panels, next_panel, packed_columns

Expr: TypeAlias = Any
Rows: TypeAlias = Callable[[Expr, int], Sequence[Callable[[Expr], Expr]]]
"""Makes so many rows of A ready; each is the function from the distance to its first element to an
element."""
Terms: TypeAlias = tuple[tuple[Any, int], ...]
"""The loops over the terms of a sum from the outside in: how many turns, and by how many elements
of A each turn is farther than the one before."""


@dataclass(frozen=True)
class Operands:
    """The arrays of a convolution, all flat, and what becomes of a sum."""

    spec: ConvSpec
    x: Any
    weight: Any
    bias: Any | None
    residual: Any | None
    y: Any
    others: Mapping[str, Any] = field(default_factory=dict)
    """Those of the chain by name."""

    @classmethod
    def declare(cls, spec: ConvSpec, columns: int) -> Operands:
        """Declare the parameters of a function whose packed weights have so many columns."""

        def array(name: str, size: int) -> Any:
            return T.arg(name, T.Buffer((size,), spec.element.tvm))

        pixels = spec.batch * spec.out_height * spec.out_width
        inputs = spec.batch * spec.height * spec.width * spec.pitch("x")
        x, weight = array("X", inputs), array("K", spec.depth * columns)
        bias = array("bias", spec.out_channels) if spec.bias else None
        residual = array("residual", pixels * spec.pitch("residual")) if spec.residual else None
        images = image_operands(spec.chain)
        others = {
            name: array(name, pixels * spec.pitch(name) if name in images else prod(shape))
            for name, shape in operand_shapes(spec.chain, spec.output_shape).items()
        }
        y = array("Y", pixels * spec.pitch("y"))
        return cls(spec, x, weight, bias, residual, y, others)

    def store(self, total: Expr, pixel: Expr, channel: Expr) -> None:
        """Finish the sum of an output channel of a pixel, all images counted, and write it."""
        self.store_at(total, pixel, channel, lambda name: pixel * self.spec.pitch(name) + channel)

    def store_at(
        self, total: Expr, pixel: Expr, channel: Expr, place: Callable[[str], Expr]
    ) -> None:
        """Do so where the place of an element in an array as large as the output is given."""
        spec = self.spec
        value = total if self.bias is None else total + self.bias[channel]
        value = activate(spec.activation, value, spec.element.tvm)
        if self.residual is not None:
            value = value + self.residual[place("residual")]
        kinds, plane = operand_kinds(spec.chain), spec.out_height * spec.out_width
        image = tirx.floordiv(pixel, plane) if spec.batch > 1 else 0

        def operand(name: str) -> Expr:
            if kinds[name] == "image":
                return self.others[name][place(name)]
            places = {
                "gate": image * spec.out_channels + channel, "pixel": pixel, "channel": channel,
                "scalar": 0,
            }  # fmt: skip
            return self.others[name][places[kinds[name]]]

        value = chained(spec.chain, value, operand, spec.element.tvm)
        T.buffer_store(self.y, value, [place("y")])


@dataclass(frozen=True)
class Fetching:
    """Brings memory into the second cache while a product is computed."""

    ahead: Ahead
    array: Any
    """What begins with that memory."""

    def share(self, tile: Expr, tiles: Expr) -> _Share:
        """Return what one of all tiles fetches."""
        runs = self.ahead.runs
        integer = "int32" if runs * self.ahead.tiles < 2**31 else "int64"

        def start(of_tile: Expr) -> Expr:
            of_all = tirx.const(runs, integer) * tirx.Cast(integer, of_tile)
            return tirx.Cast("int32", of_all // tirx.Cast(integer, tiles))

        begin = T.Bind(start(tile))
        count = T.Bind(T.min(start(tile + 1) - begin, self.ahead.most))
        return _Share(self.ahead, self.array, begin, count)


@dataclass(frozen=True)
class _Following:
    """The panel behind the one that is computed, fetched by its tiles."""

    how: NextPanel
    weight: Any
    start: Expr
    size: int
    turns: int
    tile: Expr = 0

    def fetch(self, turn: Expr, line: Expr) -> None:
        """Begin to fetch one of the lines of a tile's turn."""
        share = self.tile * self.turns + turn
        at = self.start + (share * self.how.lines + line) * self.how.stride
        fetch(self.weight, T.min(at, self.size - 1))


@dataclass(frozen=True)
class _Share:
    """Some of the runs, fetched by one tile."""

    ahead: Ahead
    array: Any
    begin: Expr
    count: Expr

    def steps(self, depth: int) -> int:
        """Return how many steps of k lie between two lines."""
        return depth // (self.ahead.most * self.ahead.lines)

    def fetch(self, run: Expr, line: Expr) -> None:
        """Begin to fetch a line of one of the runs."""
        at = (self.begin + run) * self.ahead.stride + line * self.ahead.line
        fetch(self.array, at)


def product(
    panels: tuple[Panels, ...],
    first: Expr,
    last: Expr,
    terms: Terms,
    lanes: int,
    dtype: str,
    *,
    a: Rows,
    b: Callable[[Panels, Expr], Callable[[Expr, Expr], Expr]],
    store: Callable[[Expr, Expr, Expr], None],
    share: tuple[Expr, int] = (0, 1),
    fetching: Fetching | None = None,
    following: Callable[[Panels, Expr], _Following | None] = lambda *_: None,
) -> None:
    """Write Y[m, n] = sum over k of A[m, k] B[k, n] as loops.

    Args:
        panels: the columns, and the tiles of their rows.
        first: the first row to compute.
        last: the row to stop before; there are at least as many as in a tile.
        terms: the products of a sum.
        lanes: elements of a vector.
        dtype: the element type.
        a: `a(m, count)` makes rows from m on ready.
        b: `b(panel, column)` makes the panel at this column ready and returns the function from k
            and the column in the panel to an element.
        store: `store(sum, m, n)` writes an element of Y.
        share: (i, n), the i-th of n shares of the panels is computed.
        fetching: what goes on meanwhile.
        following: `following(panel, column)` is the panel behind this one, where it is fetched.
    """
    before: Expr = 0
    tiles = [(last - first + (panel.rows - 1)) // panel.rows for panel in panels]
    total = sum(panel.count * count for panel, count in zip(panels, tiles, strict=True))
    shares = _shares(panels, *share)
    for panel, count, (begin, end) in zip(panels, tiles, shares, strict=True):
        with T.serial(begin, end) as index:
            column = T.Bind(index * panel.width + panel.start)
            element, behind = b(panel, column), following(panel, column)
            with T.serial(0, count) as tile:
                top = T.Bind(T.min(first + tile * panel.rows, last - panel.rows))
                place = before + index * count + tile
                ahead: _Share | _Following | None = None
                if fetching:
                    ahead = fetching.share(place, total)
                elif behind:
                    ahead = replace(behind, tile=tile)
                _tile(panel, top, column, terms, lanes, dtype, a, element, store, ahead)
        before = before + panel.count * count


def _shares(panels: tuple[Panels, ...], part: Expr, parts: int) -> Iterator[tuple[Expr, Expr]]:
    """Yield which of neighbouring panels belong to one of so many shares of all of them."""
    total, before = sum(panel.count for panel in panels), 0
    for panel in panels:
        ends = (total * number // parts - before for number in (part, part + 1))
        if panel.count == total:
            yield tuple(ends)
        else:
            yield tuple(T.max(0, T.min(end, panel.count)) for end in ends)
        before += panel.count


def _tile(
    panel: Panels, top: Expr, column: Expr, terms: Terms, lanes: int, dtype: str,
    a: Rows, b: Callable[[Expr, Expr], Expr],
    store: Callable[[Expr, Expr, Expr], None], ahead: _Share | _Following | None,
) -> None:  # fmt: skip
    sums = T.alloc_buffer((panel.rows * panel.width,), dtype, scope="local")
    for at in range(0, panel.rows * panel.width, lanes):
        with T.vectorized(0, lanes) as lane:
            T.buffer_store(sums, tirx.const(0, dtype), [at + lane])
    rows = a(top, panel.rows)

    def add(k: Expr, distance: Expr) -> None:
        for row, element in enumerate(rows):
            for start in range(0, panel.width, lanes):
                with T.vectorized(0, lanes) as lane:
                    at = row * panel.width + start + lane
                    total = sums[at] + element(distance) * b(k, start + lane)
                    T.buffer_store(sums, total, [at])

    *outer, (depth, stride) = terms
    with _nested(outer) as (before, distance):
        done: Expr = 0
        if isinstance(ahead, _Share):
            lines, steps = ahead.ahead.lines, ahead.steps(depth)
            with T.serial(0, ahead.count) as run, T.serial(0, lines) as line:
                ahead.fetch(run, line)
                start = T.Bind((run * lines + line) * steps)
                with T.serial(0, steps) as step:
                    add(start + step, (start + step) * stride)
            done = T.Bind(ahead.count * (lines * steps))
        if isinstance(ahead, _Following):
            with T.serial(0, ahead.how.lines) as line:
                ahead.fetch(before, line)
                start = T.Bind(line * ahead.how.steps)
                with T.serial(0, ahead.how.steps) as step:
                    add(before * depth + start + step, distance + (start + step) * stride)
        else:
            with T.serial(done, depth) as k:
                add(before * depth + k, distance + k * stride)
    for row in range(panel.rows):
        for start in range(0, panel.used, lanes):
            with T.vectorized(0, min(lanes, panel.used - start)) as lane:
                total = sums[row * panel.width + start + lane]
                store(total, top + row, column + (start + lane))


@contextmanager
def _nested(loops: Iterable[tuple[Expr, int]]) -> Iterator[tuple[Expr, Expr]]:
    """Write loops in each other; yield the number of the turn and its distance in A."""
    number: Expr = 0
    distance: Expr = 0
    with ExitStack() as stack:
        for count, stride in loops:
            turn = stack.enter_context(T.serial(0, count))
            number, distance = number * count + turn, distance + turn * stride
        yield number, distance


def pixel_rows(
    operands: Operands, panels: tuple[Panels, ...], first: Expr, last: Expr, lanes: int,
    share: tuple[Expr, int] = (0, 1), planes: bool = False, fetching: Fetching | None = None,
    fewest: int = 0, narrow: bool = False,
) -> None:  # fmt: skip
    """Write the product whose rows are pixels; weights are packed in panels.

    The output is channels-last, the input too unless it is said to lie in planes.  See `windows`.
    A channels-last input may be said to be narrow: each run of its rows is widened once.
    """
    spec, x = operands.spec, operands.x
    depth, plane = spec.channels, spec.height * spec.width
    terms = ((depth, plane if planes else 1),)
    if planes or not narrow:
        rows = _evenly(x, 1 if planes else spec.pitch("x"))
        windows(operands, panels, first, last, terms, lanes, rows, share, fetching, fewest=fewest)
        return
    for begin, end, rows in _widened(x, spec.pitch("x"), panels, first, last, depth, lanes):
        windows(operands, panels, begin, end, terms, lanes, rows, share, fewest=fewest)


def _widened(
    array: Any, pitch: int, panels: tuple[Panels, ...], first: Expr, last: Expr, depth: int,
    lanes: int,
) -> Iterator[tuple[Expr, Expr, Rows]]:  # fmt: skip
    """Write a loop over runs of rows that are brought near; yield where each begins and ends."""
    tile = max(panel.rows for panel in panels)
    most = widened.rows_together(tile, depth)
    for begin, end in widened.runs_of_rows(first, last, tile, most):
        near = widened.bring_rows(array, pitch, begin, end, depth, most, lanes)
        yield begin, end, _evenly(near, depth, begin)


def _evenly(array: Any, pitch: int, first: Expr = 0) -> Rows:
    """Return rows that begin so many elements one after the other, the first of them there."""

    def row(m: Expr) -> Callable[[Expr], Expr]:
        return lambda distance: array[(m - first) * pitch + distance]

    return lambda top, count: [row(top + number) for number in range(count)]


def windows(
    operands: Operands, panels: tuple[Panels, ...], first: Expr, last: Expr, terms: Terms,
    lanes: int, a: Rows, share: tuple[Expr, int],
    fetching: Fetching | None = None, start: Expr = 0, fewest: int = 0,
) -> None:  # fmt: skip
    """Write the product whose rows are what output pixels read; weights are packed in panels.

    The output begins with the pixel `start`.  Where it is said how many rows are multiplied in one
    go at the `fewest`, each panel is fetched while the one before it is used.
    """
    spec, weight = operands.spec, operands.weight
    depth = spec.depth
    turns, size = depth // terms[-1][0], depth * packed_columns(panels)
    line = LINE_BYTES // spec.element.bytes
    narrower = spec.element.computed.bytes // spec.element.bytes

    def following(panel: Panels, column: Expr) -> _Following | None:
        if not fewest:
            return None
        how = next_panel(panel, fewest, depth, turns, line, lanes, narrower)
        start_of_next = (column + panel.width) * depth
        return None if how is None else _Following(how, weight, start_of_next, size, turns)

    def packed(panel: Panels, column: Expr) -> Callable[[Expr, Expr], Expr]:
        if not spec.element.storage or fewest <= panel.rows:
            return lambda k, n: weight[column * depth + k * panel.width + n]
        near = widened.bring_panel(weight, column * depth, depth * panel.width, lanes)
        return lambda k, n: near[k * panel.width + n]

    product(
        panels, first, last, terms, lanes, spec.element.tvm, a=a, b=packed,
        store=lambda total, m, n: operands.store(total, m - start, n),
        share=share, fetching=fetching, following=following,
    )  # fmt: skip


def channel_rows(
    operands: Operands, panels: tuple[Panels, ...], first: Expr, last: Expr, lanes: int,
    share: tuple[Expr, int], image: Expr,
) -> None:  # fmt: skip
    """Write the product whose rows are the output channels of a channels-first image."""
    spec, x, weight = operands.spec, operands.x, operands.weight
    depth, pixels = spec.channels, spec.height * spec.width

    def side_by_side(panel: Panels, column: Expr) -> Callable[[Expr, Expr], Expr]:
        near = T.alloc_buffer((depth * panel.width,), spec.element.tvm)
        with T.serial(0, depth) as k:
            for start in range(0, panel.width, lanes):
                there = max(0, min(lanes, panel.used - start))
                if there < lanes:
                    with T.vectorized(0, lanes) as lane:
                        zero = tirx.const(0, spec.element.tvm)
                        T.buffer_store(near, zero, [k * panel.width + start + lane])
                if there:
                    with T.vectorized(0, there) as lane:
                        source = x[(image * depth + k) * pixels + column + (start + lane)]
                        T.buffer_store(near, source, [k * panel.width + start + lane])
        return lambda k, n: near[k * panel.width + n]

    def store(total: Expr, m: Expr, n: Expr) -> None:
        at = (image * spec.out_channels + m) * pixels + n
        operands.store_at(total, image * pixels + n, m, lambda _: at)

    def multiply(begin: Expr, end: Expr, rows: Rows) -> None:
        product(
            panels, begin, end, ((depth, 1),), lanes, spec.element.tvm,
            a=rows, b=side_by_side, store=store, share=share,
        )  # fmt: skip

    if not spec.element.storage:
        multiply(first, last, _evenly(weight, depth))
        return
    for begin, end, rows in _widened(weight, depth, panels, first, last, depth, lanes):
        multiply(begin, end, rows)


def function(
    spec: ConvSpec, panels: tuple[Panels, ...], lanes: int, planes: bool = False,
    ahead: Ahead | None = None, fewest: int = 0, narrow: bool = False,
) -> tirx.PrimFunc:  # fmt: skip
    """Return the function `(X, K, bias, residual, Y, ahead, pixels)` of a run of pixels.

    There are the `fewest` pixels at least, see `windows`.  Its output is channels-last, and its
    input too unless it is said to lie in planes.  What will be read next is fetched from the
    address `ahead` on; without it the argument is absent.  For a narrow input see `pixel_rows`.
    """
    with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
        T.func_name("main")
        T.func_attr({TASKS: 1})
        operands = Operands.declare(spec, packed_columns(panels))
        fetching = None
        if ahead:
            fetching = Fetching(ahead, T.arg("ahead", T.Buffer((1,), spec.element.tvm)))
        pixels = T.arg("pixels", T.int32())
        pixel_rows(
            operands, panels, 0, pixels, lanes, planes=planes, fetching=fetching, fewest=fewest,
            narrow=narrow,
        )  # fmt: skip
    return builder.get()


def run_of_rows(run: Expr, runs: int, rows: int, tile: int) -> tuple[Expr, Expr]:
    """Return where one of so many runs of rows begins and ends, as `tiling.ends` has it."""
    tiles = -(-rows // tile)
    first = T.Bind(run * tiles // runs * tile)
    return first, T.Bind(T.min((run + 1) * tiles // runs * tile, rows))


def pointwise(
    spec: ConvSpec, panels: tuple[Panels, ...], tile: int, tasks: tuple[int, int], lanes: int
) -> tirx.PrimFunc:
    """Return the program of a pointwise convolution.

    Args:
        spec: the convolution.
        panels: the columns of the product, and the tiles of their rows.
        tile: rows that runs of rows are multiples of.
        tasks: into how many runs the rows, and the panels, are cut.
        lanes: elements of a vector.
    """
    row_tasks, column_tasks = tasks
    last_channels = spec.channels_last
    rows = spec.batch * spec.height * spec.width if last_channels else spec.out_channels
    images = 1 if last_channels else spec.batch
    fewest = min(tiling.runs_between(tiling.ends(rows, tile, row_tasks)))[0]
    with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
        T.func_name("main")
        columns = packed_columns(panels) if last_channels else spec.out_channels
        operands = Operands.declare(spec, columns)
        with T.parallel(0, images * row_tasks * column_tasks) as task:
            run = T.Bind(task // column_tasks % row_tasks)
            first, last = run_of_rows(run, row_tasks, rows, tile)
            share = task % column_tasks, column_tasks
            if last_channels:
                pixel_rows(operands, panels, first, last, lanes, share, fewest=fewest)
            else:
                image = T.Bind(task // (row_tasks * column_tasks))
                channel_rows(operands, panels, first, last, lanes, share, image)
    return builder.get()
