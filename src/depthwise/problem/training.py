"""Passes of training: what is computed of a depthwise convolution when a network is trained."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Literal, get_args

from depthwise.errors import SpecError
from depthwise.problem.problem import OfConvolution
from depthwise.problem.spec import ConvSpec
from depthwise.problem.text import pass_text
from depthwise.problem.values import shown, word

PassKind = Literal["input_gradient", "weight_gradient", "backward", "training"]


@dataclass(frozen=True, kw_only=True)
class PassSpec(OfConvolution):
    """A pass of training: what is computed of `y = conv(x, weight) + bias`, conv depthwise.

    x is the input, (N, C, H, W), or as the layout has it, and y the output, (N, C * multiplier, OH,
    OW).  grad is the gradient with respect to y and has its shape.  The kinds of pass::

        kind              arrays of a call             output
        input_gradient    grad, weight                 the gradient with respect to x, of its shape
        weight_gradient   grad, x                      that with respect to the weight, then, where
                                                       there is a bias, that with respect to it
        backward          grad, weight, x              the outputs of the two above
        training          x, weight(, bias), grad      y, then the output of backward

    An output of several arrays is flat: one axis, on which each follows the one before.  The
    gradient with respect to the weight is (C * multiplier, 1, KH, KW), 1-D (C * multiplier, 1, K),
    that with respect to the bias (C * multiplier,).

    Equivalent to `torch.autograd.grad(F.conv2d(x, weight, bias, ..., groups=C), inputs, grad)`.
    One kernel computes either gradient; backward and training, which take several, are what the
    benchmark poses.

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
        if self.conv.packed:
            raise SpecError(f"gradients are those of data that is not packed; got {self.conv}")
        if self.conv.pitches:
            raise SpecError(f"gradients are those of whole images; got {self.conv}")
        if self.conv.quantized:
            raise SpecError(f"gradients are those of real numbers; got {self.conv}")
        if self.conv.activation or self.conv.chain:
            raise SpecError(f"gradients are those of the convolution alone; got {self.conv}")

    @cached_property
    def input_shape(self) -> tuple[int, ...]:
        """The shape of the first array of a call: of x in training, otherwise of grad."""
        return self.conv.input_shape if self.kind == "training" else self.conv.output_shape

    @cached_property
    def output_shape(self) -> tuple[int, ...]:
        """The shape of x where the output is its gradient; otherwise one axis, for all of it."""
        if self.kind == "input_gradient":
            return self.conv.input_shape
        if self.kind == "weight_gradient":
            return (prod(self.conv.weight_shape) + self.conv.bias * self.conv.out_channels,)
        return (sum(prod(kernel.output_shape) for kernel in self.kernels),)

    @cached_property
    def operands(self) -> dict[str, tuple[int, ...]]:
        """The arrays after the first, in the order of a call, with their shapes."""
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
        """The problems that a kernel each computes, in the order of their outputs in this one's."""
        return (self.conv, *self.gradients) if self.kind == "training" else self.gradients

    @cached_property
    def gradients(self) -> tuple[PassSpec, ...]:
        """The gradients that it has, each as a problem of its own."""
        if self.kind in ("input_gradient", "weight_gradient"):
            return (self,)
        return replace(self, kind="input_gradient"), replace(self, kind="weight_gradient")

    @property
    def summands(self) -> int:
        """Products in each sum of a weight's gradient: N * OH * OW, the outputs of a channel."""
        return self.batch * self.conv.out_height * self.conv.out_width

    def __str__(self) -> str:
        return pass_text(self)
