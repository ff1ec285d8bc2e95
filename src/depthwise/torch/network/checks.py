"""What is refused before anything is done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules import module as modules
from torch.nn.parameter import is_lazy
from torch.utils import _pytree as pytree

from depthwise.errors import ModelError
from depthwise.problem.dtypes import ANY_REAL
from depthwise.torch.dtypes import DTYPES

_NAMED = 3
_NARROW = 2
"""The bytes of bfloat16 and float16."""


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
    training = [name for name, each in named.items() if each.training]
    if training and not _is_exported(model):
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
        yield f"a model is {ANY_REAL}", ", ".join(map(str, others))
    if len(types) > 1 and any(each.itemsize == _NARROW for each in types):
        given = ", ".join(sorted(map(str, types)))
        yield "a model of 16 bits and its inputs are of one type", given
    if not any(isinstance(each, Tensor) for each in pytree.tree_leaves(args)):
        yield "an example input holds a tensor", f"{args!r}"
    if torch.is_autocast_enabled("cpu"):
        yield "a model is optimized in its own type", "autocast"


def _is_exported(model: nn.Module) -> bool:
    """Whether a model is a graph of operators alone, in which no module can be in any mode."""
    if not isinstance(model, fx.GraphModule):
        return False
    called = {node.target for node in model.graph.nodes if node.op == "call_module"}
    return called <= {_GUARDS}


_GUARDS = "_guards_fn"
"""What torch.export calls the module that checks the sizes of inputs."""


def _has_hooks(module: nn.Module) -> bool:
    hooks = *module._forward_hooks.values(), *module._forward_pre_hooks.values()
    return not all(_checks_inputs(hook) for hook in hooks)


def _checks_inputs(hook: Any) -> bool:
    """Whether a hook is torch.export's own, which checks the shapes of inputs as a network does."""
    return str(getattr(hook, "__module__", "")).startswith("torch.export")


def _some(names: list[str]) -> str:
    shown = ", ".join(name or "the model itself" for name in names[:_NAMED])
    more = len(names) - _NAMED
    return f"{shown} and {more} more" if more > 0 else shown
