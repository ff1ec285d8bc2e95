"""Functions of each element, one after the other: what is computed in one pass over an image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import ClassVar

from depthwise.errors import SpecError
from depthwise.problem.dtypes import DEFAULT, DTYPES
from depthwise.problem.links import (
    Chain,
    check_chain,
    computed_operands,
    image_operands,
    operand_shapes,
)
from depthwise.problem.pitches import Pitches, ordered, texts
from depthwise.problem.problem import OfRuns
from depthwise.problem.text import errors_with, size_text
from depthwise.problem.values import MAX_ELEMENTS, check_sizes, whole, word
from depthwise.problem.vocabulary import Layout


@dataclass(frozen=True, kw_only=True)
class ElementwiseSpec(OfRuns):
    """Functions of the elements of channels-last images x (N, H, W, C), one after the other.

    Each takes what the one before it made and, where it is one of two elements, an operand, which
    is one of::

        image    (N, H, W, C)
        gate     (N, 1, 1, C), a number for each channel of each image
        pixel    (N, H, W, 1)
        channel  (C,)
        scalar   (1,)

    Raises:
        SpecError: the problem cannot exist.
    """

    channels: int
    height: int
    width: int
    chain: Chain
    batch: int = 1
    dtype: str = DEFAULT
    pitches: Pitches = ()

    kind: ClassVar[str] = "elementwise"
    layout: ClassVar[Layout] = "NHWC"

    def __post_init__(self) -> None:
        with errors_with(self.kind, vars(self), defaults=vars(ElementwiseSpec)):
            word("dtype", self.dtype, DTYPES)
            for name in ("channels", "height", "width", "batch"):
                object.__setattr__(self, name, whole(name, getattr(self, name)))
            check_chain(self.chain, 1)
        sizes = {"c": self.channels, "h": self.height, "w": self.width, "n": self.batch}
        check_sizes(sizes, self)
        with errors_with(self.kind, vars(self), defaults=vars(ElementwiseSpec)):
            object.__setattr__(self, "pitches", ordered(self.pitches, self.image_shapes()))
        if prod(self.input_shape) > MAX_ELEMENTS:
            raise SpecError(f"no array has more than {MAX_ELEMENTS} elements: {self}")

    @cached_property
    def input_shape(self) -> tuple[int, ...]:
        """(N, H, W, C)."""
        return self.batch, self.height, self.width, self.channels

    @property
    def output_shape(self) -> tuple[int, ...]:
        """That of the input."""
        return self.input_shape

    @cached_property
    def operands(self) -> dict[str, tuple[int, ...]]:
        """The operands of the functions in their order."""
        return operand_shapes(self.chain, self.input_shape)

    def image_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the arrays that may be runs of channels; see `OfRuns`."""
        return dict.fromkeys(("x", *image_operands(self.chain), "y"), self.input_shape)

    @cached_property
    def computed(self) -> tuple[str, ...]:
        """The operands that are images, or that each image has its own of."""
        return computed_operands(self.operands)

    def resized(self, batch: int, height: int, width: int) -> ElementwiseSpec:
        """Return the same for so many images of this size; see `Layer.resized`."""
        return replace(self, batch=batch, height=height, width=width)

    def __str__(self) -> str:
        size = size_text(self.height, self.width)
        tokens = [self.kind, *[f"n{self.batch}"] * (self.batch != 1), f"c{self.channels}", size]
        tokens += ["nhwc", *[self.dtype] * (self.dtype != DEFAULT), *map(str, self.chain)]
        tokens += texts(self.pitches)
        return " ".join(tokens)
