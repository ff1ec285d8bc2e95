"""What a node of a network may compute: the operators that passes look into, and all others.

Images are (N, C, H, W) here, whatever the order of their elements in memory.  Each operator stands
for one of ONNX's and torch's; the sources of the formulas are theirs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Any

from depthwise.problem.pools import PoolKind
from depthwise.problem.resizes import Coordinates, ResizeKind, Rounding
from depthwise.problem.vocabulary import Activation, Pads, Pair


@dataclass(frozen=True, kw_only=True)
class Operator:
    """What a node computes of its inputs."""

    @property
    def name(self) -> str:
        """What it is called where a reader looks for it."""
        return type(self).__name__.lower()


@dataclass(frozen=True, kw_only=True)
class Convolution(Operator):
    """(N, O, OH, OW) of x (N, C, H, W), weight (O, C/groups, KH, KW) and, or not, bias (O,)."""

    stride: Pair
    padding: Pads
    dilation: Pair
    groups: int


@dataclass(frozen=True, kw_only=True)
class Linear(Operator):
    """(..., O) of x (..., C), weight (O, C) and, or not, bias (O,): `F.linear`."""


@dataclass(frozen=True, kw_only=True)
class BatchNorm(Operator):
    """(x - mean) / sqrt(variance + epsilon) * weight + bias, each of these (C,), of (N, C, ...)."""

    epsilon: float


@dataclass(frozen=True, kw_only=True)
class LayerNorm(Operator):
    """The same with the mean and variance of the last axis of x (..., C); weight and bias (C,)."""

    epsilon: float


@dataclass(frozen=True, kw_only=True)
class ChannelNorm(Operator):
    """A `LayerNorm` over the channels of each pixel of (N, C, H, W)."""

    epsilon: float


@dataclass(frozen=True, kw_only=True)
class Activate(Operator):
    """An activation of each element."""

    activation: Activation

    @property
    def name(self) -> str:
        """The activation's."""
        return self.activation


@dataclass(frozen=True, kw_only=True)
class HardSigmoid(Operator):
    """slope * x + offset, no less than 0 and no more than 1, of each element.

    With a slope of 1/6 and an offset of 1/2 it is the activation of that name.
    """

    slope: float
    offset: float


@dataclass(frozen=True, kw_only=True)
class Clip(Operator):
    """Each element, no less than `low` and no more than `high`, either of which may be infinite."""

    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class Unary(Operator):
    """A function of each element that is no activation, of `vocabulary.UNARY`: "erf", say."""

    function: str

    @property
    def name(self) -> str:
        """The function's."""
        return self.function


@dataclass(frozen=True, kw_only=True)
class Binary(Operator):
    """A function of each pair of elements, shapes broadcast as NumPy does.

    One of add, sub, mul, div, min, max, and prelu: x, but times the second where it is below 0.
    """

    function: str

    @property
    def name(self) -> str:
        """The function's."""
        return self.function


@dataclass(frozen=True, kw_only=True)
class GroupNorm(Operator):
    """A `BatchNorm` with the mean and variance of each image's groups of channels of (N, C, ...).

    With as many groups as channels it is an instance norm.
    """

    groups: int
    epsilon: float


@dataclass(frozen=True, kw_only=True)
class Reduce(Operator):
    """One number of all those along some axes, which have one element then or are dropped.

    One of mean, sum, max, l2, meansquare, sumsquare; see `PixelSpec`.
    """

    function: str
    axes: tuple[int, ...]
    keeps_axes: bool = True

    @property
    def name(self) -> str:
        """The function's."""
        return self.function


PIXELS, CHANNELS = (2, 3), (1,)
"""Those axes of (N, C, H, W)."""


@dataclass(frozen=True, kw_only=True)
class Pool(Operator):
    """The largest, or the mean, of each window of (N, C, H, W); see `PoolSpec`."""

    kind: PoolKind
    kernel: Pair
    stride: Pair
    padding: Pads
    dilation: Pair
    padded: bool


@dataclass(frozen=True, kw_only=True)
class Resize(Operator):
    """An image (N, C, H, W) in another size; see `ResizeSpec`."""

    kind: ResizeKind
    coordinates: Coordinates
    rounding: Rounding
    size: Pair | None = None
    factor: Pair | None = None


@dataclass(frozen=True, kw_only=True)
class Pad(Operator):
    """A number around the pixels of (N, C, H, W)."""

    padding: Pads
    value: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Permute(Operator):
    """Axis number i of the result is axis order[i] of the input."""

    order: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Reshape(Operator):
    """The elements, in their order, in another shape.

    -1 stands for one size that follows from the others, 0 for the size of the same axis of x.
    """

    shape: tuple[int, ...]

    def sizes(self, before: Sequence[int]) -> list[int]:
        """Return the shape of the result for an input of a shape, of which an axis may be empty."""
        kept = {axis for axis, size in enumerate(self.shape) if size == 0}
        others = math.prod(size for axis, size in enumerate(before) if axis not in kept)
        rest = others // math.prod(size for size in self.shape if size > 0)
        return [
            before[axis] if not size else rest if size < 0 else size
            for axis, size in enumerate(self.shape)
        ]


@dataclass(frozen=True, kw_only=True)
class Concat(Operator):
    """Arrays one behind the other along an axis."""

    axis: int


@dataclass(frozen=True, kw_only=True)
class Slice(Operator):
    """Every so many-th element from `start` on to before `stop` along an axis.

    0 <= start < stop <= size, and 0 < step.
    """

    axis: int
    start: int
    stop: int
    step: int = 1


@dataclass(frozen=True, kw_only=True)
class Tail(Operator):
    """The last so many elements along an axis, of any size."""

    axis: int
    count: int


@dataclass(frozen=True, kw_only=True)
class Join(Operator):
    """Arrays one behind the other along an axis, whose sizes are others in other calls."""

    axis: int


@dataclass(frozen=True, kw_only=True)
class Select(Operator):
    """What is at one place along an axis, which is dropped."""

    axis: int
    index: int


@dataclass(frozen=True, kw_only=True)
class Product(Operator):
    """`np.einsum(equation, a, b)`, whose letters are a..z."""

    equation: str


@dataclass(frozen=True, kw_only=True)
class Softmax(Operator):
    """exp(x) divided by its sum along an axis."""

    axis: int


@dataclass(frozen=True, kw_only=True)
class HeadAttention(Operator):
    """`F.scaled_dot_product_attention` of queries, keys, values and, or not, a mask."""

    scale: float | None


@dataclass(frozen=True, kw_only=True)
class Attention(Operator):
    """Attention of rows of pixels (N, P, C) to (N, L, C) and (N, L, O); see `AttentionSpec`.

    Biases (some, heads, L, P), which images take in turn, may be its fourth input.
    """

    heads: int
    scale: float


@dataclass(frozen=True, kw_only=True)
class Repeat(Operator):
    """The input, with axes of one element as long as those of the result: as NumPy broadcasts."""


def repeated(
    before: tuple[int | str, ...] | None, after: tuple[int | str, ...] | None
) -> Repeat | None:
    """Return what brings an array of some sizes into others, if that is it."""
    alike = before is not None and after is not None and len(before) == len(after)
    if not alike or not all(b in (1, a) for b, a in zip(before or (), after or (), strict=True)):
        return None
    return Repeat()


@dataclass(frozen=True, kw_only=True)
class Quantize(Operator):
    """clip(round(x / scale) + zero): whole numbers of a type, halves to the even one."""

    dtype: str
    scale: float
    zero: int


@dataclass(frozen=True, kw_only=True)
class Dequantize(Operator):
    """(x - zero) * scale of whole numbers."""

    scale: float
    zero: int


@dataclass(frozen=True, kw_only=True)
class Identity(Operator):
    """The input."""


@dataclass(frozen=True, kw_only=True)
class Foreign(Operator):
    """What only the engine of the front end knows.

    Attributes:
        called: what the front end calls it.
        payload: what the engine makes of it.
        of_shapes: whether the result depends on the shapes of the inputs alone.
        repeatable: whether the same inputs give the same result.
        may_view: whether the result may lie in the memory of an input.
        meaning: what that is of its inputs, where a kernel may compute it too.
    """

    called: str
    payload: Any
    of_shapes: bool = False
    repeatable: bool = True
    may_view: bool = False
    meaning: Operator | None = None

    @property
    def name(self) -> str:
        """What the front end calls it."""
        return self.called


def product(equation: str) -> Product | None:
    """Return the product of two arrays that an equation of einsum says, if it is one."""
    found = re.fullmatch(r"([A-Za-z]+),([A-Za-z]+)->([A-Za-z]+)", equation.replace(" ", ""))
    plain = found is not None and all(len(set(run)) == len(run) for run in found.groups())
    return Product(equation=found[0]) if found is not None and plain else None


def matrix_product(first: int, second: int) -> Product | None:
    """Return the product of matrices, arrays of so many axes of which all but two go along."""
    if min(first, second) < 2 or first != second:
        return None
    along = ascii_lowercase[: first - 2]
    return Product(equation=f"{along}xz,{along}zy->{along}xy")


def reshaped(
    before: tuple[int | str, ...] | None, after: tuple[int | str, ...] | None
) -> Reshape | None:
    """Return what brings an array of some sizes into others; None where that cannot be said.

    That is where several sizes are open (a word) that are not those of the same axes before.
    """
    if before is None or after is None:
        return None
    kept = [
        0 if isinstance(size, str) and axis < len(before) and before[axis] == size else size
        for axis, size in enumerate(after)
    ]
    if sum(isinstance(size, str) for size in kept) > 1 or 0 in after or 0 in before:
        return None
    return Reshape(shape=tuple(-1 if isinstance(size, str) else size for size in kept))


def closed_axis(axis: int, sizes: Sequence[int | str]) -> int | None:
    """Return an axis, counted from the first, where its size is known."""
    rank = len(sizes)
    known = -rank <= axis < rank and isinstance(sizes[axis], int)
    return axis % rank if known else None


def sliced(
    axis: int, size: int, start: int | None, stop: int | None, step: int = 1
) -> Slice | None:
    """Return a slice whose ends count as Python's do; None where it is empty, or all of it."""
    first, last, _ = slice(start, stop).indices(size)
    part = 0 < last - first < size or (step > 1 and first < last)
    return Slice(axis=axis, start=first, stop=last, step=step) if part else None
