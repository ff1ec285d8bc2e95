"""A chain of convolutions in one kernel: strip by strip of output rows, what lies between in cache.

The parts are functions of the kernel's machine code.  For each strip the expansion (or, for
channels-first data, a transposition) adds the input rows that are new to a ring of rows; the
depthwise convolution goes from the ring, or from the input itself, to a strip of its own, and the
projection from there to the output.  Ring and strip lie in scratch memory that each thread has for
itself.  A task is a strip; the strips of a thread share the rows that neighbours need in common.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any, TypeAlias

import tvm
import tvm_ffi
from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.programs import channels_last, multiples, pixel_runs, products
from depthwise.programs.build import SCRATCH_BYTES, SYMBOL, TASKS, Program, task_count
from depthwise.programs.define import define
from depthwise.schedule.chain import Chain

Expr: TypeAlias = Any


def program(chain: Chain) -> Program:
    """Return the program of a chain: each part defined, and the functions that compute them."""
    transform = _TRANSFORMS[chain.rule.name]
    definition, depthwise = transform.functions(chain.depthwise, chain.depthwise_plan, chain.target)
    definitions = {
        name: definition if name == "depthwise" else define(part, form)
        for name, part, form in zip(chain.names, chain.inner, chain.forms, strict=True)
    }
    return Program(definitions, functions(chain, depthwise), chain.target)


_TRANSFORMS = {each.rule.name: each for each in (channels_last.transform, multiples.transform)}
"""Those of the rules that a depthwise convolution in a chain may have."""


def functions(chain: Chain, depthwise: tirx.PrimFunc) -> dict[str, tirx.PrimFunc]:
    """Return the functions of a chain's kernel.

    The kernel takes X, the weights of the parts, their biases, the residual, Y, the sums of its
    rows where the chain gives them, and scratch memory.

    Args:
        chain: what is computed, and how.
        depthwise: the scheduled program of its depthwise convolution.
    """
    conv, (planes_in, planes_out) = chain.depthwise, chain.planes
    lanes = chain.target.lanes(conv.dtype)
    rings = {"X": chain.ring_rows} if chain.has_ring else {}
    if chain.has_strip:
        rings["Y"] = chain.strip_rows
    found = {"depthwise": _with_rings(depthwise, rings)}
    if chain.expand:
        found["expand"] = products.function(
            chain.expand, chain.panels(0), lanes, planes_in, fewest=chain.fewest(0),
            narrow=bool(conv.element.storage),
        )  # fmt: skip
    elif planes_in:
        plane = conv.height * conv.width
        found["gather"] = pixel_runs.gather(
            conv.channels, plane, conv.channels, conv.element.tvm, lanes
        )
    if chain.project:
        found["project"] = products.function(
            chain.project,
            chain.panels(-1),
            lanes,
            ahead=chain.ahead,
            fewest=chain.fewest(len(chain.parts) - 1),
        )
    if planes_out:
        last = chain.parts[-1]
        channels, plane = last.out_channels, last.out_height * last.out_width
        found["scatter"] = pixel_runs.scatter(
            channels, plane, channels, last.element.tvm, lanes, last.residual
        )
    if chain.sums:
        found["total"] = pixel_runs.total(conv.out_channels, lanes, conv.element.tvm)
    found[SYMBOL] = _Driver(chain, task_count(depthwise)).function()
    return found


def _with_rings(func: tirx.PrimFunc, rings: Mapping[str, int]) -> tirx.PrimFunc:
    """Let row r of an NHWC argument be row r modulo so many rows."""
    arrays = []
    for old in func.params:
        if rows := rings.get(old.name):
            n, _, width, channels = old.shape
            ring = tirx.decl_buffer((n, rows, width, channels), old.dtype, old.name)
            arrays.append((old, ring))

    def ring_of(array: Any) -> Any | None:
        return next((ring for old, ring in arrays if array.same_as(old)), None)

    def indices(ring: Any, given: Sequence[Expr]) -> list[Expr]:
        n, row, column, channel = given
        return [n, tirx.floormod(row, ring.shape[1]), column, channel]

    def load(e: Any) -> Any:
        ring = ring_of(e.source)
        return e if ring is None else tirx.BufferLoad(ring, indices(ring, e.indices))

    def store(e: Any) -> Any:
        ring = ring_of(e.buffer)
        return e if ring is None else tirx.BufferStore(ring, e.value, indices(ring, e.indices))

    def region(e: Any) -> Any:
        ring = ring_of(e.source)
        if ring is None:
            return e
        n, _, width, channels = e.region
        rows = tvm.ir.Range.from_min_extent(0, ring.shape[1])
        return tirx.BufferRegion(ring, [n, rows, width, channels])

    rewrites = [
        (tvm.ir.expr.TensorLoad, load),
        (tirx.BufferStore, store),
        (tvm.ir.expr.TensorRegion, region),
    ]
    body = tvm_ffi.structural_map(func.body, rewrites)
    params = [array if (ring := ring_of(array)) is None else ring for array in func.params]
    return tirx.PrimFunc(params, body, func.ret_type, func.attrs)


class _Driver:
    """The kernel: the loop over strips."""

    def __init__(self, chain: Chain, depthwise_tasks: int) -> None:
        self._chain = chain
        self._tasks = depthwise_tasks

    def function(self) -> tirx.PrimFunc:
        """Return the function of the kernel: X, weights, biases, ..., a run of tasks."""
        chain = self._chain
        with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
            T.func_name("main")
            tasks = chain.parts[0].batch * chain.strips
            T.func_attr({TASKS: tasks, SCRATCH_BYTES: chain.scratch_bytes})
            self._declare()
            first, last = T.arg("first", T.int32()), T.arg("last", T.int32())
            with T.serial(first, last) as task:
                self._strip(task // chain.strips, task % chain.strips, task == first)
        return builder.get()

    def _declare(self) -> None:
        chain, conv = self._chain, self._chain.depthwise
        first, last = chain.parts[0], chain.parts[-1]

        def array(name: str, size: int) -> Any:
            return T.arg(name, T.Buffer((size,), first.element.tvm))

        inputs = first.batch * first.height * first.width
        outputs = last.batch * last.out_height * last.out_width
        self._x = array("X", inputs * first.pitch("x"))
        self._weights, self._biases = {}, {}
        for name, part, form in zip(chain.names, chain.inner, chain.forms, strict=True):
            sets = first.batch if chain.scaled and name == "depthwise" else 1
            self._weights[name] = array(f"{name}_weight", sets * prod(form.weight_shape(part)))
        for name, part in zip(chain.names, chain.inner, strict=True):
            if part.bias:
                self._biases[name] = array(f"{name}_bias", part.out_channels)
        of_residual = outputs * last.pitch("residual")
        self._residual = array("residual", of_residual) if last.residual else None
        self._y = array("Y", outputs * last.pitch("y"))
        if chain.sums:
            self._sums = array("sums", first.batch * conv.out_height * conv.out_channels)
        sizes = chain.sizes
        scratch = array("scratch", sum(sizes.values())) if sizes else None
        start, self._scratch = 0, {}
        for name, size in sizes.items():
            self._scratch[name] = (scratch, start)
            start += size

    def _strip(self, image: Expr, strip: Expr, is_first: Expr) -> None:
        """Compute one strip of an image."""
        chain, conv = self._chain, self._chain.depthwise
        begin = T.Bind(strip * chain.rows)
        end = T.Bind(T.min(begin + chain.rows, conv.out_height))
        if chain.has_ring:
            self._fill_ring(image, begin, end, tirx.any(is_first, strip == 0))
            source = self._inside("ring")
        else:
            plane = conv.height * conv.width * conv.pitch("x")
            source = _address(self._x, image * plane)
        row = conv.out_width * conv.pitch("y")
        target = (
            self._inside("strip")
            if chain.has_strip
            else _address(self._y, image * (conv.out_height * row))
        )
        self._call_depthwise(image, source, target, begin, end)
        if chain.sums:
            self._sum_up(image, begin, end)
        if not chain.has_strip:
            return
        slot = T.Bind(begin % chain.strip_rows)
        before_wrap = T.Bind(T.min(end - begin, chain.strip_rows - slot))
        self._finish_rows(image, begin, slot, before_wrap)
        if chain.strip_rows != chain.rows:
            self._finish_rows(image, begin + before_wrap, 0, end - begin - before_wrap)

    def _sum_up(self, image: Expr, begin: Expr, end: Expr) -> None:
        """Give the sum of each row of the output, whatever strip it belongs to."""
        conv = self._chain.depthwise
        row = conv.out_width * conv.out_channels
        with T.serial(begin, end) as line:
            at = T.Bind(image * conv.out_height + line)
            sums = _address(self._sums, at * conv.out_channels)
            self._call("total", _address(self._y, at * row), sums, conv.out_width)

    def _finish_rows(self, image: Expr, row: Expr, slot: Expr, count: Expr) -> None:
        """Project rows of the strip, and lay them out as the output is."""
        chain, conv = self._chain, self._chain.depthwise
        last, width = chain.inner[-1], conv.out_width
        pixels = count * width

        def begin(name: str) -> Expr:
            pitch = last.pitch(name)
            step = 1 if chain.planes[1] else pitch
            return image * (pitch * conv.out_height * width) + row * (width * step)

        at = begin("y")
        residual = [] if self._residual is None else [_address(self._residual, begin("residual"))]
        source = self._inside("strip", slot * (width * conv.out_channels))
        with T.If(count > 0), T.Then():
            if not chain.planes[1]:
                self._project(image, row + count, source, residual, _address(self._y, at), pixels)
                return
            if chain.project:
                self._project(image, row + count, source, [], self._inside("result"), pixels)
                source = self._inside("result")
            self._call("scatter", source, *residual, _address(self._y, at), pixels)

    def _project(
        self,
        image: Expr,
        end: Expr,
        source: Expr,
        residual: list[Expr],
        to: Expr,
        pixels: Expr,
    ) -> None:
        """Project rows of the strip, and fetch what the strip behind them reads meanwhile."""
        ahead = []
        if self._chain.ahead:
            ahead = [self._next_rows(image, self._end_of_inputs(end))]
        self._call("project", source, *self._operands("project"), *residual, to, *ahead, pixels)

    def _next_rows(self, image: Expr, row: Expr) -> Expr:
        """Return where the input goes on behind a strip, never so that rows beyond it are fetched.

        (To fetch from an address without memory costs much more than to fetch what is near.)
        """
        chain = self._chain
        height, images = chain.parts[0].height, chain.parts[0].batch
        within = T.min(row, height - chain.rows_ahead)
        if images == 1:
            return self._rows_of_input(image, within)
        following = T.min(image + 1, images - 1)
        ends = tirx.all(row == height, following > image)
        return self._rows_of_input(
            tirx.Select(ends, following, image), tirx.Select(ends, 0, within)
        )

    def _end_of_inputs(self, output_end: Expr) -> Expr:
        """Return the input row behind the last one that these outputs read."""
        conv = self._chain.depthwise
        if conv.padding_mode != "zeros":
            return tirx.const(conv.height, "int32")
        (stride, _), ((above, _), _) = conv.stride, conv.padding
        return T.min((output_end - 1) * stride + self._chain.reach - above, conv.height)

    def _fill_ring(self, image: Expr, begin: Expr, end: Expr, anew: Expr) -> None:
        """Add the input rows that a strip reads and the one before it did not."""
        chain, conv = self._chain, self._chain.depthwise
        (stride, _), ((above, _), _) = conv.stride, conv.padding
        beyond = begin * stride - above if conv.padding_mode == "zeros" else 0
        low = T.Bind(T.max(beyond, 0))
        start = T.Bind(tirx.Select(anew, low, T.max(low, self._end_of_inputs(begin))))
        stop = T.Bind(self._end_of_inputs(end))
        slot = T.Bind(start % chain.ring_rows)
        before_wrap = T.Bind(T.min(stop - start, chain.ring_rows - slot))
        self._add_rows(image, start, slot, before_wrap)
        self._add_rows(image, start + before_wrap, 0, stop - start - before_wrap)

    def _add_rows(self, image: Expr, row: Expr, slot: Expr, count: Expr) -> None:
        chain, conv = self._chain, self._chain.depthwise
        source = self._rows_of_input(image, row)
        target = self._inside("ring", slot * (conv.width * conv.channels))
        with T.If(count > 0), T.Then():
            pixels = count * conv.width
            if chain.expand:
                self._call("expand", source, *self._operands("expand"), target, pixels)
            else:
                self._call("gather", source, target, pixels)

    def _rows_of_input(self, image: Expr, row: Expr) -> Expr:
        part = self._chain.parts[0]
        pixel = 1 if self._chain.planes[0] else part.pitch("x")
        plane = part.pitch("x") * part.height * part.width
        return _address(self._x, image * plane + row * (part.width * pixel))

    def _call_depthwise(
        self, image: Expr, source: Expr, target: Expr, begin: Expr, end: Expr
    ) -> None:
        """Run the tasks of these rows in each run of channels."""
        chain = self._chain
        tile = chain.depthwise_plan.th
        tiles = -(-chain.depthwise.out_height // tile)
        for run in range(self._tasks // tiles):
            tasks = run * tiles + begin // tile, run * tiles + (end + (tile - 1)) // tile
            own = image * chain.depthwise.channels if chain.scaled else 0
            self._call("depthwise", source, *self._operands("depthwise", own), target, *tasks)

    def _operands(self, name: str, start: Expr = 0) -> list[Expr]:
        weight = _address(self._weights[name], start)
        return [weight, _address(self._biases[name], 0)] if name in self._biases else [weight]

    def _inside(self, name: str, offset: Expr = 0) -> Expr:
        scratch, start = self._scratch[name]
        return _address(scratch, offset + start)

    def _call(self, name: str, *arguments: Expr) -> None:
        T.evaluate(tirx.call_extern("void", name, *arguments))


def _address(array: Any, index: Expr) -> Expr:
    return T.address_of(array[index])
