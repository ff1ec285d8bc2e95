"""Depthwise and depthwise-separable convolution at the speed of the hardware."""

from depthwise import errors
from depthwise.compiler import compile, explain  # noqa: A004
from depthwise.functions.blocks import inverted_residual, separable_conv2d
from depthwise.functions.convolutions import depthwise_conv1d, depthwise_conv2d, pointwise_conv2d
from depthwise.functions.layouts import from_tensorflow_filter, pack_nchwc, unpack_nchwc
from depthwise.problem.block import BlockSpec
from depthwise.problem.costs import cost
from depthwise.problem.data import random_problem
from depthwise.problem.parse import parse
from depthwise.problem.spec import ConvSpec
from depthwise.schedule.plan import BlockPlan, Plan
from depthwise.tuning.tuner import tune
from depthwise.version import __version__ as __version__

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
    "from_tensorflow_filter",
    "inverted_residual",
    "pack_nchwc",
    "parse",
    "pointwise_conv2d",
    "random_problem",
    "separable_conv2d",
    "tune",
    "unpack_nchwc",
]
