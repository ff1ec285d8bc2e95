"""The gate of a squeeze-and-excite block: from the sums of rows to a scale for each channel.

One task is an image: the mean, then two products of one row with their activations.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from tvm import tirx
from tvm.script.ir_builder import IRBuilder
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.programs import products
from depthwise.programs.build import SCRATCH_BYTES, SYMBOL, TASKS, Program
from depthwise.programs.define import define
from depthwise.schedule.gate import Gate

Expr: TypeAlias = Any

_NAMES = ("reduce", "expand")
_LINE = 16
"""Elements to a multiple of which arrays in scratch memory begin."""


def program(gate: Gate) -> Program:
    """Return the program of a gate."""
    parts = list(zip(_NAMES, (gate.reduce, gate.expand), gate.forms, strict=True))
    lanes = gate.target.lanes(gate.reduce.dtype)
    functions = {name: products.function(part, form.panels, lanes) for name, part, form in parts}
    definitions = {name: define(part, form) for name, part, form in parts}
    return Program(definitions, {**functions, SYMBOL: _driver(gate)}, gate.target)


def _driver(gate: Gate) -> tirx.PrimFunc:
    """Return the loop over images.

    It takes the sums, the packed weights and the biases of both products, the scales that it
    writes, and scratch memory.
    """
    (narrow, wide), element = (gate.expand.channels, gate.reduce.channels), gate.reduce.element
    hidden_at = -(-wide // _LINE) * _LINE
    size = hidden_at + narrow
    with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
        T.func_name("main")
        T.func_attr({TASKS: gate.images, SCRATCH_BYTES: size * element.computed.bytes})

        def array(name: str, size: int) -> Any:
            return T.arg(name, T.Buffer((size,), element.tvm))

        sums = array("X", gate.images * gate.rows * wide)
        products_of = zip((gate.reduce, gate.expand), gate.forms, strict=True)
        sizes = [form.weight_shape(part)[0] for part, form in products_of]
        weights = [array(f"weight{k}", size) for k, size in enumerate(sizes)]
        biases = array("bias0", narrow), array("bias1", wide)
        scales, scratch = array("Y", gate.images * wide), array("scratch", size)
        first, last = T.arg("first", T.int32()), T.arg("last", T.int32())
        with T.serial(first, last) as image:
            _mean(gate, sums, image, scratch)
            ways = ((scratch, 0, scratch, hidden_at), (scratch, hidden_at, scales, image * wide))
            for name, way, weight, bias in zip(_NAMES, ways, weights, biases, strict=True):
                source, source_at, target, target_at = way
                T.evaluate(
                    tirx.call_extern(
                        "void", name, _address(source, source_at), _address(weight, 0),
                        _address(bias, 0), _address(target, target_at), 1,
                    )
                )  # fmt: skip
    return builder.get()


def _mean(gate: Gate, sums: Any, image: Expr, scratch: Any) -> None:
    """Write the loops that leave the mean of each channel of an image in scratch memory."""
    wide = gate.reduce.channels
    with T.serial(0, wide) as c:
        T.buffer_store(scratch, sums[image * (gate.rows * wide) + c], [c])
    with T.serial(1, gate.rows) as row, T.serial(0, wide) as c:
        more = sums[(image * gate.rows + row) * wide + c]
        T.buffer_store(scratch, scratch[c] + more, [c])
    with T.serial(0, wide) as c:
        share = tirx.const(1 / gate.pixels, gate.reduce.element.tvm)
        T.buffer_store(scratch, scratch[c] * share, [c])


def _address(buffer: Any, at: Expr) -> Expr:
    return T.address_of(buffer[at])
