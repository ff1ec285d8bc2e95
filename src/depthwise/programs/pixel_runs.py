"""Functions of a run of channels-last pixels: from planes, to planes, apart, and their sum.

Beside them stands what the writers of such loops share: pieces of channels, and vectors folded.

Planes are what channels-first data have: all pixels of a channel, then those of the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import reduce
from typing import Any, TypeAlias

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.programs.build import TASKS

Expr: TypeAlias = Any
Run: TypeAlias = Callable[[Expr], Expr]
"""The index of a run of elements, or of a single one, from that of the first."""

MOST_TASKS = 64
"""About as many are enough for every team; each is worth more than waking a thread."""
AT_ONCE = 4
"""Vectors that are computed side by side: as many as additions take cycles."""


def gather(channels: int, plane: int, pitch: int, dtype: str, lanes: int) -> tirx.PrimFunc:
    """Return the function `(X, Y, pixels)` from planes to pixels.

    Args:
        channels: how many planes.
        plane: elements from plane to plane.
        pitch: elements from pixel to pixel.
        dtype: the element type.
        lanes: elements of a vector.
    """

    def write(x: Any, y: Any, pixels: Expr) -> None:
        _transpose(
            (pixels, channels), lanes,
            lambda channel, pixel, run: x[run(channel * plane + pixel)],
            lambda value, pixel, channel, run: T.buffer_store(
                y, value, [run(pixel * pitch + channel)]
            ),
            swap=True,
        )  # fmt: skip

    return _function(dtype, {"X": channels * plane, "Y": channels * pitch}, write)


def scatter(
    channels: int, plane: int, pitch: int, dtype: str, lanes: int, residual: bool = False
) -> tirx.PrimFunc:
    """Return the function `(X, residual, Y, pixels)` from pixels to planes; see `gather`.

    The residual, where there is one, is added.
    """

    def write(x: Any, *others: Any) -> None:
        *residuals, y, pixels = others

        def store(value: Expr, channel: Expr, pixel: Expr, run: Run) -> None:
            at = run(channel * plane + pixel)
            T.buffer_store(y, value + residuals[0][at] if residuals else value, [at])

        _transpose(
            (pixels, channels), lanes,
            lambda pixel, channel, run: x[run(pixel * pitch + channel)], store, swap=False,
        )  # fmt: skip

    names = ["X", "residual", "Y"] if residual else ["X", "Y"]
    return _function(dtype, dict.fromkeys(names, channels * plane), write)


def apart(channels: int, multiplier: int, pitch: int, size: int, dtype: str) -> tirx.PrimFunc:
    """Return the function `(X, Y, pixels)` that lays out every so many-th channel apart.

    Args:
        channels: of each part.
        multiplier: how many parts.
        pitch: elements from pixel to pixel of what is given.
        size: elements from part to part.
        dtype: the element type.
    """

    def write(x: Any, y: Any, pixels: Expr) -> None:
        with T.serial(0, pixels) as pixel, T.serial(0, channels) as channel:
            for part in range(multiplier):
                value = x[pixel * pitch + channel * multiplier + part]
                T.buffer_store(y, value, [part * size + pixel * channels + channel])

    return _function(dtype, {"X": channels * pitch, "Y": multiplier * size}, write)


def _transpose(
    extents: tuple[Expr, int],
    lanes: int,
    load: Callable[[Expr, Expr, Run], Expr],
    store: Callable[[Expr, Expr, Expr, Run], None],
    *,
    swap: bool,
) -> None:
    """Write loops over pixels and channels, in squares of vectors as far as there are whole ones.

    Args:
        extents: pixels and channels.
        lanes: elements of a vector.
        load: `load(i, j, run)` is a run of elements of row i from column j on.
        store: `store(value, j, i, run)` writes one of row j from column i on.
        swap: whether the rows of what is loaded are channels, and not pixels.
    """
    pixels, channels = extents
    whole = channels // lanes * lanes

    def one(first: Expr, last: Expr) -> None:
        with T.serial(first, last) as channel, T.serial(0, pixels) as pixel:
            i, j = (channel, pixel) if swap else (pixel, channel)
            store(load(i, j, _single), j, i, _single)

    def square(pixel: Expr, channel: Expr) -> None:
        i, j = (channel, pixel) if swap else (pixel, channel)
        rows = [T.Bind(load(i + row, j, _vector(lanes))) for row in range(lanes)]
        for column, value in enumerate(_exchanged(rows)):
            store(value, j + column, i, _vector(lanes))

    if lanes == 1:
        one(0, channels)
        return
    with T.If(pixels >= lanes):
        runs = (pixels + (lanes - 1)) // lanes
        with T.Then(), T.serial(0, channels // lanes) as block, T.serial(0, runs) as run:
            square(T.Bind(T.min(run * lanes, pixels - lanes)), block * lanes)
        with T.Else():
            one(0, whole)
    one(whole, channels)


def _exchanged(rows: list[Expr]) -> list[Expr]:
    """Return the columns of a square of vectors: blocks off the diagonal swap, ever larger ones.

    Source: J. O. Eklundh, "A fast computer method for matrix transposing", 1972.
    """
    size, distance = len(rows), 1
    while distance < size:
        after = list(rows)
        for i in (i for i in range(size) if not i & distance):
            pair = [rows[i], rows[i + distance]]
            upper = [
                lane if not lane & distance else size + lane - distance for lane in range(size)
            ]
            lower = [
                lane + distance if not lane & distance else size + lane for lane in range(size)
            ]
            after[i] = T.Bind(tirx.Shuffle(pair, upper))
            after[i + distance] = T.Bind(tirx.Shuffle(pair, lower))
        rows, distance = after, 2 * distance
    return rows


def _single(at: Expr) -> Expr:
    return at


def _vector(lanes: int) -> Run:
    return lambda at: tirx.Ramp(at, 1, lanes)


def total(channels: int, lanes: int, dtype: str) -> tirx.PrimFunc:
    """Return the function `(X, Y, pixels)` that writes the sum of a run of pixels."""

    def write(x: Any, y: Any, pixels: Expr) -> None:
        for start, count in vectors(channels, lanes):
            with T.serial(0, count[0]) as vector:
                first = vector * count[1] + start
                sums = T.alloc_buffer((count[1],), dtype, scope="local")
                with T.vectorized(0, count[1]) as lane:
                    T.buffer_store(sums, tirx.const(0, dtype), [lane])
                with T.serial(0, pixels) as pixel, T.vectorized(0, count[1]) as lane:
                    T.buffer_store(sums, sums[lane] + x[pixel * channels + first + lane], [lane])
                with T.vectorized(0, count[1]) as lane:
                    T.buffer_store(y, sums[lane], [first + lane])

    return _function(dtype, {"X": channels, "Y": channels}, write)


def vectors(channels: int, lanes: int) -> list[tuple[int, tuple[int, int]]]:
    """Return (first channel, (how many vectors, their width)) of the whole ones and the rest."""
    whole, rest = divmod(channels, lanes)
    return [run for run in ((0, (whole, lanes)), (whole * lanes, (1, rest))) if all(run[1])]


def pieces(channels: int, lanes: int) -> Iterator[tuple[int, int, int]]:
    """Yield (first channel, how many vectors, their width): wide ones, whole ones, the rest."""
    wide = AT_ONCE * lanes
    first = channels // wide * wide
    if first:
        yield 0, first // wide, wide
    for start, (count, width) in vectors(channels - first, lanes):
        yield first + start, count, width


def across(value: Expr, width: int) -> Expr:
    """Return the sum of the lanes of a vector, halves added to each other as long as they are."""
    while width > 1 and width % 2 == 0:
        width //= 2
        halves = [tirx.Shuffle([value], list(range(start, start + width))) for start in (0, width)]
        value = T.Bind(halves[0] + halves[1])
    lanes = [tirx.Shuffle([value], [lane]) for lane in range(width)] if width > 1 else [value]
    return sum(lanes[1:], lanes[0])


def largest_across(value: Expr, width: int, dtype: str) -> Expr:
    """Return the largest of the lanes, through memory: TVM takes for ever to see through it all."""
    lanes: Any = T.alloc_buffer((width,), dtype, scope="local")
    T.buffer_store(lanes, value, [tirx.Ramp(0, 1, width) if width > 1 else 0])
    while width > 1 and width % 2 == 0:
        width //= 2
        first, second = ((tirx.Ramp(at, 1, width) if width > 1 else at) for at in (0, width))
        T.buffer_store(lanes, largest(lanes[first], lanes[second]), [first])
    return T.Bind(reduce(largest, [lanes[lane] for lane in range(width)]))


def largest(a: Expr, b: Expr) -> Expr:
    """Return the larger of two numbers each; a NaN stays one, as in torch."""
    return tirx.Select(tirx.any(a >= b, tirx.isnan(a)), a, b)


def _function(dtype: str, sizes: dict[str, int], write: Callable[..., None]) -> tirx.PrimFunc:
    """Return a function of arrays of these sizes and of a number of pixels."""
    with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
        T.func_name("main")
        T.func_attr({TASKS: 1})
        arrays = [T.arg(name, T.Buffer((size,), dtype)) for name, size in sizes.items()]
        write(*arrays, T.arg("pixels", T.int32()))
    return builder.get()
