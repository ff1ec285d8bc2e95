"""Depthwise and depthwise-separable convolution at the speed of the hardware."""

from depthwise import errors
from depthwise.block import BlockSpec
from depthwise.costs import Cost, cost
from depthwise.parse import parse
from depthwise.spec import ConvSpec

__version__ = "0.1.0"

__all__ = ["BlockSpec", "ConvSpec", "Cost", "cost", "errors", "parse"]
