"""The problem of a gradient: one pass of training through a depthwise convolution."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Literal, get_args

from depthwise.errors import SpecError
from depthwise.problem.problem import Specification
from depthwise.problem.spec import ConvSpec
from depthwise.problem.text import pass_text
from depthwise.problem.values import shown, word
from depthwise.problem.vocabulary import Layout

PassKind = Literal["input_gradient", "weight_gradient", "backward", "training"]


@dataclass(frozen=True, kw_only=True)
class PassSpec(Specification):
    """One pass of training through a depthwise convolution `y = conv(x, weight) + bias`.

    With g the gradient with respect to y (of y's shape), x of x's, the passes take and give::

        input_gradient    g, weight              the gradient with respect to x
        weight_gradient   g, x                   that with respect to the weight, then, where the
                                                 convolution has a bias, that one's: flat, each
                                                 (C * multiplier, KH, KW) and (C * multiplier,)
        backward          g, weight, x           the results of both, one behind the other: flat
        training          x, weight(, bias), g   y, then the results of both: flat

    Equivalent to `torch.autograd.grad(F.conv2d(x, weight, bias, ..., groups=C), inputs, g)`.
    Only the first two are kernels; the others, several `kernels`, are what the benchmark poses.

    Raises:
        SpecError: the convolution is not depthwise, pads with something else than zeros (pad its
            input first, with padding 0 here), or has an activation.
    """

    kind: PassKind
    conv: ConvSpec

    def __post_init__(self) -> None:
        word("kind", self.kind, get_args(PassKind))
        if not isinstance(self.conv, ConvSpec):
            raise SpecError(f"a pass is one of a convolution; got {shown(self.conv)}")
        if not self.conv.is_depthwise:
            raise SpecError(f"gradients are those of depthwise convolutions; got {self.conv}")
        if self.conv.padding_mode != "zeros":
            raise SpecError(f"gradients are those of zero padding; got {self.conv}")
        if self.conv.activation:
            raise SpecError(f"gradients are those of the convolution alone; got {self.conv}")

    @property
    def batch(self) -> int:
        """Images at once."""
        return self.conv.batch

    @property
    def layout(self) -> Layout:
        """The order of the axes of the input, the output and their gradients."""
        return self.conv.layout

    @property
    def dtype(self) -> str:
        """The name of the element type of every array."""
        return self.conv.dtype

    @cached_property
    def input_shape(self) -> tuple[int, ...]:
        """That of x in training, otherwise of g."""
        return self.conv.input_shape if self.kind == "training" else self.conv.output_shape

    @cached_property
    def output_shape(self) -> tuple[int, ...]:
        """That of x; one axis for all weights and biases, or for everything."""
        if self.kind == "input_gradient":
            return self.conv.input_shape
        if self.kind == "weight_gradient":
            return (prod(self.conv.weight_shape) + self.conv.bias * self.conv.out_channels,)
        return (sum(prod(kernel.output_shape) for kernel in self.kernels),)

    @cached_property
    def operands(self) -> dict[str, tuple[int, ...]]:
        """The arrays beside the first, in the order of a call, with their shapes."""
        if self.kind == "input_gradient":
            return {"weight": self.conv.weight_shape}
        if self.kind == "weight_gradient":
            return {"x": self.conv.input_shape}
        if self.kind == "backward":
            return {"weight": self.conv.weight_shape, "x": self.conv.input_shape}
        return {**self.conv.operands, "grad": self.conv.output_shape}

    @property
    def array_names(self) -> tuple[str, ...]:
        """The names of the arrays of a call: x or grad, then those of the operands."""
        return ("x" if self.kind == "training" else "grad", *self.operands)

    @cached_property
    def kernels(self) -> tuple[ConvSpec | PassSpec, ...]:
        """The problems whose results it has one behind another; of a gradient, itself."""
        return (self.conv, *self.gradients) if self.kind == "training" else self.gradients

    @cached_property
    def gradients(self) -> tuple[PassSpec, ...]:
        """The gradients among its `kernels`."""
        if self.kind in ("input_gradient", "weight_gradient"):
            return (self,)
        return replace(self, kind="input_gradient"), replace(self, kind="weight_gradient")

    @property
    def summands(self) -> int:
        """The terms of the longest sum, of a weight's gradient: the outputs of a channel."""
        return self.batch * self.conv.out_height * self.conv.out_width

    def __str__(self) -> str:
        return pass_text(self)
