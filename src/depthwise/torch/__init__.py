"""PyTorch modules that run on this package's kernels; importing this imports torch."""

from depthwise.torch.blocks import InvertedResidual, SeparableConv2d
from depthwise.torch.causal import causal_conv1d_fn, causal_conv1d_update
from depthwise.torch.causal_modules import CausalConv1d
from depthwise.torch.costs import cost
from depthwise.torch.modules import (
    DepthwiseConv1d,
    DepthwiseConv2d,
    PointwiseConv2d,
    count_parameters,
)
from depthwise.torch.optimize import optimize
from depthwise.torch.patching import patch_causal_conv1d
from depthwise.torch.ptflops_hooks import PTFLOPS_HOOKS

__all__ = [
    "PTFLOPS_HOOKS",
    "CausalConv1d",
    "DepthwiseConv1d",
    "DepthwiseConv2d",
    "InvertedResidual",
    "PointwiseConv2d",
    "SeparableConv2d",
    "causal_conv1d_fn",
    "causal_conv1d_update",
    "cost",
    "count_parameters",
    "optimize",
    "patch_causal_conv1d",
]
