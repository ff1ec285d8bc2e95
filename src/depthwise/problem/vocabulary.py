"""The words of a problem: kinds, layouts, padding modes, activations, letters of numbers."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

Pair: TypeAlias = tuple[int, int]
Pads: TypeAlias = tuple[Pair, Pair]
Padding: TypeAlias = "int | Pair | Pads | str"

Kind = Literal["depthwise", "depthwise1d", "pointwise", "conv"]
Layout = Literal["NCHW", "NHWC", "NCL", "NLC", "NCHW4c", "NCHW8c", "NCHW16c", "NCHW32c"]
PaddingMode = Literal["zeros", "reflect", "replicate", "circular"]
Activation = Literal[
    "relu", "relu6", "hardswish", "silu", "gelu", "leaky_relu", "sigmoid", "hardsigmoid"
]
Unary = Literal[
    Activation, "abs", "exp", "sqrt", "square", "reciprocal", "neg", "erf", "tanh", "softplus",
    "mish", "gelu_tanh",
]  # fmt: skip
Binary = Literal["add", "sub", "rsub", "mul", "div", "rdiv", "min", "max", "prelu"]
Operand = Literal["image", "gate", "pixel", "channel", "scalar"]

KINDS: tuple[str, ...] = get_args(Kind)
"""The kinds of convolution; `families` has those of all problems."""
DEPTHWISE_KINDS = ("depthwise", "depthwise1d")
"""The kinds whose output channels each take one channel of the input."""
LAYOUTS: tuple[str, ...] = get_args(Layout)
PADDING_WORDS = ("same", "valid", "causal")
PADDING_MODES: tuple[str, ...] = get_args(PaddingMode)
ACTIVATIONS: tuple[str, ...] = get_args(Activation)
UNARY: tuple[str, ...] = get_args(Unary)
"""The functions of one element."""
BINARY: tuple[str, ...] = get_args(Binary)
"""The functions of an element and an operand; rsub and rdiv begin with the operand, whose elements
prelu has for the slope below 0."""
OPERANDS: tuple[str, ...] = get_args(Operand)
"""What such an operand has an element for: each element, each channel of an image, each pixel, each
channel, all."""
THEN = "then"
"""The word between a convolution and the functions of its result."""
LAYOUTS_1D = ("NCL", "NLC")
LAYOUTS_2D = ("NCHW", "NHWC")
LAYOUTS_PACKED = {"NCHW4c": 4, "NCHW8c": 8, "NCHW16c": 16, "NCHW32c": 32}
"""Those of (N, C / x, H, W, x), each with the x channels of a pixel that lie side by side."""
OTHER_NAMES = {
    "channels_first": "NCHW", "channels_last": "NHWC", "NCW": "NCL", "NWC": "NLC",
    "constant": "zeros", "edge": "replicate", "wrap": "circular", "swish": "silu",
    "float": "float32", "single": "float32", "half": "float16", "double": "float64",
}  # fmt: skip
"""Words that other libraries have for those here, which errors name."""
NUMBER_TOKENS = {
    "c": "channels", "o": "out_channels", "e": "expanded", "hw": "size", "h": "height",
    "w": "width", "l": "length", "k": "kernel", "s": "stride", "d": "dilation", "p": "padding",
    "m": "multiplier", "g": "groups", "n": "batch",
}  # fmt: skip
"""The letters of the text form, each with the field that its number is."""
