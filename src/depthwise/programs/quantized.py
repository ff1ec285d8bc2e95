"""What becomes of the int32 sums of quantized convolutions, as TensorIR.

The equations are in `problem.quantized`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any, TypeAlias

from tvm import tirx
from tvm.tirx.script import builder as T  # noqa: N812

from depthwise.machine.target import Target
from depthwise.problem.dtypes import element
from depthwise.problem.spec import ConvSpec
from depthwise.programs.direct import spread, vector
from depthwise.programs.lookups import Table
from depthwise.programs.quantized_numbers import Ends, added, apart, of, rounded, rounded_to_word

Expr: TypeAlias = Any

_AT_ONCE = 4
"""Vectors of sums that are narrowed to one of bytes."""
_NARROWED = {8: ("llvm.x86.avx2.{}", 2), 16: ("llvm.x86.avx512.{}.512", 4)}
"""By the lanes of a vector of sums: the instructions that narrow, and their blocks of 128 bits."""
_ORDERED_AT_ONCE = 16
"""The lanes of vectors that are brought into order by one instruction.  What does that for 8 is
slower than to take apart the blocks, and the numbers of each pixel from both.
"""


@dataclass(frozen=True)
class End:
    """Sums that are complete, with bias, of neighbouring channels of a pixel of the output."""

    total: Expr
    channel: Expr
    pixel: Expr
    lanes: int
    goes_on: bool = False
    """Whether its channels are those behind the ones before it, of the same pixel."""


@dataclass(frozen=True)
class Arrays:
    """The flat arrays of a quantized convolution: its operands by name, x and y."""

    spec: ConvSpec
    given: dict[str, Any]

    @classmethod
    def declare(cls, spec: ConvSpec, weight: tuple[int, str]) -> Arrays:
        """Declare the parameters of a function, whose packed weights have this size and type."""
        pixels = {"x": (spec.height, spec.width), "y": (spec.out_height, spec.out_width)}
        pixels["residual"] = pixels["y"]
        shapes = {"x": spec.input_shape, **spec.operands, "y": spec.output_shape}
        given = {}
        for name, shape in shapes.items():
            size, kind = prod(shape), spec.dtype_of(name)
            if name in pixels:
                size = spec.batch * prod(pixels[name]) * spec.pitch(name)
            elif name == "weight":
                size, kind = weight
            given[name] = T.arg(name, T.Buffer((size,), kind))
        return cls(spec, given)

    def __getitem__(self, name: str) -> Any:
        return self.given[name]

    def number(self, name: str, at: int) -> Expr:
        """Return a number of a short array, read once."""
        return T.Bind(self.given[name][at])

    def finish_all(self, numbers: Numbers, ends: Sequence[End], *, narrow: bool) -> None:
        """Write the numbers of several vectors of sums.

        Args:
            numbers: what is the same for all.
            ends: the sums.
            narrow: whether there are instructions that narrow vectors of words.  Four vectors are
                narrowed together then: as many instructions as for one.
        """
        if numbers.of_words and not self.spec.real:
            self._finish_words(numbers, ends)
            return
        plain = not (self.spec.residual or self.spec.real)
        narrowing = _NARROWED if narrow else {}
        four = self._finish_four
        if numbers.target.isa == "neon":
            narrowing, four = {4: ("", 1)}, self._finish_on_neon
        for start in range(0, len(ends), _AT_ONCE):
            some = ends[start : start + _AT_ONCE]
            lanes = some[0].lanes
            if plain and lanes in narrowing and all(end.lanes == lanes for end in some):
                four(numbers, some, lanes)
                continue
            for end in some:
                self.finish(numbers, end.total, end.channel, end.pixel, end.lanes)

    def _finish_words(self, numbers: Numbers, ends: Sequence[End]) -> None:
        """Write those of single sums, in fewer instructions where the bounds are the type's."""
        assert numbers.own is not None
        least, most = element(self.spec.dtype).range
        _, low, high = numbers.own
        with T.If(tirx.all(low == int(least), high == int(most))):
            for block, whole in ((T.Then, True), (T.Else, False)):
                with block():
                    for end in ends:
                        self.finish(
                            numbers, end.total, end.channel, end.pixel, end.lanes, whole=whole
                        )

    def _finish_four(self, numbers: Numbers, ends: Sequence[End], lanes: int) -> None:
        """Write those of up to four vectors."""
        assert numbers.own is not None
        zero, least, most = numbers.own
        whole = [self._whole(end, most - zero) for end in ends]
        whole += [whole[-1]] * (_AT_ONCE - len(whole))
        name, blocks = _NARROWED[lanes]
        words, kind = [], of("int16", 2 * lanes)
        for first, second in (whole[:2], whole[2:]):
            pair = T.call_llvm_pure_intrin(kind, name.format("packssdw"), first, second)
            shift = spread(tirx.Cast("int16", zero), 2 * lanes)
            words.append(T.call_llvm_pure_intrin(kind, "llvm.sadd.sat", pair, shift))
        signed = self.spec.dtype == "int8"
        kind = of(self.spec.dtype, 4 * lanes)
        narrower = name.format("packsswb" if signed else "packuswb")
        packed = T.call_llvm_pure_intrin(kind, narrower, *words)
        # Each block of 128 bits has four channels of each of the vectors.
        order = [block * _AT_ONCE + each for each in range(_AT_ONCE) for block in range(blocks)]
        if lanes == _ORDERED_AT_ONCE:
            fours = tirx.Shuffle([T.reinterpret(of("int32", lanes), packed)], order)
            packed, order = T.reinterpret(kind, fours), list(range(lanes))
        low = spread(tirx.Cast(self.spec.dtype, least), 4 * lanes)
        inside = T.Bind(tirx.max(packed, low))
        if numbers.table:
            inside = T.Bind(numbers.table.of(inside, 4 * lanes))
        fours = T.Bind(T.reinterpret(of("int32", lanes), inside))
        starts = [place for place, end in enumerate(ends) if not (place and end.goes_on)]
        for start, stop in pairwise([*starts, len(ends)]):
            own = order[start * blocks : stop * blocks]
            run = T.reinterpret(of(self.spec.dtype, 4 * len(own)), tirx.Shuffle([fours], own))
            at = ends[start].pixel * self.spec.pitch("y") + ends[start].channel
            T.buffer_store(self["y"], run, [vector(at, 4 * len(own))])

    def _finish_on_neon(self, numbers: Numbers, ends: Sequence[End], lanes: int) -> None:
        """Write those of up to four vectors of ARM."""
        assert numbers.own is not None
        zero, least, most = numbers.own
        kind, name = (
            of(self.spec.dtype, 2 * lanes),
            "sqxtn" if self.spec.dtype == "int8" else "sqxtun",
        )
        words = [self._word(end) for end in ends]
        words += [words[-1]] * (_AT_ONCE - len(words))
        halves = []
        for pair in (words[:2], words[2:]):
            both = tirx.Shuffle(pair, list(range(2 * lanes)))
            shift = spread(tirx.Cast("int16", zero), 2 * lanes)
            moved = T.call_llvm_pure_intrin(of("int16", 2 * lanes), "llvm.sadd.sat", both, shift)
            halves.append(T.call_llvm_pure_intrin(kind, f"llvm.aarch64.neon.{name}", moved))
        packed = tirx.Shuffle(halves, list(range(4 * lanes)))
        low, high = (spread(tirx.Cast(self.spec.dtype, end), 4 * lanes) for end in (least, most))
        inside = T.Bind(tirx.min(tirx.max(packed, low), high))
        if numbers.table:
            inside = T.Bind(numbers.table.of(inside, 4 * lanes))
        starts = [place for place, end in enumerate(ends) if not (place and end.goes_on)]
        for start, stop in pairwise([*starts, len(ends)]):
            own = list(range(start * lanes, stop * lanes))
            at = ends[start].pixel * self.spec.pitch("y") + ends[start].channel
            T.buffer_store(self["y"], tirx.Shuffle([inside], own), [vector(at, len(own))])

    def _word(self, end: End) -> Expr:
        """Return scaled sums of ARM, rounded and narrowed to 16 bits, both with saturation."""
        lanes = end.lanes
        floats = tirx.Cast(of("float32", lanes), end.total)
        scaled = floats * self["scale"][vector(end.channel, lanes)]
        near = T.call_llvm_pure_intrin(of("int32", lanes), "llvm.aarch64.neon.fcvtns", scaled)
        return T.call_llvm_pure_intrin(of("int16", lanes), "llvm.aarch64.neon.sqxtn", near)

    def _whole(self, end: End, most: Expr) -> Expr:
        """Return scaled sums, rounded, the largest of them cut."""
        lanes = end.lanes
        floats = tirx.Cast(of("float32", lanes), end.total)
        scaled = floats * self["scale"][vector(end.channel, lanes)]
        bound = spread(tirx.Cast("float32", most), lanes)
        return T.call_llvm_pure_intrin(of("int32", lanes), "llvm.lrint", tirx.min(scaled, bound))

    def finish(
        self, numbers: Numbers, total: Expr, channel: Expr, pixel: Expr, lanes: int, *,
        whole: bool = False,
    ) -> None:  # fmt: skip
        """Write the numbers of neighbouring channels of a pixel of the output.

        Args:
            numbers: what is the same for all.
            total: their sums, with bias.
            channel: the first channel.
            pixel: the number of the pixel in the output.
            lanes: how many channels.
            whole: whether the bounds are those of the type.
        """
        spec, run = self.spec, vector(channel, lanes)
        scaled = tirx.Cast(of("float32", lanes), total) * self["scale"][run]
        place = vector(pixel * spec.pitch("y") + channel, lanes)
        if numbers.own is None:
            T.buffer_store(self["y"], scaled, [place])
            return
        q = numbers.rounded(scaled, lanes, numbers.own, whole=whole)
        if numbers.table:
            q = numbers.table.of(tirx.Cast(of(spec.dtype, lanes), q), lanes)
        if spec.residual:
            at = vector(pixel * spec.pitch("residual") + channel, lanes)
            total = numbers.added(q, self["residual"][at], lanes)
            assert numbers.sum is not None
            q = numbers.rounded(total, lanes, numbers.sum)
        T.buffer_store(self["y"], tirx.Cast(of(spec.dtype, lanes), q), [place])


@dataclass(frozen=True)
class Numbers:
    """Zero points and bounds, read once in a task."""

    zero_of_x: Expr
    target: Target
    dtype: str
    """The type of the numbers."""
    own: Ends | None = None
    """The zero point of the convolution's result, and its bounds; None where it is real."""
    zero_of_residual: Expr | None = None
    factors: tuple[Expr, Expr] | None = None
    sum: Ends | None = None
    """The zero point and the bounds of the sum with a residual."""
    table: Table | None = None

    @classmethod
    def read(cls, arrays: Arrays, target: Target) -> Numbers:
        """Read those of a convolution."""
        if arrays.spec.real:
            return cls(arrays.number("zeros", 0), target, arrays.spec.dtype)
        zeros, bounds = (
            [arrays.number(name, at) for at in range(arrays.spec.operands[name][0])]
            for name in ("zeros", "bounds")
        )
        own, spec, table = (zeros[1], bounds[0], bounds[1]), arrays.spec, None
        if spec.table:
            table = Table(arrays["table"], spec.dtype, target)
        if not spec.residual:
            return cls(zeros[0], target, spec.dtype, own, table=table)
        factors = arrays.number("factors", 0), arrays.number("factors", 1)
        both = zeros[3], bounds[2], bounds[3]
        return cls(zeros[0], target, spec.dtype, own, zeros[2], factors, both, table)

    @property
    def of_words(self) -> bool:
        """Whether numbers are finished one by one, by instructions of Cortex-M."""
        return self.target.dots == "words"

    def rounded(self, value: Expr, lanes: int, ends: Ends, *, whole: bool = False) -> Expr:
        """Return clip(round(value) + zero, least, most) as int32.

        Args:
            value: what is rounded.
            lanes: how many values.
            ends: the zero point and the bounds.
            whole: whether the bounds are known to be those of the type.
        """
        if self.of_words:
            return rounded_to_word(value, ends, self.dtype, whole=whole)
        return rounded(value, lanes, ends)

    def added(self, q: Expr, other: Expr, lanes: int) -> Expr:
        """Return the sum of the result and of a residual, not rounded yet."""
        assert self.factors is not None
        assert self.own is not None
        first = apart(q, self.own[0], lanes)
        return added(first, apart(other, self.zero_of_residual, lanes), self.factors, lanes)
