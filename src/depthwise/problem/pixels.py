"""What is computed between convolutions: the mean of the pixels of images, and a norm of each."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Literal, get_args

from depthwise.errors import SpecError
from depthwise.problem.dtypes import DEFAULT, DTYPES
from depthwise.problem.problem import Specification
from depthwise.problem.text import errors_with
from depthwise.problem.values import MAX_ELEMENTS, real, whole, word
from depthwise.problem.vocabulary import Layout

PixelKind = Literal["mean", "norm"]


@dataclass(frozen=True, kw_only=True)
class PixelSpec(Specification):
    """What is computed of the pixels of channels-last images (N, H, W, C).

    One of::

        mean    (N, 1, 1, C), the mean of each channel
        norm    (x - m) / sqrt(v + epsilon) * weight + bias, with m and v the mean and the variance
                of the channels of a pixel (Ba et al. 2016, Layer Normalization)

    Equivalent to `F.adaptive_avg_pool2d(x, 1)` and to `F.layer_norm(x, (C,), weight, bias,
    epsilon)` of (N, H, W, C).

    Raises:
        SpecError: the problem cannot exist.
    """

    kind: PixelKind
    channels: int
    height: int
    width: int
    batch: int = 1
    dtype: str = DEFAULT
    epsilon: float = 0.0

    layout: ClassVar[Layout] = "NHWC"

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if name != "kind"}
        with errors_with(self.kind, given, defaults=vars(PixelSpec)):
            word("kind", self.kind, get_args(PixelKind))
            word("dtype", self.dtype, DTYPES)
            for name in ("channels", "height", "width", "batch"):
                object.__setattr__(self, name, whole(name, getattr(self, name)))
            object.__setattr__(self, "epsilon", real("epsilon", self.epsilon))
        sizes = {"c": self.channels, "h": self.height, "w": self.width, "n": self.batch}
        if small := [f"{name}={size}" for name, size in sizes.items() if size < 1]:
            raise SpecError(f"sizes are at least 1; got {' '.join(small)}: {self}")
        if self.epsilon and self.kind == "mean":
            raise SpecError(f"epsilon is of a norm; got {self.epsilon!r}: {self}")
        if self.batch * self.height * self.width * self.channels > MAX_ELEMENTS:
            raise SpecError(f"no array has more than {MAX_ELEMENTS} elements: {self}")

    @cached_property
    def input_shape(self) -> tuple[int, ...]:
        """(N, H, W, C)."""
        return self.batch, self.height, self.width, self.channels

    @cached_property
    def output_shape(self) -> tuple[int, ...]:
        """(N, 1, 1, C) of a mean, (N, H, W, C) of a norm."""
        return (self.batch, 1, 1, self.channels) if self.kind == "mean" else self.input_shape

    @cached_property
    def operands(self) -> dict[str, tuple[int, ...]]:
        """The weight and the bias of a norm, each (C,); a mean has none."""
        names = ("weight", "bias") if self.kind == "norm" else ()
        return dict.fromkeys(names, (self.channels,))

    def resized(self, batch: int, height: int, width: int) -> PixelSpec:
        """Return the same for so many images of this size; see `Layer.resized`."""
        return replace(self, batch=batch, height=height, width=width)

    def __str__(self) -> str:
        size = f"hw{self.height}" if self.height == self.width else f"h{self.height} w{self.width}"
        tokens = [self.kind, *[f"n{self.batch}"] * (self.batch != 1), f"c{self.channels}", size]
        tokens += ["nhwc", *[self.dtype] * (self.dtype != DEFAULT)]
        return " ".join([*tokens, *[f"eps{self.epsilon!r}"] * (self.epsilon > 0)])
