"""Attention: for each pixel the mean of values, weighted by how well their keys fit it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import ClassVar

from depthwise.errors import SpecError
from depthwise.problem.dtypes import DEFAULT, DTYPES
from depthwise.problem.problem import Specification
from depthwise.problem.text import errors_with, size_text
from depthwise.problem.values import MAX_ELEMENTS, check_sizes, real, whole, word
from depthwise.problem.vocabulary import Layout

_SIZES = {
    "batch": "n", "channels": "c", "out_channels": "o", "height": "h", "width": "w",
    "keys": "keys", "heads": "heads",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class AttentionSpec(Specification):
    """Attention of channels-last queries x (N, H, W, C) to keys (N, L, 1, C), values (N, L, 1, O).

    The channels of each are cut into as many runs as there are heads.  For each head h and pixel p,
    with sums and softmax over the keys l::

        y[n, p, h] = sum of softmax(scale * x[n, p, h] . key[n, l, h] + b[h, l, p]) value[n, l, h]

    Equivalent to `F.scaled_dot_product_attention` of queries, keys and values (N, heads, pixels,
    channels of a head), whose mask is the bias b with its last two axes swapped.  (Vaswani et al.
    2017, Attention Is All You Need.)  Where there are several biases, images take them in turn.

    Attributes:
        channels: of queries and keys, those of all heads.
        keys: how many there are, L.
        out_channels: of values and results, those of all heads.
        biases: how many there are, each (heads, L, H * W).

    Raises:
        SpecError: the problem cannot exist.
    """

    channels: int
    out_channels: int
    height: int
    width: int
    keys: int
    heads: int
    scale: float
    biases: int = 0
    batch: int = 1
    dtype: str = DEFAULT

    kind: ClassVar[str] = "attention"
    layout: ClassVar[Layout] = "NHWC"

    def __post_init__(self) -> None:
        with errors_with(self.kind, vars(self), defaults=vars(AttentionSpec)):
            word("dtype", self.dtype, DTYPES)
            for name in _SIZES:
                object.__setattr__(self, name, whole(name, getattr(self, name)))
            object.__setattr__(self, "scale", real("scale", self.scale))
            object.__setattr__(self, "biases", whole("biases", self.biases))
        sizes = {token: getattr(self, name) for name, token in _SIZES.items()}
        check_sizes(sizes, self)
        if self.biases < 0:
            raise SpecError(f"biases are none or some; got {self.biases}: {self}")
        if self.channels % self.heads or self.out_channels % self.heads:
            raise SpecError(f"heads divide the channels of keys and of values: {self}")
        shapes = self.input_shape, *self.operands.values(), self.output_shape
        if max(map(prod, shapes)) > MAX_ELEMENTS:
            raise SpecError(f"no array has more than {MAX_ELEMENTS} elements: {self}")

    @property
    def pixels(self) -> int:
        """The queries of an image."""
        return self.height * self.width

    @property
    def depth(self) -> int:
        """The channels of a head of queries and keys."""
        return self.channels // self.heads

    @property
    def width_of_values(self) -> int:
        """The channels of a head of values."""
        return self.out_channels // self.heads

    @cached_property
    def input_shape(self) -> tuple[int, ...]:
        """(N, H, W, C)."""
        return self.batch, self.height, self.width, self.channels

    @cached_property
    def output_shape(self) -> tuple[int, ...]:
        """(N, H, W, O)."""
        return self.batch, self.height, self.width, self.out_channels

    @cached_property
    def operands(self) -> dict[str, tuple[int, ...]]:
        """The keys, the values, and the biases where there are any."""
        shapes: dict[str, tuple[int, ...]] = {
            "key": (self.batch, self.keys, 1, self.channels),
            "value": (self.batch, self.keys, 1, self.out_channels),
        }
        if self.biases:
            shapes["bias"] = (self.biases, self.heads, self.keys, self.pixels)
        return shapes

    @property
    def computed(self) -> tuple[str, ...]:
        """The keys and the values."""
        return "key", "value"

    def resized(self, batch: int, height: int, width: int) -> AttentionSpec:
        """Return the same for so many images of this size, each with as many keys as before."""
        return replace(self, batch=batch, height=height, width=width)

    def __str__(self) -> str:
        size = size_text(self.height, self.width)
        tokens = [self.kind, *[f"n{self.batch}"] * (self.batch != 1), f"c{self.channels}"]
        tokens += [f"o{self.out_channels}"] * (self.out_channels != self.channels)
        tokens += [size, f"keys{self.keys}", *[f"heads{self.heads}"] * (self.heads != 1), "nhwc"]
        tokens += [*[self.dtype] * (self.dtype != DEFAULT), *_bias_tokens(self.biases)]
        usual = usual_scale(self.channels, self.heads)
        return " ".join([*tokens, *[f"scale{self.scale!r}"] * (self.scale != usual)])


def _bias_tokens(biases: int) -> list[str]:
    return [f"biases{biases}"] if biases not in (0, 1) else ["bias"] * biases


def usual_scale(channels: int, heads: int) -> float:
    """Return 1 / sqrt(channels of a head), which is the scale unless another is given."""
    return float((channels / heads) ** -0.5) if channels > 0 < heads else 1.0
