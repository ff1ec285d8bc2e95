"""An operator as torch knows it, and the way round its dispatcher.

The dispatcher serves traces, transforms, modes and other kinds of tensors, and takes longer for an
operator written in Python than a small kernel does.  Where there is none of these, calls go to the
kernel at once, or to an autograd function made of the same parts.
"""

from __future__ import annotations

from collections.abc import Callable
from types import NoneType
from typing import Any

import torch
from torch import Tensor, nn
from torch._C import (
    _are_functorch_transforms_active,
    _get_tracing_state,
    _len_torch_dispatch_stack,
    _len_torch_function_stack,
)
from torch.autograd import forward_ad

from depthwise.torch.flops import count_flops

LIBRARY = torch.library.Library("depthwise", "DEF")
TAGS = (torch.Tag.pt2_compliant_tag, torch.Tag.needs_exact_strides)
AUTOCAST_DEVICES = ("cpu", "cuda", "xpu", "mps")
_is_compiling, _is_autocast_enabled = torch.compiler.is_compiling, torch.is_autocast_enabled
_PLAIN = {Tensor, nn.Parameter, NoneType, bool, int, float, str, tuple}


def operator(
    schema: str,
    compute: Callable[..., Any],
    *,
    fake: Callable[..., Any],
    setup_context: Callable[..., None],
    backward: Callable[..., Any],
    vmap: Callable[..., Any],
) -> Callable[..., Any]:
    """Register an operator, and return the function that calls it.

    Args:
        schema: its name, arguments and results, without the namespace.
        compute: `compute(*arguments)` returns the results for real tensors.
        fake: the same, for tensors that have no memory.
        setup_context: `setup_context(ctx, inputs, output)` keeps what `backward` needs.
        backward: `backward(ctx, *gradients)` returns a gradient, or None, for each argument; it
            consists of functions that are differentiable themselves.
        vmap: `vmap(info, in_dims, *arguments)` returns the results and their mapped axes.
    """
    name = schema.partition("(")[0]
    qualified = f"{LIBRARY.ns}::{name}"
    LIBRARY.define(schema, tags=TAGS)
    LIBRARY.impl(name, compute, "CompositeExplicitAutograd")
    torch.library.register_fake(qualified, fake, lib=LIBRARY)
    torch.library.register_autograd(qualified, backward, setup_context=setup_context, lib=LIBRARY)
    for device in AUTOCAST_DEVICES:
        torch.library.register_autocast(qualified, device, torch.float32, lib=LIBRARY)
    torch.library.register_vmap(qualified, vmap, lib=LIBRARY)
    packet = getattr(getattr(torch.ops, LIBRARY.ns), name)
    count_flops(packet)
    dispatched = packet.default
    recorded = _recorded(compute, setup_context, backward)

    def call(*arguments: Any) -> Any:
        if unwatched(*arguments):
            function = recorded.apply if differentiated(*arguments) else compute
            return function(*arguments)
        if not torch.compiler.is_compiling() and torch._C._are_functorch_transforms_active():
            return transformed.apply(*arguments)
        return dispatched(*arguments)

    transformed = _transformed(call, setup_context, backward, vmap)
    return call


def unwatched(*arguments: Any) -> bool:
    """Whether nothing but autograd needs to see a call with these arguments, the first a tensor."""
    return (
        not _is_compiling()
        and _PLAIN.issuperset(map(type, arguments))
        and arguments[0].is_cpu
        and not _len_torch_dispatch_stack()
        and not _len_torch_function_stack()
        and not _is_autocast_enabled("cpu")
        and not _are_functorch_transforms_active()
        and _get_tracing_state() is None
    )


def differentiated(*arguments: Any) -> bool:
    """Whether autograd records a call with these arguments, or refuses it: in forward mode."""
    if forward_ad._current_level >= 0:
        return True
    return torch.is_grad_enabled() and torch._C._any_requires_grad(*arguments)


def _recorded(
    compute: Callable[..., Any], setup_context: Callable[..., None], backward: Callable[..., Any]
) -> Any:
    """Return the autograd function of an eager call."""

    def forward(ctx: Any, *arguments: Any) -> Any:
        output = compute(*arguments)
        setup_context(ctx, arguments, output)
        return output

    return _function(forward=forward, backward=backward)


def _transformed(
    call: Callable[..., Any],
    setup_context: Callable[..., None],
    backward: Callable[..., Any],
    vmap: Callable[..., Any],
) -> Any:
    """Return the autograd function that `torch.func` transforms; it takes longer to call."""
    return _function(forward=call, setup_context=setup_context, backward=backward, vmap=vmap)


def _function(**parts: Callable[..., Any]) -> Any:
    methods = {name: staticmethod(part) for name, part in parts.items()}
    return type("Convolution", (torch.autograd.Function,), methods)
