"""The gradients of a causal convolution, all of them in one pass over its sequences."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import ClassVar

from depthwise.errors import SpecError
from depthwise.problem.causal import CausalSpec
from depthwise.problem.problem import OfConvolution
from depthwise.problem.values import MAX_ELEMENTS, shown

DIFFERENTIATED = (None, "relu", "silu", "sigmoid")
"""The activations whose derivative the pass computes."""


@dataclass(frozen=True, kw_only=True)
class CausalGradientSpec(OfConvolution):
    """The gradients of `y = causal(x, weight, bias, state)`, from grad, that with respect to y.

    The output is flat: one axis, on which follow each other the gradients with respect to x, of its
    shape, to the weight, (C, 1, K), and where there are such to the bias, (C,), and to the state
    before x, of its shape.  What the state after x has for a gradient is to be added to those of x
    and of the state before.

    Equivalent to `torch.autograd.grad(y, (x, weight, bias, state), grad)`.

    Raises:
        SpecError: the convolution has another activation than `DIFFERENTIATED`.
    """

    conv: CausalSpec

    kind: ClassVar[str] = "causal_gradient"

    def __post_init__(self) -> None:
        if not isinstance(self.conv, CausalSpec):
            raise SpecError(f"these gradients are those of a causal convolution; got {self.conv}")
        if self.conv.activation not in DIFFERENTIATED:
            words = ", ".join(name for name in DIFFERENTIATED if name)
            raise SpecError(
                f"gradients pass through no activation, or one of {words}; got "
                f"{shown(self.conv.activation)}: {self}"
            )
        if self.output_shape[0] > MAX_ELEMENTS:
            raise SpecError(f"no array has more than {MAX_ELEMENTS} elements: {self}")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """That of y, which grad has."""
        return self.conv.output_shape

    @cached_property
    def operands(self) -> dict[str, tuple[int, ...]]:
        """What the convolution takes: x and its operands."""
        return {"x": self.conv.input_shape, **self.conv.operands}

    @property
    def array_names(self) -> tuple[str, ...]:
        """The names of the arrays of a call: grad, then those of the operands."""
        return ("grad", *self.operands)

    @cached_property
    def outputs(self) -> dict[str, tuple[int, ...]]:
        """The gradients in their order, by what they are with respect to, with their shapes."""
        return self.operands

    @cached_property
    def output_shape(self) -> tuple[int, ...]:
        """One axis, for all of them."""
        return (sum(prod(shape) for shape in self.outputs.values()),)

    @property
    def summands(self) -> int:
        """Products in each sum of a weight's gradient: N * L."""
        return self.conv.batch * self.conv.length

    def __str__(self) -> str:
        return f"{self.kind} {self.conv}"
