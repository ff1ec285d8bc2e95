"""The gate of a squeeze-and-excite block: from the sums of rows to a scale for each channel.

One task is an image: the mean, then two products of one row with their activations.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from depthwise.kernel.packing import packed_shape
from depthwise.machine.target import Target
from depthwise.problem.block import BlockSpec
from depthwise.problem.spec import ConvSpec
from depthwise.problem.values import itemsize
from depthwise.schedule import pointwise
from depthwise.schedule.rule import Form

_NAMES = ("reduce", "expand")
_LINE = 16
"""Elements to a multiple of which arrays in scratch memory begin."""
_ONE_ROW = ((1, 1),)


@dataclass(frozen=True)
class Gate:
    """What is computed, and how."""

    reduce: ConvSpec
    """From the mean of each channel to a few."""
    expand: ConvSpec
    """From these to the scale of each channel."""
    images: int
    rows: int
    """Sums of an image."""
    pixels: int
    """Pixels of an image."""
    target: Target

    @classmethod
    def of(cls, spec: BlockSpec, target: Target) -> Gate:
        """Return the gate of a block."""
        conv, gate = spec.depthwise, spec.squeeze_excite
        assert gate is not None
        common: dict[str, Any] = {"bias": True, "layout": "NHWC", "dtype": conv.dtype}
        wide, narrow = conv.out_channels, gate.channels
        reduce = ConvSpec.pointwise(wide, narrow, 1, activation=gate.activation, **common)
        expand = ConvSpec.pointwise(narrow, wide, 1, activation=gate.gate, **common)
        pixels = conv.out_height * conv.out_width
        return cls(reduce, expand, conv.batch, conv.out_height, pixels, target)

    @cached_property
    def forms(self) -> tuple[Form, Form]:
        """The forms in which the two products take their weights."""
        return self._form(self.reduce), self._form(self.expand)

    def _form(self, part: ConvSpec) -> Form:
        plan = pointwise.plan_for(part.dtype, part.out_channels, _ONE_ROW, self.target)
        return Form(
            panels=pointwise.panels(part.out_channels, _ONE_ROW, plan, part.dtype, self.target)
        )

    @property
    def weight_sizes(self) -> list[int]:
        """Elements of the packed weights."""
        return [
            packed_shape(part, form)[0]
            for part, form in zip((self.reduce, self.expand), self.forms, strict=True)
        ]

    def functions(self) -> dict[str, Any]:
        """Return the functions of the kernel.

        It takes the sums, the packed weights and the biases of both products, the scales that it
        writes, and scratch memory.
        """
        from tvm import tirx
        from tvm.script.ir_builder import IRBuilder
        from tvm.tirx.script import builder as T  # noqa: N812

        from depthwise.programs import products
        from depthwise.programs.build import SCRATCH_BYTES, SYMBOL, TASKS

        (narrow, wide), dtype = (self.expand.channels, self.reduce.channels), self.reduce.dtype
        mean_at, hidden_at = 0, -(-wide // _LINE) * _LINE
        size = hidden_at + narrow
        with IRBuilder() as builder, T.prim_func(is_private=False, s_tir=True):
            T.func_name("main")
            T.func_attr({TASKS: self.images, SCRATCH_BYTES: size * itemsize(dtype)})

            def array(name: str, size: int) -> Any:
                return T.arg(name, T.Buffer((size,), dtype))

            def address(buffer: Any, at: Any) -> Any:
                return T.address_of(buffer[at])

            sums = array("X", self.images * self.rows * wide)
            weights = [array(f"weight{k}", size) for k, size in enumerate(self.weight_sizes)]
            biases = array("bias0", narrow), array("bias1", wide)
            scales, scratch = array("Y", self.images * wide), array("scratch", size)
            first, last = T.arg("first", T.int32()), T.arg("last", T.int32())
            with T.serial(first, last) as image:
                with T.serial(0, wide) as c:
                    T.buffer_store(scratch, sums[image * (self.rows * wide) + c], [c])
                with T.serial(1, self.rows) as row, T.serial(0, wide) as c:
                    more = sums[(image * self.rows + row) * wide + c]
                    T.buffer_store(scratch, scratch[c] + more, [c])
                with T.serial(0, wide) as c:
                    share = tirx.const(1 / self.pixels, dtype)
                    T.buffer_store(scratch, scratch[c] * share, [c])
                ways = (
                    (scratch, mean_at, scratch, hidden_at),
                    (scratch, hidden_at, scales, image * wide),
                )
                for name, way, weight, bias in zip(_NAMES, ways, weights, biases, strict=True):
                    source, source_at, target, target_at = way
                    T.evaluate(
                        tirx.call_extern(
                            "void", name, address(source, source_at), address(weight, 0),
                            address(bias, 0), address(target, target_at), 1,
                        )
                    )  # fmt: skip
        parts = zip(_NAMES, (self.reduce, self.expand), self.forms, strict=True)
        lanes = self.target.lanes(dtype)
        return {
            **{name: products.function(part, form.panels, lanes) for name, part, form in parts},
            SYMBOL: builder.get(),
        }
