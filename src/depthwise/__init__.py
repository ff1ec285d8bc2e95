"""Depthwise and depthwise-separable convolution at the speed of the hardware."""

from depthwise import errors
from depthwise.block import BlockSpec
from depthwise.compiler import compile, explain  # noqa: A004
from depthwise.costs import cost
from depthwise.functional import (
    depthwise_conv1d,
    depthwise_conv2d,
    pointwise_conv2d,
)
from depthwise.functional_blocks import inverted_residual, separable_conv2d
from depthwise.layouts import pack_nchwc, unpack_nchwc
from depthwise.parse import parse
from depthwise.plan import BlockPlan, Plan
from depthwise.problem import random_problem
from depthwise.spec import ConvSpec
from depthwise.tuner import tune

__version__ = "0.1.0"

__all__ = [
    "BlockPlan",
    "BlockSpec",
    "ConvSpec",
    "Plan",
    "compile",
    "cost",
    "depthwise_conv1d",
    "depthwise_conv2d",
    "errors",
    "explain",
    "inverted_residual",
    "pack_nchwc",
    "parse",
    "pointwise_conv2d",
    "random_problem",
    "separable_conv2d",
    "tune",
    "unpack_nchwc",
]
