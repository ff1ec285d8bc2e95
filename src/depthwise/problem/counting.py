"""A cost as numbers, and what is counted alike for every kind of problem.

- A MAC is one multiplication and the addition that accumulates its product.  A FLOP is one floating
  point operation, so there are 2 per MAC.  Of quantized problems they are operations on whole
  numbers.
- Every tap of every output counts, those that fall on padding included.
- The gradient with respect to the input, and that with respect to the weight, each have the MACs of
  the convolution; that with respect to the bias has none.
- Only convolutions, the two dense layers of squeeze-and-excite and the two products of attention
  have MACs.  Adding a bias or a residual, activations, softmax, the gate's mean and scaling, what
  is computed of pixels (mean, norm), pools and of elements count as none.
- `bytes` is the least that must move between memory and the processor: input, weights, biases and
  residual read once, output written once, and what is a result of several passes of training read
  and written once.  What a block hands from part to part is not in it; `unfused_bytes` has that
  too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from types import MappingProxyType

from depthwise.problem.html import as_html
from depthwise.problem.problem import Problem
from depthwise.problem.values import nbytes


@dataclass(frozen=True, kw_only=True)
class Cost:
    """The cost of a problem for its whole batch; `parts` has that of each of its parts."""

    params: int
    """Elements of weights and biases; of the convolution, where the problem is a gradient."""
    macs: int
    """Multiply-accumulates."""
    bytes: int
    """The least bytes that move: every array of the call once."""
    parts: dict[str, Cost] = field(default_factory=dict, hash=False)
    """Those of a block or of training, in the order in which they run; otherwise empty."""

    @property
    def flops(self) -> int:
        """Floating point operations: 2 per MAC."""
        return 2 * self.macs

    @property
    def intensity(self) -> float:
        """Arithmetic intensity: FLOPs per byte."""
        return self.flops / self.bytes

    def _repr_html_(self) -> str:
        lines = {**self.parts, "all" if self.parts else "": self}
        headers = "part", "params", "MACs", "FLOPs", "bytes", "FLOP/byte"
        rows = [
            [name, *(f"{n:,}" for n in (c.params, c.macs, c.flops, c.bytes)), f"{c.intensity:.2f}"]
            for name, c in lines.items()
        ]
        return as_html("cost", headers, rows)

    @property
    def unfused_bytes(self) -> int:
        """The least bytes that move when the parts run one after the other through memory."""
        return sum(part.bytes for part in self.parts.values()) or self.bytes


def counted(
    spec: Problem, macs: int, *, params: int, parts: Mapping[str, Cost] = MappingProxyType({})
) -> Cost:
    """Return a cost whose bytes are those of every array of a call."""
    shapes = spec.input_shape, *spec.operands.values(), spec.output_shape
    kinds = map(spec.dtype_of, (*spec.array_names, "y"))
    moved = sum(map(nbytes, shapes, kinds))
    return Cost(params=params, macs=macs, bytes=moved, parts=dict(parts))


def moved(spec: Problem) -> Cost:
    """Return the cost of what has no products: that every array of a call moves."""
    return counted(spec, 0, params=parameters(spec))


def parameters(spec: Problem) -> int:
    """Return the elements of all operands that are the same in each call."""
    return sum(prod(shape) for name, shape in spec.operands.items() if name not in spec.computed)
