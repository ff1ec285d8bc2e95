"""Our modules and operators in ptflops, which counts MACs and one more an output for each bias."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from depthwise.torch.flops import macs_of_call
from depthwise.torch.mac_rules import arguments_of
from depthwise.torch.modules import DepthwiseConv1d, DepthwiseConv2d, PointwiseConv2d


def _count_module(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    """Add what a call of a convolution counts to the module, as ptflops' own hooks do."""
    del inputs
    products: int = module.weight[0].numel()
    module.__flops__ += output.numel() * (products + (module.bias is not None))


def _count_call(operator: Any, args: Sequence[Any], outputs: tuple[Tensor, ...]) -> int:
    """Return what a call of an operator counts."""
    given = arguments_of(operator.default, tuple(args), {})
    (output,) = outputs
    biases = (given[name] for name in ("bias", "depthwise_bias", "project_bias") if name in given)
    pixels = output.numel() // output.shape[1]
    added = sum(pixels * bias.numel() for bias in biases if bias is not None)
    if given.get("expand_bias") is not None:
        added += given["x"].numel() // given["x"].shape[1] * given["expand_bias"].numel()
    counted: int = macs_of_call(operator, tuple(args), output) + added
    return counted


_MODULES: tuple[type[nn.Module], ...] = (DepthwiseConv1d, DepthwiseConv2d, PointwiseConv2d)
_OPERATORS = torch.ops.depthwise.conv2d, torch.ops.depthwise.pointwise, torch.ops.depthwise.block

PTFLOPS_HOOKS: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys(_MODULES, _count_module),
    **{operator: partial(_count_call, operator) for operator in _OPERATORS},
}
"""What `ptflops.get_model_complexity_info` takes as `custom_modules_hooks`.

With them ptflops, whose backend is PYTORCH or ATEN, counts what it does for torch's modules.
"""
