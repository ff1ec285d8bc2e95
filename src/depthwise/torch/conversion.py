"""From torch's convolutions to this package's modules and back, with the same parameters."""

from __future__ import annotations

from typing import Any, TypeVar

from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

from depthwise.errors import SpecError

Module = TypeVar("Module", bound=_ConvNd)


def with_parameters(module: Module, conv: _ConvNd) -> Module:
    """Return `module` with the parameters, not copies, and the mode of `conv`.

    Raises:
        SpecError: what `conv` calls its weight is computed from other parameters.
    """
    if parametrize.is_parametrized(conv):
        raise SpecError(
            "a convolution that is converted has no parametrization (remove it first, or apply it "
            f"to the converted module); got {type(conv).__name__}({conv.extra_repr()})"
        )
    module.weight, module.bias = conv.weight, conv.bias
    return module.train(conv.training)


def arguments_of(conv: _ConvNd) -> dict[str, Any]:
    """Return the arguments that a convolution was made with, but for groups and device."""
    return {
        "in_channels": conv.in_channels,
        "out_channels": conv.out_channels,
        "kernel_size": conv.kernel_size,
        "stride": conv.stride,
        "padding": conv.padding,
        "dilation": conv.dilation,
        "bias": conv.bias is not None,
        "padding_mode": conv.padding_mode,
        "dtype": conv.weight.dtype,
    }


def refuse(conv: object, kind: type[nn.Module], rule: str) -> SpecError:
    """Return the error that says what `kind` is made from."""
    shown = f"({conv.extra_repr()})" if isinstance(conv, nn.Module) else ""
    return SpecError(f"{kind.__name__} is made from {rule}; got {type(conv).__name__}{shown}")
