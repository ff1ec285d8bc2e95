"""Images in another size: each pixel is the nearest of those before, or lies between four."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any, ClassVar, Literal, get_args

from depthwise.errors import SpecError
from depthwise.problem.dtypes import DEFAULT, DTYPES, QUANTIZED
from depthwise.problem.problem import Specification
from depthwise.problem.text import axes, errors_with, size_text
from depthwise.problem.values import MAX_ELEMENTS, check_sizes, shown, whole, word
from depthwise.problem.vocabulary import Layout, Pair

ResizeKind = Literal["nearest", "linear"]
Coordinates = Literal["half_pixel", "asymmetric", "align_corners"]
Rounding = Literal["floor", "ceil", "prefer_floor", "prefer_ceil"]

COORDINATES: tuple[str, ...] = get_args(Coordinates)
ROUNDINGS: tuple[str, ...] = get_args(Rounding)


@dataclass(frozen=True, kw_only=True)
class ResizeSpec(Specification):
    """Channels-last images (N, H, W, C) in another size, (N, OH, OW, C).

    Where pixel i of a row of O pixels lies in one of I pixels is::

        half_pixel     (i + 1/2) * I/O - 1/2
        asymmetric     i * I/O
        align_corners  i * (I - 1) / (O - 1), and 0 where O is 1

    A nearest pixel is that at the whole number which this is rounded to: `floor` and `ceil` down
    and up, `prefer_floor` and `prefer_ceil` to the nearest, and a half down and up.  A linear one
    lies between two neighbours, along both axes.  What lies beyond the image is its border.

    Equivalent to `F.interpolate(x, size)` with the mode "nearest" (asymmetric, floor),
    "nearest-exact" (half_pixel, prefer_ceil) and "bilinear" (half_pixel, or align_corners) of
    (N, C, H, W), and to `Resize` of ONNX.

    Attributes:
        size: (OH, OW); None where there is a factor.
        factor: what H and W are multiplied by.
        coordinates: where pixels lie.
        rounding: to which whole number; of a nearest pixel alone.

    Raises:
        SpecError: the problem cannot exist.
    """

    kind: ResizeKind
    channels: int
    height: int
    width: int
    size: Pair | None = None
    factor: Pair | None = None
    batch: int = 1
    dtype: str = DEFAULT
    coordinates: Coordinates = "half_pixel"
    rounding: Rounding = "floor"

    layout: ClassVar[Layout] = "NHWC"

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if name != "kind"}
        with errors_with(self.kind, given, defaults=vars(ResizeSpec)):
            word("kind", self.kind, get_args(ResizeKind))
            word("dtype", self.dtype, DTYPES + QUANTIZED if self.kind == "nearest" else DTYPES)
            word("coordinates", self.coordinates, COORDINATES)
            word("rounding", self.rounding, ROUNDINGS)
            for name in ("channels", "height", "width", "batch"):
                object.__setattr__(self, name, whole(name, getattr(self, name)))
            if (self.size is None) == (self.factor is None):
                raise SpecError(
                    f"there is a size or a factor; got {shown(self.size)} and {shown(self.factor)}"
                )
            for name in ("size", "factor"):
                object.__setattr__(self, name, _pair(name, getattr(self, name)))
        if self.rounding != "floor" and self.kind == "linear":
            raise SpecError(f"rounding is of a nearest pixel; got {self.rounding}: {self}")
        sizes = {"c": self.channels, "h": self.height, "w": self.width, "n": self.batch}
        sizes |= {"oh": self.output_shape[1], "ow": self.output_shape[2]}
        check_sizes(sizes, self)
        if max(prod(self.input_shape), prod(self.output_shape)) > MAX_ELEMENTS:
            raise SpecError(f"no array has more than {MAX_ELEMENTS} elements: {self}")

    @cached_property
    def input_shape(self) -> tuple[int, ...]:
        """(N, H, W, C)."""
        return self.batch, self.height, self.width, self.channels

    @cached_property
    def output_shape(self) -> tuple[int, ...]:
        """(N, OH, OW, C)."""
        return (self.batch, *self.sides(self.height, self.width), self.channels)

    def sides(self, height: Any, width: Any) -> tuple[Any, Any]:
        """Return the height and the width of the result; see `Layer.sides`."""
        if self.factor is not None:
            return height * self.factor[0], width * self.factor[1]
        assert self.size is not None
        return self.size

    @property
    def operands(self) -> dict[str, tuple[int, ...]]:
        """None."""
        return {}

    def resized(self, batch: int, height: int, width: int) -> ResizeSpec:
        """Return the same for so many images of this size; see `Layer.resized`."""
        return replace(self, batch=batch, height=height, width=width)

    def __str__(self) -> str:
        size = size_text(self.height, self.width)
        tokens = [self.kind, *[f"n{self.batch}"] * (self.batch != 1), f"c{self.channels}", size]
        tokens.append(f"to{axes(self.size)}" if self.size else f"by{axes(self.factor or (1, 1))}")
        tokens += ["nhwc", *[self.dtype] * (self.dtype != DEFAULT)]
        tokens += [self.coordinates] * (self.coordinates != "half_pixel")
        return " ".join([*tokens, *[self.rounding] * (self.rounding != "floor")])


def _pair(name: str, value: object) -> Pair | None:
    """Return two whole numbers, or None."""
    if value is None:
        return None
    if not isinstance(value, tuple) or len(value) != 2:
        raise SpecError(f"{name} is a pair of whole numbers; got {shown(value)}")
    first, second = (whole(name, each) for each in value)
    return first, second
