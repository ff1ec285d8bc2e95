"""What is computed of quantized images beside convolutions; see `problem.quantized`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any, ClassVar, Literal, get_args

from depthwise.errors import SpecError
from depthwise.problem import quantized
from depthwise.problem.dtypes import DEFAULT, QUANTIZED
from depthwise.problem.pitches import Pitches, ordered, texts
from depthwise.problem.problem import OfRuns
from depthwise.problem.text import errors_with, size_text
from depthwise.problem.values import MAX_ELEMENTS, check_sizes, flag, whole, word
from depthwise.problem.vocabulary import Layout

QuantizedKind = Literal["quantize", "dequantize", "lookup", "qadd", "qmul", "qmean"]

QUANTIZED_KINDS: tuple[str, ...] = get_args(QuantizedKind)
MOST_PIXELS = 2**23
"""Of a mean: 255 * 2**23 is less than 2**31."""

_OPERANDS: dict[str, dict[str, tuple[int, ...]]] = {
    "quantize": {"scale": (1,), "zero": (1,)},
    "dequantize": {"scale": (1,), "zero": (1,)},
    "lookup": {"table": (256,)},
    "qadd": {"factors": (2,), "zeros": (3,), "bounds": (2,)},
    "qmul": {"factor": (1,), "zeros": (3,), "bounds": (2,)},
    "qmean": {"scale": (1,), "zeros": (2,), "bounds": (2,)},
}
"""The operands of each kind beside a second image."""
_REAL = {"quantize": "x", "dequantize": "y"}
"""The array that is of float32."""


@dataclass(frozen=True, kw_only=True)
class QuantizedSpec(OfRuns):
    """What is computed of channels-last quantized images (N, H, W, C), exact to the last bit.

    One of::

        quantize    y = clip(round(x / scale) + zero), x of float32
        dequantize  y = (x - zero) * scale, y of float32
        lookup      y = table[x - least]
        qadd        y = clip(round(fma(x - zeros[0], factors[0],
                                       (other - zeros[1]) * factors[1])) + zeros[2])
        qmul        y = clip(round((x - zeros[0]) * (other - zeros[1]) * factor) + zeros[2])
        qmean       y = clip(round(float32(sum over the pixels of a channel of (x - zeros[0]))
                                   * (scale / pixels)) + zeros[1]), of (N, 1, 1, C)

    Divisions, products and the fused multiply-add are of float32, those of whole numbers exact;
    `round` takes halves to the even number.  `clip` is to the range of the type, and to `bounds`
    where a kind has them; a NaN is quantized as the least.  `least` is the smallest number of the
    type.  With s the scale of each image, factors are s(x) / s(y) and s(other) / s(y), factor is
    s(x) s(other) / s(y), and the scale of a mean is s(x) / s(y).

    Equivalent to ONNX's QuantizeLinear and DequantizeLinear, and to Add, Mul and GlobalAveragePool
    between them.

    Attributes:
        dtype: int8 or uint8.
        gate: whether the second image of a qmul is (N, 1, 1, C).

    Raises:
        SpecError: the problem cannot exist.
    """

    kind: QuantizedKind
    channels: int
    height: int
    width: int
    dtype: str
    batch: int = 1
    gate: bool = False
    pitches: Pitches = ()

    layout: ClassVar[Layout] = "NHWC"

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if name != "kind"}
        with errors_with(self.kind, given, defaults=vars(QuantizedSpec)):
            word("kind", self.kind, QUANTIZED_KINDS)
            word("dtype", self.dtype, QUANTIZED)
            flag("gate", self.gate)
            for name in ("channels", "height", "width", "batch"):
                object.__setattr__(self, name, whole(name, getattr(self, name)))
        sizes = {"c": self.channels, "h": self.height, "w": self.width, "n": self.batch}
        check_sizes(sizes, self)
        if self.gate and self.kind != "qmul":
            raise SpecError(f"a gate is that of a qmul: {self}")
        pixels = self.height * self.width
        if self.kind == "qmean" and pixels > MOST_PIXELS:
            raise SpecError(f"a mean is of at most {MOST_PIXELS} pixels; got {pixels}: {self}")
        with errors_with(self.kind, given, defaults=vars(QuantizedSpec)):
            object.__setattr__(self, "pitches", ordered(self.pitches, self.image_shapes()))
        if prod(self.input_shape) > MAX_ELEMENTS:
            raise SpecError(f"no array has more than {MAX_ELEMENTS} elements: {self}")

    def dtype_of(self, name: str) -> str:
        """Return the name of the element type of an array; see `Problem.dtype_of`."""
        return DEFAULT if _REAL.get(self.kind) == name else quantized.dtype_of(name, self.dtype)

    @cached_property
    def input_shape(self) -> tuple[int, ...]:
        """(N, H, W, C)."""
        return self.batch, self.height, self.width, self.channels

    @cached_property
    def output_shape(self) -> tuple[int, ...]:
        """(N, H, W, C); (N, 1, 1, C) of a mean."""
        return (self.batch, *self.sides(self.height, self.width), self.channels)

    def sides(self, height: Any, width: Any) -> tuple[Any, Any]:
        """Return the height and the width of the result; see `Layer.sides`."""
        return (1, 1) if self.kind == "qmean" else (height, width)

    @cached_property
    def operands(self) -> dict[str, tuple[int, ...]]:
        """The second image, `other`, where there is one, and the numbers of the kind."""
        pixels = (1, 1) if self.gate else (self.height, self.width)
        images = ("other",) if self.kind in ("qadd", "qmul") else ()
        return dict.fromkeys(images, (self.batch, *pixels, self.channels)) | _OPERANDS[self.kind]

    @property
    def computed(self) -> tuple[str, ...]:
        """The second image."""
        return tuple(name for name in self.operands if name == "other")

    def image_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the arrays that may be runs of channels; see `OfRuns`."""
        if self.kind == "qmean":
            return {"x": self.input_shape}
        names = "x", *(() if self.gate else self.computed), "y"
        return dict.fromkeys(names, self.input_shape)

    def resized(self, batch: int, height: int, width: int) -> QuantizedSpec:
        """Return the same for so many images of this size; see `Layer.resized`."""
        return replace(self, batch=batch, height=height, width=width)

    def __str__(self) -> str:
        size = size_text(self.height, self.width)
        tokens = [self.kind, *[f"n{self.batch}"] * (self.batch != 1), f"c{self.channels}", size]
        tokens += ["nhwc", self.dtype, *["gate"] * self.gate, *texts(self.pitches)]
        return " ".join(tokens)
