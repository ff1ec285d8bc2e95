"""What is computed: a convolution as an unscheduled TensorIR program.

Three computations can be seen in each program: `PaddedX` (left out where nothing is padded), the
sum over the taps, and `Y` (the sum itself, or `Acc` with bias, activation, residual and the chain
applied).
No tile size lives here: a `Form` names the data layout (NCHW[x]c by its x) and the runs of output
channels that are computed by loop nests of their own.

Arguments of every program, in order: X, K, then bias, residual and the operands of the chain where
the problem has them, then Y.  K has the shape that its form says; 1-D problems have a height of 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeAlias

import tvm
import tvm_ffi
from tvm import te, tirx

from depthwise.problem.dtypes import element
from depthwise.problem.links import image_operands, operand_kinds, operand_shapes
from depthwise.problem.spec import ConvSpec
from depthwise.problem.vocabulary import Pair
from depthwise.programs.activations import activate
from depthwise.programs.links import chained, place
from depthwise.schedule.form import (
    Form,
    MultiplesForm,
    PackedForm,
    PanelsForm,
    PartsForm,
    PlainForm,
    PlanesForm,
)

Expr: TypeAlias = Any


def define(spec: ConvSpec, form: Form) -> tirx.PrimFunc:
    """Return the program of a convolution in one form.

    With segments it has an output for each; `join_segments` makes them one again.
    """
    return _DEFINITIONS[type(form)](spec, form)


def _plain(spec: ConvSpec, form: PlainForm) -> tirx.PrimFunc:
    X = _input(spec)
    K = te.placeholder(form.weight_shape(spec), spec.element.tvm, "K")
    epilogue, extra = _epilogue_inputs(spec)
    padded = _padded(spec, X)
    segments = form.segments or ((0, spec.out_channels),)
    outputs = [
        _convolve(spec, padded, K, extra, segment, suffix=str(k) if form.segments else "")
        for k, segment in enumerate(segments)
    ]
    return te.create_prim_func([X, K, *epilogue, *outputs])


def _product(spec: ConvSpec, form: PanelsForm | PartsForm) -> tirx.PrimFunc:
    """Define the sums that the product of a matrix in panels computes, as a plain form has them."""
    del form
    return _plain(spec, PlainForm())


def _packed(spec: ConvSpec, form: PackedForm) -> tirx.PrimFunc:
    """Define `PaddedX`, `PackedX` (zero beyond the last channel), `PackedY` and `Y`."""
    block, blocks = form.block, -(-spec.channels // form.block)
    (kh, kw), (sh, sw), (dh, dw) = spec.kernel, spec.stride, spec.dilation
    X = _input(spec)
    K = te.placeholder(form.weight_shape(spec), spec.element.tvm, "K")
    epilogue, extra = _epilogue_inputs(spec)
    padded = _padded(spec, X)

    def present(channel: Expr, value: Expr) -> Expr:
        if spec.channels % block == 0:
            return value
        return tirx.if_then_else(channel < spec.channels, value, _zero(spec))

    packed_x = te.compute(
        (spec.batch, blocks, spec.padded_height, spec.padded_width, block),
        lambda n, co, h, w, ci: present(co * block + ci, padded(n, co * block + ci, h, w)),
        name="PackedX",
    )
    rkh, rkw = te.reduce_axis((0, kh), "rkh"), te.reduce_axis((0, kw), "rkw")
    term = partial(_term, spec)
    packed_y = te.compute(
        (spec.batch, blocks, spec.out_height, spec.out_width, block),
        lambda n, co, i, j, ci: te.sum(
            term(packed_x[n, co, i * sh + rkh * dh, j * sw + rkw * dw, ci], K[co, rkh, rkw, ci]),
            axis=[rkh, rkw],
        ),
        name="PackedY",
    )
    Y = te.compute(
        _shape(spec, spec.out_channels, spec.out_height, spec.out_width),
        lambda n, c, i, j: extra(packed_y[n, c // block, i, j, c % block], c, (n, c, i, j)),
        name="Y",
    )
    return te.create_prim_func([X, K, *epilogue, Y])


def _planes(spec: ConvSpec, form: PlanesForm) -> tirx.PrimFunc:
    """Define `PaddedX`, `Planes`, `Phases`, `Acc` over whole tiles, and `Y`.

    `Planes` is padded as far as the last tile reads.  `Phases` holds each of its rows as SW rows of
    every SW-th column, so that neighbouring outputs read neighbouring elements.
    """
    (kh, kw), (sh, sw), (dh, dw) = spec.kernel, spec.stride, spec.dilation
    rows, columns = (
        math.ceil(size / extent) * extent
        for size, extent in zip((spec.out_height, spec.out_width), form.tile, strict=True)
    )
    X = _input(spec)
    K = te.placeholder(form.weight_shape(spec), spec.element.tvm, "K")
    epilogue, extra = _epilogue_inputs(spec)
    padded = _padded(spec, X)

    def present(n: Expr, c: Expr, h: Expr, w: Expr) -> Expr:
        inside = tirx.all(h < spec.padded_height, w < spec.padded_width)
        return tirx.if_then_else(inside, padded(n, c, h, w), _zero(spec))

    height, width = (rows - 1) * sh + (kh - 1) * dh + 1, columns + (kw - 1) * dw // sw
    whole = te.compute((spec.batch, spec.channels, height, width * sw), present, name="Planes")
    planes = te.compute(
        (spec.batch, spec.channels, height, sw, width),
        lambda n, c, h, phase, w: whole[n, c, h, w * sw + phase],
        name="Phases",
    )
    rkh, rkw = te.reduce_axis((0, kh), "rkh"), te.reduce_axis((0, kw), "rkw")

    def total(n: Expr, o: Expr, i: Expr, j: Expr) -> Expr:
        shift = rkw * dw
        x = planes[n, o // spec.multiplier, i * sh + rkh * dh, shift % sw, j + shift // sw]
        return te.sum(_term(spec, x, K[o, 0, rkh, rkw]), axis=[rkh, rkw])

    acc = te.compute((spec.batch, spec.out_channels, rows, columns), total, name="Acc")
    Y = te.compute(
        _shape(spec, spec.out_channels, spec.out_height, spec.out_width),
        lambda n, o, i, j: extra(acc[n, o, i, j], o, (n, o, i, j)),
        name="Y",
    )
    return te.create_prim_func([X, K, *epilogue, Y])


def _multiples(spec: ConvSpec, form: MultiplesForm) -> tirx.PrimFunc:
    """Define `PaddedX`, `Acc` with an axis for the outputs of a channel, and `Y`."""
    (kh, kw), (sh, sw), (dh, dw), m = spec.kernel, spec.stride, spec.dilation, spec.multiplier
    X = _input(spec)
    K = te.placeholder(form.weight_shape(spec), spec.element.tvm, "K")
    epilogue, extra = _epilogue_inputs(spec)
    padded = _padded(spec, X)
    rkh, rkw = te.reduce_axis((0, kh), "rkh"), te.reduce_axis((0, kw), "rkw")
    term = partial(_term, spec)
    acc = te.compute(
        (spec.batch, spec.out_height, spec.out_width, m, spec.channels),
        lambda n, i, j, k, c: te.sum(
            term(padded(n, c, i * sh + rkh * dh, j * sw + rkw * dw), K[rkh, rkw, k, c]),
            axis=[rkh, rkw],
        ),
        name="Acc",
    )
    Y = te.compute(
        _shape(spec, spec.out_channels, spec.out_height, spec.out_width),
        lambda n, i, j, o: extra(acc[n, i, j, o % m, o // m], o, (n, i, j, o)),
        name="Y",
    )
    return te.create_prim_func([X, K, *epilogue, Y])


_DEFINITIONS: dict[type[Form], Callable[..., tirx.PrimFunc]] = {
    PlainForm: _plain,
    PanelsForm: _product,
    PartsForm: _product,
    PackedForm: _packed,
    PlanesForm: _planes,
    MultiplesForm: _multiples,
}


def join_segments(func: tirx.PrimFunc, spec: ConvSpec, form: Form) -> tirx.PrimFunc:
    """Make the outputs of the segments the one output that they are channel runs of.

    That may be such a run itself; what other channels it lies among is not written.
    """
    segments = form.segments if isinstance(form, PlainForm) else ()
    if not segments and spec.pitch("y") == spec.out_channels:
        return func
    segments = segments or ((0, spec.out_channels),)
    first = len(func.params) - len(segments)
    outputs = list(zip(list(func.params)[first:], segments, strict=True))
    shape = _shape(spec, spec.pitch("y"), spec.out_height, spec.out_width)
    Y = tirx.decl_buffer(shape, spec.element.tvm, "Y")

    def start_of(buffer: Any) -> int | None:
        return next((start for out, (start, _) in outputs if buffer.same_as(out)), None)

    def load(e: Any) -> Any:
        start = start_of(e.source)
        return e if start is None else tirx.BufferLoad(Y, [*e.indices[:-1], e.indices[-1] + start])

    def store(e: Any) -> Any:
        start = start_of(e.buffer)
        if start is None:
            return e
        return tirx.BufferStore(Y, e.value, [*e.indices[:-1], e.indices[-1] + start])

    def region(e: Any) -> Any:
        start = start_of(e.source)
        if start is None:
            return e
        *outer, run = e.region
        return tirx.BufferRegion(
            Y, [*outer, tvm.ir.Range.from_min_extent(run.min + start, run.extent)]
        )

    body = tvm_ffi.structural_map(
        func.body,
        [
            (tvm.ir.expr.TensorLoad, load),
            (tirx.BufferStore, store),
            (tvm.ir.expr.TensorRegion, region),
        ],
    )
    return tirx.PrimFunc([*list(func.params)[:first], Y], body, func.ret_type, func.attrs)


def _has_epilogue(spec: ConvSpec) -> bool:
    """Whether `Y` is computed from the sum `Acc`, and is not the sum itself."""
    narrows = spec.element.accumulator != spec.dtype
    activated = spec.activation is not None or bool(spec.chain)
    return spec.bias or spec.residual or activated or narrows


def _convolve(
    spec: ConvSpec, padded: Callable[..., Expr], K: Any, extra: Callable[..., Expr],
    segment: Pair, suffix: str,
) -> Any:  # fmt: skip
    start, extent = segment
    (kh, kw), (sh, sw), (dh, dw) = spec.kernel, spec.stride, spec.dilation
    group_in, group_out = spec.channels // spec.groups, spec.out_channels // spec.groups
    rkh, rkw = te.reduce_axis((0, kh), "rkh"), te.reduce_axis((0, kw), "rkw")
    rc = te.reduce_axis((0, group_in), "rc") if group_in > 1 else 0

    def tap(n: Expr, o: Expr, i: Expr, j: Expr) -> Expr:
        channel = o // group_out * group_in + rc
        x = padded(n, channel, i * sh + rkh * dh, j * sw + rkw * dw)
        k = K[rkh, rkw, rc, o] if spec.channels_last else K[o, rc, rkh, rkw]
        return _term(spec, x, k)

    def total(n: Expr, o: Expr, i: Expr, j: Expr) -> Expr:
        axes = [rkh, rkw] if group_in == 1 else [rc, rkh, rkw]
        return te.sum(tap(n, o + start, i, j), axis=axes)

    shape = _shape(spec, extent, spec.out_height, spec.out_width)
    if not _has_epilogue(spec):
        return _output(spec, shape, total, "Y" + suffix)
    acc = _output(spec, shape, total, "Acc" + suffix)

    def finished(n: Expr, o: Expr, i: Expr, j: Expr) -> Expr:
        value = acc(*_arrange(spec, n, o, i, j))
        return extra(value, o + start, _arrange(spec, n, o + start, i, j))

    return _output(spec, shape, finished, "Y" + suffix)


def _output(spec: ConvSpec, shape: tuple[int, ...], value: Callable[..., Expr], name: str) -> Any:
    """Define an array by a function of (n, c, i, j)."""
    if spec.channels_last:
        return te.compute(shape, lambda n, i, j, c: value(n, c, i, j), name=name)
    return te.compute(shape, lambda n, c, i, j: value(n, c, i, j), name=name)  # noqa: PLW0108 (names the loops)


def _padded(spec: ConvSpec, X: Any) -> Callable[..., Expr]:
    """Return a function of (n, c, h, w) in padded coordinates; h and w are the input's own."""
    if spec.padding == ((0, 0), (0, 0)):
        return lambda n, c, h, w: X(*_arrange(spec, n, c, h, w))
    sides = (spec.height, spec.padding[0]), (spec.width, spec.padding[1])

    def value(n: Expr, c: Expr, h: Expr, w: Expr) -> Expr:
        (ih, inside_h), (iw, inside_w) = (
            source(spec.padding_mode, p, size, pads)
            for p, (size, pads) in zip((h, w), sides, strict=True)
        )
        x = X(*_arrange(spec, n, c, ih, iw))
        inside = [*inside_h, *inside_w]
        return tirx.if_then_else(tirx.all(*inside), x, _zero(spec)) if inside else x

    shape = _shape(spec, spec.channels, spec.padded_height, spec.padded_width)
    if spec.channels_last:
        padded = te.compute(shape, lambda n, h, w, c: value(n, c, h, w), name="PaddedX")
    else:
        padded = te.compute(shape, value, name="PaddedX")
    return lambda n, c, h, w: padded(*_arrange(spec, n, c, h, w))


def source(mode: str, at: Expr, size: int, pads: Pair) -> tuple[Expr, list[Expr]]:
    """Return the input's index behind a padded one, and the conditions under which there is one."""
    before, after = pads
    index = at - before
    if mode == "zeros":
        return index, [at >= before] * (before > 0) + [at < before + size] * (after > 0)
    if mode == "replicate":
        return tirx.max(tirx.min(index, size - 1), 0), []
    low, high = {
        "reflect": (-index, 2 * (size - 1) - index),
        "circular": (index + size, index - size),
    }[mode]
    wrapped = tirx.if_then_else(index >= size, high, index) if after else index
    return (tirx.if_then_else(index < 0, low, wrapped) if before else wrapped), []


def _epilogue_inputs(spec: ConvSpec) -> tuple[list[Any], Callable[..., Expr]]:
    """Return the placeholders and the function (sum, channel, index) -> output."""
    inputs, wide = [], _accumulator(spec)
    bias = residual = None
    if spec.bias:
        inputs.append(bias := te.placeholder((spec.out_channels,), spec.element.tvm, "bias"))
    if spec.residual:
        shape = _shape(spec, spec.pitch("residual"), spec.out_height, spec.out_width)
        inputs.append(residual := te.placeholder(shape, spec.element.tvm, "residual"))
    kinds, operands = operand_kinds(spec.chain), _operands_of_chain(spec)
    inputs += operands.values()

    def finish(value: Expr, channel: Expr, at: Sequence[Expr]) -> Expr:
        value = value + _widened(spec, bias[channel]) if bias is not None else value
        value = activate(spec.activation, value, wide)
        value = value + _widened(spec, residual(*at)) if residual is not None else value

        def operand(name: str) -> Expr:
            return _widened(spec, operands[name](*place(kinds[name], tuple(at))))

        value = chained(spec.chain, value, operand, wide)
        return value if wide == spec.element.tvm else tirx.Cast(spec.element.tvm, value)

    return inputs, finish


def _operands_of_chain(spec: ConvSpec) -> dict[str, Any]:
    """Return the placeholders of the operands of a convolution's chain by name."""
    images, found = image_operands(spec.chain), {}
    for name, shape in operand_shapes(spec.chain, spec.output_shape).items():
        wide = (*shape[:-1], spec.pitch(name)) if name in images else shape
        found[name] = te.placeholder(wide, spec.element.tvm, name)
    return found


def _input(spec: ConvSpec) -> Any:
    """Return the input, with the channels that lie between its own where it is a run of them."""
    shape = _shape(spec, spec.pitch("x"), spec.height, spec.width)
    return te.placeholder(shape, spec.element.tvm, "X")


def _term(spec: ConvSpec, x: Expr, k: Expr) -> Expr:
    """Return a product of the element type that its sum is kept in."""
    return _widened(spec, x) * _widened(spec, k)


def _widened(spec: ConvSpec, value: Expr) -> Expr:
    wide = _accumulator(spec)
    return value if wide == spec.element.tvm else tirx.Cast(wide, value)


def _accumulator(spec: ConvSpec) -> str:
    return element(spec.element.accumulator).tvm


def _zero(spec: ConvSpec) -> Expr:
    return tirx.const(0, spec.element.tvm)


def _shape(spec: ConvSpec, channels: int, height: int, width: int) -> tuple[int, ...]:
    return _arrange(spec, spec.batch, channels, height, width)


def _arrange(spec: ConvSpec, n: Any, c: Any, h: Any, w: Any) -> tuple[Any, ...]:
    return (n, h, w, c) if spec.channels_last else (n, c, h, w)
