"""What is refused before anything is done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as modules
from torch.nn.parameter import is_lazy
from torch.utils import _pytree as pytree

from depthwise.errors import ModelError
from depthwise.torch.dtypes import DTYPES

_NAMED = 3


def check(model: nn.Module, args: tuple[Any, ...]) -> None:
    """Refuse a model that is not in a state to be optimized, or an example that is none.

    Raises:
        ModelError: it is in training mode, has hooks, or lies elsewhere or in another type.
    """
    if not isinstance(model, nn.Module):
        raise ModelError(f"a model is an nn.Module; got {type(model).__name__}")
    if isinstance(model, torch.jit.ScriptModule):
        raise ModelError(
            "a model is Python, which torch.export reads (optimize what TorchScript was made of); "
            f"got {type(model).__name__}"
        )
    for rule, values in _broken_rules(model, args):
        raise ModelError(f"{rule}; got {values}")


def _broken_rules(model: nn.Module, args: tuple[Any, ...]) -> Iterator[tuple[str, str]]:
    named = dict(model.named_modules())
    if training := [name for name, each in named.items() if each.training]:
        yield "a model is in evaluation mode (use .eval())", f"training mode in {_some(training)}"
    if lazy := [name for name, each in model.named_parameters() if is_lazy(each)]:
        yield "parameters have shapes (call the model once)", f"lazy ones: {_some(lazy)}"
    if hooked := [name for name, each in named.items() if _has_hooks(each)]:
        yield (
            (
                "modules have no hooks, which the optimized network would not run (remove them, or "
                "use torch.nn.utils.parametrize for what computes a weight)"
            ),
            f"hooks of {_some(hooked)}",
        )
    if modules._has_any_global_hook():
        yield "there are no hooks of all modules", "global hooks"
    tensors = [*model.parameters(), *model.buffers(), *pytree.tree_leaves(args)]
    tensors = [each for each in tensors if isinstance(each, Tensor)]
    if elsewhere := {each.device.type for each in tensors} - {"cpu"}:
        yield "a model and its inputs are on the CPU", ", ".join(sorted(elsewhere))
    types = {each.dtype for each in tensors if each.is_floating_point() or each.is_complex()}
    if others := types - set(DTYPES):
        yield f"a model is {' or '.join(DTYPES.values())}", ", ".join(map(str, others))
    if not any(isinstance(each, Tensor) for each in pytree.tree_leaves(args)):
        yield "an example input holds a tensor", f"{args!r}"
    if torch.is_autocast_enabled("cpu"):
        yield "a model is optimized in its own type", "autocast"


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _some(names: list[str]) -> str:
    shown = ", ".join(name or "the model itself" for name in names[:_NAMED])
    more = len(names) - _NAMED
    return f"{shown} and {more} more" if more > 0 else shown
