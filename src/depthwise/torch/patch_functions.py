"""Which functions of a module are known, and what takes their place."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import wraps
from inspect import signature
from types import ModuleType
from typing import Any

from torch import Tensor

from depthwise.errors import ModelError
from depthwise.torch.causal import causal_conv1d_fn, causal_conv1d_update

NAMES = ("causal_conv1d_fn", "causal_conv1d_update")
_ARGUMENTS = {
    "causal_conv1d_fn": ("weight", "bias", "activation"),
    "causal_conv1d_update": ("conv_state", "weight", "bias", "activation"),
}
"""What follows the sequences in transformers' functions."""
_OLDER = ("is_fast_path_available", "torch_causal_conv1d_update")
"""What modules have whose convolution is within a method."""
_OURS = (None, "silu", "swish")
"""The activations that are computed with the convolution."""


def replacements(module: ModuleType, *, named: bool) -> dict[str, Callable[..., Any]]:
    """Return what takes the place of a module's functions, by their names.

    Args:
        module: one that a patch is for.
        named: whether it was asked for, so that having no such functions is an error, too.

    Raises:
        ModelError: it has others than are known.
    """
    found = vars(module)
    present = [name for name in NAMES if name in found]
    older = [name for name in _OLDER if name in found]
    if not present and not older and not named:
        return {}
    ours = {name: _replacement(name, found.get(name)) for name in NAMES}
    if None in ours.values():
        got = [f"{name}{_arguments(found[name])}" for name in present] + older
        raise ModelError(
            "functions that are replaced are causal_conv1d_fn(x, weight, bias, activation) and "
            "causal_conv1d_update(x, conv_state, weight, bias, activation), as modules of "
            f"transformers 5.20 and later have; got {', '.join(got) or 'neither'} in "
            f"{module.__name__}"
        )
    return {name: function for name, function in ours.items() if function is not None}


def _replacement(name: str, theirs: Any) -> Callable[..., Any] | None:
    """Return what computes the same as a function; None where that is not known."""
    if hasattr(theirs, "replaced_by_depthwise"):
        return theirs  # type: ignore[no-any-return]
    wanted = _ARGUMENTS[name]
    if not callable(theirs) or _names(theirs)[1 : 1 + len(wanted)] != wanted:
        return None
    ours = _sequences if name == "causal_conv1d_fn" else _step
    replacement = ours(theirs)
    replacement.replaced_by_depthwise = True  # type: ignore[attr-defined]
    return replacement


def _names(function: Callable[..., Any]) -> tuple[str, ...]:
    try:
        return tuple(signature(function).parameters)
    except (TypeError, ValueError):
        return ()


def _arguments(function: Any) -> str:
    return f"({', '.join(_names(function))})" if callable(function) else f" = {function!r}"


def _sequences(theirs: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(theirs)
    def causal_conv1d(
        hidden_states: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        activation: str | None = None,
        **kwargs: Any,
    ) -> Any:
        if not hidden_states.is_cpu or kwargs.get("cu_seqlens") is not None:
            return theirs(hidden_states, weight, bias, activation, **kwargs)
        seq_idx, named = kwargs.get("seq_idx"), activation if activation in _OURS else None
        y = causal_conv1d_fn(hidden_states, weight, bias, seq_idx=seq_idx, activation=named)
        return y if activation in _OURS else _activated(y, activation)

    return causal_conv1d


def _step(theirs: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(theirs)
    def causal_conv1d(
        hidden_states: Tensor,
        conv_state: Tensor,
        weight: Tensor,
        bias: Tensor | None = None,
        activation: str | None = None,
        **kwargs: Any,
    ) -> Any:
        if kwargs or not hidden_states.is_cpu:
            return theirs(hidden_states, conv_state, weight, bias, activation, **kwargs)
        if activation in _OURS:
            return causal_conv1d_update(hidden_states, conv_state, weight, bias, activation)
        return _activated(causal_conv1d_update(hidden_states, conv_state, weight, bias), activation)

    return causal_conv1d


def _activated(y: Tensor, activation: str | None) -> Tensor:
    """Return the activation that transformers calls so."""
    functions: Any = importlib.import_module("transformers.activations").ACT2FN
    result: Tensor = functions[activation](y)
    return result
