"""What is computed between convolutions: sums and means of pixels or channels, and norms."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal, get_args

from depthwise.errors import SpecError
from depthwise.problem.dtypes import DEFAULT, DTYPES
from depthwise.problem.pitches import Pitches, ordered, texts
from depthwise.problem.problem import OfRuns
from depthwise.problem.text import errors_with, size_text
from depthwise.problem.values import MAX_ELEMENTS, check_sizes, real, whole, word
from depthwise.problem.vocabulary import Layout

PixelKind = Literal[
    "mean", "sum", "max", "l2", "meansquare", "sumsquare", "norm", "groupnorm"
]  # fmt: skip
Over = Literal["pixels", "channels"]

PIXEL_KINDS: tuple[str, ...] = get_args(PixelKind)
NORMS = ("norm", "groupnorm")
REDUCTIONS = tuple(kind for kind in PIXEL_KINDS if kind not in NORMS)
"""The kinds that make one number of many."""


@dataclass(frozen=True, kw_only=True)
class PixelSpec(OfRuns):
    """What is computed of the pixels of channels-last images (N, H, W, C).

    One of::

        mean, sum, max, l2, meansquare, sumsquare
                   of the pixels of each channel, (N, 1, 1, C), or of the channels of each pixel,
                   (N, H, W, 1); l2 is the root of the sum of the squares
        norm       (x - m) / sqrt(v + epsilon) * weight + bias, with m and v the mean and the
                   variance of the channels of a pixel (Ba et al. 2016, Layer Normalization)
        groupnorm  the same with those of all pixels of an image and neighbouring channels, of which
                   there are so many groups (Wu and He 2018, Group Normalization)

    Equivalent to `x.mean((2, 3), keepdim=True)` and its like, to `F.layer_norm(x, (C,), weight,
    bias, epsilon)` of (N, H, W, C), and to `F.group_norm(x, groups, weight, bias, epsilon)`.

    Attributes:
        over: what one number is made of, where that is the kind.
        groups: those of a groupnorm.

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
    over: Over = "pixels"
    groups: int = 1
    pitches: Pitches = ()

    layout: ClassVar[Layout] = "NHWC"

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if name != "kind"}
        with errors_with(self.kind, given, defaults=vars(PixelSpec)):
            word("kind", self.kind, PIXEL_KINDS)
            word("dtype", self.dtype, DTYPES)
            word("over", self.over, get_args(Over))
            for name in ("channels", "height", "width", "batch", "groups"):
                object.__setattr__(self, name, whole(name, getattr(self, name)))
            object.__setattr__(self, "epsilon", real("epsilon", self.epsilon))
        sizes = {"c": self.channels, "h": self.height, "w": self.width, "n": self.batch}
        check_sizes(sizes, self)
        if self.epsilon and self.kind not in NORMS:
            raise SpecError(f"epsilon is of a norm; got {self.epsilon!r}: {self}")
        if self.over != "pixels" and self.kind in NORMS:
            raise SpecError(f"a norm is not over {self.over}; what it is over is its kind: {self}")
        if self.groups != 1 and self.kind != "groupnorm":
            raise SpecError(f"groups are of a groupnorm; got {self.groups}: {self}")
        if self.groups < 1 or self.channels % self.groups:
            raise SpecError(f"groups have as many channels each; got {self.groups}: {self}")
        with errors_with(self.kind, given, defaults=vars(PixelSpec)):
            object.__setattr__(self, "pitches", ordered(self.pitches, self.image_shapes()))
        if self.batch * self.height * self.width * self.channels > MAX_ELEMENTS:
            raise SpecError(f"no array has more than {MAX_ELEMENTS} elements: {self}")

    @cached_property
    def input_shape(self) -> tuple[int, ...]:
        """(N, H, W, C)."""
        return self.batch, self.height, self.width, self.channels

    @cached_property
    def output_shape(self) -> tuple[int, ...]:
        """(N, H, W, C) of a norm, (N, 1, 1, C) or (N, H, W, 1) of one number of many."""
        channels = self.channels if self.kind in NORMS or self.over == "pixels" else 1
        return (self.batch, *self.sides(self.height, self.width), channels)

    def sides(self, height: Any, width: Any) -> tuple[Any, Any]:
        """Return the height and the width of the result; see `Layer.sides`."""
        apart = self.kind in NORMS or self.over == "channels"
        return (height, width) if apart else (1, 1)

    @cached_property
    def operands(self) -> dict[str, tuple[int, ...]]:
        """The weight and the bias of a norm, each (C,); else none."""
        names = ("weight", "bias") if self.kind in NORMS else ()
        return dict.fromkeys(names, (self.channels,))

    def image_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the arrays that may be runs of channels; see `OfRuns`."""
        sums = self.kind not in NORMS and self.over == "pixels"
        return {"x": self.input_shape} if sums else {}

    def resized(self, batch: int, height: int, width: int) -> PixelSpec:
        """Return the same for so many images of this size; see `Layer.resized`."""
        return replace(self, batch=batch, height=height, width=width)

    def __str__(self) -> str:
        size = size_text(self.height, self.width)
        tokens = [self.kind, *[f"n{self.batch}"] * (self.batch != 1), f"c{self.channels}", size]
        tokens += [f"g{self.groups}"] * (self.groups != 1)
        tokens += ["nhwc", *[self.dtype] * (self.dtype != DEFAULT)]
        tokens += [self.over] * (self.over != "pixels")
        tokens += [f"eps{self.epsilon!r}"] * (self.epsilon > 0)
        return " ".join([*tokens, *texts(self.pitches)])
