"""What is computed: a gradient as an unscheduled TensorIR program.

It is there to be read; `programs/direct.py` and `programs/weight_sums.py` write the programs that
compute it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from tvm import te, tirx

from depthwise.problem.training import PassSpec
from depthwise.schedule.window import Axis, axes

Expr: TypeAlias = Any


def define(spec: PassSpec) -> tirx.PrimFunc:
    """Return the program `(G, K, Y)` or `(G, X, Y)` of a gradient; 1-D ones have a height of 1."""
    return _input(spec) if spec.kind == "input_gradient" else _weight(spec)


def _input(spec: PassSpec) -> tirx.PrimFunc:
    conv = spec.conv
    rows, columns = axes(conv)
    G, at_output = _images(spec, "G", conv.out_channels, rows.outputs, columns.outputs)
    K = te.placeholder((conv.out_channels, *conv.kernel), spec.element.tvm, "K")
    k, r, s = (
        te.reduce_axis((0, extent), name)
        for extent, name in zip((conv.multiplier, *conv.kernel), ("k", "r", "s"), strict=True)
    )

    def total(n: Expr, c: Expr, h: Expr, w: Expr) -> Expr:
        output = c * conv.multiplier + k
        row, of_row = _output(rows, h, r)
        column, of_column = _output(columns, w, s)
        g = tirx.if_then_else(
            tirx.all(*of_row, *of_column), at_output(n, output, row, column), _zero(spec)
        )
        return te.sum(g * K[output, r, s], axis=[k, r, s])

    shape = conv.batch, conv.channels, rows.inputs, columns.inputs
    return te.create_prim_func([G, K, _arranged(spec, shape, total)])


def _weight(spec: PassSpec) -> tirx.PrimFunc:
    conv = spec.conv
    rows, columns = axes(conv)
    G, at_output = _images(spec, "G", conv.out_channels, rows.outputs, columns.outputs)
    X, at_input = _images(spec, "X", conv.channels, rows.inputs, columns.inputs)

    def sums() -> list[Any]:
        extents = conv.batch, rows.outputs, columns.outputs
        return [te.reduce_axis((0, e), name) for e, name in zip(extents, "nij", strict=True)]

    n, i, j = sums()

    def weight(o: Expr, r: Expr, s: Expr) -> Expr:
        row, column = _input_of(rows, i, r), _input_of(columns, j, s)
        inside = [
            condition
            for axis, at in ((rows, row), (columns, column))
            for condition in (at >= 0, at < axis.inputs)
        ]
        x = at_input(n, o // conv.multiplier, row, column)
        x = tirx.if_then_else(tirx.all(*inside), x, _zero(spec))
        return te.sum(at_output(n, o, i, j) * x, axis=[n, i, j])

    weights = te.compute((conv.out_channels, *conv.kernel), weight, name="WeightGradient")
    outputs = [weights]
    if conv.bias:
        bn, bi, bj = sums()
        outputs.append(
            te.compute(
                (conv.out_channels,),
                lambda o: te.sum(at_output(bn, o, bi, bj), axis=[bn, bi, bj]),
                name="BiasGradient",
            )
        )
    return te.create_prim_func([G, X, *outputs])


def _input_of(axis: Axis, output: Expr, tap: Expr) -> Expr:
    return output * axis.stride + tap * axis.dilation - axis.before


def _output(axis: Axis, at: Expr, tap: Expr) -> tuple[Expr, list[Expr]]:
    """Return the output that reads an input with a tap, and when there is one."""
    distance = at + axis.before - tap * axis.dilation
    output = tirx.floordiv(distance, axis.stride)
    divides = [tirx.floormod(distance, axis.stride) == 0] * (axis.stride > 1)
    return output, [output >= 0, output < axis.outputs, *divides]


def _images(
    spec: PassSpec, name: str, channels: int, rows: int, columns: int
) -> tuple[Any, Callable[..., Expr]]:
    """Return a placeholder in the layout of the data, and its element at (n, c, h, w)."""
    last = spec.conv.channels_last
    shape = (rows, columns, channels) if last else (channels, rows, columns)
    array = te.placeholder((spec.batch, *shape), spec.element.tvm, name)
    return array, lambda n, c, h, w: array[n, h, w, c] if last else array[n, c, h, w]


def _arranged(spec: PassSpec, shape: tuple[int, ...], value: Callable[..., Expr]) -> Any:
    """Define an array (N, C, H, W) by a function of (n, c, h, w), in the layout of the data."""
    n, c, h, w = shape
    if spec.conv.channels_last:
        return te.compute((n, h, w, c), lambda n, h, w, c: value(n, c, h, w), name="InputGradient")
    return te.compute(shape, value, name="InputGradient")


def _zero(spec: PassSpec) -> Expr:
    return tirx.const(0, spec.element.tvm)
